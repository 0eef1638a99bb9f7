"""Operation counts: exact against brute force, padding and stride respected."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from spikesight.models.networks.metering import Meter, dense_macs, reach
from spikesight.models.networks.resnet import NETWORKS, ResNetConfig, SpikingResNet
from spikesight.models.neurons.layers import Rectifier


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (7, 2, 3), (1, 2, 0)])
@pytest.mark.parametrize("size", [(9, 7), (12, 12), (8, 11)])
def test_synaptic_operations_of_a_convolution_equal_brute_force(
    kernel: int, stride: int, padding: int, size: tuple[int, int]
) -> None:
    conv = nn.Conv2d(2, 3, kernel, stride, padding)
    x = (torch.rand(1, 2, *size, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    ones = nn.functional.conv2d(x, torch.ones_like(conv.weight), None, stride, padding)
    assert float((x.sum(1)[0] * reach(conv, *size)).sum()) * 3 == float(ones.sum())


def test_meter_counts_each_sample_of_a_batch_alone() -> None:
    torch.manual_seed(0)
    network = SpikingResNet(ResNetConfig("sew", (1, 1), (4, 8), in_channels=2, classes=2)).eval()
    meter = Meter(network)
    x = (torch.rand(3, 2, 2, 8, 8) < 0.5).float()
    with torch.no_grad():
        network(x)
        both = meter.read()
        alone = []
        for n in range(2):
            network(x[:, n : n + 1])
            alone.append(meter.read())
    for n in range(2):
        assert torch.equal(both.layer_spikes[n], alone[n].layer_spikes[0])
        assert torch.equal(both.synops[n], alone[n].synops[0])
    assert both.layer_spikes.shape == (2, len(meter.layer_names))
    assert both.synops.min() > 0
    meter.close()
    assert not network._forward_pre_hooks


def test_dense_macs_of_resnet18_are_the_published_ones_less_the_padding() -> None:
    macs = dense_macs(SpikingResNet(NETWORKS["resnet18"]), 3, 224, 224)
    assert macs / 1e9 == pytest.approx(1.81 - 0.13, abs=0.02)


class Toy(nn.Module):
    """A grouped convolution of events, neurons that give more than ones, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.neuron = nn.Conv2d(2, 4, 3, padding=1, groups=2, bias=False), Rectifier()
        self.head = nn.Linear(4 * 3 * 5, 2)

    def forward(self, x_seq: Tensor, _: object = None) -> tuple[Tensor, dict[str, Tensor]]:
        steps, batch = x_seq.shape[:2]
        currents = self.conv(x_seq.flatten(0, 1)).view(steps, batch, 4, 3, 5)
        return self.head(self.neuron(currents, {}).flatten(2)), {}


def toy() -> tuple[Toy, Tensor, Tensor]:
    """(network, x_seq [2, 3, 2, 3, 5], what its neurons give [2, 3, 60])."""
    torch.manual_seed(1)
    network = Toy().eval()
    x_seq = (torch.rand(2, 3, 2, 3, 5) < 0.3).float()
    with torch.no_grad():
        out = network.conv(x_seq.flatten(0, 1)).clamp(min=0).view(2, 3, 60)
    return network, x_seq, out


def test_who_fired_in_the_last_step_is_noted_where_somebody_probes() -> None:
    network, x_seq, out = toy()
    meter = Meter(network)
    with torch.no_grad():
        network(x_seq)
    assert meter.read().fired.numel() == 0
    meter.probe = True
    with torch.no_grad():
        network(x_seq)
    found = meter.read()
    bits = np.unpackbits(found.fired.numpy(), axis=1).reshape(3, 15, 16)
    assert not bits[..., 4:].any(), "silent neurons fill the bytes"
    assert bits[..., :4].transpose(0, 2, 1).reshape(3, -1).tolist() == (out[-1] != 0).int().tolist()
    assert found.layer_spikes[:, 0].tolist() == (out != 0).sum((0, 2)).tolist()
    reached = torch.outer(torch.tensor([2.0, 3, 2]), torch.tensor([2.0, 3, 3, 3, 2]))
    events = 2 * (x_seq * reached).sum((0, 2, 3, 4))
    assert found.synops.tolist() == (events + 2 * (out != 0).sum((0, 2))).int().tolist()
