"""What a network must be fed: limits that hold to the last number, and the same contract at other bins."""

import math
from dataclasses import replace
from typing import Any

import pytest

from spikesight.models.contract import Contract

EVENTS = Contract("events", 2, 16, 12, 4, "binary", sensor_width=24, sensor_height=32, bin_us=10_000)
IMAGE = Contract("image", 3, 16, 16, 3, "direct", mean=(0.5,) * 3, std=(0.25,) * 3)
FINE = replace(EVENTS, shortest_bin_us=1_000, readout=2)


@pytest.mark.parametrize(
    ("contract", "name", "least", "most"),
    [
        (EVENTS, "height", 1, 2048),
        (EVENTS, "width", 1, 2048),
        (EVENTS, "steps", 1, 10_000),
        (replace(IMAGE, mean=(), std=()), "channels", 1, 64),
        (EVENTS, "sensor_width", 1, None),
        (EVENTS, "sensor_height", 1, None),
        (EVENTS, "bin_us", 1, None),
        (EVENTS, "filter_us", 0, 1_000_000),
        (EVENTS, "readout", 0, EVENTS.steps),
        (EVENTS, "shortest_bin_us", 0, EVENTS.bin_us),
    ],
)
def test_each_number_has_its_bounds(contract: Contract, name: str, least: int, most: int | None) -> None:
    for good, bad in ((least, least - 1), *([(most, most + 1)] if most else [])):
        assert getattr(replace(contract, **{name: good}), name) == good
        with pytest.raises(ValueError, match=r"must be positive|needs 2 channels|up to|must lie between"):
            replace(contract, **{name: bad})


@pytest.mark.parametrize(
    ("contract", "wrong", "says"),
    [
        (EVENTS, {"kind": "video"}, "kind must be"),
        (EVENTS, {"channels": 3}, "needs 2 channels"),
        (EVENTS, {"channels": 1}, "needs 2 channels"),
        (IMAGE, {"mean": (0.5,)}, "one entry a channel"),
        (IMAGE, {"mean": (0.5, 0.5), "std": (1.0, 1.0)}, "one entry a channel"),
        (IMAGE, {"std": (0.25, 0.25, 0.0)}, "std positive"),
        (IMAGE, {"std": (0.25, -1.0, 0.5)}, "std positive"),
        (IMAGE, {"std": (0.25, math.nan, 0.5)}, "std positive"),
        (IMAGE, {"mean": (0.25, math.inf, 0.5)}, "all finite"),
        (IMAGE, {"frame": "object"}, "object' of events"),
        (EVENTS, {"frame": "camera"}, "frame must be"),
        (IMAGE, {"pooled": True}, "pooled is for events"),
        (EVENTS, {"pooled": True, "frame": "object"}, "pooled is for events"),
        (EVENTS, {"pooled": True, "window": "drawing"}, "pooled is for events"),
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
    assert (fine.horizon, FINE.horizon, EVENTS.horizon) == (20, 2, EVENTS.steps)
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
