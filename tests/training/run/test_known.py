"""A training calibrates its model by itself; the command does the same to a model that has no `known`."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from app.cli import main
from models.checkpoint import load, save
from models.classifier import Classifier
from models.known import KEPT
from tests.support.inputs.data_sets import small_config, write_nmnist
from training.data import load_data
from training.run.fit import fit
from training.run.known import calibration_error, calibration_floor, forwarder, read
from training.step.batches import evaluation_input


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
    assert classifier.known is not None
    assert classifier.card.metrics["known"]["validation"] == 2 * 34, "as they are, and augmented"
    item = sorted((root / "Test" / "0").glob("*.bin"))[0]
    from encoders.sample import read_sample

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
    save(old, network, replace(card, known=None))
    assert load(old)[1].known is None
    assert main(["calibrate", str(old), "--root", str(root), "--cache", str(root / "cache")]) == 0
    assert "calibration error" in capsys.readouterr().out
    again, known = load(old)[1].known, card.known
    assert again is not None
    assert known is not None
    for name, array in again.state().items():
        np.testing.assert_allclose(array, known.state()[name], rtol=1e-3, atol=1e-4)


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
    by_engine = read(forwarder(network, card.contract, layers), parts, card.contract)
    doubled = read(forwarder(network.double(), card.contract, layers), parts, card.contract)
    np.testing.assert_allclose(by_engine.rates, doubled.rates, atol=1e-2)
    assert by_engine.logits.shape == (34, 3, 2)
    assert KEPT == 0.5


def test_calibration_error_is_the_gap_between_sure_and_right() -> None:
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.4, 0.6]] * 10)
    labels = np.array([0] * 7 + [1] * 3 + [1] * 6 + [0] * 4)
    assert calibration_error(probabilities, labels, np.ones(20)) == pytest.approx(0.1)
    weights = np.array([0.0] * 10 + [1.0] * 10)
    assert calibration_error(probabilities, labels, weights) == pytest.approx(0.0)


def test_few_samples_make_a_calibration_error_of_their_own() -> None:
    sure = np.full((100, 1), 0.9)
    probabilities = np.concatenate([sure, 1 - sure], 1)
    spread = np.sqrt(0.9 * 0.1 / 100) * np.sqrt(2 / np.pi)  # mean deviation of a proportion
    assert calibration_floor(probabilities) == pytest.approx(spread, rel=0.15)
    assert calibration_floor(np.repeat(probabilities, 25, 0)) == pytest.approx(spread / 5, rel=0.15)
    assert calibration_floor(np.eye(3)) == 0
