"""What an upload's first bytes say, to the byte: kinds, sizes, scans, and what is cheap enough for no process."""

import struct
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.recordings import files
from spikesight.encoders.recordings.files import FORMATS, Recording
from spikesight.encoders.recordings.hdf5 import rows_of
from spikesight.service.upload import decode as module
from spikesight.service.upload.decode import (
    CHEAP_BYTES,
    CHEAP_PIXELS,
    CHEAP_SCANS,
    MAX_MARKERS,
    MAX_SCANNED,
    MAX_SCANS,
    DecodeError,
    bmp_sizes,
    cheap,
    check_size,
    image_format,
    jpeg_sizes,
    kind_of,
    largest_size,
    png_sizes,
    scans,
    small_on_large,
    suffix_of,
    webp_sizes,
)
from tests.support.inputs.samples import picture
from tests.support.serving.hostile import png


def jpeg(*segments: bytes) -> bytes:
    return b"\xff\xd8" + b"".join(segments)


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def frame(marker: int, width: int, height: int) -> bytes:
    return segment(marker, struct.pack(">BHHB", 8, height, width, 3))


def test_frame_headers_of_a_jpeg() -> None:
    for marker in range(0xC0, 0xD0):
        found = list(jpeg_sizes(jpeg(frame(marker, 40, 30))))
        assert found == ([] if marker in (0xC4, 0xC8, 0xCC) else [(40, 30)]), hex(marker)
    two = jpeg(segment(0xE1, b"exif"), frame(0xC0, 4, 3), b"\xff\xff\xff", b"\xff\x01", b"\xff\xd0", frame(0xC2, 8, 9))
    assert list(jpeg_sizes(two)) == [(4, 3), (8, 9)], "fill bytes and markers without a length are passed over"
    for end in (0xDA, 0xD9):
        assert list(jpeg_sizes(jpeg(frame(0xC0, 4, 3), bytes([0xFF, end, 0, 2]), frame(0xC0, 9, 9)))) == [(4, 3)]
    assert list(jpeg_sizes(jpeg(b"\x00\x00\x00\x00", frame(0xC0, 4, 3)))) == []
    assert list(jpeg_sizes(jpeg(b"\xff\xe0\x00"))) == []
    assert list(jpeg_sizes(jpeg(b"\xff" * (MAX_MARKERS - 2), frame(0xC0, 4, 3)))) == [(4, 3)]
    assert list(jpeg_sizes(jpeg(b"\xff" * (MAX_MARKERS + 1), frame(0xC0, 4, 3)))) == []


def test_headers_of_the_other_kinds() -> None:
    assert list(png_sizes(png(7, 9))) == [(7, 9)]
    assert list(png_sizes(png(7, 9).replace(b"IHDR", b"IHDX"))) == []
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\x2b\x01\x00" + b"\xe7\x03\x00"
    lossy = b"VP8 " + struct.pack("<I", 11) + bytes(6) + struct.pack("<HH", 0xC000 | 40, 0x4000 | 30) + b"\0" + b"\0"
    lossless = b"VP8L" + struct.pack("<I", 5) + b"\x2f" + struct.pack("<I", 39 | 29 << 14 | 7 << 28)
    head = b"RIFF\0\0\0\0WEBP"
    assert list(webp_sizes(head + canvas + lossy + lossless)) == [(300, 1000), (40, 30), (40, 30)]
    assert list(webp_sizes(head + b"ICCP" + struct.pack("<I", 3) + b"abc\0" + lossless)) == [(40, 30)]
    core = b"BM" + bytes(4) + bytes(8) + struct.pack("<IHH", 12, 5, 6) + bytes(20)
    assert list(bmp_sizes(core)) == [(5, 6)]
    for compression, sizes in ((0, [(5, 6)]), (3, [(5, 6)]), (1, []), (2, [])):
        for height in (6, -6):
            windows = b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 5, height, 1, 24, compression) + bytes(20)
            assert list(bmp_sizes(windows)) == sizes
            assert image_format(windows) == "bmp"
    assert image_format(b"BM" + bytes(12) + struct.pack("<I", 41) + bytes(30)) is None
    assert image_format(b"BM" + b"\0\0\0\0\1" + bytes(7) + struct.pack("<I", 40)) is None


def test_bitmaps_are_told_by_the_size_of_their_header() -> None:
    def told(size: int) -> str | None:
        return image_format(b"BM" + bytes(12) + struct.pack("<I", size) + bytes(size))

    known = [size for size in range(200) if told(size) == "bmp"]
    assert known == [12, 40, 52, 56, 108, 124], "OS/2's, Windows', and those with masks and colour spaces (V2 to V5)"


