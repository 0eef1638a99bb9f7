"""What times count, which column is which, and numbers out of this world: at the very limits that decide."""

from typing import Any

import numpy as np
import pytest

from spikesight.encoders.events import FAR_US, SensorSize
from spikesight.encoders.recordings.columns import EPOCH_NS, ROWS, events_of, find_columns, order_of, parts_of, sensor
from spikesight.encoders.recordings.format import RecordingError
from spikesight.encoders.recordings.text import layout_of


def times(t: Any, unit: str | None = None, offset_us: int = 0) -> tuple[list[int], list[str]]:
    array = np.asarray(t)
    zeros = np.zeros(len(array), np.int64)
    notes: list[str] = []
    found = list(events_of([{"t": array, "x": zeros, "y": zeros, "p": zeros}], unit, notes, offset_us))
    return np.concatenate(found)["t"].tolist(), notes


@pytest.mark.parametrize(
    ("t", "unit", "expected"),
    [
        ([0, 1999, 2000], "ns", [0, 1, 2]),
        ([0.0, 1499.0, 1501.0], "ns", [0, 1, 2]),
        ([3, 4], "us", [3, 4]),
        ([3, 4], "ms", [3000, 4000]),
        ([0.0015, 2.5], "ms", [2, 2500]),
        ([1, 2], "s", [1_000_000, 2_000_000]),
        ([0.25, 1.0000014], "s", [250_000, 1_000_001]),
        ([2**62], "us", [FAR_US]),
        ([2**62], "s", [FAR_US // 1_000_000 * 1_000_000]),
        ([-(2**62)], "us", [-FAR_US]),
        ([1e300, -1e300], "s", [FAR_US, -FAR_US]),
    ],
)
def test_units(t: list[float], unit: str, expected: list[int]) -> None:
    assert times(t, unit) == (expected, [])


def test_unsigned_times_of_every_width() -> None:
    for kind in (np.uint8, np.uint16, np.uint32, np.uint64):
        most = int(np.iinfo(kind).max)
        assert times(np.array([0, most], kind), "us")[0] == [0, min(most, FAR_US)]
    assert times(np.array([5], np.uint32), "us", offset_us=100)[0] == [105]


@pytest.mark.parametrize(
    ("t", "unit", "word"),
    [
        (np.array([0, EPOCH_NS]), "us", ""),
        (np.array([0, EPOCH_NS + 1]), "ns", "size"),
        (np.array([-EPOCH_NS - 1, 0]), "ns", "size"),
        (np.array([0.0, 5.0]), "us", "size"),
        (np.array([0.0, 2.0e17]), "ns", "size"),
        (np.array([0.5, 0.7]), "s", "fractions"),
        (np.array([0.5, 1000.5]), "s", "fractions"),
        (np.array([0.5, 1000.75]), "us", "fractions"),
        (np.arange(20_000) * 0.1 + 0.05, "s", "fractions"),
        (np.arange(20_000) * 0.11 + 0.05, "us", "fractions"),
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
        (["t", "x", "y", "p"], {"t": 0, "x": 1, "y": 2, "p": 3}, None),
        (["events/ps", "events/ys", "events/xs", "events/ts"], {"p": 0, "y": 1, "x": 2, "t": 3}, None),
        (["time [us]", "col", "row", "sign"], {"t": 0, "x": 1, "y": 2, "p": 3}, "us"),
        (["Timestamp (ns)", "u", "v", "ON"], {"t": 0, "x": 1, "y": 2, "p": 3}, "ns"),
        (["timestamps_seconds", "x", "y", "pol"], {"t": 0, "x": 1, "y": 2, "p": 3}, "s"),
        (["t_millis", "x_coordinate", "y_coordinates", "polarities"], {"t": 0, "x": 1, "y": 2, "p": 3}, "ms"),
        (["t_µs", "x", "y", "p"], {"t": 0, "x": 1, "y": 2, "p": 3}, "us"),
        (["'t'", '"x"', " y ", "P"], {"t": 0, "x": 1, "y": 2, "p": 3}, None),
        (["n", "t", "t", "x", "y", "p", "x"], {"t": 1, "x": 3, "y": 4, "p": 5}, None),
    ],
)
def test_names_that_are_known(names: list[str], places: dict[str, int], unit: str | None) -> None:
    found = find_columns(names)
    assert found is not None
    assert (found.places, found.unit, found.size) == (places, unit, None)


@pytest.mark.parametrize("names", [[], ["t", "x", "y"], ["tt", "x", "y", "p"], ["t_hours", "x", "y", "p"]])
def test_names_that_are_not(names: list[str]) -> None:
    assert find_columns(names) is None


def test_a_sensor_in_the_names() -> None:
    found = find_columns(["t", "x@640", "y@480", "on"])
    assert found is not None
    assert found.size == SensorSize(640, 480)
    half = find_columns(["t", "x@640", "y", "on"])
    assert half is not None
    assert half.size is None


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [
        (34, 30, SensorSize(34, 30)),
        (np.array([[34]]), np.uint64(30), SensorSize(34, 30)),
        (2048, 1, SensorSize(2048, 1)),
        (2049, 1, None),
        (0, 5, None),
        (5, -1, None),
        (None, 30, None),
        (34, None, None),
        (np.array([]), 30, None),
    ],
)
def test_a_sensor_of_two_numbers(width: Any, height: Any, size: SensorSize | None) -> None:
    assert sensor(width, height) == size


def table(order: str, **columns: list[float]) -> np.ndarray:
    return np.stack([np.array(columns[key], float) for key in order], axis=1)


GOOD = {"t": [10.0, 20.0, 30.0, 40.0], "x": [5.0, 3.0, 9.0, 1.0], "y": [7.0, 2.0, 6.0, 3.0], "p": [0.0, 1.0, 1.0, 0.0]}


@pytest.mark.parametrize("order", ["txyp", "xytp", "xypt"])
def test_orders_are_told_by_values(order: str) -> None:
    assert order_of(table(order, **GOOD)) == order
    assert order_of(table(order, **GOOD | {"p": [-1.0, 1.0, 1.0, -1.0]})) == order
    assert order_of(table(order, **GOOD | {"p": [1.0] * 4})) == order
    found = list(parts_of([table(order, **GOOD), table(order, **GOOD)]))
    assert [part["t"].tolist() for part in found] == [GOOD["t"]] * 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"p": [0.0, 1.0, 2.0, 0.0]},
        {"p": [0.0, -1.0, 1.0, 0.0]},
        {"x": [5.5, 3.0, 9.0, 1.0]},
        {"y": [-7.0, 2.0, 6.0, 3.0]},
        {"t": [40.0, 30.0, 20.0, 10.0]},
    ],
)
def test_values_that_fit_no_order(wrong: dict[str, list[float]]) -> None:
    with pytest.raises(RecordingError, match="columns have no names"):
        order_of(table("txyp", **GOOD | wrong))


