"""The firing rule: exact trains, bounds, and the compiled loop against the equation."""

from collections.abc import Sequence
from dataclasses import replace
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
from spikesight.models.networks.converted.neurons import SpikeLayer
from spikesight.models.networks.converted.rules import SpikeRule, rule_step


def run_rule(rule: SpikeRule, inputs: Sequence[float], theta: float = 1.0) -> tuple[list[float], float]:
    """(q theta of each step, final membrane) of one neuron."""
    limit, v = torch.tensor([theta]).double(), torch.zeros(1).double()
    train = []
    for x in inputs:
        q, v = rule_step(torch.tensor([x]).double(), v, limit, rule)
        train.append(float(q) * theta)
    return train, float(v) + rule.v0 * theta


def test_bounds_forget_old_debts_and_dues() -> None:
    rule = SpikeRule(inclusive=True)
    assert run_rule(rule, [1.25, -0.75, -1.25, 0.5, 0.25, -0.5]) == ([1, 0, 0, 0, 0, 0], -1.0)
    bounded = replace(rule, bounds=(-0.5, 1.0))
    assert run_rule(bounded, [-9.0, 0.75, 0.75]) == ([0, 0, 1], 0)
    assert run_rule(bounded, [9.0, 0.0, 0.0]) == ([1, 1, 0], 0)


@given(
    z=st.fractions(-2, 2, max_denominator=64),
    theta=st.sampled_from([Fraction(1, 2), Fraction(1), Fraction(3, 2)]),
    half=st.booleans(),
    inclusive=st.booleans(),
)
@settings(max_examples=60)
def test_it_is_the_quantised_relu_at_every_step(z: Fraction, theta: Fraction, half: bool, inclusive: bool) -> None:
    z = Fraction(round(z * 64), 64)  # exact in binary: no rounding in the simulation
    spikes, _ = run_rule(SpikeRule(0.5 if half else 0.0, inclusive), [float(z)] * 16, float(theta))
    for steps in range(1, 17):
        ratio = (z * steps + (theta / 2 if half else 0)) / theta
        count = ratio.__floor__() if inclusive else ratio.__ceil__() - 1
        assert sum(spikes[:steps]) == float(theta * min(max(count, 0), steps))


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ({"v0": 0.0}, {"v0": -0.01}),
        ({"v0": 0.99}, {"v0": 1.0}),
        ({"reset": "zero"}, {"reset": "none"}),
        ({"bounds": (-0.5, 1.0)}, {"bounds": (-0.5, 1.0), "reset": "zero"}),
        ({"bounds": (-1e6, 0.5)}, {"bounds": (-1.1e6, 0.5)}),
        ({"bounds": (0.5, 1e6)}, {"bounds": (0.5, 1.1e6)}),
        ({"bounds": (0.5, 0.5)}, {"bounds": (0.4, 0.49)}),
    ],
)
def test_each_number_of_a_rule_has_its_bounds(good: dict[str, Any], bad: dict[str, Any]) -> None:
    made = SpikeRule(**good)
    assert {name: getattr(made, name) for name in good} == good
    with pytest.raises(ValueError, match=r"v0|reset|bounds"):
        SpikeRule(**bad)


RULES = [METHODS[name].rule for name in ("rueckauer", "hard-reset", "ours", "bounded")]
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
    fast, slow = {"n": held.clone()}, {"n": held.clone()}
    spikes = layer(x_seq, fast, steps)
    with equations_only(layer):
        assert torch.equal(layer(x_seq, slow, steps), spikes)
    assert spikes.shape == (steps, *x_seq.shape[1:])
    assert all(spikes[:, n, c].flatten(1)[:, -300:].any() for n in range(2) for c in range(len(theta)))
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-6)
