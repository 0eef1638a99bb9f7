"""The head that a run on own recordings ends with: what it sees, what it is worth, when it is kept."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from spikesight.models.checkpoint import load
from spikesight.models.classifier import Classifier
from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.networks.taught import TaughtNetwork
from spikesight.training.data import Data, load_data
from spikesight.training.network import build_network
from spikesight.training.run.evaluate import evaluate, sliding_mean
from spikesight.training.run.fit import fit
from spikesight.training.run.read_out import BEGUN, OWN, TRAINED, best_of, better, read_out_for, reason_not_to_train
from tests.support.inputs.data_sets import small_config, write_takes

CPU = torch.device("cpu")
TAKES = [f"{name}-{take}.npz" for name in ("cup", "phone") for take in range(1, 8)]
pytestmark = pytest.mark.usefixtures("no_curves")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    root = tmp_path_factory.mktemp("read-out")
    write_takes(root / "mine", TAKES, 0.4, rate=2000)
    config = small_config(root, data=str(root / "mine"), crop="none", height=32, width=32, epochs=1, widen=False)
    return load_data(config)


def test_what_a_network_that_never_fires_cannot_tell_the_head_sees_in_the_input(data: Data) -> None:
    network = build_network(data.config, len(data.labels)).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.weight)
    assert len(np.unique(evaluate(network, data.val, 2, CPU, data.contract).chosen)) == 1
    found = read_out_for(network, data)
    assert found is not None
    assert found.right[TRAINED] == found.count == len(data.val)
    assert found.name == TRAINED
    asked = evaluate(found.network, data.test, 2, CPU, found.contract)
    assert asked.accuracy == 1.0


def test_the_head_is_judged_by_what_it_has_not_learnt_from(data: Data) -> None:
    wrong = replace(data, val=replace(data.val, labels=1 - data.val.labels))
    found = read_out_for(build_network(data.config, len(data.labels)), wrong)
    assert found is not None
    assert found.right[TRAINED] == 0, "it learns from these only after they have judged it"
    assert evaluate(found.judged, wrong.val, 2, CPU, found.contract).accuracy == 0, "nor does what they calibrate"
    assert evaluate(found.network, wrong.val, 2, CPU, found.contract).accuracy > 0


def test_no_head_for_inputs_that_are_no_plain_events(data: Data) -> None:
    network = build_network(data.config, len(data.labels))
    assert read_out_for(network, replace(data, contract=replace(data.contract, encoding="count"))) is None
    assert read_out_for(build_network(data.config, 2, channels=1), data) is None


def test_an_answer_is_the_mean_of_the_last_steps() -> None:
    logits = torch.arange(6.0).view(3, 1, 2)
    assert torch.equal(sliding_mean(logits, 1), logits)
    assert sliding_mean(logits, 3)[:, 0, 0].tolist() == [0.0, 1.0, 2.0]
    assert sliding_mean(logits, 2)[:, 0, 0].tolist() == [0.0, 1.0, 3.0]


def test_a_run_ends_with_the_head_where_the_network_is_not_better(data: Data, tmp_path: Path) -> None:
    metrics = fit(replace(data.config, epochs=1, lr=1e-9), tmp_path / "run")  # too slow to learn anything
    said = metrics["read_out"]
    assert said["kept"] == TRAINED
    assert said["right"][TRAINED] > said["right"][OWN]
    network, card = load(tmp_path / "run" / "model")
    assert isinstance(network, TaughtNetwork)
    assert metrics["test"]["best_guess"]["accuracy"] == 1.0, "recordings are answered as their windows are"
    assert json.loads((tmp_path / "run" / "result.json").read_text())["read_out"] == said
    assert isinstance(load(tmp_path / "run" / "checkpoints" / "best")[0], SpikingResNet)
    classifier = Classifier.load(tmp_path / "run" / "model")
    assert classifier.contract.horizon == 1
    assert card.labels == ("cup", "phone")


def test_the_head_stands_on_what_had_learnt_elsewhere(data: Data, tmp_path: Path) -> None:
    """Not on weights that know these very windows."""
    fit(replace(data.config, epochs=1, lr=1e-9), tmp_path / "run")
    begun = load(tmp_path / "run" / "model")[0]
    assert isinstance(begun, TaughtNetwork)
    again = replace(data, config=replace(data.config, init_from=str(tmp_path / "run" / "model"), seed=1))
    found = read_out_for(build_network(again.config, len(data.labels)), again)
    assert found is not None
    assert found.name == BEGUN
    assert isinstance(found.network, TaughtNetwork)
    state = begun.backbone.state_dict()
    assert all(torch.equal(state[name], value) for name, value in found.network.backbone.state_dict().items())


def test_a_run_is_as_long_as_could_be_told_from_its_beginning(data: Data, tmp_path: Path) -> None:
    fit(replace(data.config, epochs=1, lr=1e-9), tmp_path / "run")
    begun = replace(data, config=replace(data.config, init_from=str(tmp_path / "run" / "model"), epochs=0))
    assert "one epoch" in (reason_not_to_train(begun) or "")
    assert reason_not_to_train(data) is None, "random weights have learnt nothing elsewhere"
    assert reason_not_to_train(replace(begun, config=replace(begun.config, neuron="relu"))) is None, (
        "an ANN has no head"
    )
    rows = np.resize(np.arange(len(data.val)), 12)
    wrong = replace(data.val, frames=data.val.frames[rows], labels=1 - data.val.labels[rows])
    items = [replace(data.val_items[0], path=Path(f"{n}.npz")) for n in range(12)]
    assert reason_not_to_train(replace(begun, val=wrong, val_items=items)) is None
    one_each = {
        name: [replace(item, path=Path(f"{item.label}.npz")) for item in getattr(data, name)]
        for name in ("train_items", "val_items")
    }
    assert reason_not_to_train(replace(begun, **one_each)) is not None, "one recording a class has validation windows"
    metrics = fit(begun.config, tmp_path / "again")
    assert metrics["read_out"]["kept"] == BEGUN
    assert len((tmp_path / "again" / "metrics.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize(("ahead", "best"), [(5, "first"), (6, "second")])
def test_a_later_read_out_has_to_be_better_beyond_chance(ahead: int, best: str) -> None:
    truth, recording = np.zeros(20, np.int64), np.arange(20)
    first, second = np.zeros(20, np.int64), np.zeros(20, np.int64)
    first[:ahead] = 1
    assert best_of({"first": first, "second": second}, truth, recording) == best
    assert best_of({"second": second, "first": first}, truth, recording) == "second"


def test_more_recordings_prove_more_and_more_windows_do_not() -> None:
    right, share = np.full(100, True), 0.8
    assert better(right, np.arange(100), share)
    assert not better(right, np.zeros(100, np.int64), share)
    assert not better(right, np.arange(100), 1.0), "nothing is better than all right"
    assert not better(~right, np.arange(100), share)
