"""The compiled rules against the equations."""

import pytest
import torch

from models.conversion.methods import METHODS
from models.networks.converted.neurons import SpikeLayer
from models.networks.converted.rules import SpikeRule


@pytest.mark.parametrize(
    "rule", [METHODS[n].rule for n in ("rueckauer", "hard-reset", "ours", "bounded", "signed", "multi", "multi-diff")]
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_compiled_rules_equal_the_equations(rule: SpikeRule, channels_last: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7 * 2, 3, 5, 4, generator=generator)
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    layer, x_seq = SpikeLayer(rule, 3), x.unflatten(0, (7, 2))
    layer.key = "n"
    layer.theta.copy_(torch.tensor([0.5, 1.0, 1.5]))
    layer.amplitude.copy_(layer.theta)
    held = [torch.zeros(2, 3, 5, 4) for _ in layer.slots()]
    bias, ages = torch.randn(1, 3, 5, 4, generator=generator), torch.tensor([0.0, 3.0])
    fast, after = layer._compiled(x_seq, held, 7, bias, ages)
    slow, expected = layer._stepped(x_seq, held, 7, bias, ages)
    assert torch.equal(fast, slow)
    for a, b in zip(after, expected):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)