def test_sizes_that_make_no_sense() -> None:
    assert largest_size("png", png(0, 9)) == (0, 0)
    assert largest_size("png", png(9, 0)) == (0, 0)
    assert largest_size("png", png(1, 1)) == (1, 1)
    assert largest_size("png", b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR\0") == (0, 0)
    assert largest_size("jpeg", jpeg(frame(0xC0, 4, 30), frame(0xC0, 20, 5))) == (4, 30)
    assert largest_size("jpeg", jpeg(frame(0xC0, 4, 3), frame(0xC0, 0, 5))) == (0, 0)
    assert largest_size("jpeg", jpeg()) == (0, 0)


def status(kind: str, data: bytes, most: int = 2**40) -> int:
    try:
        check_size(kind, data, most)
    except DecodeError as error:
        return error.status
    return 200


def test_pixels_and_scans_have_a_most() -> None:
    assert status("png", png(30, 40), 1200) == 200
    assert status("png", png(30, 40), 1199) == 413
    assert status("png", png(0, 40), 1199) == 400

    def scanned(n: int, width: int, height: int) -> bytes:
        return jpeg(frame(0xC2, width, height), b"\xff\xda" * n)

    assert status("jpeg", scanned(MAX_SCANS, 8, 8)) == 200
    assert status("jpeg", scanned(MAX_SCANS + 1, 8, 8)) == 413
    assert status("jpeg", scanned(32, 2896, 2896)) == 200
    assert MAX_SCANNED < 32 * 2896 * 2897
    assert status("jpeg", scanned(32, 2896, 2897)) == 413
    assert scans("png", b"\xff\xda" * 9) == 1


def test_what_is_cheap() -> None:
    side = round(CHEAP_PIXELS**0.5)
    assert cheap(png(side, side))
    assert not cheap(png(side, side + 1))
    small = png(4, 4)
    assert cheap(small + bytes(CHEAP_BYTES - len(small)))
    assert not cheap(small + bytes(CHEAP_BYTES - len(small) + 1))
    few = jpeg(frame(0xC2, 8, 8), b"\xff\xda" * CHEAP_SCANS)
    assert cheap(few)
    assert not cheap(few + b"\xff\xda")
    assert not cheap(picture(".webp"))
    assert not cheap(picture(".bmp"))


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.bin", ".bin"),
        ("A.NPZ", ".npz"),
        ("x.tar.gz", ".gz"),
        ("a.b c", ""),
        ("a.", ""),
        ("bin", ""),
        ("a.123456789", ""),
        ("a.12345678", ".12345678"),
        ("../../etc/passwd", ""),
        ("a.bin\n", ""),
        ("x" * 100 + ".npz", ".npz"),
    ],
)
def test_of_a_name_the_suffix_counts(name: str, suffix: str) -> None:
    assert suffix_of(name) == suffix


def test_what_an_upload_is() -> None:
    assert kind_of(picture(), "a.bin") == "image"
    for data in (b"% evt 3.0", b"1 2 3 1\n", *(kind.mark for kind in FORMATS.values() if kind.mark)):
        assert kind_of(data, "") == "recording"
    assert kind_of(b"anything", "x.BIN") == "recording"
    for data, code in ((b"", 400), (b"anything", 415), (b"<svg>", 415), (b"GIF89a", 415)):
        with pytest.raises(DecodeError) as caught:
            kind_of(data, "x.gif")
        assert caught.value.status == code


def test_rows_of_hdf5_are_those_of_its_table_of_events(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"], file["deep/b"], file["c"] = np.zeros(3), np.zeros((7, 4)), 5
    assert rows_of(tmp_path / "a.h5") == 7


def test_so_many_events_are_taken_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_EVENTS", 5)
    path = tmp_path / "a.csv"
    for n in (5, 6):
        path.write_text("t,x,y,p\n" + "1,2,3,1\n" * n)
        if n == 5:
            assert len(module.read_claimed(path).events) == 5
        else:
            with pytest.raises(DecodeError, match="has 6 events; this service takes at most 5"):
                module.read_claimed(path)


@pytest.mark.parametrize(
    ("x", "y", "told"), [(63, 63, True), (64, 63, False), (63, 64, False), (0, 0, True), (127, 127, False)]
)
def test_a_corner_of_a_large_sensor_is_told(x: int, y: int, told: bool) -> None:
    recording = Recording(make_events([0], [x], [y], [1]), SensorSize(128, 128), "aedat2")
    assert bool(small_on_large(recording)) == told
    assert small_on_large(replace(recording, format="aedat3")) == ()
    if told:
        assert f"within {x + 1}x{y + 1} of a sensor of 128x128" in small_on_large(recording)[0]


@pytest.mark.attack("recordings", "vectors that unpack to more events than a process has memory for", "413")
@pytest.mark.parametrize("where", ["joined", "Sanitiser"])
def test_what_does_not_fit_into_memory_is_too_large(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(files, where, full if where == "joined" else lambda _: SimpleNamespace(push=full))
    with pytest.raises(DecodeError, match="more memory than an upload may take") as caught:
        module.decode(b"t,x,y,p\n1,2,3,1\n", "")
    assert caught.value.status == 413
