"""Rates of the first layers: of the plain network by hooks, of the engine beside its pass; the same numbers."""

import pytest
import torch
from torch import nn

from spikesight.models.engine.engine import Engine, engine_status
from spikesight.models.native.build import library
from spikesight.models.networks.resnet import ResNetConfig, SpikingResNet
from spikesight.models.novelty.rates import Rates, layers_to_watch
from tests.support.models import lively
from tests.support.networks import inputs


def plain_rates(network: nn.Module, layers: int, x_seq: torch.Tensor) -> torch.Tensor:
    rates = Rates(network, layers)
    with torch.inference_mode():
        network(x_seq.float(), None)
    rates.close()
    return rates.read()


@pytest.mark.skipif(library() is None, reason=engine_status())
@pytest.mark.parametrize("block", ["plain", "sew", "ms"])
@pytest.mark.parametrize("layers", [1, 3])
def test_the_engine_notes_the_rates_of_the_network(block: str, layers: int) -> None:
    network = lively(ResNetConfig(block, (1, 2), (16, 24), "small", "max", classes=7))  # type: ignore[arg-type]
    x_seq = inputs(4, 3)
    noted = Engine(network, 17, 13, rates=layers).run(x_seq)
    plainly = Engine(network, 17, 13).run(x_seq)
    expected = plain_rates(network, layers, x_seq)
    assert expected.shape[:2] == (4, 3)
    assert expected.mean() > 0.01
    torch.testing.assert_close(noted.rates, expected, rtol=0, atol=1e-6)
    assert torch.equal(noted.logits, plainly.logits)
    assert plainly.rates.shape == (4, 3, 0)


@pytest.mark.parametrize(("most", "layers"), [(10, 1), (16, 1), (32, 2), (48, 3), (999, 7)])
def test_the_first_layers_are_watched_up_to_so_many_channels(most: int, layers: int) -> None:
    network = SpikingResNet(ResNetConfig("ms", (1, 2), (16, 24)))  # neurons of 16, 16, 16, 24, 24, 24, 24 channels
    assert layers_to_watch(network, (2, 17, 13), most) == layers


@pytest.mark.skipif(library() is None, reason=engine_status())
@pytest.mark.parametrize("which", [slice(None), slice(0, 1)], ids=["all channels", "the first"])
def test_a_channel_of_which_all_fire_has_the_rate_one(which: slice) -> None:
    network = lively(ResNetConfig("ms", (1, 1), (16, 24), "small", "max", classes=7))
    first = next(module for module in network.modules() if isinstance(module, nn.BatchNorm2d))
    with torch.no_grad():
        first.bias[which] = 100.0
    x_seq = torch.ones(2, 3, 2, 80, 90, dtype=torch.uint8)  # of more places than a byte counts
    expected = plain_rates(network, 1, x_seq)
    assert (expected[:, :, which] == 1).all()
    torch.testing.assert_close(Engine(network, 80, 90, rates=1).run(x_seq).rates, expected, rtol=0, atol=1e-6)
