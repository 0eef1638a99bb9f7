"""Conversion: each rule's equation, the graph against its ANN, chunks against whole runs, SpikingJelly's converter."""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from models.ann import CifarResNet, Qcfs, ResNet, SmallCnn, stage, with_qcfs
from models.checkpoint import Card, CheckpointError, Contract, load, save
from models.classifier import Classifier
from models.convert import METHODS, Method, convert, graph_of
from models.convert_audit import audit
from models.convert_fold import unit_spikes
from models.convert_graph import ConversionError, folded
from models.convert_network import ConvertedNetwork
from models.convert_neurons import SpikeLayer
from models.convert_rules import SpikeRule, differential_step, few_spikes, quantised_relu, rule_step
from models.convert_thresholds import gauss_threshold, percentile, poisson, walk
from models.convert_trace import trace
from models.energy import Meter
from models.simulate import chunks, curve, predictions, until_confident
from training.ann import set_levels

VARYING = (1.25, -0.75, -1.25, 0.5, 0.25, -0.5)
STREAMED = [name for name, method in METHODS.items() if method.streams and method.threshold != "qcfs"]


def run_rule(rule: SpikeRule, inputs: Sequence[float], theta: float = 1.0) -> tuple[list[float], float]:
    """(q theta of each step, final membrane) of one neuron."""
    limit, v, sent = torch.tensor([theta]).double(), torch.zeros(1).double(), torch.zeros(1).double()
    train = []
    for x in inputs:
        q, v, sent = rule_step(torch.tensor([x]).double(), v, sent, limit, rule)
        train.append(float(q) * theta)
    return train, float(v) + rule.start * theta


