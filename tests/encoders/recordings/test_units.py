"""Columns of any table: what times count, which column is which by its name, and numbers out of this world."""

from typing import Any

import numpy as np
import pytest

from spikesight.encoders.events import FAR_US
from spikesight.encoders.recordings.columns import EPOCH_NS, events_of, find_columns


def times(t: Any, unit: str | None = None) -> tuple[list[int], list[str]]:
    array, notes = np.asarray(t), list[str]()
    zeros = np.zeros(len(array), np.int64)
    (found,) = events_of([{"t": array, "x": zeros, "y": zeros, "p": zeros}], unit, notes)
    return found["t"].tolist(), notes


@pytest.mark.parametrize(
    ("t", "unit", "expected"),
    [
        ([0, 1999, 2000], "ns", [0, 1, 2]),
        ([0.0, 1499.0, 1501.0], "ns", [0, 1, 2]),
        ([3, 4], "ms", [3000, 4000]),
        ([0.0015, 2.5], "ms", [2, 2500]),
        ([0.25, 1.0000014], "s", [250_000, 1_000_001]),
        ([2**62], "s", [FAR_US // 1_000_000 * 1_000_000]),
        ([-(2**62)], "us", [-FAR_US]),
        ([1e300, -1e300], "s", [FAR_US, -FAR_US]),
        (np.array([2**64 - 1], np.uint64), "us", [FAR_US]),
    ],
)
def test_units(t: Any, unit: str, expected: list[int]) -> None:
    assert times(t, unit) == (expected, [])


@pytest.mark.parametrize(
    ("t", "unit", "word"),
    [
        (np.array([0, EPOCH_NS]), "us", ""),
        (np.array([0, EPOCH_NS + 1]), "ns", "size"),
        (np.array([0.0, 5.0]), "us", "size"),
        (np.array([0.5, 1000.5]), "s", "fractions"),
        (np.array([0.5, 1000.75]), "us", "fractions"),
    ],
)
def test_a_unit_that_nobody_names_is_guessed_by_size_and_span(t: np.ndarray, unit: str, word: str) -> None:
    found, notes = times(t)
    assert found == times(t, unit)[0]
    assert len(notes) == bool(word)
    assert word in "".join(notes)


@pytest.mark.parametrize(
    ("names", "places", "unit"),
    [
        ("events/ps events/ys events/xs events/ts", "pyxt", None),
        ("time_[us] col row sign", "txyp", "us"),
        ("Timestamp_(ns) u v ON", "txyp", "ns"),
        ("t_millis x_coordinate y_coordinates polarities", "txyp", "ms"),
        ("t_µs x y p", "txyp", "us"),
        ("'t' \"x\" y P", "txyp", None),
        ("n t t x y p x", "-t-xyp", None),
        ("tt x y p", None, None),
        ("t_hours x y p", None, None),
    ],
)
def test_names_of_columns(names: str, places: str | None, unit: str | None) -> None:
    found = find_columns(names.split())
    assert (found and (found.places, found.unit)) == (places and ({k: places.index(k) for k in "txyp"}, unit))
