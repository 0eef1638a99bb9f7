"""Streams whose replica is lost go on with all they carry: membranes, filter, window, crop, pixels, conformal sets."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from spikesight.models.classifier import Classifier
from spikesight.service.client import Prediction, Stream
from spikesight.service.cluster import proxy as module
from tests.service.stream.test_resumed import LARGE, OBJECT, shipped, trembling
from tests.support.inputs.samples import picture, some_events
from tests.support.models import EVENT_CONTRACT, promising, tiny
from tests.support.serving.cluster import Behind, holder, proxied
from tests.support.serving.streams import SENSOR, STREAM, finished
from tests.support.waiting import until

Act = Callable[[Stream], object]


def packets(events: np.ndarray, n: int) -> list[Act]:
    return [partial(Stream.send_events, events=part) for part in np.array_split(events, n)]


FINE = replace(EVENT_CONTRACT, shortest_bin_us=1000)
WINDOW = {"width": LARGE.width, "height": LARGE.height, "logits": True, "bin_ms": 10.0}
FILM = [partial(Stream.send_image, data=picture(seed=n), t_ms=n * 40.0) for n in range(60)]
TREMBLING = trembling(LARGE, 300_000)
TREMBLING["t"] -= TREMBLING["t"].min()  # what is sent has no times below 0
NOISY, PLAIN = packets(TREMBLING, 90), packets(some_events(3000, span_us=1_000_000), 100)
STREAMS: dict[str, tuple[Callable[[], Classifier], dict[str, Any], Sequence[Act]]] = {
    "plain": (tiny, STREAM, PLAIN),
    "at its bin, with what it has ruled out": (
        lambda: promising(FINE),
        {"bin_ms": 2, "error_rate": 0.2, **SENSOR},
        packets(some_events(600, span_us=200_000), 60),
    ),
    "of frames": (tiny, {"logits": True}, FILM),
    "behind a window": (lambda: shipped("nmnist"), WINDOW, NOISY),
    "of an object": (lambda: tiny(OBJECT, "taught"), WINDOW, NOISY),
}


def played(stream: Stream, acts: Sequence[Act], cut: int, lose: Callable[[], object]) -> list[dict[str, Any]]:
    """All of a stream's answers but the times that they took; `lose` takes its replica away after `cut` messages."""
    for act in acts[:cut]:
        act(stream)
    found = finished(stream)  # by now the proxy may have a snapshot of its own, of some messages before
    lose()
    for act in acts[cut:]:
        act(stream)
    return [told(one) for one in found + finished(stream)]


def told(one: Prediction) -> dict[str, Any]:
    return {**one.model_dump(), "t": None, "queue_ms": None, "step_ms": None}


@pytest.mark.parametrize(
    ("name", "end", "cut"),
    [
        *((name, Behind.kill, 50) for name in STREAMS),
        *((name, Behind.kill, 4) for name in ("plain", "of frames")),  # before there is a snapshot
        *((name, Behind.hang, 50) for name in ("plain", "behind a window", "of an object")),
    ],
)
def test_the_answers_are_those_of_a_stream_undisturbed(
    name: str, end: Callable[[Behind], None], cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ALIVE_S", 1.0)
    make, hello, acts = STREAMS[name]
    both = [Behind(make()) for _ in range(2)]
    with proxied(*both) as (client, proxy):
        with client.stream(**hello) as stream:
            alone = played(stream, acts, cut, lambda: None)
        assert proxy.metrics.moved._value.get() == 0
        with client.stream(**hello) as stream:
            moved = played(stream, acts, cut, lambda: end(holder(proxy, *both)))
        assert proxy.metrics.moved._value.get() == 1
        if end is Behind.hang:
            for one in both:
                one.go_on()
            until(lambda: not any(one.hung for one in proxy.replicas.all()), "what goes on is asked again")
    assert moved == alone
    assert len(alone) > 30
    assert "error_rate" not in hello or any(one["committed"] for one in alone)
