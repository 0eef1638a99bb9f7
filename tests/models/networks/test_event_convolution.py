from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikesight.models.engine.engine import engine_status
from spikesight.models.native.build import library
from spikesight.models.networks.event_convolution import EventConvolution, fits, use_event_convolutions
from spikesight.models.networks.resnet import NETWORKS, SpikingResNet
from spikesight.models.neurons.state import State

pytestmark = pytest.mark.skipif(library() is None, reason=engine_status())


def spikes(shape: tuple[int, ...], density: float = 0.15, most: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(shape, generator=generator) < density).float()
    return x * torch.randint(1, most + 1, shape, generator=generator)


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    out = EventConvolution.apply(x, weight)
    assert isinstance(out, Tensor)
    return out


@pytest.mark.parametrize(("inputs", "outputs"), [(16, 16), (32, 64), (5, 48), (64, 32)])
@pytest.mark.parametrize(("images", "height", "width"), [(1, 1, 1), (3, 7, 5), (40, 4, 6), (2, 33, 40)])
@pytest.mark.parametrize("most", [1, 3])
def test_outputs_and_gradients_are_those_of_the_dense_convolution(
    inputs: int, outputs: int, images: int, height: int, width: int, most: int
) -> None:
    generator = torch.Generator().manual_seed(1)
    x = spikes((images, inputs, height, width), most=most).double()
    weight = torch.randn(outputs, inputs, 3, 3, generator=generator, dtype=torch.float64)
    g = torch.randn(images, outputs, height, width, generator=generator, dtype=torch.float64)
    exact_x, exact_weight = x.requires_grad_(), weight.requires_grad_()
    y = F.conv2d(exact_x, exact_weight, padding=1)
    wanted = (y, *torch.autograd.grad(y, (exact_x, exact_weight), g))
    x32, weight32 = x.detach().float().requires_grad_(), weight.detach().float().requires_grad_()
    out = convolve(x32, weight32)
    got = (out, *torch.autograd.grad(out, (x32, weight32), g.float()))
    for ours, theirs in zip(got, wanted):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-5, atol=1e-4)


def test_any_number_of_threads_and_memory_layout() -> None:
    x, weight = spikes((6, 16, 9, 9)), torch.randn(32, 16, 3, 3, generator=torch.Generator().manual_seed(2))
    weight.requires_grad_()
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            y = convolve(x.to(memory_format=torch.channels_last), weight)
            results.append((y.detach(), torch.autograd.grad(y.square().sum(), weight)[0]))
    finally:
        torch.set_num_threads(before)
    for y, gradient in results[1:]:
        assert torch.equal(y, results[0][0])
        torch.testing.assert_close(gradient, results[0][1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["cifar-resnet18", "cifar-ms-resnet18"])
def test_a_network_trains_the_same(name: str) -> None:
    config = replace(NETWORKS[name], depths=(1, 1), widths=(16, 32))
    torch.manual_seed(0)
    plain = SpikingResNet(config)
    torch.manual_seed(0)
    sparse = SpikingResNet(config)
    assert use_event_convolutions(sparse) == 3  # all but the stem, the one with stride 2 and the 1x1 shortcut
    assert sparse.state_dict().keys() == plain.state_dict().keys()
    x_seq = torch.rand(3, 2, 3, 12, 12, generator=torch.Generator().manual_seed(3))
    gradients = []
    for network in (plain, sparse):
        state: State = {}
        logits, _ = network(x_seq, state)
        nn.functional.cross_entropy(logits.mean(0), torch.tensor([1, 2])).backward()
        gradients.append([logits.detach(), *(p.grad for p in network.parameters())])
    for ours, theirs in zip(*gradients):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)


def test_only_what_has_the_form_is_replaced() -> None:
    form: dict[str, Any] = {"in_channels": 16, "out_channels": 16, "kernel_size": 3, "padding": 1, "bias": False}
    assert fits(nn.Conv2d(**form))
    others = {"in_channels": 2, "out_channels": 10, "kernel_size": 1, "padding": 0, "bias": True, "stride": 2}
    for name, value in others.items():
        assert not fits(nn.Conv2d(**{**form, name: value}))