def settled(network: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights with batch-norm statistics of its own data, so that activations have a sensible size."""
    torch.manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
            module.momentum = None
    return network


def warmed(network: nn.Module, x: Tensor) -> nn.Module:
    settled(network).train()
    with torch.no_grad():
        network(x)
    return network.eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(16, 3, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def resnet(images: Tensor) -> nn.Module:
    return warmed(CifarResNet(1), images)


# --- rules: golden trains ---


@pytest.mark.parametrize(
    ("v0", "inclusive", "z", "train"),
    [
        (0.0, True, 9 / 32, "00010001"),
        (0.5, True, 9 / 32, "01000100"),
        (0.5, True, 0.25, "01000100"),
        (0.5, False, 0.25, "00100010"),
        (0.0, True, 0.25, "00010001"),
        (0.0, False, 0.25, "00001000"),
    ],
)
def test_if_trains(v0: float, inclusive: bool, z: float, train: str) -> None:
    spikes, _ = run_rule(SpikeRule("if", v0=v0, inclusive=inclusive), [z] * 8)
    assert "".join(str(int(s)) for s in spikes) == train


def test_bounds_forget_old_debts_and_dues() -> None:
    rule = SpikeRule("if", inclusive=True, bounds=(-0.5, 1.0))
    assert run_rule(rule, [-9.0, 0.75, 0.75]) == ([0, 0, 1], 0)
    assert run_rule(rule, [9.0, 0.0, 0.0]) == ([1, 1, 0], 0)


def test_signed_neuron_takes_back() -> None:
    assert run_rule(SpikeRule("if", inclusive=True), VARYING) == ([1, 0, 0, 0, 0, 0], -1.0 + 0.0)
    spikes, v = run_rule(SpikeRule("signed", inclusive=True), VARYING)
    assert spikes == [1, 0, -1, 0, 0, 0]
    assert v == 0


@pytest.mark.parametrize(
    ("levels", "train"),
    [(2, [0, 0.5, 0, 0.5, 0.5, 0, 0.5, 0]), (4, [0.25, 0.25, 0.25, 0.5, 0.125, 0.25, 0.25, 0.5])],
)
def test_multi_threshold_trains(levels: int, train: list[float]) -> None:
    assert run_rule(SpikeRule("multi", levels, v0=0), [9 / 32] * 8)[0] == train


def test_multi_threshold_takes_back() -> None:
    assert run_rule(SpikeRule("multi", 4, v0=0), VARYING)[0] == [1, -0.5, -0.5, 0, 0, 0]


def test_cascade_train() -> None:
    expected = [0.25, 0.375, 0.25, 0.25, 0.25, 0.375, 0.25, 0.25]
    assert run_rule(SpikeRule("cascade", 4, v0=0.5), [9 / 32] * 8)[0] == expected


def test_differential_train() -> None:
    rule, one, zero = SpikeRule("multi", 4, v0=0, differential=True), torch.ones(1), torch.zeros(1)
    state, train = (zero, zero, zero, zero), []
    for t in range(1, 9):
        x = torch.tensor([0.55 if t == 1 else 0.0])
        q, state = differential_step(x, state, torch.tensor([float(t)]), torch.tensor([0.1]), one, rule)
        train.append(float(q))
    assert train == [0.5, 0.25, 0, 0.125, 0, 0, 0, 0]
    assert float(state[3]) == pytest.approx(0.65625)


@pytest.mark.parametrize(
    ("levels", "value", "expected", "train"),
    [
        (10, 1, 0.9765625, "0000101000"),
        (10, 7.3, 7.2998046875, "0100101011"),
        (10, 12.5, 12.4755859375, "0111111111"),
        (10, 30, 24.9755859375, "1111111111"),
        (10, -1, 0, "0000000000"),
        (6, 7.3, 7.03125, None),
    ],
)
def test_few_spikes(levels: int, value: float, expected: float, train: str | None) -> None:
    q = few_spikes(torch.tensor([value]).double(), torch.tensor([25.0]).double(), SpikeRule("few", levels, v0=0))
    assert float(q.mean(0) * 25) == expected
    if train is not None:
        assert "".join(str(int(s > 0)) for s in q[:, 0]) == train


@given(
    z=st.fractions(-2, 2, max_denominator=64),
    theta=st.sampled_from([Fraction(1, 2), Fraction(1), Fraction(3, 2)]),
    half=st.booleans(),
    inclusive=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_if_is_the_quantised_relu_at_every_step(z: Fraction, theta: Fraction, half: bool, inclusive: bool) -> None:
    z = Fraction(round(z * 64), 64)  # exact in binary: no rounding in the simulation
    rule = SpikeRule("if", v0=0.5 if half else 0.0, inclusive=inclusive)
    spikes, _ = run_rule(rule, [float(z)] * 16, float(theta))
    for steps in range(1, 17):
        ratio = (z * steps + (theta / 2 if half else 0)) / theta
        count = ratio.__floor__() if inclusive else ratio.__ceil__() - 1
        expected = float(theta * min(max(count, 0), steps))
        assert sum(spikes[:steps]) == expected
        mean = quantised_relu(torch.tensor(float(z)).double(), torch.tensor(float(theta)).double(), steps, rule)
        assert float(mean) * steps == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("level", [-1, 0.9, 1, 2.9, 3, 5.5, 7.1, 9])
def test_if_returns_the_qcfs_value(level: float) -> None:
    expected = {-1: 0, 0.9: 0, 1: 2, 2.9: 2, 3: 4, 5.5: 6, 7.1: 8, 9: 8}[level]
    assert float(Qcfs(4, 8.0)(torch.tensor(float(level))).detach()) == expected
    assert sum(run_rule(SpikeRule("if", inclusive=True), [level] * 4, 8.0)[0]) / 4 == expected


@pytest.mark.parametrize(
    ("mean", "deviation", "levels", "theta"),
    [(0, 1, 1, 1.22401), (0, 1, 4, 2.13529), (0, 1, 8, 2.55123), (0.5, 1, 8, 2.90149), (-1, 1, 8, 1.97695)],
)
def test_gaussian_threshold(mean: float, deviation: float, levels: int, theta: float) -> None:
    found = gauss_threshold(torch.tensor([mean]).double(), torch.tensor([deviation]).double(), levels)
    assert float(found) == pytest.approx(theta, abs=1e-4)


def test_rules_refuse_nonsense() -> None:
    for bad in (
        {"kind": "none"},
        {"levels": 0},
        {"v0": 1.0},
        {"kind": "multi", "reset": "zero"},
        {"differential": True},
        {"bounds": (0.6, 1.0)},
        {"bounds": (-math.inf, 1.0)},
        {"bounds": (0.0,)},
        {"bounds": (-1.0, 1.0), "reset": "zero"},
        {"kind": "signed", "bounds": (-1.0, 1.0)},
    ):
        with pytest.raises(ValueError, match=r"."):
            SpikeRule(**bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "rule", [METHODS[n].rule for n in ("rueckauer", "hard-reset", "ours", "bounded", "signed", "multi", "multi-diff")]
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_compiled_rules_equal_the_equations(rule: SpikeRule, channels_last: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(7 * 2, 3, 5, 4, generator=generator)
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    layer, x_seq = SpikeLayer(rule, 3), x.unflatten(0, (7, 2))
    layer.key = "n"
    layer.theta.copy_(torch.tensor([0.5, 1.0, 1.5]))
    layer.amplitude.copy_(layer.theta)
    held = [torch.zeros(2, 3, 5, 4) for _ in layer.slots()]
    bias, ages = torch.randn(1, 3, 5, 4, generator=generator), torch.tensor([0.0, 3.0])
    fast, after = layer._compiled(x_seq, held, 7, bias, ages)
    slow, expected = layer._stepped(x_seq, held, 7, bias, ages)
    assert torch.equal(fast, slow)
    for a, b in zip(after, expected):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


# --- the graph ---


class Functional(nn.Module):
    """Functions instead of modules, a size-dependent pool, a strided slice and a padded shortcut, as people write."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(6)
        self.first = nn.BatchNorm2d(3)
        self.drop, self.fc = nn.Dropout(0.3), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(self.first(x))))
        short = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 1), "constant", 0)
        x = self.bn2(self.conv2(x))
        x += short
        x = F.max_pool2d(F.relu(x), 2)
        x = F.avg_pool2d(x, x.size()[3])
        return self.fc(self.drop(x.view(x.size(0), -1)))


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


