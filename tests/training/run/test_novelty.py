"""A training calibrates its model by itself, at every bin; the command does the same to a model without `known`."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from spikesight.app.cli import main
from spikesight.encoders.events import SensorSize, empty_events
from spikesight.models.checkpoint import load, save
from spikesight.models.classifier import Classifier
from spikesight.models.novelty import KEPT
from spikesight.training.data import Data, bin_items, load_data, read_item
from spikesight.training.run.fit import fit
from spikesight.training.run.novelty import (
    calibration_error,
    forwarder,
    profile_of,
    rebinned,
    run_windows,
    unlike_start,
    with_bins,
)
from spikesight.training.step.batches import evaluation_input
from tests.support.inputs.data_sets import small_config, write_nmnist


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Data, Path]:
    """(the data, folder of the trained model), which runs at 5 to 30 ms."""
    root = write_nmnist(tmp_path_factory.mktemp("known"), train=48)
    config = small_config(root, name="r", val_fraction=0.35, shift=1, rotate=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spikesight.training.data.load._shortest_bin", lambda *_: 5000)
        fit(config, root / "runs" / "r")
        return load_data(config), root / "runs" / "r" / "model"


@pytest.mark.parametrize("bin_ms", [5, 8, 10, 30])
def test_recordings_of_the_validation_are_known_at_every_bin(finished: tuple[Data, Path], bin_ms: int) -> None:
    data, model = finished
    classifier, known = Classifier.load(model).at(bin_ms), []
    for item in data.val_items:
        inputs = classifier.event_inputs(*read_item(item))[: classifier.contract.steps]
        known += [prediction.known for prediction in classifier.predict(inputs)]
    assert (np.array(known, float) >= KEPT).mean() > 0.9
    nothing = classifier.predict_events(empty_events(), SensorSize(34, 34))
    assert (nothing[-1].label, nothing[-1].known) == ("nothing", 0.0)


def test_the_card_tells_what_was_learnt_from_and_other_cameras_by_it(finished: tuple[Data, Path]) -> None:
    data, model = finished
    network, card = load(model)
    assert card.profile == profile_of(data)
    assert card.profile is not None
    few = tuple(rate / 7 for rate in card.profile.rate)
    save(model.parent / "fewer", network, replace(card, profile=replace(card.profile, rate=few)))
    for start, word in (("model", None), ("fewer", "times the events")):
        says = unlike_start(replace(data, config=replace(data.config, init_from=str(model.parent / start))))
        assert (says is None) if word is None else (says is not None and word in says)
    assert unlike_start(data) is None, "from random weights"


def test_a_model_of_one_bin_is_left_as_it_is(finished: tuple[Data, Path]) -> None:
    data, model = finished
    network, card = load(model)
    assert card.novelty is not None
    assert sorted(card.novelty.bins) == [5000, 10_000]
    one_bin = replace(data, contract=replace(data.contract, shortest_bin_us=0))
    assert with_bins(network, one_bin, card.novelty) is card.novelty


def test_what_is_shown_at_shorter_bins_is_what_a_stream_shows(finished: tuple[Data, Path]) -> None:
    data, model = finished
    classifier = Classifier.load(model).at(10)
    contract, items = classifier.contract, data.val_items[:3]
    finest = replace(contract, bin_us=5000, steps=18)
    stored = torch.from_numpy(np.array(bin_items(items, finest, Path(data.config.cache), "binning").frames))
    made = rebinned(stored, lambda x: x.transpose(0, 1).float(), 2, contract)
    for n, item in enumerate(items):
        inputs = classifier.event_inputs(*read_item(item))[: contract.steps]
        np.testing.assert_array_equal(made[: len(inputs), n].numpy(), np.stack([given.x for given in inputs]))


def test_the_command_gives_an_old_model_what_its_training_would(
    finished: tuple[Data, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data, model = finished
    network, card = load(model)
    old, root = model.parent / "old", data.config.root
    save(old, network, replace(card, novelty=None))
    assert main(["calibrate", str(old), "--root", root, "--cache", data.config.cache]) == 0
    assert "calibration error" in capsys.readouterr().out
    again = load(old)[1].novelty
    assert again is not None
    assert card.novelty is not None
    for name, array in again.state().items():
        np.testing.assert_allclose(array, card.novelty.state()[name], rtol=1e-3, atol=1e-4)


def test_windows_are_read_alike_by_the_engine_and_the_network(finished: tuple[Data, Path]) -> None:
    data, model = finished
    network, card = load(model)
    layers = card.metrics["known"]["layers"]
    parts = [(data.val, partial(evaluation_input, contract=card.contract))]
    by_engine = run_windows(forwarder(network, card.contract, layers), parts, card.contract)
    doubled = run_windows(forwarder(network.double(), card.contract, layers), parts, card.contract)
    np.testing.assert_allclose(by_engine.rates, doubled.rates, atol=1e-2)
    assert by_engine.logits.shape == (len(data.val), 3, 2)


def test_calibration_error_is_the_gap_between_sure_and_right() -> None:
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.4, 0.6]] * 10)
    labels = np.array([0] * 7 + [1] * 3 + [1] * 6 + [0] * 4)
    assert calibration_error(probabilities, labels, np.ones(20)) == pytest.approx(0.1)
    weights = np.array([0.0] * 10 + [1.0] * 10)
    assert calibration_error(probabilities, labels, weights) == pytest.approx(0.0)
