"""What a trained model is given beside its weights: `known`, commitments and how long it reads."""

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from spikesight.app.cli import main
from spikesight.encoders.events import Events, SensorSize, empty_events, make_events
from spikesight.encoders.recordings.files import read_recording, write_recording
from spikesight.models.checkpoint import load, save
from spikesight.models.classifier import Classifier
from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.networks.taught import TaughtNetwork
from spikesight.models.novelty import KEPT
from spikesight.models.statistics import interval
from spikesight.training.data import Data, bin_items, load_data, read_item
from spikesight.training.data.sets import Item
from spikesight.training.network import build_network
from spikesight.training.run import conformal
from spikesight.training.run.conformal import (
    LEAST,
    Paths,
    Take,
    Window,
    assess,
    fit_conformal,
    held_out,
    random_cut,
    read_paths,
    run_through,
    windows_of,
)
from spikesight.training.run.evaluate import evaluate, sliding_mean
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
from spikesight.training.run.read_out import BEGUN, OWN, TRAINED, best_of, better, read_out_for, reason_not_to_train
from spikesight.training.run.readings import Source
from spikesight.training.step.batches import evaluation_input
from tests.support.inputs.data_sets import small_config, write_nmnist, write_takes
from tests.support.models import EVENT_CONTRACT, LABELS, promising, tiny


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
    parts = [(data.val, partial(evaluation_input, contract=card.contract), True)]
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


SIZE = SensorSize(24, 32)
SHORT_US, LONG_US = 15_000, 90_000