def test_folding(images: Tensor) -> None:
    conv, norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
    block = warmed(nn.Sequential(conv, norm), images)
    weight, bias = folded(conv.weight.detach().double(), conv.bias.detach().double(), norm)  # type: ignore[union-attr]
    torch.testing.assert_close(
        F.conv2d(images, weight.float(), bias.float()), block(images).detach(), rtol=1e-5, atol=1e-5
    )


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


def test_broken_input_is_refused(resnet: nn.Module, images: Tensor) -> None:
    with pytest.raises(ConversionError, match="calibration images"):
        convert(resnet, [])
    with pytest.raises(ConversionError, match="not finite"):
        convert(resnet, [images / 0])
    with pytest.raises(ConversionError, match="float"):
        convert(resnet, [images.to(torch.uint8)])
    with pytest.raises(ConversionError, match="unknown method"):
        convert(resnet, [images], "magic")
    with pytest.raises(ConversionError, match="QCFS"):
        convert(resnet, [images], "qcfs")
    broken = CifarResNet(1).eval()
    broken.layer1[0].conv1.weight.data[0, 0, 0, 0] = torch.nan  # type: ignore[union-attr, index]
    with pytest.raises(ConversionError, match=r"layer1\.0\.conv1\.weight has values that are not finite"):
        convert(broken, [images])


# --- networks through time ---


