"""Thresholds folded into the weights: the same logits with spikes of one."""

import torch
from torch import Tensor

from models.conversion.convert import convert
from models.networks.ann import CifarResNet, SmallCnn
from models.networks.converted.unit_spikes import unit_spikes
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
