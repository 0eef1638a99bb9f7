"""Image bytes to pixels: sizes and scans from headers, to the byte; upright 8 bit RGB, and nothing but ServiceError."""

import contextlib
import io
import struct
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import cv2
import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from spikesight.encoders.recordings import files
from spikesight.encoders.recordings.files import FORMATS
from spikesight.encoders.recordings.hdf5 import rows_of
from spikesight.service.decoding import decode as module
from spikesight.service.decoding.decode import check_size, decode_image, decodes_fast, image_format, kind_of, size_of
from spikesight.service.http.errors import ServiceError
from tests.support.inputs.samples import picture
from tests.support.serving.hostile import png, with_scans
from tests.support.serving.http import refused

SUFFIXES = {".jpg": "jpeg", ".png": "png", ".webp": "webp", ".bmp": "bmp"}
ALL = frozenset(SUFFIXES.values())


@pytest.mark.parametrize(("suffix", "kind"), SUFFIXES.items())
@pytest.mark.parametrize("size", [(40, 30), (1, 1), (7, 201)])
def test_sizes_are_read_from_headers(suffix: str, kind: str, size: tuple[int, int]) -> None:
    data = picture(suffix, size)
    assert image_format(data) == kind
    assert size_of(kind, data) == size
    assert decode_image(data, 10_000, formats=ALL).shape == (size[1], size[0], 3)


def test_pixels_are_eight_bit_rgb() -> None:
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 2] = 255  # OpenCV writes BGR
    assert decode_image(cv2.imencode(".png", red)[1].tobytes(), 100)[0, 0].tolist() == [255, 0, 0]
    deep = np.full((5, 6), 65535, np.uint16)
    grey, rgba = deep.astype(np.uint8), np.dstack([np.full((5, 6), 9, np.uint8)] * 4)
    for pixels, suffix in ((deep, ".png"), (rgba, ".png"), (rgba, ".webp"), (grey, ".png"), (grey, ".jpg")):
        got = decode_image(cv2.imencode(suffix, pixels)[1].tobytes(), 100)
        assert (got.shape, got.dtype) == ((5, 6, 3), np.uint8)


def test_a_cmyk_jpeg_keeps_its_colours() -> None:
    red = io.BytesIO()
    Image.new("CMYK", (40, 30), (0, 255, 255, 0)).save(red, "JPEG")
    pixels = decode_image(red.getvalue(), 2**20)
    assert pixels.shape == (30, 40, 3)
    assert np.abs(pixels.reshape(-1, 3).mean(0) - (255, 0, 0)).max() < 60


def exif_turned(data: bytes, orientation: int) -> bytes:
    """The JPEG with an EXIF orientation."""
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return data[:2] + segment(0xE1, b"Exif\0\0" + tiff) + data[2:]


def test_exif_rotation_is_applied() -> None:
    data = picture(".jpg", (40, 30))
    assert decode_image(exif_turned(data, 6), 10_000).shape == (40, 30, 3)
    assert decode_image(exif_turned(data, 1), 10_000).shape == (30, 40, 3)


@hypothesis_settings(max_examples=80)
@given(st.sampled_from(list(SUFFIXES)), st.integers(0, 400), st.integers(0, 200), st.binary(max_size=8))
def test_damage_is_an_upload_error_or_pixels(suffix: str, cut: int, at: int, put: bytes) -> None:
    data = picture(suffix, (12, 9))
    data = data[: max(0, len(data) - cut)]
    data = data[:at] + put + data[at + len(put) :]
    with contextlib.suppress(ServiceError):
        assert decode_image(data, 1000, formats=ALL).shape[2] == 3


def jpeg(*segments: bytes) -> bytes:
    return b"\xff\xd8" + b"".join(segments)


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


SCAN = segment(0xDA, b"")


def frame(marker: int, width: int, height: int) -> bytes:
    return segment(marker, struct.pack(">BHHB", 8, height, width, 3) + bytes([1, 17, 0, 2, 17, 0, 3, 17, 0]))


def windows_bitmap(height: int, compression: int) -> bytes:
    head = struct.pack("<IIiiHHIIiiII", 54, 40, 5, height, 1, 24, compression, 0, 0, 0, 0, 0)
    return b"BM" + bytes(8) + head + bytes(96)


