"""info, transcode and record at their edges: the first and last events, files that are there, clocks that step."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from spikesight.app.cli import main
from spikesight.app.recordings.info import summarise
from spikesight.app.recordings.record import monotonic_runs, pieces
from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.recordings.files import read_recording, write_recording

SENSOR = SensorSize(40, 30)


def at(*t: int) -> Events:
    return make_events(t, [1] * len(t), [2] * len(t), [1] * len(t))


def test_a_single_event_has_no_rate(tmp_path: Path) -> None:
    write_recording(tmp_path / "a.npz", at(7), SENSOR)
    assert "0 events/s; in the busiest 10 ms 100" in summarise(tmp_path / "a.npz").text()


def test_packets_are_cut_where_time_steps_back() -> None:
    def runs(*t: int) -> list[list[int]]:
        return [run["t"].tolist() for run in monotonic_runs(at(*t))]

    assert runs(1, 2, 2, 3) == [[1, 2, 2, 3]]
    assert runs(5, 1) == [[5], [1]]
    assert runs(1, 5, 5, 2, 3, 0) == [[1, 5, 5], [2, 3], [0]]


class Packets:
    """A source of packets, None where nothing came."""

    def __init__(self, *parts: Events | None) -> None:
        self.parts = parts

    def packets(self) -> Iterator[Events | None]:
        yield from self.parts


def recorded(*parts: Events | None, seconds: float = 60.0, now: list[float] | None = None) -> list[int]:
    times = iter(now or [0.0] * 100)
    found = list(pieces(Packets(*parts), seconds, clock=lambda: next(times)))  # type: ignore[arg-type]
    return np.concatenate([at(), *found])["t"].tolist()


def test_a_clock_that_restarts_goes_on_in_the_file() -> None:
    assert recorded(at(100, 200), None, at(5, 6), at(7)) == [100, 200, 200, 201, 202]
    assert recorded(at(100), at(100)) == [100, 100]
    assert recorded(at(50, 5)) == [50, 50]
    assert recorded(at(-5, 10)) == [0, 15]
    assert recorded(at(0)) == [0]


def test_a_recording_ends_when_its_time_is_over() -> None:
    parts = [at(n) for n in range(5)]
    assert recorded(*parts, seconds=2.0, now=[10.0, 10.5, 11.999, 12.0, 13.0]) == [0, 1]


@pytest.mark.parametrize("command", ["record", "transcode"])
def test_a_file_that_is_there_stays_unless_it_is_forced(command: str, tmp_path: Path) -> None:
    old, new = tmp_path / "old.npz", tmp_path / "new.dat"
    write_recording(old, at(1, 2, 3), SENSOR)
    source = f"file:{old}?speed=0" if command == "record" else str(old)
    new.write_bytes(b"precious")
    assert main([command, source, str(new)]) == 2
    assert new.read_bytes() == b"precious"
    assert main([command, source, str(new), "--force"]) == 0
    assert read_recording(new).events["t"].tolist() == [1, 2, 3]
    other = tmp_path / "named"
    assert main([command, source, str(other)]) == 2, "its name tells no format"
    assert main([command, source, str(other), "--format", "csv"]) == 0
    assert other.read_text().startswith("t,x,y,p\n")
