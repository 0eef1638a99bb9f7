"""Conversion: every method comes to its ANN, in the published order; thresholds and calibration against their
equations; and runs of the network."""

import copy
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikesight.models.conversion import calibrate
from spikesight.models.conversion.ann_to_snn import TOLERANCE, build_network, check_against, convert
from spikesight.models.conversion.calibrate import regression
from spikesight.models.conversion.methods import METHODS, Method
from spikesight.models.conversion.simulate import chunks, curve
from spikesight.models.conversion.thresholds import by_channel, poisson, run_as_ann
from spikesight.models.networks.ann import CifarResNet, stage
from spikesight.models.networks.converted.graph import ConversionError, Node
from spikesight.models.networks.converted.neurons import SpikeLayer
from spikesight.models.neurons.layers import watching
from tests.support.models import warmed


@pytest.fixture(scope="module")
def small_images() -> Tensor:
    return torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def one_layer() -> nn.Module:
    """One layer of neurons between a convolution and a read-out."""
    torch.manual_seed(0)
    behind = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *behind).eval()


def test_broken_input_is_refused(resnet: nn.Module, images: Tensor) -> None:
    broken = CifarResNet(1).eval()
    broken.layer1[0].conv1.weight.data[0, 0, 0, 0] = torch.nan  # type: ignore[union-attr, index]
    for ann, batches, options, words in (
        (resnet, [], {}, "calibration images"),
        (resnet, [images[:0]], {}, "calibration images"),
        (resnet, [images], {"steps": 0}, "steps must be positive"),
        (resnet, [images / 0], {}, "not finite"),
        (resnet, [images.to(torch.uint8)], {}, "float"),
        (resnet, [images, images[..., :8]], {}, "differ in size"),
        (copy.deepcopy(resnet).double(), [images], {}, "the ANN does not take these images"),
        (resnet, [images.flatten(2)], {}, r"float \[N, C, H, W\], not torch.float32 \(16, 3, 144\)"),
        (resnet, [images], {"method": "magic"}, "unknown method"),
        (broken, [images], {}, r"layer1\.0\.conv1\.weight has values that are not finite"),
    ):
        with pytest.raises(ConversionError, match=words):
            convert(ann, batches, **options)  # type: ignore[arg-type]


def test_every_layer_of_the_ann_stays_in_its_mode(images: Tensor) -> None:
    ann = CifarResNet(1).train()
    ann.bn1.eval()  # frozen, as in fine-tuning
    modes = [module.training for module in ann.modules()]
    convert(ann, [images], steps=4)
    assert [module.training for module in ann.modules()] == modes


def test_one_step_and_rows_of_features_will_do() -> None:
    ann = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)).eval()
    network = convert(ann, [torch.empty(0, 5), torch.randn(9, 5)], "ours", steps=1)
    assert network(torch.randn(1, 2, 5), None, 1)[0].shape == (1, 2, 3)


@pytest.mark.parametrize("largest", [0.01, 50.0])
@pytest.mark.parametrize("share", [0.5, 2.0])
def test_another_graph_is_refused(largest: float, share: float, one_layer: nn.Module, small_images: Tensor) -> None:
    """Farther from it than a share of its largest logit, or of one."""
    ann = copy.deepcopy(one_layer)
    with torch.no_grad():
        scale = largest / float(ann(small_images).abs().max())
        ann[-1].weight.mul_(scale)  # type: ignore[index, operator, union-attr]
        ann[-1].bias.mul_(scale)  # type: ignore[index, operator, union-attr]
    network = build_network(ann, small_images, METHODS["ours"].rule)
    moved = share * TOLERANCE * max(1.0, largest)
    network.layers[network.config.nodes[-1].name].bias.add_(moved)  # type: ignore[operator, union-attr]
    with pytest.raises(ConversionError, match="differ from the ANN's by") if share > 1 else nullcontext():
        check_against(ann, network, small_images)


@pytest.mark.parametrize("name", [n for n in METHODS if n not in ("hard-reset", "sengupta")])
def test_every_method_comes_to_the_ann(name: str, resnet: nn.Module, images: Tensor) -> None:
    """With maximum thresholds no neuron saturates: the mean output goes to the ANN's, whatever the rule."""
    method = replace(METHODS[name], threshold="percentile", percent=100.0, light=False)
    network = convert(resnet, [images], method)
    images = images[:8]
    with torch.no_grad():
        expected = resnet(images)
    *_, answers = chunks(network, images, 200)
    error = float((answers[-1] - expected).abs().max() / expected.abs().max())
    assert error < 0.2