@pytest.mark.parametrize(
    ("kind", "data", "size"),
    [
        ("png", png(7, 9), (7, 9)),
        ("png", png(7, 9).replace(b"IHDR", b"IHDX"), (0, 0)),
        ("png", png(0, 9), (0, 9)),
        ("png", b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR\0", (0, 0)),
        *(("bmp", windows_bitmap(height, 0), (5, 6)) for height in (6, -6)),
        *(("bmp", windows_bitmap(6, packed), (0, 0)) for packed in (1, 2)),
        ("jpeg", jpeg(segment(0xE1, b"exif"), frame(0xC0, 40, 30), SCAN), (40, 30)),
        ("jpeg", jpeg(frame(0xC0, 0, 30), SCAN), (0, 0)),
        ("jpeg", jpeg(frame(0xC0, 40, 30))[:9], (0, 0)),
    ],
)
def test_what_heads_promise(kind: str, data: bytes, size: tuple[int, int]) -> None:
    assert size_of(kind, data) == size
    assert image_format(data) == kind


@pytest.mark.attack("images", "a header of a hundred thousand segments", "400 after the first few hundred")
@pytest.mark.parametrize("piece", [segment(0xFE, b""), b"\xff"], ids=["comments", "fill bytes"])
def test_a_head_without_end_is_not_read_to_its_end(piece: bytes) -> None:
    end = frame(0xC0, 40, 30) + SCAN
    assert size_of("jpeg", jpeg(piece * (module.MAX_READS // 5), end)) == (40, 30)
    assert size_of("jpeg", jpeg(piece * module.MAX_READS, end)) == (0, 0)


def scanned(n: int, width: int = 8, height: int = 8) -> bytes:
    return jpeg(frame(0xC2, width, height), SCAN * n)


@pytest.mark.parametrize(
    ("kind", "data", "most", "status"),
    [
        ("png", png(30, 40), 1200, 200),
        ("png", png(30, 40), 1199, 413),
        ("png", png(0, 40), 1199, 400),
        ("png", png(30, 40) + b"\xff\xda" * 99, 1200, 200),
        ("jpeg", scanned(module.MAX_SCANS), 2**40, 200),
        ("jpeg", scanned(module.MAX_SCANS + 1), 2**40, 413),
        ("jpeg", scanned(32, 2**12, module.MAX_SCANNED // 2**17), 2**40, 200),
        ("jpeg", scanned(33, 2**12, module.MAX_SCANNED // 2**17), 2**40, 413),
    ],
)
def test_pixels_and_scans_have_a_most(kind: str, data: bytes, most: int, status: int) -> None:
    found = 200
    try:
        check_size(kind, data, most)
    except ServiceError as error:
        found = error.status
    assert found == status


SIDE = round(module.CHEAP_PIXELS**0.5)


@pytest.mark.parametrize(
    ("data", "is_cheap"),
    [
        (picture(".png"), True),
        (png(SIDE, SIDE), True),
        (png(SIDE, SIDE + 1), False),
        (png(4, 4).ljust(module.CHEAP_BYTES, b"\0"), True),
        (png(4, 4).ljust(module.CHEAP_BYTES + 1, b"\0"), False),
        (scanned(module.CHEAP_SCANS), True),
        (scanned(module.CHEAP_SCANS + 1), False),
        (with_scans(64, 2), False),
        (picture(".webp"), False),
        (b"", False),
    ],
)
def test_only_small_plain_images_stay_in_the_service(data: bytes, is_cheap: bool) -> None:
    assert decodes_fast(data) == is_cheap


def test_what_an_upload_is() -> None:
    assert kind_of(picture(), "a.bin") == "image"
    for data in (b"% evt 3.0", b"1 2 3 1\n", *(kind.mark for kind in FORMATS.values() if kind.mark)):
        assert kind_of(data, "") == "recording"
    assert kind_of(b"anything", "x.BIN") == "recording"
    for data, code in ((b"", 400), (b"anything", 415), (b"<svg>", 415), (b"GIF89a", 415)):
        assert refused(kind_of, data, "x.gif")[0] == code


def test_rows_of_hdf5_are_those_of_its_table_of_events(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"], file["deep/b"], file["c"] = np.zeros(3), np.zeros((7, 4)), 5
    assert rows_of(tmp_path / "a.h5") == 7


def test_so_many_events_are_taken_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_EVENTS", 5)
    path = tmp_path / "a.csv"
    path.write_text("t,x,y,p\n" + "1,2,3,1\n" * 5)
    assert len(module.read_limited(path).events) == 5
    path.write_text("t,x,y,p\n" + "1,2,3,1\n" * 6)
    with pytest.raises(ServiceError, match="has 6 events; this service takes at most 5"):
        module.read_limited(path)


@pytest.mark.attack("recordings", "vectors that unpack to more events than fit into memory", "413")
@pytest.mark.parametrize("where", ["joined", "Sanitiser"])
def test_what_does_not_fit_into_memory_is_too_large(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    full = Mock(side_effect=MemoryError)
    monkeypatch.setattr(files, where, full if where == "joined" else lambda _: SimpleNamespace(push=full))
    status, said = refused(module.decode, b"t,x,y,p\n1,2,3,1\n", "")
    assert (status, "more memory than an upload may take" in said) == (413, True)
