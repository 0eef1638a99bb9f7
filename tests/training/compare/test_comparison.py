"""What a comparison asks of each job: settings, images and the order of the methods, with nothing trained."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spikesight.models.conversion.methods import METHODS
from spikesight.models.networks.ann import ANNS, Qcfs
from spikesight.models.networks.stdp import StdpConfig, StdpLayer, rates_of
from spikesight.training.compare import comparison
from spikesight.training.compare.ann import ann_settings
from spikesight.training.compare.comparison import Comparison, joined
from spikesight.training.compare.config import CompareConfig
from spikesight.training.compare.costs import Stepwise, activations, metered_steps
from spikesight.training.compare.results import AnnResult, Cost, Curve, CurvePiece, StdpResult, Trial
from spikesight.training.data.pictures import Images
from spikesight.training.flags import RENAMED, RETIRED
from tests.support.inputs.data_sets import write_idx, write_stripes

Fit = list[tuple[nn.Module, Images, Any]]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stripes(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def fitted(monkeypatch: pytest.MonkeyPatch) -> Fit:
    """(network, images, settings) of every training that was asked for; nothing learns."""
    asked: Fit = []

    def fit(network: nn.Module, images: Images, _: object, __: object, settings: Any, ___: object) -> nn.Module:
        asked.append((network, images, settings))
        return network.eval()

    monkeypatch.setattr(comparison, "fit_ann", fit)
    return asked


def small(pictures: Path, output: Path, **changes: Any) -> CompareConfig:
    return replace(
        CompareConfig(data=str(pictures), output=str(output), held=6, images=8, calibration=8, steps=4, qcfs_epochs=3),
        **{"train_images": 50, "ann_epochs": 7, "tune_images": 40, "seed": 5, **changes},
    )


def test_an_ann_is_trained_on_some_of_the_images_with_the_usual_settings(
    pictures: Path, tmp_path: Path, fitted: Fit
) -> None:
    compared = Comparison(small(pictures, tmp_path), lambda _: None)
    network, result = compared.ann()
    ((made, images, settings),) = fitted
    assert settings == ann_settings(7, shift=4, flip=True, seed=5)
    assert np.array_equal(images.pixels, compared.train.subset(50, 5).pixels)
    assert all(torch.equal(a, b) for a, b in zip(made.state_dict().values(), network.state_dict().values()))
    torch.manual_seed(5)
    fresh = ANNS["cifar-resnet8"].build(3, 2)
    assert all(torch.equal(a, b) for a, b in zip(fresh.state_dict().values(), network.state_dict().values()))
    assert (result.images, result.images_here) == (24, 8)
    right = comparison.hits(network, compared.prepared(compared.test), compared.test.labels)
    assert (result.accuracy, result.accuracy_here) == (100 * right.mean(), 100 * right[:8].mean())
    again, fresh_result = Comparison(small(pictures, tmp_path, images=9), lambda _: None).ann()
    assert len(fitted) == 1, "trained before, and read on other images"
    assert fresh_result.images_here == 9
    assert torch.equal(next(again.parameters()), next(network.parameters()))


def test_given_weights_are_taken_as_they_are_or_tuned(pictures: Path, tmp_path: Path, fitted: Fit) -> None:
    given = ANNS["cifar-resnet8"].build(3, 2)
    torch.save(given.state_dict(), tmp_path / "ann.pt")
    config = small(pictures, tmp_path / "plain", weights=str(tmp_path / "ann.pt"))
    plain = Comparison(config, lambda _: None)
    network, _ = plain.ann()
    assert all(torch.equal(a, b) for a, b in zip(given.state_dict().values(), network.state_dict().values()))
    assert not fitted
    assert plain.ann_key() == {**plain.data_key(), "network": "cifar-resnet8", "weights": plain.weights_hash, "tune": 0}
    tuned = Comparison(replace(config, output=str(tmp_path / "tuned"), tune_epochs=2), lambda _: None)
    tuned.ann()
    ((made, images, settings),) = fitted
    assert settings == ann_settings(2, lr=0.02, shift=4, flip=True, seed=5)
    assert np.array_equal(images.pixels, tuned.train.subset(40, 5).pixels)
    assert torch.equal(next(made.parameters()), next(given.parameters()))
    assert tuned.ann_key()["tune"] == [2, 40]
    tuned.qcfs(network)
    assert len(fitted[1][1]) == 40


def test_levels_are_tuned_from_the_ann(pictures: Path, tmp_path: Path, fitted: Fit) -> None:
    compared = Comparison(small(pictures, tmp_path), lambda _: None)
    found = compared.qcfs(ANNS["cifar-resnet8"].build(3, 2).eval())
    ((made, images, settings),) = fitted
    assert settings == ann_settings(3, lr=0.02, flip=True, seed=5)
    assert np.array_equal(images.pixels, compared.train.subset(50, 5).pixels)
    levels = [module for module in made.modules() if isinstance(module, Qcfs)]
    assert levels
    assert {module.levels for module in levels} == {8}
    assert (found.method, found.images, len(found.correct), list(found.work)) == ("qcfs", 8, 4, ["2", "4"])


def test_stdp_names_its_neurons_by_training_images_and_reads_test_images(tmp_path: Path) -> None:
    write_idx(tmp_path)
    config = CompareConfig(
        data="mnist", root=str(tmp_path), output=str(tmp_path / "out"), network="small-cnn", direct=(), held=4,
        images=5, stdp_neurons=6, stdp_images=15, calibration=4,
    )  # fmt: skip
    compared = Comparison(config, lambda _: None)
    found = compared.stdp(2)
    train = compared.train.subset(15, 2)
    layer = StdpLayer(StdpConfig(inputs=784, neurons=6), 2)
    layer.learn(rates_of(train.pixels))
    layer.name(rates_of(train.pixels), train.labels, 10)
    right = int((layer.predict(rates_of(compared.test[:5].pixels)) == compared.test[:5].labels).sum())
    assert (found.method, found.right, found.images) == ("stdp, 6 neurons", right, 5)
    assert (found.seed, found.train_images) == (2, 15)


class Asked(Comparison):
    """A comparison that writes down its jobs; of the methods the later named is the better one."""

    def __init__(self, config: CompareConfig, folder: Path, channels: int) -> None:
        self.config, self.folder, self.jobs = config, folder, list[tuple[Any, ...]]()
        pixels = np.zeros((1, channels, 2, 2), np.uint8)
        self.data = SimpleNamespace(name="d", classes=("a", "b"), train=SimpleNamespace(pixels=pixels))  # type: ignore[assignment]

    def ann(self) -> tuple[nn.Module, AnnResult]:
        top = AnnResult(accuracy=90.0, images=9, accuracy_here=90.0, images_here=9, macs=1.0, activations=1)
        return nn.Identity(), top

    def trial(self, ann: nn.Module, method: str, aim: int) -> Trial:
        del ann
        self.jobs.append(("trial", method, aim))
        return Trial(method=method, steps=aim, right=len(self.jobs), images=9)

    def conversion(self, ann: nn.Module, method: str, steps: int, aim: int, count: int) -> Curve:
        del ann
        self.jobs.append((method, steps, aim, count))
        return Curve(method=method, correct=[1], images=count)

    def qcfs(self, ann: nn.Module) -> Curve:
        del ann
        return Curve(method="qcfs", correct=[1], images=9)

    def direct(self, spec: str) -> Curve:
        return Curve(method=spec, correct=[1], images=9)

    def stdp(self, seed: int) -> StdpResult:
        return StdpResult(method="stdp", right=1, images=9, seed=seed)


def test_the_best_of_each_coding_is_followed_and_made_for_each_aim(tmp_path: Path) -> None:
    config = CompareConfig(
        methods=("half", "ours"), multi=("signed", "multi"), long=("ltb",), direct=("direct/arctan/4",), aims=(2, 3),
        qcfs_epochs=1,
    )  # fmt: skip
    asked = Asked(config, tmp_path, 1)
    results = asked.run()
    assert asked.jobs == [
        ("trial", "half", 32), ("trial", "ours", 32), ("ours", 32, 32, 10_000), ("ours", 2, 2, 2000),
        ("ours", 3, 3, 2000), ("trial", "signed", 8), ("trial", "multi", 8), ("multi", 8, 8, 10_000),
        ("half", 64, 32, 2000), ("ours", 64, 32, 2000), ("signed", 16, 8, 2000), ("multi", 16, 8, 2000),
        ("ltb", 2500, 32, 200),
    ]  # fmt: skip
    assert [trial.coding for trial in results.trials] == ["binary", "binary", "multi", "multi"]
    assert [curve.method for curve in results.aimed] == ["ours made for T = 2", "ours made for T = 3"]
    assert [curve.method for curve in results.binary] == ["half", "ours", "qcfs"]
    assert [curve.method for curve in results.multi] == ["signed", "multi"]
    assert [curve.method for curve in results.direct] == ["direct/arctan/4"]
    assert [found.seed for found in results.stdp] == [0, 1, 2]
    assert (tmp_path / "results.json").is_file()


def test_what_is_left_out_is_not_asked_for(tmp_path: Path) -> None:
    config = CompareConfig(methods=("half",), multi=(), long=(), direct=())
    for changes, jobs in (({"held": 0}, 0), ({"chosen_images": 0}, 1)):
        asked = Asked(replace(config, **changes), tmp_path, 1)
        results = asked.run()
        assert len(asked.jobs) == jobs + 1
        assert (results.chosen, results.aimed) == ([], [])
        assert [curve.method for curve in results.binary] == ["half"]
    assert not Asked(config, tmp_path, 3).run().stdp, "STDP reads grey images"
    assert not Asked(replace(config, stdp_neurons=0), tmp_path, 1).run().stdp


def test_a_direct_network_has_the_anns_shape_and_the_usual_settings(tmp_path: Path) -> None:
    config = CompareConfig(data="d", root="r", direct_epochs=4, train_images=50, images=9, seed=5)
    compared, asked = Asked(config, tmp_path, 3), list[Any]()
    compared.test = Images(np.zeros((12, 3, 6, 5), np.uint8), np.zeros(12, int))
    compared.data_key = lambda: {"sizes": 1}  # type: ignore[method-assign]
    compared.store = SimpleNamespace(get=lambda *job: asked.append(job[1:3]))  # type: ignore[assignment]
    Comparison.direct(compared, "rate/triangular/7")
    ((name, key),) = asked
    assert (name, key["sizes"], key["test"], key["images"]) == ("direct/rate/triangular/7", 1, 9, 50)
    wanted = {
        "data": "d", "network": "cifar-resnet8", "encoding": "rate", "surrogate": "triangular", "steps": 7, "height": 6,
        "width": 5, "channels": 3, "epochs": 4, "batch_size": 128, "lr": 4e-3, "warmup_epochs": 0.3, "ema": 0.995,
        "loss": "tet", "seed": 5, "device": "cpu", "rotate": 0.0, "drop": 0.0, "flip": True, "channels_last": True,
        "root": "", "cache": "", "output": "",
    }  # fmt: skip
    settings = key["settings"]
    assert {name: settings[name] for name in wanted} == wanted
    assert settings.items() >= (RETIRED | dict.fromkeys(RENAMED, 0)).items(), "what earlier versions kept is found"
    assert not settings.keys() & set(RENAMED.values())


FEW = next(name for name, method in METHODS.items() if method.rule.kind == "few")


def test_steps_and_activations_that_are_counted() -> None:
    assert [metered_steps(steps) for steps in (1, 2, 3, 32, 33)] == [
        [1], [2], [2, 3], [2, 4, 8, 16, 32], [2, 4, 8, 16, 32, 33],
    ]  # fmt: skip
    ann = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.ReLU())
    assert activations(ann, torch.zeros(3, 2, 4, 6)) == 48 + 12, "of one image"
    assert not any(module._forward_hooks for module in ann)
    x = torch.rand(1, 2, 3, 3)
    logits, state = Stepwise(nn.Flatten())(x[None])
    assert torch.equal(logits[0], x.flatten(1))
    assert state == {}


def test_pieces_are_joined_by_their_counts() -> None:
    def piece(images: int, ann: int, steps: int, right: int) -> CurvePiece:
        exits = {str(e): (steps, right) for e in comparison.EXITS}
        return CurvePiece(correct=[right, images], images=images, ann=ann, exits=exits, seconds=1.26)

    work = {"2": Cost(1.0, 2.0)}
    found = joined([piece(3, 2, 6, 1), piece(5, 4, 10, 3)], "half", work)
    assert (found.method, found.correct, found.images, found.work) == ("half", [4, 8], 8, work)
    assert (found.ann_accuracy, found.seconds) == (75.0, 2.5)
    assert found.exits == {str(e): (2.0, 50.0) for e in (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)}
