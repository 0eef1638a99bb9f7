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


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("form", ["{},0\n", "a,{}\r\n"])
def test_a_cell(cell: str, form: str) -> None:
    line, out = form.format(cell), np.full((1, 4), 77.0)
    columns = np.array([2, -1] if form[0] == "{" else [-1, 2])
    found = loops.rows(np.frombuffer(bytearray(line.encode()), np.uint8), ord(","), columns, out)
    if np.isnan(CELLS[cell]):
        assert found == (0, 0, True)
    else:
        assert found == (1, len(line), False)
        assert out[0].tolist() == [77.0, 77.0, pytest.approx(CELLS[cell], rel=1e-15, abs=0), 77.0]
