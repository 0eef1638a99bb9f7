"""Cells and lines of text, one by one: what is a number, and which."""

import numpy as np
import pytest

from spikesight.encoders.kernels import text as loops

WRONG = float("nan")
CELLS = {
    "0": 0, "7": 7, "-0.5": -0.5, "+3": 3, " 5\t": 5, '"5"': 5, '" 5"': WRONG, '"5 "': WRONG, '""5""': WRONG,
    '"': WRONG,
    '""': WRONG, '"5': WRONG, "'5'": WRONG, "": WRONG, " ": WRONG, "+": WRONG, "-": WRONG, ".": WRONG, "-.": WRONG,
    ".5": 0.5, "5.": 5, "1.25": 1.25, "0.3": 0.3, "123.456": 123.456, "1.2.3": WRONG, "1e5": 1e5, "1E5": 1e5,
    "1e+5": 1e5, "25e-2": 0.25, "1.5e-3": 0.0015, "1e": WRONG, "1e+": WRONG, "1e-": WRONG, "e5": WRONG, "1e5x": WRONG,
    "1e5.": WRONG, "1f5": WRONG, "1d5": WRONG, "0x5": WRONG, "5 6": WRONG, "--5": WRONG, "+-5": WRONG, "5-": WRONG,
    "true": 1, "TRUE": 1, "True": 1, "false": 0, "FALSE": 0, "tru": WRONG, "trues": WRONG, "fals": WRONG,
    "falsey": WRONG, "nan": WRONG, "inf": WRONG, "1e308": 1e308, "1e309": WRONG, "-1e309": WRONG, "1e-400": 0,
    "1e99999999999999999999": WRONG, "1e-99999999999999999999": 0, "0e5": 0, "1e0": 1, "1e-22": 1e-22, "1e-23": 1e-23,
    "12345678901234567": 12345678901234567, "99999999999999999": 99999999999999999, "1" + "0" * 25: 1e25,
    "1234567890123456789": 1234567890123456789, "0.12345678901234567891": 0.12345678901234567891,
    "123456789012345678.5": 123456789012345678.5, "/5": WRONG, ":": WRONG, "9": 9, "1/": WRONG, "1:": WRONG,
}  # fmt: skip


def read(line: str, delimiter: str, n: int = 1, places: tuple[int, ...] = (0,)) -> tuple[list[list[float]], int, bool]:
    out = np.full((n, 4), 77.0)
    data = np.frombuffer(bytearray(line.encode()), np.uint8)
    found, used, wrong = loops.rows(data, ord(delimiter), np.array(places), out)
    return out[:found].tolist(), used, wrong


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell(cell: str) -> None:
    found, used, wrong = read(f"{cell},0\n", ",", 1, (2, -1))
    if np.isnan(CELLS[cell]):
        assert (found, used, wrong) == ([], 0, True)
    else:
        assert (used, wrong) == (len(cell) + 3, False)
        assert found[0][2] == pytest.approx(CELLS[cell], rel=1e-15, abs=0)
        assert found[0][:2] == [77.0, 77.0]


@pytest.mark.parametrize(
    ("text", "delimiter", "rows", "used", "wrong"),
    [
        ("1,2\n3,4\n", ",", [[1, 2], [3, 4]], 8, False),
        ("1,2\n3,4\n5,6\n", ",", [[1, 2], [3, 4]], 8, False),
        ("\n# a\n%b\n \t\n1,2\n", ",", [[1, 2]], 15, False),
        ("1,2,3\n", ",", [], 0, True),
        ("1\n", ",", [], 0, True),
        ("1,2\n1,2,\n", ",", [[1, 2]], 4, True),
        (",2\n", ",", [], 0, True),
        ("1,2\r\n3,4\r\n", ",", [[1, 2], [3, 4]], 10, False),
        ("1 2\n  3\t 4 \n", " ", [[1, 2], [3, 4]], 12, False),
        ("1 2 3\n", " ", [], 0, True),
        ("1  \n", " ", [], 0, True),
        ("1;2\n\t3 ; 4\n", ";", [[1, 2], [3, 4]], 11, False),
        ('"1,2"\n', ",", [], 0, True),
        ("1\t2\n", "\t", [[1, 2]], 4, False),
        ("#1,2\n", ",", [], 5, False),
    ],
)
def test_lines(text: str, delimiter: str, rows: list[list[float]], used: int, wrong: bool) -> None:
    found, bytes_used, fault = read(text, delimiter, 2, (0, 1))
    assert ([row[:2] for row in found], bytes_used, fault) == (rows, used, wrong)


def test_what_nobody_asks_for_may_be_anything() -> None:
    assert read("a,1,b\n", ",", 1, (-1, 3, -1)) == ([[77.0, 77.0, 77.0, 1.0]], 6, False)
    assert read("a 1 b\n", " ", 1, (-1, 3, -1)) == ([[77.0, 77.0, 77.0, 1.0]], 6, False)
