"""Streams whose replica is lost go on with all they carry: filter, window and crop as well as membranes."""

from collections.abc import Callable

import numpy as np
import pytest

from spikesight.models.classifier import Classifier
from spikesight.service.client import Prediction, Stream
from spikesight.service.cluster import proxy as module
from tests.service.cluster.test_hung import Stopping
from tests.service.cluster.test_proxy import Behind, holder, proxied, replica
from tests.service.stream.test_resumed import LARGE, OBJECT, shipped, trembling
from tests.support.models import tiny
from tests.support.serving.streams import finished

PARTS = np.array_split(trembling(LARGE, 300_000), 90)
MODELS: dict[str, Callable[[], Classifier]] = {
    "behind a window": lambda: shipped("nmnist"),
    "of an object": lambda: tiny(OBJECT, "taught"),
}


def kill(behind: Behind) -> None:
    behind.kill()


def hang(behind: Behind) -> None:
    assert isinstance(behind, Stopping)
    behind.hang()


def sent(stream: Stream, lose: Callable[[], None] | None) -> list[Prediction]:
    """All of a stream's answers; `lose` takes its replica away between two snapshots."""
    for part in PARTS[:50]:
        stream.send_events(part)
    got = finished(stream)  # by now the proxy has a snapshot of its own, of some messages before
    if lose is not None:
        lose()
    for part in PARTS[50:]:
        stream.send_events(part)
    return got + finished(stream)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("end", [kill, hang])
def test_the_answers_are_those_of_a_stream_undisturbed(
    model: str, end: Callable[[Behind], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ALIVE_S", 1.0)
    hello = {"width": LARGE.width, "height": LARGE.height, "logits": True, "bin_ms": 10.0}
    both = [Stopping(replica(MODELS[model]())) for _ in range(2)]
    with proxied(*both) as (client, proxy):
        with client.stream(**hello) as stream:
            whole = sent(stream, None)
        assert proxy.metrics.moved._value.get() == 0
        with client.stream(**hello) as stream:
            moved = sent(stream, lambda: end(holder(proxy, *both)))
        assert proxy.metrics.moved._value.get() == 1
    assert len(whole) > 30

    assert [told(one) for one in moved] == [told(one) for one in whole]


def told(one: Prediction) -> dict[str, object]:
    """All of an answer but the times that it took."""
    return {**one.model_dump(), "raster": one.raster.tobytes(), "t": None, "queue_ms": None, "step_ms": None}
