"""The traced graph against its ANN, and a layer's name for everything that cannot be converted."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikesight.models.conversion.ann_to_snn import convert
from spikesight.models.conversion.thresholds import walk
from spikesight.models.conversion.trace import trace
from spikesight.models.networks.ann import CifarResNet, ResNet, SmallCnn
from spikesight.models.networks.converted.graph import ConversionError
from tests.support.models import Functional, warmed

ANNS_TO_TRACE = {
    "functional": Functional,
    "cifar-resnet": lambda: CifarResNet(1),
    "small-cnn": lambda: SmallCnn(3),
    "resnet18": lambda: ResNet((1, 1, 1, 1), classes=7),
}


@pytest.mark.parametrize("name", ANNS_TO_TRACE)
def test_graph_computes_the_ann(name: str, images: Tensor) -> None:
    x = F.interpolate(images, 32) if name == "resnet18" else images
    ann = warmed(ANNS_TO_TRACE[name](), x)
    network = convert(ann, [x], "rueckauer-max")
    with torch.no_grad():
        torch.testing.assert_close(walk(network, x), ann(x), rtol=1e-5, atol=1e-5)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in network.modules())


def test_max_pool_moves_before_the_neuron(images: Tensor) -> None:
    network = convert(warmed(SmallCnn(3), images), [images], "ours", steps=8)
    nodes = {n.name: n for n in network.config.nodes}
    pools = [n for n in network.config.nodes if n.op == "max_pool"]
    assert len(pools) == 2
    assert all(nodes[p.inputs[0]].op == "conv" for p in pools)
    z = torch.randn(2, 3, 8, 8)
    assert torch.equal(F.max_pool2d(z.relu(), 2), F.max_pool2d(z, 2).relu())


def test_pool_reads_a_neuron_that_others_read_too(images: Tensor) -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            a = torch.relu(self.conv(x))
            return self.fc(F.max_pool2d(a, 2).mean((2, 3)) + a.mean((2, 3)))

    ann = Both().eval()
    network = convert(ann, [images], "rueckauer-max")
    with torch.no_grad():
        torch.testing.assert_close(walk(network, images), ann(images), rtol=1e-5, atol=1e-5)
    assert len(network.neuron_nodes()) == 2


class Wrapped(nn.Module):
    """A convolution, something odd, a read-out."""

    def __init__(self, odd: nn.Module, size: int = 4) -> None:
        super().__init__()
        self.conv, self.act, self.odd = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), odd
        self.fc = nn.Linear(size, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.odd(self.act(self.conv(x))).mean((2, 3)))


class TwoSums(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.pool = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3), nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(self.a(x).relu() + self.b(x).relu()).mean((2, 3))


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        z = self.conv(x)
        return (F.relu_(z) + z).mean((2, 3))


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.relu() if x.sum() > 0 else x


@pytest.mark.parametrize(
    ("ann", "words"),
    [
        (Wrapped(nn.GELU()), "layer odd is GELU"),
        (Wrapped(nn.ReLU6()), "layer odd is ReLU6"),
        (Wrapped(nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect")), "odd pads with reflect"),
        (Wrapped(nn.BatchNorm2d(4, track_running_stats=False)), "running statistics"),
        (Wrapped(nn.Conv2d(5, 4, 1)), "layer odd does not take this input"),
        (
            Wrapped(nn.Sequential(nn.Conv2d(4, 4, 1), nn.MaxPool2d(2))),
            r"max-pool odd\.1 is neither behind nor before a ReLU",
        ),
        (TwoSums(), "max-pool pool is neither behind nor before a ReLU"),
        (InPlace(), "in place"),
        (Branching(), "depends on its data"),
        (nn.Sequential(nn.Flatten(), nn.Linear(432, 3)), "has no ReLU"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), "output is"),
    ],
)
def test_what_cannot_be_converted_names_its_layer(ann: nn.Module, words: str, images: Tensor) -> None:
    with pytest.raises(ConversionError, match=words):
        convert(ann.eval(), [images], "rueckauer-max")


def test_names_of_a_traced_graph(resnet: nn.Module) -> None:
    nodes = trace(resnet).nodes
    assert nodes[0].op == "input"
    assert nodes[-1].op == "linear"
    assert all(a.name != b.name for a, b in pairwise(nodes))
