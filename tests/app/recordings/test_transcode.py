"""`spikesight transcode`: what is cut out of a recording, to the microsecond, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest

from spikesight.app.cli import main
from spikesight.app.recordings.transcode import cut
from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.recordings.files import read_recording, write_recording

TIMES = [5, 100_005, 499_999 + 5, 500_000 + 5, 1_500_004, 1_500_005]


def at(times: list[int]) -> Events:
    return make_events(times, [1] * len(times), [2] * len(times), [1] * len(times))


def times(pieces: int, start: float, seconds: float, zero: bool = False) -> list[int]:
    parts = [part for part in np.array_split(at(TIMES), pieces) if len(part)]
    return [int(t) for part in cut(parts, start, seconds, zero=zero) for t in part["t"]]


@pytest.mark.parametrize("pieces", [1, 3, 6])
def test_from_the_first_event_on_and_the_end_is_left_out(pieces: int) -> None:
    assert times(pieces, 0.0, float("inf")) == TIMES
    assert times(pieces, 0.5, 1.0) == TIMES[3:5]
    assert times(pieces, 0.5, 1.0, zero=True) == [0, 999_999]
    assert times(pieces, 0.0, 0.1, zero=True) == [0]
    assert times(pieces, 9.0, 1.0) == []


def test_nothing_is_read_behind_the_end() -> None:
    def parts():  # type: ignore[no-untyped-def]
        yield at(TIMES)
        raise AssertionError("read on")

    assert [len(part) for part in cut(parts(), 0.0, 1.0, zero=False)] == [4]


def test_the_first_part_is_not_changed_by_counting_from_zero() -> None:
    part = at(TIMES)
    list(cut([part], 0.0, 9.0, zero=True))
    assert part["t"].tolist() == TIMES


@pytest.mark.parametrize(("name", "warned"), [("evt21", True), ("evt3", False)])
def test_who_writes_what_few_can_read_is_told(
    name: str, warned: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_recording(tmp_path / "in.aedat4", at(TIMES), SensorSize(9, 9))
    target = tmp_path / "out.raw"
    assert main(["transcode", str(tmp_path / "in.aedat4"), str(target), "--format", name]) == 0
    assert ("few programs read EVT 2.1" in capsys.readouterr().out) == warned
    assert [int(t) for t in read_recording(target).events["t"]] == TIMES