def test_spikes_equal_spikingjelly(images: Tensor) -> None:
    ann2snn = pytest.importorskip("spikingjelly.activation_based.ann2snn")
    from spikingjelly.activation_based import neuron as sj

    torch.manual_seed(0)  # weights without a tie at a threshold, where sums in another order may decide otherwise
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
    first = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
    blocks = stage(8, 8, 1, 1, "conv"), stage(8, 16, 2, 2, "conv")
    return nn.Sequential(*first, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


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


def test_accuracy_has_the_published_order() -> None:
    ann, calibration, x, y = trained()
    with torch.no_grad():
        top = 100 * float((ann(x).argmax(1) == y).float().mean())
    assert top > 80

    def at(method: str | Method, steps: int) -> float:
        return curve(convert(ann, [calibration], method, steps=steps), x, y, steps).accuracy(steps)

    found = {
        "rueckauer-max": at("rueckauer-max", 16), "rueckauer": at("rueckauer", 16), "hard-reset": at("hard-reset", 16),
        "sengupta": at("sengupta", 16), **{name: at(name, 8) for name in ("ltb", "ours", "bounded")},
    }  # fmt: skip
    assert set(found) == set(METHODS)
    assert at("rueckauer", 4) < at("ltb", 4) - 30
    assert found["hard-reset"] < found["rueckauer"] - 30
    assert found["rueckauer-max"] <= found["rueckauer"]
    assert found["sengupta"] < found["rueckauer"]
    assert found["rueckauer"] > top - 5
    assert min(found[name] for name in ("ltb", "ours", "bounded")) > top - 2


def thetas(ann: nn.Module, images: Tensor, method: str, **changes: object) -> Tensor:
    network = convert(ann, list(images.split(8)), replace(METHODS[method], **changes), steps=8)  # type: ignore[arg-type]
    (layer,) = network.neurons().values()
    return layer.theta


def currents(ann: nn.Module, images: Tensor) -> Tensor:
    """[4, values] of the one layer."""
    with torch.no_grad():
        return ann[0](images).transpose(0, 1).flatten(1)  # type: ignore[index, operator]


def test_percentiles_of_layer_and_channel(one_layer: nn.Module, small_images: Tensor) -> None:
    z = currents(one_layer, small_images)
    torch.testing.assert_close(thetas(one_layer, small_images, "rueckauer-max"), z.amax().expand(4))
    positive = z[z > 0].sort().values
    rank = -(-len(positive) * 999 // 1000) - 1
    torch.testing.assert_close(thetas(one_layer, small_images, "rueckauer"), positive[rank].expand(4))
    half = thetas(one_layer, small_images, "ours", repair=False, search=False, light=False, percent=50.0)
    for theta, row in zip(half, z):
        above = row[row > 0].sort().values
        assert float(theta) == pytest.approx(float(above[-(-len(above) // 2) - 1]))


def test_a_maximum_is_that_of_all_images() -> None:
    ann = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 2)).eval()
    x = torch.rand(40_000, 1, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ann[0].weight.fill_(2)  # type: ignore[operator, union-attr]
        x[1] = 9
    (layer,) = convert(ann, [x], "rueckauer-max").neurons().values()
    assert float(layer.theta) == 18


def test_one_pass_of_ltb(one_layer: nn.Module, small_images: Tensor) -> None:
    theta = torch.zeros(4)
    for batch in small_images.split(8):
        z = currents(one_layer, batch)
        theta = theta + 2 * ((z - theta[:, None]) * (z > theta[:, None])).mean(1)
    torch.testing.assert_close(thetas(one_layer, small_images, "ltb", passes=1), theta)


def test_spike_norm_takes_the_largest_current_of_a_step(one_layer: nn.Module, small_images: Tensor) -> None:
    spikes = poisson(small_images, 8, torch.Generator().manual_seed(0))
    largest = torch.stack([currents(one_layer, x).amax() for x in spikes]).amax()
    torch.testing.assert_close(thetas(one_layer, small_images, "sengupta"), largest.expand(4))


def test_a_dead_channel_gets_a_tiny_threshold(one_layer: nn.Module, small_images: Tensor) -> None:
    ann = copy.deepcopy(one_layer)
    with torch.no_grad():
        ann[0].weight[2] = 0  # type: ignore[index]
        ann[0].bias[2] = -1  # type: ignore[index]
    theta = thetas(ann, small_images, "ours", search=False)
    assert float(theta[2]) == pytest.approx(1e-6)
    assert (theta[[0, 1, 3]] > 0.1).all()


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.Linear(6, 2)], ids=str)
def test_regression_is_least_squares_with_a_ridge(layer: nn.Conv2d | nn.Linear) -> None:
    """Of the change, in which the ridge's equations ask every weight, but no bias, to be 0."""
    generator = torch.Generator().manual_seed(0)
    layer.requires_grad_(False)
    x = torch.randn((40, 3, 9, 9) if isinstance(layer, nn.Conv2d) else (50, 6), generator=generator)
    target = torch.randn(layer(x).shape, generator=generator)
    weight, bias = regression(layer, x, target)
    missing = target - layer(x)
    if isinstance(layer, nn.Conv2d):
        x = nn.functional.unfold(x, 3, padding=1, stride=2).transpose(1, 2).flatten(0, 1)
        missing = missing.flatten(2).transpose(1, 2).flatten(0, 1)
    hold = (calibrate.RIDGE * x.square().sum(0).mean()).sqrt() * torch.eye(x.shape[1])
    rows = torch.cat([nn.functional.pad(x, (0, 1), value=1.0), nn.functional.pad(hold, (0, 1))])
    best = torch.linalg.lstsq(rows, nn.functional.pad(missing, (0, 0, 0, len(hold)))).solution
    torch.testing.assert_close(weight.flatten(1).T, best[:-1], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(bias, best[-1], rtol=1e-3, atol=1e-4)


def test_the_read_out_is_repaired_and_what_reads_the_image_is_not(one_layer: nn.Module, small_images: Tensor) -> None:
    network = convert(one_layer, [small_images], "rueckauer", steps=4)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    calibrate.calibrate(network, small_images, 4, repair=True, search=False, light=False)
    moved = {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {network.layers[name.split(".")[1]] for name in moved} == {network.layers[network.config.nodes[-1].name]}
    assert len(moved) == 2


STEPS = 11


@pytest.mark.parametrize("chunk", [1, 4, None])
def test_a_curve_counts_right_answers_by_step(chunk: int | None, one_layer: nn.Module, small_images: Tensor) -> None:
    network = convert(one_layer, [small_images], "rueckauer", steps=8)
    labels = torch.arange(len(small_images)) % 3
    answers = torch.cat([torch.cat(list(chunks(network, part, STEPS, chunk)), 0) for part in small_images.split(9)], 1)
    found = curve(network, small_images, labels, STEPS, batch=9, chunk=chunk)
    right = (answers.argmax(2) == labels).sum(1)
    assert found.correct.tolist() == right.tolist()
    assert found.accuracy(STEPS) == pytest.approx(100 * int(right[-1]) / 24)


@pytest.mark.parametrize("chunk", [None, 1, 5])
@pytest.mark.parametrize("name", ["ours", "bounded"])
def test_an_answer_is_a_mean_of_counted_steps(name: str, chunk: int | None, resnet: nn.Module, images: Tensor) -> None:
    """By the engine where it takes the network."""
    network = convert(resnet, [images], name, steps=8)
    logits = network(images[None], None, 12)[0].double()
    parts = list(chunks(network, images, 12, chunk))
    assert all(len(part) <= (chunk or 12) for part in parts)
    found = torch.cat(parts)
    for t in range(1, 13):
        expected = logits[(t // 2 if name == "bounded" else 0) : t].mean(0)
        assert int(((found[t - 1] - expected).abs().amax(1) > 1e-3).sum()) <= 4  # rounding at a threshold


def test_calibrated_biases_bring_the_means_together(resnet: nn.Module, images: Tensor) -> None:
    def gap(light: bool) -> float:
        network = convert(resnet, [images], replace(METHODS["ours"], repair=False, search=False, light=light), steps=8)
        wanted, found = list[Tensor](), list[Tensor]()

        def keep(_: Node, z: Tensor) -> Tensor:
            wanted.append(by_channel(z.relu()).mean(1))
            return z.relu()

        def see(_: str, __: SpikeLayer, ___: Tensor, spikes: Tensor) -> None:
            found.append(by_channel(spikes.mean(0)).mean(1))

        run_as_ann(build_network(resnet, images, network.config.rule), images, keep)
        with watching(network, SpikeLayer, see):
            network(images[None], None, 8)
        return sum(float((a - b).abs().mean() / a.mean()) for a, b in zip(wanted, found, strict=True))

    assert gap(light=True) < gap(light=False) / 2
