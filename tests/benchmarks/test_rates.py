"""The benchmark's networks fire as they say: every neuron layer at the stated rate."""

from dataclasses import replace

import pytest
import torch

from benchmarks.common.rates import at_rate, norms_before
from spikesight.models.networks.metering import Meter
from spikesight.models.networks.resnet import ResNetConfig, SpikingResNet
from spikesight.models.neurons.layers import Neuron


@pytest.mark.parametrize("block", ["plain", "sew", "ms"])
@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("rate", [0.05, 0.4])
def test_every_layer_fires_at_the_rate(block: str, bottleneck: bool, rate: float) -> None:
    torch.manual_seed(0)
    config = ResNetConfig(block, (1, 2), (16, 32), bottleneck=bottleneck, in_channels=3)  # type: ignore[arg-type]
    network = SpikingResNet(replace(config, neuron=replace(config.neuron, reset="zero", delay=False)))
    x_seq = torch.randn(4, 2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    assert norms_before(network).keys() == {id(m) for m in network.modules() if isinstance(m, Neuron)}
    reached = at_rate(network, x_seq, rate)
    assert all(abs(r - rate) < 0.02 for r in reached)
    meter, sizes = Meter(network), list[int]()
    for module in network.modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(lambda _, __, spikes: sizes.append(spikes.numel()))
    with torch.inference_mode():
        network(x_seq)
    rates = meter.read().layer_spikes.sum(0)
    order = sum(int(spikes) for spikes in rates) / sum(sizes)  # the same, evaluated with its running statistics
    assert abs(order - rate) < 0.05
