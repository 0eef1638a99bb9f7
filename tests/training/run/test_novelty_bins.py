"""`known` at shorter bins, from a run's validation data: the lines keep of the data what they say."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from spikesight.encoders.events import SensorSize
from spikesight.models.checkpoint import load
from spikesight.models.classifier import Classifier
from spikesight.models.novelty import KEPT
from spikesight.training.data import bin_items, load_data, read_item
from spikesight.training.run.fit import fit
from spikesight.training.run.novelty_bins import rebinned, with_bins
from tests.support.inputs.data_sets import small_config, write_nmnist


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(root of the data, folder of the trained model), which runs at 5 to 30 ms."""
    root = write_nmnist(tmp_path_factory.mktemp("bins"), train=48)
    config = small_config(root, name="r", val_fraction=0.35, shift=1, rotate=0.0, shortest_bin_us=5000)
    fit(config, root / "runs" / "r")
    return root, root / "runs" / "r" / "model"


@pytest.mark.parametrize("bin_ms", [5, 8, 10])
def test_recordings_of_the_validation_are_known_at_shorter_bins(finished: tuple[Path, Path], bin_ms: int) -> None:
    root, model = finished
    data = load_data(small_config(root, val_fraction=0.35, shortest_bin_us=5000))
    classifier = Classifier.load(model).at(bin_ms)
    assert classifier.novelty is not None
    known = []
    for item in data.val_items:
        inputs = classifier.event_inputs(*read_item(item))[: classifier.contract.steps]
        known.append([prediction.known for prediction in classifier.predict(inputs)])
    kept = np.concatenate(known) >= KEPT
    assert kept.mean() > 0.9
    nothing = classifier.predict_events(np.empty(0, read_item(data.val_items[0])[0].dtype), SensorSize(34, 34))
    assert (nothing[-1].label, nothing[-1].known) == ("nothing", 0.0)


def test_a_model_of_one_bin_is_left_as_it_is(finished: tuple[Path, Path]) -> None:
    root, model = finished
    network, card = load(model)
    assert card.novelty is not None
    assert sorted(card.novelty.bins) == [5000, 10_000]
    data = load_data(small_config(root, val_fraction=0.35))
    assert with_bins(network, data, card.novelty) is card.novelty


def test_what_is_shown_is_what_a_stream_shows(finished: tuple[Path, Path]) -> None:
    root, model = finished
    data = load_data(small_config(root, val_fraction=0.35, shortest_bin_us=5000))
    classifier = Classifier.load(model).at(10)
    contract = classifier.contract
    finest = replace(contract, bin_us=5000, steps=18)
    cache = Path(data.config.cache)
    stored = torch.from_numpy(np.array(bin_items(data.val_items[:3], finest, cache, "binning").frames))
    made = rebinned(stored, lambda x: x.transpose(0, 1).float(), 2, contract)
    for n, item in enumerate(data.val_items[:3]):
        inputs = classifier.event_inputs(*read_item(item))[: contract.steps]
        expected = np.stack([given.x for given in inputs])
        np.testing.assert_array_equal(made[: len(expected), n].numpy(), expected)
