"""Calibration behind real spikes: biases, thresholds and weights, and its memory."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from spikesight.models.conversion import ann_to_snn as convert_module
from spikesight.models.conversion import calibrate
from spikesight.models.conversion.ann_to_snn import convert, graph_of, images_that_fit
from spikesight.models.conversion.audit import audit
from spikesight.models.conversion.calibrate import Code, bias_source, regression, repaired, search_threshold
from spikesight.models.conversion.methods import METHODS
from spikesight.models.conversion.simulate import predictions
from spikesight.models.conversion.thresholds import walk
from spikesight.models.networks.ann import SmallCnn
from spikesight.models.networks.converted.differential import corrections
from spikesight.models.networks.converted.graph import Node
from spikesight.models.networks.converted.network import ConvertedConfig, ConvertedNetwork
from spikesight.models.networks.converted.neurons import AGE, SpikeLayer
from spikesight.models.networks.converted.rules import SpikeRule


@pytest.mark.parametrize(("calibrated", "plain"), [("mmse-light", "mmse"), ("multi-repaired", "multi-diff")])
def test_calibrated_biases_bring_the_means_together(
    calibrated: str, plain: str, resnet: nn.Module, images: Tensor
) -> None:
    def gap(name: str) -> float:
        network = convert(resnet, [images], name, steps=8)
        return sum(row.bias for row in audit(network, images, 8, graph_of(resnet, images)).rows)

    assert gap(calibrated) < gap(plain) / 2


def test_corrections_add_up_to_the_mean() -> None:
    rates = torch.randn(5, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    sent = corrections(rates, {AGE: torch.zeros(3)}, "x")
    torch.testing.assert_close(Code(differential=True).mean(sent), rates.mean(0))


@pytest.mark.parametrize(
    ("values", "first", "mean"), [([4], 1, 4), ([4, 8], 0, 6), ([4, 8], 1, 8), ([4, 8, 2], 1, 5), ([4, 8, 2], 2, 2)]
)
def test_a_mean_is_of_the_steps_that_count_or_of_the_only_one(values: list[float], first: int, mean: float) -> None:
    assert Code(first).mean(torch.tensor(values, dtype=torch.float32)[:, None]).tolist() == [mean]


def lstsq(x: Tensor, y: Tensor) -> Tensor:
    return torch.linalg.lstsq(torch.cat([x, torch.ones(len(x), 1)], 1), y).solution


def test_regression_is_least_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "RIDGE", 0.0)
    generator = torch.Generator().manual_seed(0)
    x, layer = torch.randn(40, 3, 9, 9, generator=generator), nn.Conv2d(3, 5, 3, stride=2, padding=1)
    layer.requires_grad_(False)
    target = torch.randn(layer(x).shape, generator=generator)
    weight, bias = regression(layer, x, target)
    windows = nn.functional.unfold(x, 3, padding=1, stride=2).transpose(1, 2).flatten(0, 1)
    best = lstsq(windows, target.flatten(2).transpose(1, 2).flatten(0, 1))
    torch.testing.assert_close((layer.weight + weight).flatten(1).T, best[:-1], rtol=1e-3, atol=1e-4)
    assert layer.bias is not None
    torch.testing.assert_close(layer.bias + bias, best[-1], rtol=1e-3, atol=1e-4)
    linear = nn.Linear(6, 2).requires_grad_(False)
    x, target = torch.randn(50, 6, generator=generator), torch.randn(50, 2, generator=generator)
    weight, bias = regression(linear, x, target)
    torch.testing.assert_close((linear.weight + weight).T, lstsq(x, target)[:-1], rtol=1e-3, atol=1e-4)


def test_a_strong_ridge_holds_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrate, "RIDGE", 1e9)
    layer = nn.Linear(6, 2).requires_grad_(False)
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))
    weight, bias = regression(layer, x, layer(x) + 1)
    assert float(weight.abs().max()) < 1e-6
    torch.testing.assert_close(bias, torch.ones(2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("code", [Code(), Code(2), Code(differential=True)])
def test_repaired_currents_are_those_of_the_new_weights(code: Code) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = nn.Conv2d(3, 4, 3, padding=1).requires_grad_(False)
    spikes = (torch.rand(6, 8, 3, 5, 5, generator=generator) < 0.3).float()
    other = torch.randn(6, 8, 4, 5, 5, generator=generator)  # a shortcut's share
    target = torch.randn(8, 4, 5, 5, generator=generator)

    def rest() -> Tensor:  # the bias, where it does not flow at every step
        assert layer.bias is not None
        return layer.bias.clone().view(1, 4, 1, 1) * code.differential

    def currents() -> Tensor:
        return layer(spikes.flatten(0, 1)).unflatten(0, (6, 8)) + other - rest()

    def error(x_seq: Tensor) -> float:
        return float((code.mean(x_seq) + rest() - target).square().mean())

    before, missed = currents(), error(currents())
    after = repaired(layer, spikes, before, target, code, rest())
    torch.testing.assert_close(after, currents(), rtol=1e-4, atol=1e-4)
    assert error(after) < missed


@pytest.mark.parametrize("first", [0, 4])
def test_search_takes_the_nearest_candidate(first: int) -> None:
    generator = torch.Generator().manual_seed(0)
    layer = SpikeLayer(METHODS["ours"].rule, 3)
    layer.key = "n"
    layer.theta.copy_(torch.tensor([1.0, 2.0, 3.0]))
    x = torch.randn(8, 16, 3, 4, 4, generator=generator)
    target, errors = x.mean(0).relu(), {}
    for share in calibrate.CANDIDATES:
        trial = SpikeLayer(METHODS["ours"].rule, 3)
        trial.key = "n"
        trial.theta.copy_(layer.theta * share)
        trial.amplitude.copy_(trial.theta)
        errors[share] = (trial(x, {}, 8)[first:].mean(0) - target).square().transpose(0, 1).flatten(1).mean(1)
    search_threshold(layer, lambda x_seq: layer(x_seq, {}, 8), x, target, Code(first))
    for channel in range(3):
        best = min(errors, key=lambda share: float(errors[share][channel]))
        assert float(layer.theta[channel]) == pytest.approx(float(torch.tensor([1.0, 2.0, 3.0])[channel] * best))
    assert torch.equal(layer.theta, layer.amplitude)


def test_repair_brings_the_logits_nearer(small_images: Tensor) -> None:
    torch.manual_seed(0)
    ann = SmallCnn(3).train()
    for module in ann.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        ann(small_images)
    wanted = walk(graph_of(ann.eval(), small_images), small_images)

    def error(repair: bool) -> float:
        method = replace(METHODS["ours"], repair=repair, search=False, light=False)
        return float(
            (predictions(convert(ann, [small_images], method, steps=6), small_images, 6) - wanted).square().mean()
        )

    assert error(repair=True) < 0.7 * error(repair=False)


def test_a_silent_layer_is_left_as_it_is() -> None:
    layer = nn.Conv2d(3, 4, 3, padding=1).requires_grad_(False)
    weight, bias = regression(layer, torch.zeros(6, 3, 5, 5), torch.ones(6, 4, 5, 5))
    assert torch.equal(weight, torch.zeros_like(weight))
    assert layer.bias is not None
    torch.testing.assert_close(layer.bias + bias, torch.ones(4), rtol=1e-5, atol=1e-5)


def test_calibration_keeps_within_its_memory(
    one_layer: nn.Module, small_images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = graph_of(one_layer, small_images)
    assert images_that_fit(network, small_images[:1], 32) == 128
    assert images_that_fit(network, small_images[:1], 1 << 14) == 64, "a gigabyte of spikes"
    monkeypatch.setattr(convert_module, "CALIBRATED_VALUES", 4 * 8 * 8 * 32 * 10)
    assert images_that_fit(network, small_images[:1], 32) == 10
    assert images_that_fit(network, small_images[:1], 100_000) == 1


def fed(behind: tuple[Node, ...], shape: tuple[int, ...] = (4,)) -> ConvertedNetwork:
    """A linear layer that gives what it takes, and nodes behind it."""
    nodes = (Node("x", "input"), Node("l", "linear", ("x",), shape=(4, 4)), *behind)
    network = ConvertedNetwork(ConvertedConfig(nodes, SpikeRule("if", v0=0.0, inclusive=True), shape, 4))
    network.layers["l"].weight.copy_(torch.eye(4))  # type: ignore[operator, union-attr]
    network.layers["l"].bias.zero_()  # type: ignore[operator, union-attr]
    return network


def test_what_cannot_be_fitted_is_left_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    plain, grouped = (nn.Conv2d(4, 4, 3, padding=1, groups=groups).requires_grad_(False) for groups in (1, 2))
    linear = nn.Linear(4, 4).requires_grad_(False)
    square, row = torch.rand(5, 6, 4, 4, 4, generator=generator), torch.rand(5, 6, 4, generator=generator)
    for layer, spikes, target, fits in (
        (plain, square, square[0], True),
        (grouped, square, square[0], False),
        (plain, square, square[0][..., ::2, ::2], False),  # a max-pool stands between
        (linear, row, row[0], True),
    ):
        before = layer.weight.clone()
        currents = target.expand(5, *target.shape)
        after = repaired(layer, spikes, currents, target + 1, Code())
        assert torch.equal(layer.weight, before) != fits
        assert torch.equal(after, currents) != fits


def test_the_read_out_is_repaired_and_what_reads_the_image_is_not(one_layer: nn.Module, small_images: Tensor) -> None:
    network = convert(one_layer, [small_images], "half", steps=4)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    calibrate.calibrate(network, small_images, 4, repair=True, search=False, light=False)
    moved = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {network.layers[name.split(".")[1]] for name in moved} == {network.layers[network.config.nodes[-1].name]}
    assert len(moved) == 2


def spiking(name: str, read: str) -> Node:
    return Node(name, "neuron", (read,), shape=(4,))


def pooling(op: str) -> Node:
    return Node("p", op, ("l",), kernel=(1, 1), stride=(1, 1), padding=(0, 0))


SOURCES: dict[str, tuple[tuple[Node, ...], str | None]] = {
    "a layer": ((), "l"),
    "behind a max-pool": ((pooling("max_pool"),), "l"),
    "behind an average": ((pooling("avg_pool"),), None),
    "a layer that two read": ((spiking("m", "l"), Node("s", "add", ("l", "m"))), None),
    "a sum, the layer second": ((spiking("a", "x"), Node("s", "add", ("a", "l"))), "l"),
    "a sum of two layers": ((Node("k", "linear", ("x",), shape=(4, 4)), Node("s", "add", ("k", "l"))), "k"),
    "a sum of a sum": ((spiking("a", "x"), Node("s", "add", ("l", "a")), Node("t", "add", ("s", "a"))), "l"),
    "a sum of spikes": ((spiking("a", "l"), spiking("b", "x"), Node("s", "add", ("a", "b"))), None),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_neurons_bias_is_that_of_the_one_layer_that_feeds_it_alone(name: str) -> None:
    behind, source = SOURCES[name]
    network = fed((*behind, spiking("n", behind[-1].name if behind else "l")))
    found = bias_source(network, next(node for node in network.neuron_nodes() if node.name == "n"))
    assert (found and found.name) == source
