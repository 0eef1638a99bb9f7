"""Where a run starts: the network and the input that a model brings, and the steps that suit a folder."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from spikesight.models.checkpoint import load
from spikesight.models.shipped import shipped
from spikesight.training.config import UNSET, TrainConfig
from spikesight.training.data import load_data
from spikesight.training.data.start import with_network, with_schedule
from spikesight.training.network import build_network
from spikesight.training.run.loop import Run
from tests.support.inputs.data_sets import write_pictures, write_takes


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_takes(tmp_path_factory.mktemp("own"), ["a/cup.npz", "b/cup.npz", "a/pen.npz", "b/pen.npz"], 4)


def own(folder: Path, **settings: Any) -> TrainConfig:
    return TrainConfig(data=str(folder), cache=str(folder.parent / f"{folder.name}-cache"), device="cpu", **settings)


@pytest.mark.parametrize("name", ["nmnist", "motions"])
def test_a_model_to_start_from_brings_its_network_and_its_contract(folder: Path, name: str) -> None:
    network, card = load(shipped()[name])
    run = Run(load_data(own(folder, init_from=name)), folder / "runs")
    assert replace(run.network.config, classes=len(card.labels)) == network.config  # type: ignore[arg-type]
    ours, theirs = run.data.contract, card.contract
    for what in ("steps", "bin_us", "height", "width", "encoding", "filter_us"):
        assert getattr(ours, what) == getattr(theirs, what), what
    given, taken = network.state_dict(), run.network.state_dict()
    assert all(torch.equal(given[key], taken[key]) for key in given if not key.startswith("readout"))


def test_what_was_asked_for_stays_when_a_model_is_brought() -> None:
    plain = with_network(TrainConfig(init_from="motions"), own=True, images=False)
    asked = with_network(TrainConfig(init_from="motions", beta=0.7, steps=5, window_ms=200), own=True, images=False)
    assert (asked.beta, asked.steps, asked.network) == (0.7, 5, plain.network)
    cropped = with_network(TrainConfig(init_from="motions", crop="object"), own=True, images=False)
    assert cropped.height is cropped.width is None, "a crop has its own size"
    named = with_network(TrainConfig(init_from="motions", network="event-small"), own=True, images=False)
    assert named == TrainConfig(init_from="motions", network="event-small")
    pictures = with_network(TrainConfig(init_from="motions"), own=False, images=True)
    assert (pictures.bin_us, pictures.encoding, pictures.network) == (None, None, plain.network)


def test_own_recordings_start_from_a_shipped_network_unless_said_otherwise(folder: Path) -> None:
    start = load_data(own(folder)).config.init_from
    assert start in shipped()
    for settings in ({"network": "event-medium"}, {"beta": 0.9}, {"loss": "mse_rate"}):
        assert with_network(own(folder, **settings), own=True, images=False).init_from is None, settings
    assert with_network(own(folder, init_from="motions"), own=True, images=False).init_from == "motions"
    assert with_network(TrainConfig(), own=False, images=False).init_from is None, "a data set by name"


def test_few_samples_get_as_many_steps_as_more_and_each_as_often(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few, more, many = (with_schedule(TrainConfig(), count, 34, own=True) for count in (20, 200, 200_000))
    assert few.epochs * few.epoch_steps == more.epochs * more.epoch_steps > 10 * 200 / more.batch_size
    assert many.epoch_steps == 200_000 // many.batch_size, "one pass"
    assert with_schedule(TrainConfig(), 20, 34, own=False).epoch_steps is None
    run, seen = Run(load_data(own(folder, network="event-medium")), folder / "runs"), Counter[int]()
    monkeypatch.setattr(run, "train_batch", lambda rows, _: (seen.update(rows.tolist()), (0.0, 0))[1])
    run.train_epoch()
    assert run.progress.seen == run.steps_an_epoch * run.config.batch_size > 2 * len(run.data.train)
    assert set(seen) == set(range(len(run.data.train)))
    assert np.ptp(list(seen.values())) <= 1


def test_a_folder_of_pictures_gets_as_many_steps_as_one_of_recordings(tmp_path: Path) -> None:
    pictures = load_data(own(write_pictures(tmp_path / "mine"), height=16, width=16))
    assert pictures.config.epoch_steps == with_schedule(TrainConfig(), len(pictures.train), 34, own=True).epoch_steps


def test_from_random_weights_the_rate_is_higher_but_for_named_images_unless_one_is_given() -> None:
    for own, images in ((True, False), (False, False), (True, True)):
        configs = (TrainConfig(init_from=model) for model in (UNSET, "nmnist"))
        scratch, start = (with_schedule(config, 500, 34, own=own, images=images).lr for config in configs)
        assert scratch > start == with_schedule(TrainConfig(), 500, 34, own=False, images=True).lr > 0
        assert with_schedule(TrainConfig(lr=0.1), 500, 34, own=own, images=images).lr == 0.1


def test_a_read_out_is_taken_for_the_same_classes_alone() -> None:
    from spikesight.training.network import start_from

    network, card = load(shipped()["nmnist"])
    for labels, fresh in ((card.labels, []), (tuple("abcdefghij"), ["readout.weight", "readout.bias"])):
        new = build_network(TrainConfig(network="event-medium"), len(labels))
        assert start_from(new, shipped()["nmnist"], labels) == fresh
        assert torch.equal(new.state_dict()["readout.weight"], network.state_dict()["readout.weight"]) == (not fresh)
