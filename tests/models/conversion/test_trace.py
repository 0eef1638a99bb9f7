"""Every operation that has a spiking form, with settings of its own, computes what the ANN does; others are refused."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikesight.models.conversion.ann_to_snn import build_network, convert
from spikesight.models.conversion.thresholds import run_as_ann
from spikesight.models.conversion.trace import trace
from spikesight.models.networks.ann import CifarResNet, ResNet, SmallCnn
from spikesight.models.networks.converted.graph import ConversionError
from spikesight.models.networks.converted.rules import SpikeRule
from tests.support.models import Functional, warmed

X = torch.randn(4, 3, 9, 8, generator=torch.Generator().manual_seed(5))
ACT = nn.ReLU()


class Of(nn.Module):
    """A function of a convolution with padding, and perhaps of a layer of its own."""

    def __init__(self, function: Callable[[Tensor, nn.Module], Tensor], own: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.own, self.function = nn.Conv2d(3, 6, 3, padding=1), own or nn.Identity(), function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.first(x), self.own)


def seen(*layers: nn.Module) -> nn.Module:
    """Layers, then neurons and a mean."""
    return nn.Sequential(*layers, ACT, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def end(x: Tensor) -> Tensor:
    return x.relu().mean((2, 3))


ANNS: dict[str, nn.Module] = {
    "conv of odd strides": seen(nn.Conv2d(3, 6, (3, 2), stride=(1, 2), padding=(2, 1), dilation=(2, 3), groups=3)),
    "conv padded same": seen(nn.Conv2d(3, 4, (3, 5), padding="same", dilation=(2, 1))),
    "norm behind a conv": seen(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)),
    "norm of the input": seen(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)),
    "norm behind a linear layer": nn.Sequential(
        nn.Flatten(), nn.Linear(216, 5, bias=False), nn.BatchNorm1d(5), ACT, nn.Linear(5, 2)
    ),
    "norm of a conv that others read": Of(lambda x, norm: end(norm(x) + x), nn.BatchNorm2d(6)),
    "max-pool": seen(
        nn.Conv2d(3, 4, 1), nn.MaxPool2d((3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), ceil_mode=True)
    ),
    "max-pool called": Of(lambda x, _: end(F.max_pool2d(x, kernel_size=3, stride=(1, 2), padding=1))),
    "average": Of(
        lambda x, pool: pool(x.relu()).mean((2, 3)),
        nn.AvgPool2d((3, 2), stride=(2, 3), padding=(1, 0), ceil_mode=True, count_include_pad=False),
    ),
    "average that counts its edge": Of(lambda x, _: F.avg_pool2d(x.relu(), 3, 2, 1).flatten(1)),
    "average called by name": Of(
        lambda x, _: F.avg_pool2d(x.relu(), 3, stride=2, padding=1, count_include_pad=False).flatten(start_dim=1)
    ),
    "average of all there is": Of(lambda x, _: F.avg_pool2d(x.relu(), x.size()[2:]).flatten(1)),
    "adaptive": Of(lambda x, pool: torch.flatten(pool(x.relu()), 1), nn.AdaptiveAvgPool2d((3, 2))),
    "mean from behind": Of(lambda x, _: torch.mean(x.relu(), dim=(-1, -2))),
    "mean called by names": Of(lambda x, _: torch.mean(input=F.dropout(input=x.relu(), training=False), dim=(2, 3))),
    "every n-th": Of(lambda x, _: end(x.relu()[:, :, ::2, ::3])),
    "padded channels": Of(lambda x, _: end(F.pad(x.relu(), (0, 0, 0, 0, 2, 1)))),
    "padded sides": Of(lambda x, _: end(F.pad(x.relu(), (1, 2, 3, 0)))),
    "sum": Of(lambda x, own: end(torch.add(own(x.relu()), x)), nn.Conv2d(6, 6, 1)),
    "dropout and the like": Of(lambda x, own: end(F.dropout(own(x.contiguous()), 0.5, False)), nn.Dropout2d(0.5)),
    "what nobody reads": Of(lambda x, own: (own(x), end(x))[1], nn.Conv2d(6, 2, 1)),
    "a pool of neurons that others read": Of(
        lambda x, fc: fc(F.max_pool2d(x.relu(), 2).mean((2, 3)) + x.relu().mean((2, 3))), nn.Linear(6, 3)
    ),
    "functions": Functional(),
    "cifar-resnet": CifarResNet(1),
    "small-cnn": SmallCnn(3),
    "resnet": ResNet((1, 1, 1, 1), classes=7),
}


@pytest.mark.parametrize("name", ANNS)
def test_the_graph_computes_the_ann(name: str) -> None:
    ann, x = warmed(ANNS[name], X), X[..., :8] if name == "functions" else X  # one of its pools must be square
    with torch.no_grad():
        expected = ann(x)
        network = build_network(ann, x, SpikeRule())
        torch.testing.assert_close(run_as_ann(network, x), expected, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    by_name = {node.name: node for node in network.config.nodes}
    pools = [node for node in network.config.nodes if node.op == "max_pool"]
    assert all(by_name[pool.inputs[0]].op != "neuron" for pool in pools), "currents are pooled, not spikes"


REFUSED: list[tuple[nn.Module, str]] = [
    (seen(nn.Conv2d(3, 4, 3, padding_mode="circular", padding=1)), "0 pads with circular"),
    (seen(nn.Conv2d(3, 4, 2, padding="same")), "pads unevenly"),
    (nn.Sequential(nn.Flatten(), ACT, nn.BatchNorm1d(216)), "follows no linear layer"),
    (seen(nn.BatchNorm2d(3, track_running_stats=False)), "running statistics"),
    (Of(lambda x, pool: end(pool(x)[0]), nn.MaxPool2d(2, return_indices=True)), "returns indices"),
    (Of(lambda x, pool: end(pool(x)), nn.AvgPool2d(2, divisor_override=3)), "overrides its divisor"),
    (Of(lambda x, pool: end(pool(x)), nn.AdaptiveAvgPool2d((None, 2))), "keeps a dimension"),
    (Of(lambda x, _: x.relu().mean((1, 2))), "mean over"),
    (Of(lambda x, _: torch.flatten(x.relu(), 1, 2)), "everything but the batch"),
    (Of(lambda x, own: own(x.relu()), nn.Flatten(1, 2)), "everything but the batch"),
    (Of(lambda x, _: x.relu().view(x.size(0), 6, -1)), "reshapes to"),
    (Of(lambda x, _: end(x[:, :, 1::2])), "picks"),
    (Of(lambda x, _: end(x[:, ::2])), "picks"),
    (Of(lambda x, _: end(F.pad(x, (-1, -1)))), "layer pad cannot be converted"),
    (Of(lambda x, _: end(F.pad(x, (1, 1), "reflect"))), "something other than zeros"),
    (Of(lambda x, _: end(F.pad(x, (1, 1), value=1.0))), "something other than zeros"),
    (Of(lambda x, own: end(torch.add(own(x), x, alpha=2)), nn.Conv2d(6, 6, 1)), "weighted sum"),
    (Of(lambda x, _: end(x + 1)), "adds a constant"),
    (Of(lambda x, _: end(torch.sigmoid(x))), "calls sigmoid"),
    (Of(lambda x, _: (end(x), end(x))), "more than one value"),  # type: ignore[arg-type, return-value]
    (Of(lambda x, own: end(own(x)), nn.GELU()), "layer own is GELU"),
    (Of(lambda x, own: end(own(x)), nn.Conv2d(5, 4, 1)), "layer own does not take this input"),
    (
        Of(lambda x, own: own(x.relu()).mean((2, 3)), nn.Sequential(nn.Conv2d(6, 4, 1), nn.MaxPool2d(2))),
        r"max-pool own\.1 is neither behind nor before a ReLU",
    ),
    (Of(lambda x, pool: pool(x.relu() + x).mean((2, 3)), nn.MaxPool2d(2)), "max-pool own is neither behind nor before"),
    (Of(lambda x, _: (F.relu_(x) + x).mean((2, 3))), "in place"),
    (Of(lambda x, _: x.relu() if x.sum() > 0 else x), "depends on its data"),
    (nn.Sequential(nn.Flatten(), nn.Linear(216, 3)), "has no ReLU"),
    (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), "output is"),
]


@pytest.mark.parametrize(("ann", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_has_no_spiking_form_is_refused_by_its_layers_name(ann: nn.Module, words: str) -> None:
    with pytest.raises(ConversionError, match=words):
        convert(ann.eval(), [X], "rueckauer-max")


def test_a_second_input_is_refused() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x.relu() + y

    with pytest.raises(ConversionError, match="second input, y"):
        trace(Two())