@pytest.mark.parametrize("name", STREAMED)
def test_chunks_and_single_steps_equal_the_whole_run(name: str, resnet: nn.Module, images: Tensor) -> None:
    network = convert(resnet, [images], name, steps=8).double()
    x = images[:3].double()
    whole, _ = network(x[None], None, 9)
    state, parts = None, []
    for size in (1, 3, 5):
        logits, state = network(x[None], state, size)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-9)
    state, parts = None, []
    for _ in range(9):  # as the service does: the image again at each step
        logits, state = network(x[None], state)
        parts.append(logits)
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-9)
    assert state is not None
    assert all(len(v) == 3 for v in state.values())


@pytest.mark.parametrize("name", [n for n in METHODS if n not in ("hard-reset", "qcfs", "sengupta")])
def test_every_method_comes_to_the_ann(name: str, resnet: nn.Module, images: Tensor) -> None:
    """With maximum thresholds no neuron saturates: the mean output goes to the ANN's, whatever the rule."""
    method = replace(METHODS[name], threshold="percentile", percent=100.0, light=False)
    network = convert(resnet, [images], method)
    steps = 10 if method.rule.kind == "few" else 200
    images = images[:8]
    with torch.no_grad():
        expected = resnet(images)
    error = float((predictions(network, images, steps) - expected).abs().max() / expected.abs().max())
    assert error < (0.2 if name in ("rueckauer-max", "rueckauer", "half", "ltb", "mmse", "ours", "bounded") else 0.05)


def test_pool_behind_spikes_keeps_the_mean(images: Tensor) -> None:
    """The accumulated max-pool: the ANN's value, where a pool of each step's currents would give more."""
    ann = warmed(SmallCnn(3, 4, 4), images)
    expected = ann(images).detach()
    for name in ("rueckauer-max", "multi-diff"):
        method = replace(METHODS[name], threshold="percentile", percent=100.0)
        found = predictions(convert(ann, [images], method), images, 500)
        assert float((found - expected).abs().max()) < 0.02 * float(expected.abs().max()) + 0.01


