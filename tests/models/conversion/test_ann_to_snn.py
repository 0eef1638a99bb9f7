"""Conversion: every method comes to its ANN, in the published order; SpikingJelly's converter as an oracle."""

import copy
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from spikesight.models.conversion.ann_to_snn import TOLERANCE, build_network, check_against, convert
from spikesight.models.conversion.methods import METHODS, Method, usual
from spikesight.models.conversion.simulate import curve, predictions
from spikesight.models.networks.ann import CifarResNet, stage
from spikesight.models.networks.converted.graph import ConversionError
from tests.support.models import warmed


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


def test_where_no_method_is_named_the_steps_decide(one_layer: nn.Module, small_images: Tensor) -> None:
    for steps in (4, 32):
        made = convert(one_layer, [small_images], steps=steps)
        assert made.config.rule == METHODS[usual(steps)].rule


def test_one_step_and_rows_of_features_will_do() -> None:
    ann = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)).eval()
    network = convert(ann, [torch.empty(0, 5), torch.randn(9, 5)], "ours", steps=1)
    assert network(torch.randn(1, 2, 5), None, 1)[0].shape == (1, 2, 3)


@pytest.mark.parametrize("largest", [0.01, 50.0])
@pytest.mark.parametrize("share", [0.5, 2.0])
def test_a_graph_that_is_not_its_ann_is_refused(
    largest: float, share: float, one_layer: nn.Module, small_images: Tensor
) -> None:
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
    error = float((predictions(network, images, 200) - expected).abs().max() / expected.abs().max())
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
        "sengupta": at("sengupta", 16), **{name: at(name, 8) for name in ("ltb", "ours", "bounded")},
    }  # fmt: skip
    assert set(found) == set(METHODS)
    assert at("rueckauer", 4) < at("ltb", 4) - 30
    assert found["hard-reset"] < found["rueckauer"] - 30
    assert found["rueckauer-max"] <= found["rueckauer"]
    assert found["sengupta"] < found["rueckauer"]
    assert found["rueckauer"] > top - 5
    assert min(found[name] for name in ("ltb", "ours", "bounded")) > top - 2
