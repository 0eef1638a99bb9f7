"""The compiled rules against the equations."""

import pytest
import torch
from torch import Tensor

from spikesight.models.conversion.methods import METHODS
from spikesight.models.networks.converted.kernels import BLOCK
from spikesight.models.networks.converted.neurons import SpikeLayer
from spikesight.models.networks.converted.rules import SpikeRule

RULES = [METHODS[n].rule for n in ("rueckauer", "hard-reset", "ours", "bounded", "signed", "multi", "multi-diff")]


def layer_of(rule: SpikeRule, *theta: float) -> SpikeLayer:
    layer = SpikeLayer(rule, len(theta))
    layer.key = "n"
    layer.theta.copy_(torch.tensor(theta))
    layer.amplitude.copy_(layer.theta)
    return layer


def agree(layer: SpikeLayer, x_seq: Tensor, steps: int, bias: Tensor, ages: Tensor, held: list[Tensor]) -> Tensor:
    """The spikes, which are the same by both ways, as are the states."""
    fast, after = layer._compiled(x_seq, held, steps, bias, ages)
    slow, expected = layer._stepped(x_seq, held, steps, bias, ages)
    assert torch.equal(fast, slow)
    for a, b in zip(after, expected):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
    return fast


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("channels_last", [False, True])
def test_compiled_rules_equal_the_equations(rule: SpikeRule, channels_last: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7 * 2, 3, 5, 4, generator=generator)
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    layer = layer_of(rule, 0.5, 1.0, 1.5)
    bias, ages = torch.randn(1, 3, 5, 4, generator=generator), torch.tensor([0.0, 3.0])
    agree(layer, x.unflatten(0, (7, 2)), 7, bias, ages, [torch.zeros(2, 3, 5, 4) for _ in layer.slots()])


@pytest.mark.parametrize("rule", RULES)
def test_potentials_that_meet_a_limit_exactly(rule: SpikeRule) -> None:
    """Currents and states in eighths of thresholds that are powers of two: nothing is rounded, ties are many."""
    generator = torch.Generator().manual_seed(1)

    def eighths(*shape: int, low: int = -12, high: int = 13) -> Tensor:
        return torch.randint(low, high, shape, generator=generator) / 8

    layer = layer_of(rule, 0.5, 1.0, 2.0)
    held = [eighths(2, 3, 6, 5) for _ in layer.slots()]
    spikes = agree(layer, eighths(9, 2, 3, 6, 5), 9, torch.zeros(1, 3, 6, 5), torch.tensor([0.0, 7.0]), held)
    assert len(spikes.unique()) >= (2 if rule.kind == "if" else 3)


@pytest.mark.parametrize("rule", RULES)
def test_more_neurons_than_a_block_and_a_current_that_stays(rule: SpikeRule) -> None:
    generator = torch.Generator().manual_seed(2)
    layer, width = layer_of(rule, 0.5, 1.5), BLOCK // 2 + 300
    x = torch.randn(1, 2, 2, width, generator=generator)
    bias, ages = torch.randn(1, 2, width, generator=generator), torch.tensor([0.0, 3.0])
    spikes = agree(layer, x, 5, bias, ages, [torch.zeros(2, 2, width) for _ in layer.slots()])
    assert spikes.shape == (5, 2, 2, width)
    assert all(spikes[:, n, c, -300:].any() for n in range(2) for c in range(2))
