"""Files read and written as a whole: the smallest sensor, remarks, pieces that are checked, packets of any length."""

from pathlib import Path

import numpy as np
import pytest

from spikesight.encoders.events import MAX_SIDE, Events, EventsError, SensorSize, make_events
from spikesight.encoders.recordings.files import (
    RecordingReader,
    detect_format,
    packets,
    read_recording,
    sensor_of,
    write_recording,
)
from spikesight.encoders.recordings.format import RecordingError
from tests.support.inputs.samples import DAVIS


def at(*t: int) -> Events:
    return make_events(t, [1] * len(t), [2] * len(t), [1] * len(t))


@pytest.mark.parametrize(
    ("suffix", "places", "size"),
    [
        ("csv", [(3, 0), (0, 5)], (4, 6)),
        ("csv", [(MAX_SIDE - 1, MAX_SIDE - 1)], (MAX_SIDE, MAX_SIDE)),
        ("csv", [(MAX_SIDE, 5), (5, MAX_SIDE), (-1, 5), (3, 2)], (4, 3)),
        ("csv", [(-1, 0), (MAX_SIDE, 0)], None),
        ("bin", [(33, 33)] * 9, (34, 34)),
        ("bin", [(34, 5), (0, 0)], (35, 6)),
    ],
)
def test_a_file_that_names_no_sensor_has_the_smallest_that_holds_all(
    suffix: str, places: list[tuple[int, int]], size: tuple[int, int] | None, tmp_path: Path
) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "csv":
        path.write_text("t,x,y,p\n" + "".join(f"{n},{x},{y},1\n" for n, (x, y) in enumerate(places)))
    else:
        x, y = zip(*places)
        write_recording(path, make_events(range(len(x)), x, y, [1] * len(x)), DAVIS)
    if size is None:
        with pytest.raises(RecordingError, match="no event"):
            read_recording(path)
    else:
        assert sensor_of(path) == read_recording(path).size == SensorSize(*size)


def test_one_record_is_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes([3, 4, 0x80, 1, 2]))
    assert (detect_format(path), sensor_of(path)) == ("nmnist", SensorSize(34, 34))
    path.write_bytes(bytes([3, 4, 0x80, 1, 2, 0]))
    with pytest.raises(RecordingError, match="is not a recording"):
        detect_format(path)


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        ([[5], [4]], "time steps back"),
        ([[5, 4]], "not sorted"),
        ([[-1, 5]], "below zero"),
        ([[], []], "there are no events"),
        ([[5], [], [5, 9]], None),
        ([[0], [0]], None),
    ],
)
def test_pieces_on_their_way_to_a_file(pieces: list[list[int]], says: str | None, tmp_path: Path) -> None:
    told: list[str] = []
    if says is None:
        assert write_recording(tmp_path / "a.npz", [at(*t) for t in pieces], DAVIS, warn=told.append) == sum(
            map(len, pieces)
        )
        assert np.concatenate(list(packets(tmp_path / "a.npz")))["t"].tolist() == [t for piece in pieces for t in piece]
    else:
        with pytest.raises(RecordingError, match=says):
            write_recording(tmp_path / "a.npz", [at(*t) for t in pieces], DAVIS, warn=told.append)
        assert list(tmp_path.iterdir()) == []
    assert told == []


@pytest.mark.parametrize(
    ("packet_us", "found"),
    [
        (10, [[7, 9, 16], [17], [36, 36]]),
        (1, [[7], [9], [16], [17], [36, 36]]),
        (29, [[7, 9, 16, 17], [36, 36]]),
        (30, [[7, 9, 16, 17, 36, 36]]),
    ],
)
def test_packets_of_so_many_microseconds_from_the_first_event(
    packet_us: int, found: list[list[int]], tmp_path: Path
) -> None:
    write_recording(tmp_path / "a.csv", at(7, 9, 16, 17, 36, 36), DAVIS)
    assert [packet["t"].tolist() for packet in packets(tmp_path / "a.csv", packet_us)] == found
    reader = RecordingReader(tmp_path / "a.csv")
    assert (reader.size, reader.format, reader.warnings()) == (SensorSize(2, 3), "csv", ())
    with pytest.raises(EventsError, match="at least one microsecond, not 0"):
        next(reader.packets(0))
    small = RecordingReader(tmp_path / "a.csv", SensorSize(1, 1))
    with pytest.raises(RecordingError, match="there are no events"):
        list(small.packets(packet_us))
    assert small.warnings() == ("6 events outside the 1x1 sensor were dropped",)
