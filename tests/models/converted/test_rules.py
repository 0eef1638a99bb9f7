"""Spike rules: golden trains, and each rule's equation at every step."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from spikesight.models.conversion.methods import METHODS
from spikesight.models.export.formats import equations_only
from spikesight.models.networks.converted.kernels import BLOCK
from spikesight.models.networks.converted.neurons import AGE, SpikeLayer
from spikesight.models.networks.converted.rules import SpikeRule, differential_step, few_spikes, rule_step

VARYING = (1.25, -0.75, -1.25, 0.5, 0.25, -0.5)


def run_rule(rule: SpikeRule, inputs: Sequence[float], theta: float = 1.0) -> tuple[list[float], float]:
    """(q theta of each step, final membrane) of one neuron."""
    limit, v, sent = torch.tensor([theta]).double(), torch.zeros(1).double(), torch.zeros(1).double()
    train = []
    for x in inputs:
        q, v, sent = rule_step(torch.tensor([x]).double(), v, sent, limit, rule)
        train.append(float(q) * theta)
    return train, float(v) + rule.start * theta


def test_bounds_forget_old_debts_and_dues() -> None:
    rule = SpikeRule("if", inclusive=True, bounds=(-0.5, 1.0))
    assert run_rule(rule, [-9.0, 0.75, 0.75]) == ([0, 0, 1], 0)
    assert run_rule(rule, [9.0, 0.0, 0.0]) == ([1, 1, 0], 0)


def test_signed_neuron_takes_back() -> None:
    assert run_rule(SpikeRule("if", inclusive=True), VARYING) == ([1, 0, 0, 0, 0, 0], -1.0 + 0.0)
    spikes, v = run_rule(SpikeRule("signed", inclusive=True), VARYING)
    assert spikes == [1, 0, -1, 0, 0, 0]
    assert v == 0


@pytest.mark.parametrize(
    ("levels", "train"), [(2, [0, 0.5, 0, 0.5, 0.5, 0, 0.5, 0]), (4, [0.25, 0.25, 0.25, 0.5, 0.125, 0.25, 0.25, 0.5])]
)
def test_multi_threshold_trains(levels: int, train: list[float]) -> None:
    assert run_rule(SpikeRule("multi", levels, v0=0), [9 / 32] * 8)[0] == train


def test_multi_threshold_takes_back() -> None:
    assert run_rule(SpikeRule("multi", 4, v0=0), VARYING)[0] == [1, -0.5, -0.5, 0, 0, 0]


def test_cascade_train() -> None:
    expected = [0.25, 0.375, 0.25, 0.25, 0.25, 0.375, 0.25, 0.25]
    assert run_rule(SpikeRule("cascade", 4, v0=0.5), [9 / 32] * 8)[0] == expected


def test_differential_train() -> None:
    rule, one, zero = SpikeRule("multi", 4, v0=0, differential=True), torch.ones(1), torch.zeros(1)
    state, train = (zero, zero, zero, zero), []
    for t in range(1, 9):
        x = torch.tensor([0.55 if t == 1 else 0.0])
        q, state = differential_step(x, state, torch.tensor([float(t)]), torch.tensor([0.1]), one, rule)
        train.append(float(q))
    assert train == [0.5, 0.25, 0, 0.125, 0, 0, 0, 0]
    assert float(state[3]) == pytest.approx(0.65625)


@pytest.mark.parametrize(
    ("levels", "value", "expected", "train"),
    [
        (10, 1, 0.9765625, "0000101000"),
        (10, 7.3, 7.2998046875, "0100101011"),
        (10, 12.5, 12.4755859375, "0111111111"),
        (10, 30, 24.9755859375, "1111111111"),
        (10, -1, 0, "0000000000"),
        (6, 7.3, 7.03125, None),
    ],
)
def test_few_spikes(levels: int, value: float, expected: float, train: str | None) -> None:
    q = few_spikes(torch.tensor([value]).double(), torch.tensor([25.0]).double(), SpikeRule("few", levels, v0=0))
    assert float(q.mean(0) * 25) == expected
    if train is not None:
        assert "".join(str(int(s > 0)) for s in q[:, 0]) == train


@given(
    z=st.fractions(-2, 2, max_denominator=64),
    theta=st.sampled_from([Fraction(1, 2), Fraction(1), Fraction(3, 2)]),
    half=st.booleans(),
    inclusive=st.booleans(),
)
@settings(max_examples=60)
def test_if_is_the_quantised_relu_at_every_step(z: Fraction, theta: Fraction, half: bool, inclusive: bool) -> None:
    z = Fraction(round(z * 64), 64)  # exact in binary: no rounding in the simulation
    rule = SpikeRule("if", v0=0.5 if half else 0.0, inclusive=inclusive)
    spikes, _ = run_rule(rule, [float(z)] * 16, float(theta))
    for steps in range(1, 17):
        ratio = (z * steps + (theta / 2 if half else 0)) / theta
        count = ratio.__floor__() if inclusive else ratio.__ceil__() - 1
        expected = float(theta * min(max(count, 0), steps))
        assert sum(spikes[:steps]) == expected


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"kind": "multi", "levels": 16}, {"kind": "multi", "levels": 17}),
        ({"levels": 1}, {"levels": 0}),
        ({"v0": 0.0}, {"v0": -0.01}),
        ({"v0": 0.99}, {"v0": 1.0}),
        ({"reset": "zero"}, {"reset": "none"}),
        ({"kind": "if"}, {"kind": "signed", "reset": "zero"}),
        ({"kind": "multi", "differential": True}, {"kind": "cascade", "differential": True}),
        ({"bounds": (-1e6, 0.5)}, {"bounds": (-1.1e6, 0.5)}),
        ({"bounds": (0.5, 1e6)}, {"bounds": (0.5, 1.1e6)}),
        ({"bounds": (0.5, 0.5)}, {"bounds": (0.4, 0.49)}),
    ],
)
def test_each_number_of_a_rule_has_its_bounds(good: dict[str, Any], bad: dict[str, Any]) -> None:
    made = SpikeRule(**good)
    assert {name: getattr(made, name) for name in good} == good
    with pytest.raises(ValueError, match=r"levels|v0|reset|differential|bounds|kind"):
        SpikeRule(**bad)


RULES = [METHODS[name].rule for name in ("rueckauer", "hard-reset", "ours", "bounded", "signed", "multi", "multi-diff")]
RANDOM = torch.Generator().manual_seed(0)


def eighths(*shape: int) -> Tensor:
    return torch.randint(-12, 13, shape, generator=RANDOM) / 8


WIDE = torch.randn(1, 2, 2, BLOCK // 2 + 300, generator=RANDOM)
CASES: dict[str, tuple[tuple[float, ...], Tensor, Tensor, int]] = {  # thresholds, currents, states, steps
    "random currents": ((0.5, 1.0, 1.5), torch.randn(7, 2, 3, 5, 4, generator=RANDOM), torch.zeros(2, 3, 5, 4), 7),
    "potentials at a limit": ((0.5, 1.0, 2.0), eighths(9, 2, 3, 6, 5), eighths(2, 3, 6, 5), 9),
    "a current that stays, of more neurons than a block": ((0.5, 1.5), WIDE, torch.zeros(WIDE.shape[1:]), 5),
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("channels_last", [False, True])
def test_compiled_rules_equal_the_equations(rule: SpikeRule, case: str, channels_last: bool) -> None:
    theta, x_seq, held, steps = CASES[case]
    if channels_last and x_seq.ndim == 5:
        x_seq = x_seq.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, x_seq.shape[:2])
    layer = SpikeLayer(rule, len(theta))
    layer.key = "n"
    layer.theta.copy_(torch.tensor(theta))
    layer.amplitude.copy_(layer.theta)
    fast, slow = ({AGE: torch.tensor([0.0, 3.0])} | {slot: held.clone() for slot in layer.slots()} for _ in range(2))
    bias = eighths(1, *x_seq.shape[2:])
    spikes = layer(x_seq, fast, steps, bias)
    with equations_only(layer):
        assert torch.equal(layer(x_seq, slow, steps, bias), spikes)
    assert spikes.shape == (steps, *x_seq.shape[1:])
    assert len(spikes.unique()) >= (2 if rule.kind == "if" else 3)
    assert all(spikes[:, n, c].flatten(1)[:, -300:].any() for n in range(2) for c in range(len(theta)))
    for slot in layer.slots():
        torch.testing.assert_close(fast[slot], slow[slot], rtol=0, atol=1e-6)