def events_of(length_us: int, begin_us: int = 0) -> Events:
    t = np.arange(0, length_us, 100)
    return make_events(t + begin_us, t // 100 % 20, t // 70 % 31, t % 200 == 0)


def went(held: bool, committed: int, steps: int = 1) -> Window:
    return Window(held, committed, steps, None, False)


def test_what_was_committed_to_is_counted_by_class_with_its_intervals() -> None:
    labels = np.array([0, 0, 1, 1, 2])
    found = assess(
        promising(), labels, [went(True, 0, 4), went(False, 2, 3), went(True, -1), went(True, 1), went(True, 2)], 0.1
    )
    assert found["median_ms"] == 30.0, "of all five, within which half had an answer"
    assert (found["count"], found["committed"], found["wrong"]) == (5, 4, 1)
    assert (found["coverage"], found["interval"]) == (0.8, list(interval(4, 5)))
    assert found["by_class"] == {"zero": 0.5, "one": 1.0, "two": 1.0}
    assert found["wrong_of_committed"] == list(interval(1, 4))
    none = assess(promising(), labels[:1], [went(True, -1)], 0.1)
    assert (none["committed"], none["wrong_of_committed"], none["median_ms"]) == (0, None, None)


@pytest.mark.parametrize("length_us", [SHORT_US, LONG_US])
def test_a_recording_begins_at_a_moment_of_chance_and_goes_round_where_it_is_short(length_us: int) -> None:
    events, span_us = events_of(length_us, 7_000), 40_000
    lap = int(events["t"][-1]) - 7_000 + 1
    begins = set()
    for seed in range(20):
        found = random_cut(events, span_us, 1000, np.random.default_rng(seed))
        t = found["t"]
        assert (np.diff(t) >= 0).all()
        assert t[0] >= 0
        assert span_us - 200 < t[-1] < span_us
        at = int(np.flatnonzero((events["x"] == found["x"][0]) & (events["y"] == found["y"][0]))[0])
        begins.add(at)
        assert len(found) == pytest.approx(span_us / 100, abs=span_us / lap + 1)
    assert len(begins) > 10


def test_less_than_a_bin_of_events_comes_once_a_bin_and_nothing_stays_nothing() -> None:
    found = random_cut(events_of(100), 40_000, 10_000, np.random.default_rng(0))
    assert np.diff(found["t"]).tolist() == [10_000] * 3
    assert len(random_cut(events_of(0), 40_000, 10_000, np.random.default_rng(0))) == 0


@pytest.mark.parametrize(("shortest", "bins"), [(1000, [1, 2, 5, 10]), (2000, [2, 5, 10]), (0, [10])])
def test_bins_are_the_trained_one_and_shorter_ones_of_its_range(
    shortest: int, bins: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(classifier: Any, takes: list[Take]) -> Paths:
        del classifier
        n = len(takes)
        labels = np.array([take.label for take in takes])
        return Paths(np.zeros((n, 2, 2, 3)), labels, np.ones((n, 2)), np.zeros((n, 2, 3)))

    monkeypatch.setattr(conformal, "read_paths", read)
    takes = [Take(lambda: (events_of(100), SIZE), n % 3) for n in range(LEAST)]
    classifier = tiny(replace(EVENT_CONTRACT, shortest_bin_us=shortest))
    assert list(fit_conformal(classifier, takes).trials) == [1000 * ms for ms in bins]


def test_recordings_of_the_models_classes_are_judged_at_both_error_rates(tmp_path: Path) -> None:
    classifier = promising()
    sources = []
    for n, label in enumerate((*LABELS, "stranger")):
        t = np.arange(0, 40_000, 100)
        write_recording(tmp_path / f"{n}.npz", make_events(t, t // 100 % 20, t // 70 % 31, t % 200 == 0), SIZE)
        sources.append(Source(Item(tmp_path / f"{n}.npz", 0), label))
    found = held_out(classifier, sources)
    assert [table["error_rate"] for table in found] == [0.05, 0.01]
    for table in found:
        assert table["count"] == 3, "none of the stranger"
        assert list(table["by_class"]) == list(LABELS)
        track = classifier.track(error_rate=table["error_rate"])
        run = run_through(classifier, SIZE, [read_recording(sources[1].item.path).events], 4)
        (window,) = windows_of(classifier, track, run, 1)
        assert table["by_class"]["one"] == window.held
    assert held_out(tiny(), sources) == []


def test_a_stream_of_recordings_is_followed_window_by_window() -> None:
    classifier = promising(known=np.ones(1000))
    run = run_through(classifier, SIZE, [events_of(LONG_US)], 8)
    track, alone = classifier.track(), classifier.track()
    every = [alone.read([given], run.part(n, n + 1)[1]).prediction for n, given in enumerate(run.inputs)]
    first, second = windows_of(classifier, track, run, 1)
    for window, steps in ((first, every[:4]), (second, every[4:])):
        assert window.held == ("one" in (steps[-1].set or ()))
        assert window.known == steps[-1].known
        said = [n for n, one in enumerate(steps, 1) if one.committed]
        assert (window.steps, window.committed >= 0) == (said[0] if said else 0, bool(said))
    assert [first.shifted, second.shifted] == [False, True], "the alarm goes on from window to window"
    again = next(windows_of(classifier, track, run, 1))
    assert again.shifted, "and from recording to recording"
    assert again.committed == -1
    assert again.known == first.known, "each from rest"


def test_what_calibrates_is_windows_of_known_familiarity() -> None:
    classifier = promising(known=np.ones(1000))
    takes = [Take(lambda length=length: (events_of(length), SIZE), 2) for length in (SHORT_US, LONG_US)]
    found = read_paths(classifier, takes)
    assert (found.logits.shape, found.labels.tolist()) == ((2, 2, 4, 3), [2, 2])
    assert ((found.known >= 0) & (found.known <= 1)).all()
    assert np.isnan(read_paths(tiny(), takes).known).all()
    for begin, length in zip(found.begins, (SHORT_US, LONG_US)):
        own = run_through(classifier, SIZE, [events_of(length)], 4).logits
        np.testing.assert_allclose(begin[: len(own)], own)
    aligned = read_paths(tiny(replace(EVENT_CONTRACT, frame="object")), takes)
    assert aligned.logits.shape == (2, 1, 4, 3)
    np.testing.assert_array_equal(aligned.begins, aligned.logits[:, 0])


def test_a_short_recording_keeps_its_last_answer() -> None:
    classifier = tiny()
    takes = [Take(lambda: (make_events([0], [3], [4], [1]), SIZE), 0)]
    found = read_paths(classifier, takes)
    assert (found.logits[0].reshape(8, 3) == found.logits[0, 1, -1]).all(1).any()


CPU = torch.device("cpu")
TAKES = [f"{name}-{take}.npz" for name in ("cup", "phone") for take in range(1, 8)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    root = tmp_path_factory.mktemp("read-out")
    write_takes(root / "mine", TAKES, 0.4, rate=2000)
    config = small_config(
        root,
        data=str(root / "mine"),
        **{"crop": "none", "height": 32, "width": 32, "epochs": 1},
        **{"shift": 2, "rotate": 10.0, "scale": 0.0, "drop": 0.2},
    )
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
    begun = replace(data, config=replace(data.config, init_from=str(tmp_path / "run" / "model"), epochs=None))
    assert "none is done" in (reason_not_to_train(begun) or "")
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


def test_a_head_alone_says_whose_network_it_reads(
    data: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(data.config, init_from="nmnist", network="event-medium", epochs=0)
    metrics = fit(config, tmp_path / "run")
    said, card = capsys.readouterr().out, (tmp_path / "run" / "model" / "README.md").read_text()
    assert "head only: the shipped nmnist's network stays as it is" in said
    assert metrics["read_out"]["kept"] == BEGUN
    assert re.search(r"the shipped nmnist's network, not trained further \((\d+) of \1 tensors are its own\)", card)
    assert "with a ridge read-out from 12 recordings" in card, "of training and validation"
    assert "head only" in card
    assert "epoch 1 of" not in card
    assert load(tmp_path / "run" / "model")[1].training["made"] == metrics["made"]
    with pytest.raises(ValueError, match="--epochs 0 fits a read-out alone"):
        fit(replace(config, init_from=None), tmp_path / "other")


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
