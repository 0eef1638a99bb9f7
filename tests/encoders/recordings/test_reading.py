"""Files read and written as a whole: the smallest sensor, remarks, pieces that are checked, packets of any length."""

from pathlib import Path

import numpy as np
import pytest

from spikesight.encoders.events import Counters, Events, EventsError, SensorSize, make_events
from spikesight.encoders.recordings import files
from spikesight.encoders.recordings.files import RecordingReader, detect_format, packets, sensor_of, write_recording
from spikesight.encoders.recordings.format import RecordingError
from tests.support.inputs.samples import DAVIS


def at(*t: int) -> Events:
    return make_events(t, [1] * len(t), [2] * len(t), [1] * len(t))


def places(*xy: tuple[int, int]) -> Events:
    return make_events([0] * len(xy), [x for x, _ in xy], [y for _, y in xy], [1] * len(xy))


@pytest.mark.parametrize(
    ("events", "name", "size"),
    [
        (places((0, 0)), "csv", (1, 1)),
        (places((3, 0), (0, 5)), "csv", (4, 6)),
        (places((2047, 2047)), "csv", (2048, 2048)),
        (places((2048, 5), (5, 2048), (3, 2)), "csv", (4, 3)),
        (places((-1, 5), (5, -1), (0, 2)), "csv", (1, 3)),
        (places((-1, 0), (2048, 0)), "csv", None),
        (places((0, 0)), "nmnist", (34, 34)),
        (places((33, 33)), "nmnist", (34, 34)),
        (places((34, 5)), "nmnist", (35, 6)),
        (places((5, 34)), "nmnist", (6, 35)),
    ],
)
def test_the_smallest_sensor_that_holds_all(events: Events, name: str, size: tuple[int, int] | None) -> None:
    assert files._smallest_sensor(events, name) == (size and SensorSize(*size))


def test_remarks_name_what_was_met() -> None:
    assert files._remarks(Counters(), DAVIS) == []
    assert files._remarks(Counters(1, 2, 0), DAVIS) == [
        "1 events outside the 240x180 sensor were dropped",
        "time steps back 2 times (0 clock restarts); events were put in order",
    ]


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


@pytest.mark.parametrize(("first", "told"), [((1 << 24) - 1, False), (1 << 24, True), ((1 << 24) + 5, True)])
def test_the_first_time_of_all_pieces_is_told_where_it_does_not_fit(first: int, told: bool, tmp_path: Path) -> None:
    words: list[str] = []
    write_recording(tmp_path / "a", [at(first), at(first + (1 << 25))], DAVIS, "evt3", warn=words.append)
    assert words == (
        [f"evt3 times have 24 bits: the file begins at {first % (1 << 24):,} us, not at {first:,} us"] if told else []
    )


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
