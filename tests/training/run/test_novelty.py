"""A training calibrates its model by itself; the command does the same to a model that has no `known`."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from spikesight.app.cli import main
from spikesight.models.checkpoint import load, save
from spikesight.models.classifier import Classifier
from spikesight.models.contract import Contract
from spikesight.models.novelty import KEPT
from spikesight.models.novelty.score import CAMERA, RECORDED, WEBCAM
from spikesight.models.statistics import softmax
from spikesight.training.compare.costs import Stepwise
from spikesight.training.config import TrainConfig
from spikesight.training.data import Frames, load_data
from spikesight.training.run import novelty
from spikesight.training.run.fit import fit
from spikesight.training.run.novelty import calibration_error, calibration_floor, forwarder, run_windows
from spikesight.training.step.batches import evaluation_input, seeded
from tests.support.inputs.data_sets import small_config, write_nmnist


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(root of the data, folder of the trained model)."""
    root = write_nmnist(tmp_path_factory.mktemp("known"), train=48)
    config = small_config(root, name="r", val_fraction=0.35, shift=1, rotate=0.0)
    fit(config, root / "runs" / "r")
    return root, root / "runs" / "r" / "model"


def test_a_training_ends_with_a_calibrated_model(finished: tuple[Path, Path]) -> None:
    root, model = finished
    classifier = Classifier.load(model)
    assert classifier.novelty is not None
    assert classifier.card.metrics["known"]["validation"] == 2 * 34, "as they are, and augmented"
    item = sorted((root / "Test" / "0").glob("*.bin"))[0]
    from spikesight.encoders.sample import read_sample

    answers = classifier.predict(classifier.inputs(read_sample(item)))
    assert all(a.known is not None and 0 <= a.known <= 1 for a in answers)
    nothing = classifier.predict_events(np.empty(0, read_sample(item).events.dtype), read_sample(item).size)  # type: ignore[union-attr, arg-type]
    assert (nothing[-1].label, nothing[-1].known) == ("nothing", 0.0)


def test_the_command_gives_an_old_model_what_its_training_would(
    finished: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root, model = finished
    network, card = load(model)
    old = root / "old"
    save(old, network, replace(card, novelty=None))
    assert load(old)[1].novelty is None
    assert main(["calibrate", str(old), "--root", str(root), "--cache", str(root / "cache")]) == 0
    assert "calibration error" in capsys.readouterr().out
    again, before = load(old)[1].novelty, card.novelty
    assert again is not None
    assert before is not None
    for name, array in again.state().items():
        np.testing.assert_allclose(array, before.state()[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [(["--data", "mnist"], "mnist"), (["--root", "nowhere"], "nowhere")],
)
def test_what_does_not_fit_is_refused_and_nothing_changes(
    finished: tuple[Path, Path], words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, model = finished
    before = (model / "model.safetensors").read_bytes()
    assert main(["calibrate", str(model), *words]) == 2
    assert sentence in capsys.readouterr().err
    assert (model / "model.safetensors").read_bytes() == before


def test_windows_are_read_alike_by_the_engine_and_the_network(finished: tuple[Path, Path]) -> None:
    root, model = finished
    network, card = load(model)
    data = load_data(small_config(root, val_fraction=0.35))
    layers = card.metrics["known"]["layers"]
    parts = [(data.val, partial(evaluation_input, contract=card.contract), 0)]
    by_engine = run_windows(forwarder(network, card.contract, layers), parts, card.contract)
    doubled = run_windows(forwarder(network.double(), card.contract, layers), parts, card.contract)
    np.testing.assert_allclose(by_engine.rates, doubled.rates, atol=1e-2)
    assert by_engine.logits.shape == (34, 3, 2)
    assert KEPT == 0.5


def test_calibration_error_is_the_gap_between_sure_and_right() -> None:
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.4, 0.6]] * 10)
    labels = np.array([0] * 7 + [1] * 3 + [1] * 6 + [0] * 4)
    assert calibration_error(probabilities, labels, np.ones(20)) == pytest.approx(0.1)
    weights = np.array([0.0] * 10 + [1.0] * 10)
    assert calibration_error(probabilities, labels, weights) == pytest.approx(0.0)
    drawn = softmax(np.random.default_rng(0).normal(0, 2, (200, 3)))
    given = drawn, np.zeros(200, int), np.ones(200)
    assert calibration_error(*given) == calibration_error(*given, 15) != calibration_error(*given, 16)


def test_few_samples_make_a_calibration_error_of_their_own() -> None:
    sure = np.full((100, 1), 0.9)
    probabilities = np.concatenate([sure, 1 - sure], 1)
    spread = np.sqrt(0.9 * 0.1 / 100) * np.sqrt(2 / np.pi)  # mean deviation of a proportion
    assert calibration_floor(probabilities) == pytest.approx(spread, rel=0.15)
    assert calibration_floor(np.repeat(probabilities, 25, 0)) == pytest.approx(spread / 5, rel=0.15)
    assert calibration_floor(np.eye(3)) == 0


def numbered(count: int) -> Frames:
    return Frames(np.arange(count, dtype=np.uint8).reshape(-1, 1, 1, 1, 1), np.arange(count))


