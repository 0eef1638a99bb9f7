"""Damaged files of every format, thousands of them: one RecordingError or sane events, bounded memory, no hang.

pytest -m slow tests/encoders/recordings/test_fuzz.py        10,000 cases a format; SPIKESIGHT_FUZZ sets another number
"""

import os
import resource
import sys
from pathlib import Path

import numpy as np
import pytest

from spikesight.encoders.events import check_events
from spikesight.encoders.recordings.files import FORMATS, read_recording
from spikesight.encoders.recordings.format import RecordingError
from tests.support.inputs.formats import written

CASES = int(os.environ.get("SPIKESIGHT_FUZZ", "10000"))
MEMORY_BYTES = 1 << 30  # how much a damaged file of a few kilobytes may add to the process


def original(folder: Path, name: str) -> bytes:
    """A small file of this format."""
    return written(folder, name, n=400)[0].read_bytes()


def damaged(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Cut, flipped, spliced, doubled or overwritten somewhere; sometimes all of it."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        if not out:
            break
        place, length = int(rng.integers(0, len(out))), int(rng.integers(1, 64))
        match int(rng.integers(0, 6)):
            case 0:
                del out[place:]
            case 1:
                for k in rng.integers(0, len(out), length):
                    out[k] ^= 1 << int(rng.integers(0, 8))
            case 2:
                begin = int(rng.integers(0, len(other)))
                out[place : place + length] = other[begin : begin + length]
            case 3:
                out[place:place] = out[place : place + length]
            case 4:
                out[place : place + length] = bytes([int(rng.choice([0, 255]))]) * min(length, len(out) - place)
            case _:
                del out[place : place + length]
    return bytes(out)


def try_all(name: str, folder: Path, cases: int, seed: int) -> tuple[int, int]:
    """How many damaged files were read, and how many refused."""
    rng = np.random.default_rng(seed)
    data = original(folder, name)
    others = [original(folder, other) for other in ("evt2", "csv", "aedat3")]
    path = folder / f"damaged{FORMATS[name].suffixes[0]}"
    read = refused = 0
    for _ in range(cases):
        path.write_bytes(damaged(data, others[int(rng.integers(0, len(others)))], rng))
        try:
            recording = read_recording(path)
        except RecordingError as error:
            assert str(path) in str(error)  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017
            refused += 1
            continue
        check_events(recording.events, recording.size)
        assert len(recording.events) <= 100_000
        read += 1
    return read, refused


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("cases", [60, pytest.param(CASES, marks=pytest.mark.slow)])
def test_damaged_files(name: str, cases: int, tmp_path: Path) -> None:
    before = peak_bytes()
    read, refused = try_all(name, tmp_path, cases, seed=cases)
    assert read + refused == cases
    assert read or cases < 1000
    assert peak_bytes() - before < MEMORY_BYTES
