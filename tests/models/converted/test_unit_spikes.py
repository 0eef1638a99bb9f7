"""Thresholds folded into the weights: the same logits with spikes of one."""

import torch
from torch import Tensor, nn

from spikesight.models.conversion.ann_to_snn import convert
from spikesight.models.networks.ann import CifarResNet, SmallCnn
from spikesight.models.networks.converted.unit_spikes import unit_spikes
from tests.support.models import Functional, warmed


def test_units_give_the_same_logits(images: Tensor) -> None:
    for ann in (warmed(CifarResNet(1), images), warmed(SmallCnn(3), images), warmed(Functional(), images)):
        network = convert(ann, [images], "ours", steps=8).double()
        units = unit_spikes(network)
        x = images[:2].double()[None]
        torch.testing.assert_close(units(x, None, 8)[0], network(x, None, 8)[0], rtol=1e-9, atol=1e-9)
        seen: list[Tensor] = []
        for layer in units.neurons().values():
            layer.register_forward_hook(lambda _, __, out, into=seen: into.append(torch.unique(out)))
        units(x, None, 4)
        assert set(torch.cat(seen).tolist()) <= {0.0, 1.0}


class TwoNeurons(nn.Module):
    """The sum of two layers of neurons, whose thresholds are far apart."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.relu1, self.relu2, self.last = nn.ReLU(), nn.ReLU(), nn.Linear(4 * 12 * 12, 3)
        with torch.no_grad():
            self.right.weight.mul_(10)

    def forward(self, x: Tensor) -> Tensor:
        return self.last((self.relu1(self.left(x)) + self.relu2(self.right(x))).flatten(1))


def test_spikes_of_different_size_are_scaled_before_they_meet(images: Tensor) -> None:
    torch.manual_seed(0)
    network = convert(TwoNeurons().eval(), [images], "half", steps=8).double()
    one, other = network.neurons().values()
    assert not torch.equal(one.amplitude, other.amplitude)
    x = images[:2].double()[None]
    torch.testing.assert_close(unit_spikes(network)(x, None, 8)[0], network(x, None, 8)[0], rtol=1e-9, atol=1e-9)