def test_hard_reset_fails(resnet: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        expected = resnet(images)

    def error(name: str) -> float:
        return float((predictions(convert(resnet, [images], name), images, 200) - expected).abs().mean())

    assert error("hard-reset") > 4 * error("rueckauer")


def test_batches_do_not_disturb_each_other(resnet: nn.Module, images: Tensor) -> None:
    network = convert(resnet, [images], "ours", steps=8).double()
    together, state = network(images[:2, :].double()[None], None, 6)
    alone, _ = network(images[1:2].double()[None], None, 6)
    torch.testing.assert_close(together[:, 1:], alone, rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="state of"):
        network(images[:3].double()[None], state, 1)
    with pytest.raises(ValueError, match="x_seq must be"):
        network(images[None, :, :2], None, 1)


def test_few_spikes_need_their_window(resnet: nn.Module, images: Tensor) -> None:
    network = convert(resnet, [images], "few-spikes")
    with torch.no_grad():
        expected = resnet(images)
    torch.testing.assert_close(predictions(network, images, 10).float(), expected, rtol=0.05, atol=0.05)
    with pytest.raises(ValueError, match="whole window of 10"):
        network(images[None], None, 4)


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


def test_calibrated_biases_bring_the_means_together(resnet: nn.Module, images: Tensor) -> None:
    def gap(name: str) -> float:
        network = convert(resnet, [images], name, steps=8)
        return audit(network, images, 8, graph_of(resnet, images)).mean_bias()

    assert gap("mmse-light") < gap("mmse")


def test_thresholds() -> None:
    assert percentile(torch.tensor([[0.0, -1, 3, 1, 2], [0, 0, 0, 0, -1]]), 50).tolist() == [2, 0]
    spikes = poisson(torch.tensor([1.0, -0.5, 0.0]), 4000, torch.Generator().manual_seed(0))
    assert set(spikes.unique().tolist()) == {-1.0, 0.0, 1.0}
    torch.testing.assert_close(spikes.mean(0), torch.tensor([1.0, -0.5, 0.0]), rtol=0, atol=0.05)


def test_ltb_thresholds_never_fall(resnet: nn.Module, images: Tensor) -> None:
    before: list[Tensor] | None = None
    for passes in (1, 2, 8):
        network = convert(resnet, [images], replace(METHODS["ltb"], passes=passes))
        theta = [layer.theta for layer in network.neurons().values()]
        if before is not None:
            assert all((b >= a - 1e-6).float().mean() > 0.9 for a, b in zip(before, theta))
        before = theta


def test_spikes_equal_spikingjelly(images: Tensor) -> None:
    ann2snn = pytest.importorskip("spikingjelly.activation_based.ann2snn")
    from spikingjelly.activation_based import neuron as sj

    ann = warmed(joined(), images)
    converter = ann2snn.Converter(ann2snn.RateCodingRecipe(dataloader=[images], mode="Max"))
    theirs = converter.convert(copy.deepcopy(ann))
    ours = convert(ann, [images], "rueckauer-max")
    their_trains: dict[nn.Module, list[Tensor]] = {}  # in the order of execution
    for module in theirs.modules():
        if isinstance(module, sj.IFNode):
            module.register_forward_hook(lambda m, _, out: their_trains.setdefault(m, []).append(out.detach()))
    our_trains: list[Tensor] = []
    for layer in ours.neurons().values():
        layer.register_forward_hook(
            lambda module, _, out: our_trains.append(out / module.row(module.amplitude, out[0]))  # type: ignore[operator]
        )
    with torch.no_grad():
        logits = torch.stack([theirs.forward(images) for _ in range(16)])
    mine, _ = ours(images[None], None, 16)
    assert len(their_trains) == len(our_trains) == 7
    for their_train, our_train in zip(their_trains.values(), our_trains):
        torch.testing.assert_close(our_train, torch.stack(their_train), rtol=0, atol=1e-6)
    torch.testing.assert_close(mine, logits, rtol=1e-5, atol=1e-5)


def joined() -> nn.Module:
    """Blocks with convolutions in their shortcuts: what both converters can read."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        stage(8, 8, 1, 1, "conv"),
        stage(8, 16, 2, 2, "conv"),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


# --- simulation ---


def test_curve_reads_every_step_of_one_run(resnet: nn.Module, images: Tensor) -> None:
    network = convert(resnet, [images], "ours", steps=8)
    labels = resnet(images).argmax(1)
    found = curve(network, images, labels, 24, batch=7, chunk=5, confidences=(0.2, 2.0))
    for steps in (1, 8, 24):
        right = predictions(network, images, steps).argmax(1) == labels
        assert abs(found.correct[steps - 1] - int(right.sum())) <= 1
    assert found.accuracy(24) > 80
    assert (found.exit_steps[2.0] == 24).all()
    assert (found.exit_steps[0.2] <= 24).all()
    assert found.exit_right[2.0].sum() == found.correct[-1]


@pytest.mark.parametrize("name", ["ours", "multi"])
def test_simulation_by_the_engine_equals_the_network(name: str, resnet: nn.Module, images: Tensor) -> None:
    network = convert(resnet, [images], name, steps=8)
    plain = network(images[None], None, 12)[0].double().cumsum(0) / torch.arange(1, 13).view(-1, 1, 1)
    for chunk in (None, 5):
        found = torch.cat(list(chunks(network, images, 12, chunk)))
        apart = (found - plain).abs().amax((0, 2)) > 1e-3  # a potential lay at a threshold, but for rounding
        assert int(apart.sum()) <= 4


@pytest.mark.parametrize("chunk", [None, 1, 5])
def test_a_network_that_settles_answers_with_its_last_steps(
    chunk: int | None, resnet: nn.Module, images: Tensor
) -> None:
    network = convert(resnet, [images], "settled", steps=8)
    logits = network(images[None], None, 12)[0].double()
    found = torch.cat(list(chunks(network, images, 12, chunk)))
    for t in (1, 2, 3, 8, 12):
        expected = logits[t // 2 : t].mean(0)
        assert int(((found[t - 1] - expected).abs().amax(1) > 1e-3).sum()) <= 4  # rounding at a threshold
    expected = predictions(network, images, 12)
    torch.testing.assert_close(found[-1], expected)


def test_early_exit(resnet: nn.Module, images: Tensor) -> None:
    network = convert(resnet, [images], "ours", steps=8)
    assert until_confident(network, images[0], 20, 0.0)[1] == 1
    label, steps = until_confident(network, images[0], 20, 1.1)
    assert steps == 20
    assert label == int(predictions(network, images[:1], 20).argmax())
    assert sum(len(c) for c in chunks(network, images, 9, 4)) == 9


# --- audit ---


def test_audit_names_dead_and_saturated_layers(images: Tensor) -> None:
    ann = warmed(CifarResNet(1), images)
    network = convert(ann, [images], "ours", steps=16)
    report = audit(network, images, 64)
    assert report.rows[0].layer == "relu"
    assert not report.problems
    assert "relu" in report.table()
    layer = network.neurons()["layer1_0_relu1"]
    layer.theta.mul_(1000)
    layer.amplitude.mul_(1000)
    with pytest.raises(ConversionError, match=r"layer1\.0\.relu1: .*silent"):
        audit(network, images, 64).raise_if_bad()
    layer.theta.mul_(1e-5)
    layer.amplitude.mul_(1e-5)
    with pytest.raises(ConversionError, match=r"layer1\.0\.relu1: .*saturated"):
        audit(network, images, 64).raise_if_bad()


def test_audit_sees_a_wrong_scale_at_a_join(resnet: nn.Module, images: Tensor) -> None:
    network = convert(resnet, [images], "rueckauer-max")
    units = unit_spikes(network)
    assert not audit(units, images, 128, network).problems
    assert not audit(units, images, 128).problems
    scale = next(name for name in units.layers if name.endswith("_scale"))
    units.layers[scale].factor.mul_(3)  # type: ignore[operator, union-attr]
    with pytest.raises(ConversionError, match=r"layer1\.0\.relu2: .*differ"):
        audit(units, images, 128, network).raise_if_bad()


# --- checkpoints and the service's classifier ---


def card(steps: int = 8) -> Card:
    contract = Contract("image", 3, 12, 12, steps, "direct", mean=(0.5,) * 3, std=(0.25,) * 3)
    return Card(contract, tuple("abcdefghij"))


@pytest.mark.parametrize(
    "name",
    [n for n in STREAMED if n not in ("hard-reset", "rueckauer-max", "multi8", "half", "mmse", "dcgs", "multi8-diff")],
)
def test_checkpoint_round_trip_and_prediction(name: str, resnet: nn.Module, images: Tensor, tmp_path: Path) -> None:
    network = convert(resnet, [images], name, steps=8)
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


def test_untrusted_graphs_are_refused(resnet: nn.Module, images: Tensor, tmp_path: Path) -> None:
    import json

    save(tmp_path, convert(resnet, [images], "ours", steps=4), card())
    document = json.loads((tmp_path / "config.json").read_text())
    nodes = document["network"]["nodes"]
    for change in (
        {"op": "import os"},
        {"name": "x.y"},
        {"inputs": ["later"]},
        {"shape": [0, 0, 0, 0]},
        {"stride": [0, 1]},
        {"groups": -1},
        {"shape": [1 << 20, 1 << 20, 3, 3]},
    ):
        broken = json.loads(json.dumps(document))
        broken["network"]["nodes"][1] = {**nodes[1], **change}
        (tmp_path / "config.json").write_text(json.dumps(broken))
        with pytest.raises(CheckpointError):
            load(tmp_path)


# --- accuracy on a small trained network ---


@pytest.fixture(scope="module")
def trained() -> tuple[nn.Module, Tensor, Tensor, Tensor]:
    """A tiny residual network that tells noisy stripes apart: (ann, calibration, test images, test labels)."""
    generator = torch.Generator().manual_seed(3)

    def draw(n: int) -> tuple[Tensor, Tensor]:
        y = torch.randint(0, 6, (n,), generator=generator)
        angle = y * torch.pi / 6
        grid = torch.linspace(-3, 3, 12)
        wave = torch.cos(angle)[:, None, None] * grid[:, None] + torch.sin(angle)[:, None, None] * grid[None]
        phase = torch.rand((n, 1, 1), generator=generator) * 6.28
        x = torch.sin(2.2 * wave + phase) + 1.6 * torch.randn((n, 12, 12), generator=generator)
        return x[:, None].repeat(1, 3, 1, 1), y

    torch.manual_seed(0)
    ann = CifarResNet(1, 3, 6)
    optimiser = torch.optim.Adam(ann.parameters(), 3e-3)
    for _ in range(60):
        x, y = draw(64)
        loss = F.cross_entropy(ann(x), y)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    x, y = draw(400)
    return ann.eval(), draw(64)[0], x, y


def test_accuracy_has_the_published_order(trained: tuple[nn.Module, Tensor, Tensor, Tensor]) -> None:
    ann, calibration, x, y = trained
    with torch.no_grad():
        top = 100 * float((ann(x).argmax(1) == y).float().mean())
    assert top > 80

    def at(method: str | Method, steps: int) -> float:
        return curve(convert(ann, [calibration], method, steps=steps), x, y, steps).accuracy(steps)

    found = {
        "rueckauer-max": at("rueckauer-max", 16), "rueckauer": at("rueckauer", 16), "hard-reset": at("hard-reset", 16),
        "sengupta": at("sengupta", 16), "half": at("half", 4), "few-spikes": at("few-spikes", 10),
        **{name: at(name, 8) for name in ("ltb", "mmse", "mmse-light", "searched", "ours", "settled", "bounded")},
        "signed": at("signed", 8),
        **{name: at(name, 2) for name in ("multi", "multi8", "multi-diff", "multi8-diff", "dcgs", "cascade")},
    }  # fmt: skip
    assert {*found, "qcfs"} == set(METHODS)  # which has a test of its own
    assert at("rueckauer", 4) < found["half"] - 30
    assert at("half", 2) < at("ours", 2) - 2
    assert found["hard-reset"] < found["rueckauer"] - 30
    assert found["rueckauer-max"] <= found["rueckauer"]
    assert found["sengupta"] < found["rueckauer"]
    assert found["rueckauer"] > top - 5
    for name in set(found) - {"rueckauer-max", "rueckauer", "hard-reset", "sengupta", "half"}:
        assert found[name] > top - 2, name


def test_qcfs_is_better_at_few_steps_than_a_plain_conversion(
    trained: tuple[nn.Module, Tensor, Tensor, Tensor],
) -> None:
    ann, calibration, x, y = trained
    network = with_qcfs(copy.deepcopy(ann), 4)
    set_levels(network, ann, calibration)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    with torch.no_grad():
        answers = ann(calibration).softmax(1)
    network.train()
    for _ in range(20):
        loss = F.cross_entropy(network(calibration), answers)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    def at(network: ConvertedNetwork, steps: int) -> float:
        return curve(network, x, y, steps).accuracy(steps)

    qcfs = convert(network.eval(), [calibration], "qcfs")
    assert at(qcfs, 4) > at(convert(ann, [calibration], "rueckauer"), 4) + 30
    assert at(qcfs, 4) > 80


def test_names_of_a_traced_graph(resnet: nn.Module) -> None:
    nodes = trace(resnet).nodes
    assert nodes[0].op == "input"
    assert nodes[-1].op == "linear"
    assert all(a.name != b.name for a, b in pairwise(nodes))