@pytest.fixture
def emulations(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What was asked of the emulation; it gives two digits, and films of three and of none."""
    asked: list[tuple[Any, ...]] = []

    def emulate(config: TrainConfig, contract: object, left_out: frozenset[int]) -> Frames:
        asked.append((config.emulated_count, contract, left_out))
        return numbered(2)

    def film(_: TrainConfig, contract: object, left_out: frozenset[int], clips: range) -> list[Frames]:
        asked.append((clips, contract, left_out))
        return [numbered(3), numbered(0)]

    monkeypatch.setattr(novelty, "emulate_mnist", emulate)
    monkeypatch.setattr(novelty, "film_paper_clips", film)
    return asked


def some_data(**settings: Any) -> Any:
    split = {"train": ["0/00003.bin", "0/00007.bin"], "val": ["1/00002.bin", "x.bin"]}
    config = TrainConfig(**settings)
    return SimpleNamespace(config=config, train=numbered(15), val=numbered(5), recorded=3, contract="c", split=split)


def drawn(parts: list[tuple[Frames, int]]) -> list[tuple[list[int], int]]:
    return [(part.labels.tolist(), kind) for part, kind in parts]


def test_recordings_emulations_and_films_are_parts_of_their_own(emulations: list[tuple[Any, ...]]) -> None:
    data = some_data(emulated="mnist", emulated_count=4, repeat=2, paper_clips=6)
    films = [([0, 1, 2], WEBCAM), ([], CAMERA)]
    assert drawn(novelty._training_parts(data)) == [([0, 1, 2], RECORDED), ([6, 7, 8, 9], RECORDED), *films]
    assert emulations.pop() == (range(6), "c", {1})
    assert drawn(novelty.validation_parts(data, 9)) == [([0, 1, 2, 3, 4], RECORDED), ([0, 1], RECORDED), films[0]]
    assert emulations == [(9, "c", {0, 1, 2, 3, 4, 5, 6}), (range(6, 10), "c", {1})]
    plain = some_data()
    assert drawn(novelty._training_parts(plain)) == [(list(range(15)), RECORDED)]
    assert drawn(novelty.validation_parts(plain)) == [(list(range(5)), RECORDED)]
    assert len(emulations) == 2


def test_of_many_samples_some_are_taken_evenly(
    emulations: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(novelty, "MOST_TRAINING", 4)
    monkeypatch.setattr(novelty, "MOST_VALIDATION", 3)
    assert drawn(novelty._training_parts(some_data())) == [([0, 4, 9, 14], RECORDED)]
    assert drawn(novelty.validation_parts(some_data())) == [([0, 2, 4], RECORDED)]
    emulated = some_data(emulated="mnist", emulated_count=4, repeat=2)
    assert drawn(novelty._training_parts(emulated)) == [([0, 2], RECORDED), ([6, 9], RECORDED)]
    assert not emulations


def test_windows_are_running_means_of_parts_that_count_alike() -> None:
    contract = Contract("events", 2, 1, 1, 3, "binary", 1, 1, 1000, readout=2)
    sizes: list[int] = []

    def forward(x_seq: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        sizes.append(x_seq.shape[1])
        values = x_seq.flatten(2)
        return values * 3, values.sum(2, keepdim=True)

    def part(count: int) -> Frames:
        return Frames(np.random.default_rng(count).integers(0, 3, (count, 3, 2, 1, 1), np.uint8), np.arange(count))

    prepare = partial(evaluation_input, contract=contract)
    found = run_windows(forward, [(part(40), prepare, RECORDED), (part(3), prepare, CAMERA)], contract)
    x = np.concatenate([part(40).frames, part(3).frames])[..., 0, 0].astype(float)
    mean = np.stack([x[:, 0], x[:, :2].mean(1)], 1)
    assert sizes == [32, 8, 3]
    np.testing.assert_allclose(found.logits, 3 * mean)
    np.testing.assert_allclose(found.rates, mean.sum(2, keepdims=True))
    some = (x != 0).sum(2)
    np.testing.assert_allclose(found.active, np.stack([some[:, 0], some[:, :2].mean(1)], 1))
    assert found.labels.tolist() == [*range(40), *range(3)]
    assert found.kinds.tolist() == [RECORDED] * 40 + [CAMERA] * 3
    np.testing.assert_allclose(found.weights, [1 / 40] * 40 + [1 / 3] * 3)


def test_a_network_without_neurons_is_not_calibrated() -> None:
    data: Any = SimpleNamespace(contract=SimpleNamespace(shape=(2, 4, 4)))
    with pytest.raises(ValueError, match="no neurons to watch"):
        novelty.calibrate_novelty(Stepwise(torch.nn.Flatten()), data)


def test_augmented_samples_have_no_stray_events_and_draws_of_their_own() -> None:
    data: Any = SimpleNamespace(config=TrainConfig(seed=4, noise=0.5, drop=0.3), contract="contract")
    prepare: Any = novelty.augmenting(data)
    given = prepare.keywords
    assert (given["config"], given["contract"]) == (replace(data.config, noise=0.0), "contract")
    assert given["generator"].initial_seed() == seeded(4, 3).initial_seed()
