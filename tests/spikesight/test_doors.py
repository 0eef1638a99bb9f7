"""Names of files and sources, and settings, that people hand in: what is wrong is one sentence, at the call."""

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import spikesight
from spikesight.encoders.emulator.saccades import saccades
from spikesight.encoders.events import EventsError, SensorSize
from tests.support.inputs.samples import seven
from tests.support.refusals import refusal

SIZE = SensorSize(34, 34)


@pytest.mark.parametrize("name", [3, None, 1.5, b"a.raw", ["a.raw"]])
def test_what_names_no_file_is_refused(events: NDArray[np.void], name: Any) -> None:
    refusal(lambda: spikesight.read(name), "named by its path")
    refusal(lambda: spikesight.write_recording(name, events, SIZE), "named by its path")
    refusal(lambda: spikesight.teach(name, "model"), "named by its path")
    refusal(lambda: spikesight.teach("folder", name), "named by its path")


@pytest.mark.parametrize(
    ("source", "words", "match"),
    [
        ("nosuch.raw", {}, "no source"),
        (3.5, {}, "no source"),
        (["digit-3"], {}, "no source"),
        ("digit-3", {"error_rate": 2}, "error_rate must lie"),
        ("digit-3", {"error_rate": 0}, "error_rate must lie"),
        ("digit-3", {"error_rate": 1}, "error_rate must lie"),
        ("digit-3", {"error_rate": float("nan")}, "error_rate must lie"),
        ("digit-3", {"error_rate": "0.1"}, "error_rate must lie"),
        ("digit-3", {"bin_ms": "5"}, "bin_ms is a number"),
        ("digit-3", {"bin_ms": [5]}, "bin_ms is a number"),
        ("digit-3", {"bin_ms": float("nan")}, "bin_ms must be"),
        ("digit-3", {"bin_ms": -1}, "bin_ms must be"),
        ("digit-3", {"size": SIZE}, "has its own"),
    ],
)
def test_a_stream_that_cannot_be_is_refused_when_it_is_asked_for(
    model: spikesight.Model, source: Any, words: dict[str, Any], match: str
) -> None:
    refusal(lambda: model.stream(source, **words), match)


def test_events_without_a_size_and_events_for_pictures_are_refused_at_the_call(events: NDArray[np.void]) -> None:
    refusal(lambda: spikesight.load("nmnist").stream(events), "need the sensor's size")
    given: list[tuple[Any, dict[str, Any]]] = [("digit-3", {}), (events, {"size": SIZE})]
    for source, words in given:
        refusal(lambda s=source, w=words: spikesight.load("mnist-direct").stream(s, **w), "takes images")


def test_a_stream_is_named_by_a_path_too(model: spikesight.Model, events: NDArray[np.void], tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    spikesight.write_recording(path, events, SIZE)
    streams = [model.stream(source) for source in (path, str(path))] + [model.stream(events, size=SIZE)]
    logits = [[p.logits for p in stream] for stream in streams]
    assert logits[0] == logits[1] == logits[2]


def test_a_source_is_closed_when_its_stream_is_not_begun_broken_off_or_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from spikesight.encoders.sources import chunks as sources

    closed: list[str] = []

    class Camera:
        size, running = SIZE, True

        def close(self) -> None:
            closed.append("closed")

        def __enter__(self) -> "Camera":
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def read(self, _: float) -> NDArray[np.void]:
            return saccades(seven())

    monkeypatch.setattr(sources, "open_camera", lambda _: Camera())
    stream = spikesight.load("nmnist").stream("udp://127.0.0.1:9?size=34x34&format=t64")
    assert closed == []
    del stream
    assert closed
    closed.clear()
    for _ in spikesight.load("nmnist").stream("udp://127.0.0.1:9?size=34x34&format=t64"):
        break
    assert closed
    closed.clear()
    with pytest.raises(ValueError, match="takes images"):
        spikesight.load("mnist-direct").stream("udp://127.0.0.1:9?size=34x34&format=t64")
    assert closed


def test_the_version_is_the_installation_s(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    assert spikesight.__version__
    for found, said in (({"spikesight": "7.8.9"}.__getitem__, "7.8.9"), (absent, "0")):
        monkeypatch.setattr(metadata, "version", found)
        assert runpy.run_path(str(Path(spikesight.__file__).with_name("version.py")))["__version__"] == said


def test_a_sensor_s_sides_are_numbers_that_do_not_overflow() -> None:
    size = SensorSize(np.uint8(200), np.uint8(100))  # type: ignore[arg-type]
    assert size.width * size.height == 20_000
    with pytest.raises(EventsError, match="whole pixels"):
        SensorSize(34.0, 34)  # type: ignore[arg-type]
