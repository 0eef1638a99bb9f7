"""What a network must be fed: limits that hold to the last number, and the same contract at other bins."""

import math
from dataclasses import replace
from typing import Any

import pytest

from spikesight.models.contract import Contract

EVENTS = Contract("events", 2, 16, 12, 4, "binary", sensor_width=24, sensor_height=32, bin_us=10_000)
IMAGE = Contract("image", 3, 16, 16, 3, "direct", mean=(0.5,) * 3, std=(0.25,) * 3)
FINE = replace(EVENTS, shortest_bin_us=1_000, readout=2)


@pytest.mark.parametrize("name", ["height", "width", "steps", "sensor_width", "sensor_height", "bin_us"])
def test_one_is_the_least(name: str) -> None:
    assert getattr(replace(EVENTS, **{name: 1}), name) == 1
    with pytest.raises(ValueError, match=r"must be positive|needs 2 channels"):
        replace(EVENTS, **{name: 0})


@pytest.mark.parametrize(
    ("contract", "name", "most"),
    [
        (EVENTS, "height", 2048),
        (EVENTS, "width", 2048),
        (EVENTS, "steps", 10_000),
        (replace(IMAGE, mean=(), std=()), "channels", 64),
        (EVENTS, "filter_us", 1_000_000),
        (EVENTS, "readout", 4),
        (EVENTS, "shortest_bin_us", 10_000),
    ],
)
def test_the_most_is_allowed_and_one_more_is_not(contract: Contract, name: str, most: int) -> None:
    assert getattr(replace(contract, **{name: most}), name) == most
    with pytest.raises(ValueError, match=r"up to|must lie between"):
        replace(contract, **{name: most + 1})


@pytest.mark.parametrize(
    ("contract", "wrong", "says"),
    [
        (EVENTS, {"kind": "video"}, "kind must be"),
        (IMAGE, {"channels": 0, "mean": (), "std": ()}, "must be positive"),
        (EVENTS, {"channels": 3}, "needs 2 channels"),
        (EVENTS, {"channels": 1}, "needs 2 channels"),
        (IMAGE, {"mean": (0.5,)}, "one entry a channel"),
        (IMAGE, {"mean": (0.5, 0.5), "std": (1.0, 1.0)}, "one entry a channel"),
        (IMAGE, {"std": (0.25, 0.25, 0.0)}, "std positive"),
        (IMAGE, {"std": (0.25, -1.0, 0.5)}, "std positive"),
        (IMAGE, {"frame": "object"}, "object' of events"),
        (EVENTS, {"frame": "camera"}, "frame must be"),
        (EVENTS, {"filter_us": -1}, "filter_us"),
        (EVENTS, {"readout": -1}, "readout"),
        (EVENTS, {"shortest_bin_us": -1}, "shortest_bin_us"),
        (EVENTS, {"shortest_bin_us": 5, "encoding": "count"}, "binary events"),
        (IMAGE, {"shortest_bin_us": 5}, "binary events"),
        (EVENTS, {"input_us": 10_000}, "input_us"),
        (EVENTS, {"input_us": 9_999}, "input_us"),
        (EVENTS, {"input_us": -1}, "input_us"),
    ],
)
def test_what_contradicts_itself_is_refused(contract: Contract, wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(contract, **wrong)


def test_a_shorter_bin_is_as_long_a_window_in_more_steps() -> None:
    fine = FINE.at(1)
    assert (fine.bin_us, fine.steps, fine.readout, fine.input_us, fine.shown_bins) == (1_000, 40, 20, 10_000, 10)
    assert fine.trained_us == 10_000
    assert fine.bins_us == (1_000, 10_000)
    assert fine.at(10) == FINE, "and back"
    assert FINE.at(4).steps == 10
    assert FINE.at(10) is FINE
    assert EVENTS.at(10.0) is EVENTS
    odd = replace(FINE, bin_us=10_500)
    assert odd.at(1).at(10.5) == odd, "the trained bin is no whole millisecond"


@pytest.mark.parametrize("bin_ms", [0, -1, 0.5, 0.999, 2.5, 11, 1e9, 1e300, math.inf, math.nan])
def test_bins_that_the_weights_do_not_run_at(bin_ms: float) -> None:
    with pytest.raises(ValueError, match="bin_ms must be whole milliseconds from 1 to 10 for this model"):
        FINE.at(bin_ms)
    with pytest.raises(ValueError, match="bin_ms must be 10 for this model"):
        EVENTS.at(bin_ms)
    with pytest.raises(ValueError, match="takes images"):
        IMAGE.at(bin_ms)
