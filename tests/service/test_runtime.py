"""What a running service holds: deadlines, places in queues, and models that are loaded again or stay."""

import logging
import time
from collections.abc import Iterator

import pytest

from spikesight.models.contract import CheckpointError
from spikesight.service.http.errors import Overloaded
from spikesight.service.runtime import Runtime
from tests.support.models import tiny
from tests.support.serving.servers import settings
from tests.support.waiting import until


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    made = Runtime(settings(max_queue=3, deadline_s=20), (tiny(),))
    made._load()
    yield made
    made.registry.stop()
    made.decoder.shutdown()


@pytest.mark.parametrize(("wanted", "given"), [(None, 20), (5.0, 5), (99.0, 20)])
def test_a_client_can_only_shorten_its_deadline(runtime: Runtime, wanted: float | None, given: float) -> None:
    before = time.monotonic()
    deadline = runtime.deadline(wanted)
    assert before + given <= deadline <= time.monotonic() + given


def test_places_are_given_back_whatever_happens(runtime: Runtime) -> None:
    model = runtime.registry.get(None)

    def broken() -> None:
        with runtime.admitted(model, 3):
            assert runtime.full()
            with pytest.raises(Overloaded), runtime.admitted(model):
                pass
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert not runtime.full()
    assert model.depth() == 0


@pytest.mark.parametrize("error", [CheckpointError("weights are cut"), RuntimeError("a defect")])
def test_models_that_cannot_be_loaded_again_stay(
    error: Exception, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def load() -> None:
        raise error

    model = runtime.registry.get(None)
    monkeypatch.setattr(runtime.registry, "load", load)
    with caplog.at_level(logging.INFO):
        runtime.reload()
        until(lambda: "models not reloaded" in caplog.text, "nothing was said")
    assert runtime.registry.get(None) is model
