"""AEDAT 2 and 3.1: cameras told apart, frames and signals left out, overflows counted; Tonic as an oracle."""

import struct
from pathlib import Path

import numpy as np
import pytest
import tonic.io

from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.recordings import aedat
from spikesight.encoders.recordings.files import read_recording, write_recording
from tests.support.inputs.samples import random_events, written


def test_tonic_reads_our_aedat3(tmp_path: Path) -> None:
    path, events, _ = written(tmp_path, "aedat3")
    version, start, *_ = tonic.io.read_aedat_header_from_file(str(path))
    theirs = tonic.io.get_aer_events_from_file(str(path), version, start)
    address = theirs["address"]
    assert np.array_equal(theirs["timeStamp"], events["t"])
    assert np.array_equal(address >> 17, events["x"])
    assert np.array_equal(address >> 2 & 0x7FFF, events["y"])
    assert np.array_equal(address >> 1 & 1, events["p"])


def test_davis_aedat2_agrees_with_tonic(tmp_path: Path) -> None:
    size = SensorSize(346, 260)
    path = tmp_path / "davis.aedat"
    events = random_events(500, size)
    write_recording(path, events, size, "aedat2")
    data = path.read_bytes()
    first, rest = data.split(b"\r\n", 1)
    path.write_bytes(first + b"\r\n# Creation time: 1 2 3\r\n" + rest)
    recording = read_recording(path)
    (width, height), _, theirs = tonic.io.read_davis_346(str(path))
    assert (width, height) == (size.width, size.height)
    assert np.array_equal(recording.events, events)
    assert all(np.array_equal(events[name], theirs[name]) for name in "txyp")


def test_aedat2_without_a_camera_name_goes_by_the_addresses(tmp_path: Path) -> None:
    for size in (SensorSize(128, 128), SensorSize(240, 180), SensorSize(346, 260)):
        events = random_events(2000, size)
        path = tmp_path / "some.aedat"
        write_recording(path, events, size, "aedat2")
        lines = [line for line in path.read_bytes().split(b"\r\n", 3) if not line.startswith(b"# AEChip")]
        path.write_bytes(b"\r\n".join(lines))
        recording = read_recording(path)
        assert recording.size == size
        assert np.array_equal(recording.events, events)
        assert "names no camera" in recording.warnings[0]


def test_aedat2_leaves_out_frames_and_signals(tmp_path: Path) -> None:
    path, events, _ = written(tmp_path, "aedat2", n=50)
    extra = struct.pack(">II", 1 << 31 | 5, 7) + struct.pack(">II", 1 << 10, 8)
    path.write_bytes(path.read_bytes() + extra)
    assert np.array_equal(read_recording(path).events, events)


def test_aedat3_passes_over_other_packets_and_counts_overflows(tmp_path: Path) -> None:
    path, events, _ = written(tmp_path, "aedat3", first_us=(1 << 31) - 1000, span_us=10_000)
    data = path.read_bytes()
    start = data.index(b"#!END-HEADER\r\n") + 14
    foreign = aedat.PACKET_HEADER.pack(2, 0, 36, 4, 0, 2, 2, 2) + bytes(72)
    path.write_bytes(data[:start] + foreign + data[start:])
    assert np.array_equal(read_recording(path).events, events)


@pytest.mark.parametrize("end", [b"", b"# End of ASCII Header\r\n", b"#End Of ASCII Header\r\n"])
def test_aedat2_data_may_begin_with_any_byte(end: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    header = b"#!AER-DAT2.0\r\n# This is a raw AE data file\r\n# AEChip: eu.seebetter.ini.chips.davis.Davis346B\r\n"
    for first in range(0x40):  # rows above are off the sensor
        address = first << 24 | 0x05 << 16 | 0x0A << 8  # 0x0A: the end of a line
        path.write_bytes(header + end + struct.pack(">IiIi", address, 9, 1 << 22, 11))
        assert read_recording(path).events["t"].tolist() == [9, 11], first


def test_our_aedat2_ends_its_header(tmp_path: Path) -> None:
    events = make_events([0, 5], [300, 2], [119, 4], [1, 1])  # the row makes the first byte a '#'
    write_recording(tmp_path / "a.aedat2", events, SensorSize(346, 260))
    assert b"# End of ASCII Header\r\n#" in (tmp_path / "a.aedat2").read_bytes()
    assert np.array_equal(read_recording(tmp_path / "a.aedat2").events, events)
