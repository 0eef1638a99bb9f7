"""Converted networks: every operation computes what the ANN does, their graph, the firing rule, runs through time."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from math import prod
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from spikesight.models.checkpoint import load, save
from spikesight.models.classifier import Classifier
from spikesight.models.contract import CheckpointError
from spikesight.models.conversion.ann_to_snn import build_network, convert
from spikesight.models.conversion.methods import METHODS
from spikesight.models.conversion.simulate import chunks
from spikesight.models.conversion.thresholds import run_as_ann
from spikesight.models.conversion.trace import trace
from spikesight.models.networks.ann import CifarResNet, ResNet, SmallCnn
from spikesight.models.networks.converted.graph import MAX_NODES, MAX_WEIGHTS, ConversionError, Node, check_nodes
from spikesight.models.networks.converted.network import ConvertedConfig, ConvertedNetwork
from spikesight.models.networks.converted.rules import SpikeRule, rule_step
from spikesight.models.neurons.state import State
from tests.support.models import Functional, card, warmed
from tests.support.refusals import refusal

INPUT = Node("x", "input")
CONV = Node("c", "conv", ("x",), shape=(4, 3, 3, 3), stride=(1, 1), padding=(1, 1))
MAX = Node("m", "max_pool", ("x",), kernel=(2, 2), stride=(2, 2), padding=(0, 0))
PAD = Node("p", "pad", ("x",), padding=(0, 0, 0, 0, 1, 1))


@pytest.mark.parametrize(
    ("node", "change", "words"),
    [
        (CONV, {"op": "convolve"}, "unknown operation"),
        (CONV, {"name": "c.1"}, "identifier"),
        (CONV, {"inputs": ()}, "takes 1 inputs"),
        (Node("s", "add", ("x", "y")), {"inputs": ("x",)}, "takes 2 inputs"),
        (CONV, {"shape": (4, 3, 3)}, "4 positive sizes"),
        (CONV, {"shape": ((1 << 20) + 1, 1, 1, 1)}, "4 positive sizes"),
        (Node("n", "neuron", ("x",), shape=(2,)), {"shape": (2, 2)}, "1 positive sizes"),
        (CONV, {"stride": (0, 1)}, "stride must be two numbers of at least 1"),
        (CONV, {"padding": (-1, 0)}, "padding must be two numbers of at least 0"),
        (CONV, {"dilation": (1, 0)}, "dilation"),
        (CONV, {"groups": 3}, "groups"),
        (MAX, {"dilation": (0, 1)}, "dilation"),
        (Node("g", "global_pool", ("x",), kernel=(1, 1)), {"kernel": (1, 0)}, "kernel"),
        (Node("t", "slice", ("x",), stride=(2, 2)), {"stride": (2, 0)}, "stride"),
        (PAD, {"padding": (1, 1, 1, 1)}, "six sizes"),
    ],
)
def test_nodes_refuse_what_lies_beyond(node: Node, change: dict[str, object], words: str) -> None:
    refusal(lambda: replace(node, **change), words)  # type: ignore[arg-type]


def chain(count: int) -> tuple[Node, ...]:
    return INPUT, *(Node(f"f{n}", "flatten", ("x" if n == 1 else f"f{n - 1}",)) for n in range(1, count))


def test_graphs_at_their_limits() -> None:
    check_nodes(chain(2))
    check_nodes(chain(MAX_NODES))
    for count in (1, MAX_NODES + 1):
        refusal(partial(check_nodes, chain(count)), f"2 to {MAX_NODES} nodes")
    large = Node("l", "linear", ("x",), shape=(1 << 15, 1 << 14))
    check_nodes((INPUT, large, replace(large, name="k")))
    with pytest.raises(ValueError, match="weights"):
        check_nodes((INPUT, large, replace(large, name="k"), replace(large, name="j", shape=(1, 1))))
    assert 2 * prod(large.shape) == MAX_WEIGHTS
    for nodes, words in (
        ((INPUT, CONV, CONV), "two nodes are called c"),
        ((CONV, replace(INPUT, name="y")), "first node"),
        ((INPUT, replace(INPUT, name="y")), "first node"),
        ((INPUT, replace(CONV, inputs=("c",))), "not an earlier node"),
        ((INPUT, replace(CONV, inputs=("m",)), MAX), "c reads m"),
    ):
        refusal(partial(check_nodes, nodes), words)


@pytest.mark.parametrize(
    "change",
    [
        {"input_shape": (3, 4097, 8)},
        {"input_shape": (3, 8)},
        {"classes": 0},
        {"classes": 1_000_001},
        {"warmup": 1.0},
        {"nodes": (INPUT, Node("n", "neuron", ("x",), shape=(3,)))},
    ],
)
def test_configurations_refuse_nonsense(change: dict[str, object]) -> None:
    good = ConvertedConfig((INPUT, CONV), SpikeRule(), (3, 4096, 1), 1, 0.0)
    replace(good, input_shape=(4096,), classes=1_000_000, warmup=0.99)
    refusal(lambda: replace(good, **change), r"input_shape|classes|warmup|weights")  # type: ignore[arg-type]


def test_a_still_input_may_be_given_once_for_many_steps_and_nothing_else() -> None:
    nodes = (INPUT, CONV, Node("n", "neuron", ("c",), shape=(4,)), Node("g", "global_pool", ("n",), kernel=(1, 1)),
             Node("f", "flatten", ("g",)))  # fmt: skip
    network = ConvertedNetwork(ConvertedConfig(nodes, SpikeRule(inclusive=True), (3, 8, 8), 4))
    x = torch.randn(1, 2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    whole, state = network(x, None, 3)
    parts, again = network(x.expand(3, *x.shape[1:]), None)
    assert torch.equal(whole, parts)
    assert whole.shape == (3, 2, 4)
    assert state.keys() == again.keys()
    assert all(torch.equal(state[key], again[key]) for key in state)
    assert torch.equal(network(x, None, 1)[0], whole[:1])
    three = x.expand(3, *x.shape[1:])
    for bad, steps in ((three, 3), (three, 1), (x[..., :7], None), (x[0], None)):
        refusal(partial(network, bad, None, steps), "x_seq must be")


def test_untrusted_graphs_are_refused(tmp_path: Path) -> None:
    config = ConvertedConfig((INPUT, CONV, Node("g", "flatten", ("c",))), SpikeRule(), (3, 12, 12), 10)
    save(tmp_path, ConvertedNetwork(config), card())
    load(tmp_path)
    document = json.loads((tmp_path / "config.json").read_text())
    for change in ({"op": "import os"}, {"inputs": ["later"]}, {"shape": [1 << 20, 1 << 20, 3, 3]}, {"more": 1}):
        broken = json.loads(json.dumps(document))
        broken["network"]["nodes"][1] |= change
        (tmp_path / "config.json").write_text(json.dumps(broken))
        with pytest.raises(CheckpointError):
            load(tmp_path)


def run_rule(rule: SpikeRule, inputs: Sequence[float], theta: float = 1.0) -> tuple[list[float], float]:
    """(q theta of each step, final membrane) of one neuron."""
    limit, v = torch.tensor([theta]).double(), torch.zeros(1).double()
    train = []
    for x in inputs:
        q, v = rule_step(torch.tensor([x]).double(), v, limit, rule)
        train.append(float(q) * theta)
    return train, float(v) + rule.v0 * theta


def test_bounds_forget_old_debts_and_dues() -> None:
    rule = SpikeRule(inclusive=True)
    assert run_rule(rule, [1.25, -0.75, -1.25, 0.5, 0.25, -0.5]) == ([1, 0, 0, 0, 0, 0], -1.0)
    bounded = replace(rule, bounds=(-0.5, 1.0))
    assert run_rule(bounded, [-9.0, 0.75, 0.75]) == ([0, 0, 1], 0)
    assert run_rule(bounded, [9.0, 0.0, 0.0]) == ([1, 1, 0], 0)


@given(st.fractions(-2, 2, max_denominator=64), st.integers(1, 3), st.booleans(), st.booleans())
@settings(max_examples=60)
def test_it_is_the_quantised_relu_at_every_step(z: Fraction, halves: int, half: bool, inclusive: bool) -> None:
    theta = Fraction(halves, 2)
    z = Fraction(round(z * 64), 64)  # exact in binary: no rounding in the simulation
    spikes, _ = run_rule(SpikeRule(0.5 if half else 0.0, inclusive), [float(z)] * 16, float(theta))
    for steps in range(1, 17):
        ratio = (z * steps + (theta / 2 if half else 0)) / theta
        count = ratio.__floor__() if inclusive else ratio.__ceil__() - 1
        assert sum(spikes[:steps]) == float(theta * min(max(count, 0), steps))


@pytest.mark.parametrize("name", METHODS)
def test_chunks_and_single_steps_equal_the_whole_run(name: str, resnet: nn.Module, images: Tensor) -> None:
    network = convert(resnet, [images], name, steps=8).double()
    x = images[:3].double()
    whole, _ = network(x[None], None, 9)
    for sizes in ((1, 3, 5), [None] * 9):  # None, as the service does: the image again at each step
        state, parts = State(), []
        for size in sizes:
            logits, state = network(x[None], state, size)
            parts.append(logits)
        torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-9)
        assert all(len(v) == 3 for v in state.values())


def test_pool_behind_spikes_keeps_the_mean(images: Tensor) -> None:
    """The accumulated max-pool: the ANN's value, where a pool of each step's currents would give more."""
    ann = warmed(SmallCnn(3, 4, 4), images)
    expected = ann(images).detach()
    *_, answers = chunks(convert(ann, [images], "rueckauer-max"), images, 500)
    found = answers[-1]
    assert float((found - expected).abs().max()) < 0.02 * float(expected.abs().max()) + 0.01


def test_batches_do_not_disturb_each_other(resnet: nn.Module, images: Tensor) -> None:
    network = convert(resnet, [images], "ours", steps=8).double()
    together, state = network(images[:2, :].double()[None], None, 6)
    alone, _ = network(images[1:2].double()[None], None, 6)
    torch.testing.assert_close(together[:, 1:], alone, rtol=0, atol=1e-9)
    refusal(lambda: network(images[:3].double()[None], state, 1), "state of")
    refusal(lambda: network(images[None, :, :2], None, 1), "x_seq must be")


def test_checkpoint_round_trip_and_prediction(resnet: nn.Module, images: Tensor, tmp_path: Path) -> None:
    network = convert(resnet, [images], "bounded", steps=8)
    save(tmp_path / "model", network, card())
    again, _ = load(tmp_path / "model")
    assert isinstance(again, ConvertedNetwork)
    assert again.config == network.config
    assert torch.equal(again(images[None], None, 8)[0], network(images[None], None, 8)[0])
    classifier = Classifier.load(tmp_path / "model")
    picture = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    answers = classifier.predict_image(picture)
    assert len(answers) == 8
    assert all(a.synops > 0 for a in answers[:1])
    x = classifier.encode_image(picture)
    direct, _ = network(x[:1], None, 8)
    np.testing.assert_allclose(np.array([a.logits for a in answers]).mean(0), direct[:, 0].mean(0), atol=2e-2)


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
    refusal(lambda: convert(ann.eval(), [X], "rueckauer-max"), words, ConversionError)


def test_a_second_input_is_refused() -> None:
    class Two(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            return x.relu() + y

    refusal(lambda: trace(Two()), "second input, y", ConversionError)
