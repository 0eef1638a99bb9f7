"""Operation counts: exact against brute force, padding and stride respected."""

import pytest
import torch
from torch import Tensor, nn

from models.conversion.convert import convert
from models.energy.metering import Meter, dense_macs, reach
from models.networks.resnet import NETWORKS, ResNetConfig, SpikingResNet


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
        assert torch.equal(both.raster[n], alone[n].raster[0])
    assert both.layer_spikes.shape == (2, len(meter.layer_names))
    assert both.synops.min() > 0
    meter.close()
    assert not network._forward_pre_hooks


def test_dense_macs_of_resnet18_are_the_published_ones_less_the_padding() -> None:
    macs = dense_macs(SpikingResNet(NETWORKS["resnet18"]), 3, 224, 224)
    assert macs / 1e9 == pytest.approx(1.81 - 0.13, abs=0.02)


def test_meter_counts_the_still_part_once(resnet: nn.Module, images: Tensor) -> None:
    network = convert(resnet, [images], "ours", steps=8)
    meter = Meter(network)
    network(images[None], None, 4)
    once = meter.read()
    network(images[None].expand(4, *images.shape), None)
    again = meter.read()
    assert torch.equal(once.layer_spikes, again.layer_spikes)
    first = (images != 0).flatten(1).sum(1)
    assert (again.synops - once.synops > 3 * first).all()
