"""Each way of conversion is what its source says: a table to compare with the papers."""

from typing import Any

import pytest

from spikesight.models.conversion.methods import METHODS, Method, usual
from spikesight.models.networks.converted.rules import SpikeRule

ORDINARY: dict[str, Any] = {
    "percent": 99.9, "channelwise": True, "passes": 40, "repair": False, "search": False, "light": False,
    "warmup": 0.0, "streams": True,
}  # fmt: skip
FLOOR, NEAREST = SpikeRule("if", 1, 0.0, True), SpikeRule("if", 1, 0.5, False)
LAYER = {"channelwise": False}

EXPECTED: dict[str, tuple[SpikeRule, str, dict[str, Any]]] = {
    "rueckauer-max": (FLOOR, "percentile", {"percent": 100.0, **LAYER}),
    "rueckauer": (FLOOR, "percentile", LAYER),
    "hard-reset": (SpikeRule("if", 1, 0.0, True, "zero"), "percentile", LAYER),
    "sengupta": (FLOOR, "spike-norm", LAYER),
    "half": (NEAREST, "percentile", LAYER),
    "ltb": (NEAREST, "ltb", {}),
    "mmse": (NEAREST, "mmse", {}),
    "mmse-light": (NEAREST, "mmse", {"light": True}),
    "searched": (NEAREST, "percentile", {"search": True}),
    "ours": (NEAREST, "percentile", {"repair": True, "search": True, "light": True}),
    "settled": (NEAREST, "percentile", {"light": True, "warmup": 0.5}),
    "bounded": (
        SpikeRule("if", 1, 0.5, bounds=(-0.5, 1.0)), "percentile", {"repair": True, "light": True, "warmup": 0.5},
    ),
    "signed": (SpikeRule("signed", 1, 0.5), "mmse", {}),
    "multi": (SpikeRule("multi", 4, 0.0), "percentile", {}),
    "multi8": (SpikeRule("multi", 8, 0.0), "percentile", {}),
    "multi-diff": (SpikeRule("multi", 4, 0.0, differential=True), "percentile", {}),
    "multi-repaired": (
        SpikeRule("multi", 4, 0.0, differential=True), "percentile", {"repair": True, "light": True},
    ),
    "multi8-diff": (SpikeRule("multi", 8, 0.0, differential=True), "percentile", {}),
    "dcgs": (SpikeRule("multi", 4, 0.0), "gauss", {}),
    "cascade": (SpikeRule("cascade", 4, 0.5), "percentile", {}),
    "qcfs": (SpikeRule("if", 1, 0.5, True), "qcfs", {}),
    "few-spikes": (SpikeRule("few", 10, 0.0), "percentile", {"percent": 100.0, "streams": False, **LAYER}),
}  # fmt: skip


def test_no_way_is_missing() -> None:
    assert set(METHODS) == set(EXPECTED)


@pytest.mark.parametrize("name", METHODS)
def test_what_a_way_does(name: str) -> None:
    rule, threshold, changes = EXPECTED[name]
    assert METHODS[name] == Method(rule, threshold, METHODS[name].source, **ORDINARY | changes)  # type: ignore[arg-type]
    assert METHODS[name].source


def test_waiting_pays_where_there_are_steps_to_wait() -> None:
    assert [usual(steps) for steps in (1, 31, 32, 64)] == ["ours", "ours", "bounded", "bounded"]
