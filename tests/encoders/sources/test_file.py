"""A recording as a source: played in its own time, at other speeds and in a loop, on a clock that only sleep moves."""

from pathlib import Path

import pytest

from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import write_recording
from spikesight.encoders.sources.address import SourceEnded
from spikesight.encoders.sources.file import FileDriver
from spikesight.encoders.sources.source import parse
from tests.support.inputs.samples import at


def driver(tmp_path: Path, options: str, *t: int) -> tuple[FileDriver, list[float]]:
    """The driver of a file with events at these times, and how long it slept."""
    path, now, slept = tmp_path / "a.npz", [10.0], list[float]()
    write_recording(path, at(*t), SensorSize(4, 4))

    def sleep(seconds: float) -> None:
        slept.append(round(seconds, 6))
        now[0] += seconds

    return FileDriver(parse(f"file:{path}{options}"), lambda: now[0], sleep), slept


def rest(made: FileDriver) -> list[list[int]]:
    found: list[list[int]] = []
    while True:
        try:
            part = made.read(100.0)
        except SourceEnded:
            return found
        assert part is not None
        found.append(part["t"].tolist())


@pytest.mark.parametrize(
    ("options", "packets", "slept"),
    [
        ("", [[1000, 3_000], [6_001], [11_000]], [0.002, 0.003001, 0.004999]),  # until the end of each 5 ms
        ("?speed=2&packet_ms=20&loop=0", [[1000, 3_000, 6_001, 11_000]], [0.005]),
        ("?speed=0&packet_ms=2", [[1000], [3_000], [6_001], [11_000]], []),
    ],
)
def test_a_file_is_played_in_its_time(
    options: str, packets: list[list[int]], slept: list[float], tmp_path: Path
) -> None:
    made, found = driver(tmp_path, options, 1000, 3_000, 6_001, 11_000)
    assert made.size == SensorSize(4, 4)
    assert rest(made) == packets
    assert found == slept


def test_a_read_waits_no_longer_than_it_is_told(tmp_path: Path) -> None:
    made, slept = driver(tmp_path, "", 0, 1, 100_000)
    assert made.read(1.0) is not None
    assert made.read(0.06) is None
    assert made.read(0.039999) is not None, "what is left is no longer than the time"
    assert slept == [0.000001, 0.06, 0.039999]


def test_a_round_goes_on_a_packet_after_the_one_before(tmp_path: Path) -> None:
    made, _ = driver(tmp_path, "?speed=0&loop=1&packet_ms=2", 7_000, 9_000)
    found = [part["t"].tolist() for part in (made.read(1.0) for _ in range(5)) if part is not None]
    assert found == [[7_000], [9_000], [11_000], [13_000], [15_000]]
    made.close()
    with pytest.raises(SourceEnded):
        made.read(1.0)
