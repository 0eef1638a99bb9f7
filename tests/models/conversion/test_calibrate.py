"""Calibration behind real spikes: biases, thresholds and weights, and its memory."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from models.conversion import calibrate
from models.conversion import convert as convert_module
from models.conversion.audit import audit
from models.conversion.calibrate import Code, regression, repaired, search_threshold
from models.conversion.convert import convert, graph_of, images_that_fit
from models.conversion.methods import METHODS
from models.conversion.simulate import predictions
from models.conversion.thresholds import walk
from models.networks.ann import SmallCnn
from models.networks.converted.differential import corrections
from models.networks.converted.neurons import AGE, SpikeLayer


@pytest.mark.parametrize(("calibrated", "plain"), [("mmse-light", "mmse"), ("multi-repaired", "multi-diff")])
def test_calibrated_biases_bring_the_means_together(
    calibrated: str, plain: str, resnet: nn.Module, images: Tensor
) -> None:
    def gap(name: str) -> float:
        network = convert(resnet, [images], name, steps=8)
        return audit(network, images, 8, graph_of(resnet, images)).mean_bias()

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
    assert images_that_fit(network, small_images[:1], 32) == convert_module.CALIBRATED
    monkeypatch.setattr(convert_module, "CALIBRATED_VALUES", 4 * 8 * 8 * 32 * 10)
    assert images_that_fit(network, small_images[:1], 32) == 10
    assert images_that_fit(network, small_images[:1], 100_000) == 1
