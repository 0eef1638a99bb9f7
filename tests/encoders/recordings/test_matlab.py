"""MATLAB's files: what SciPy writes is read alike, however it is stored, and no damage ends the process."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spikesight.encoders.recordings.files import read_recording
from spikesight.encoders.recordings.format import RecordingError
from spikesight.encoders.recordings.matlab import Inflated

N = 5
COLUMNS = {"ts": np.arange(N) * 70_000, "x": np.arange(N) + 3, "y": np.arange(N) * 2, "pol": np.arange(N) % 2}


def element(kind: int, data: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}II", kind, len(data)) + data + bytes(-len(data) % 8)


def small(kind: int, data: bytes, order: str = "<") -> bytes:
    word = len(data) << 16 | kind
    return struct.pack(f"{order}I", word) + data.ljust(4, b"\0")


def matrix(name: str, data: bytes, order: str = "<", flags: int = 6) -> bytes:
    """One array; `data` is its element of numbers."""
    parts = [
        element(6, struct.pack(f"{order}II", flags, 0), order),
        element(5, struct.pack(f"{order}ii", N, 1), order),
        (small if len(name) <= 4 else element)(1, name.encode(), order),
        data,
    ]
    return element(14, b"".join(parts), order)


def numbers(values: NDArray[np.generic], order: str = "<") -> bytes:
    return element(9, values.astype(f"{order}f8").tobytes(), order)


def written(path: Path, *elements: bytes, order: str = "<") -> Path:
    mark = b"IM" if order == "<" else b"MI"
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack(f"{order}H", 0x0100)
    path.write_bytes(head + mark + b"".join(elements))
    return path


def right(path: Path) -> None:
    events = read_recording(path).events
    assert events["t"].tolist() == COLUMNS["ts"].tolist()
    assert events["x"].tolist() == COLUMNS["x"].tolist()
    assert events["y"].tolist() == (179 - COLUMNS["y"]).tolist()
    assert events["p"].tolist() == COLUMNS["pol"].tolist()


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_orders_of_bytes(order: str, tmp_path: Path) -> None:
    parts = [matrix(name, numbers(values, order), order) for name, values in COLUMNS.items()]
    right(written(tmp_path / "a.mat", *parts, order=order))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, np.uint32, np.int32, None])
def test_what_scipy_writes(packed: bool, kind: type | None, tmp_path: Path) -> None:
    savemat = pytest.importorskip("scipy.io").savemat
    rows = {name: values[np.newaxis].astype(kind or np.int32) for name, values in COLUMNS.items()}
    if kind is None:
        rows |= {"pol": COLUMNS["pol"][np.newaxis].astype(bool), "x": COLUMNS["x"][np.newaxis].astype(np.uint8)}
    savemat(tmp_path / "a.mat", {"who": "somebody", "notes": {"a": 1}, **rows, "last": 3j}, do_compression=packed)
    right(tmp_path / "a.mat")


WHOLE = {name: matrix(name, numbers(values)) for name, values in COLUMNS.items()}
THREE = list(WHOLE.values())[:3]
POL = numbers(COLUMNS["pol"])
DAMAGED = {
    "nothing in it": ([], "holds no arrays ts, x, y and pol"),
    "one too few": (THREE, "holds no arrays"),
    "complex": ([*THREE, matrix("pol", POL, flags=6 | 0x800)], "holds no arrays"),
    "characters": ([*THREE, matrix("pol", POL, flags=4)], "holds no arrays"),
    "one shorter": ([*THREE, matrix("pol", numbers(COLUMNS["pol"][1:]))], "differ in length"),
    "of no known type": ([matrix(n, element(10, bytes(40))) for n in COLUMNS], "no flat arrays of numbers"),
    "of a type fatal to SciPy": ([matrix(n, element(12 | 1 << 12, bytes(40))) for n in COLUMNS], "no flat arrays"),
    "cut short": ([*THREE, WHOLE["pol"][:-8]], "ends too early"),
    "a long name": ([matrix("n" * 300, b""), *WHOLE.values()], "damaged"),
    "more in a tag than it holds": ([matrix(n, small(2, bytes(5))) for n in COLUMNS], "damaged"),
    "not zlib": ([struct.pack("<II", 15, 40) + bytes(40)], "damaged"),
    "packed and cut": ([struct.pack("<II", 15, 40) + zlib.compress(WHOLE["ts"])[:30]], "ends too early"),
    "flags in their tag": ([element(14, small(6, b"\x04") + bytes(8))], "holds no arrays"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_one_sentence(case: str, tmp_path: Path) -> None:
    elements, sentence = DAMAGED[case]
    with pytest.raises(RecordingError, match=sentence):
        read_recording(written(tmp_path / "a.mat", *elements))


def test_what_lies_behind_the_four_is_not_read(tmp_path: Path) -> None:
    right(written(tmp_path / "a.mat", matrix("other", numbers(np.zeros(3))), *WHOLE.values(), b"neither head nor tail"))
    right(written(tmp_path / "a.mat", element(9, bytes(16)), *WHOLE.values()))


def test_no_more_is_unpacked_than_is_read() -> None:
    bomb = zlib.compress(bytes(64 << 20), 9)
    file = io.BytesIO(bomb + b"after")
    unpacked = io.BufferedReader(Inflated(file, len(bomb)))
    assert unpacked.read(1000) == bytes(1000)
    assert file.tell() <= io.DEFAULT_BUFFER_SIZE
    assert len(unpacked.read()) == (64 << 20) - 1000
    assert file.read() == b"after"