def test_times_may_fall_in_one_of_a_hundred_steps() -> None:
    n = 1001
    values = {"t": np.arange(n) * 10.0, "x": np.full(n, 5.0), "y": 6.0 + np.arange(n) % 2, "p": np.ones(n)}
    for falls, good in ((9, True), (10, False)):
        t = values["t"].copy()
        for k in range(falls):
            t[50 * k + 5] -= 15
        columns = {key: column.tolist() for key, column in (values | {"t": t}).items()}
        if good:
            assert order_of(table("txyp", **columns)) == "txyp"
        else:
            with pytest.raises(RecordingError):
                order_of(table("txyp", **columns))


def test_a_single_row_is_enough() -> None:
    assert order_of(np.array([[7.0, 1, 2, 1]])) == "txyp"


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ({"t": np.array(["a"])}, "no flat arrays of numbers"),
        ({"x": np.zeros((1, 2))}, "no flat arrays of numbers"),
        ({"t": np.array([np.nan])}, "not finite"),
        ({"y": np.array([np.inf])}, "not finite"),
    ],
)
def test_columns_that_are_none(part: dict[str, np.ndarray], says: str) -> None:
    good = {key: np.zeros(1) for key in "txyp"}
    with pytest.raises(RecordingError, match=says):
        list(events_of([good | part], "us", []))


def test_places_off_any_sensor_stay_off_it() -> None:
    part = {"t": np.zeros(4), "x": np.array([-5.0, 70_000, 3, 4]), "y": np.array([1, 2, -1e9, 1e9]), "p": np.ones(4)}
    (events,) = events_of([part], "us", [])
    assert events["x"].tolist() == [-1, 1 << 14, 3, 4]
    assert events["y"].tolist() == [1, 2, -1, 1 << 14]
    assert list(events_of([{key: np.zeros(0) for key in "txyp"}], "us", [])) == []
    assert ROWS == 262_144


@pytest.mark.parametrize(
    ("head", "start", "delimiter", "cells"),
    [
        (b"1 2 3 1\n", 0, " ", 4),
        (b"1,2,3,1\n", 0, ",", 4),
        (b"1;2;3;True;9\n", 0, ";", 5),
        (b"\xef\xbb\xbft,x,y,p\n1,2,3,1\n", 11, ",", 4),
        (b"# a comment\n1\t2\t3\t1\n", 12, "\t", 4),
        (b"t,x,y,p\n", 8, ",", 4),
        (b"240 180\n0.5 1 2 1\n", 8, " ", 4),
    ],
)
def test_where_rows_begin(head: bytes, start: int, delimiter: str, cells: int) -> None:
    found = layout_of(head)
    assert found is not None
    assert (found.start, found.delimiter, found.cells) == (start, delimiter, cells)


@pytest.mark.parametrize(
    "head", [b"", b"hello\n", b"1 2 3\n", b"1 2 3 x\n", b"240 180\n240 180\n1 2 3 1\n", b"\xff\xfe\n", b"240\n"]
)
def test_what_are_no_rows(head: bytes) -> None:
    assert layout_of(head) is None


def test_e2vids_sensor_stands_on_top() -> None:
    found = layout_of(b"240 180\n0.5 1 2 1\n")
    assert found is not None
    assert found.size == SensorSize(240, 180)
