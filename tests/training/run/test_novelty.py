"""What a trained model is given beside its weights: `in_distribution`, commitments and how long it reads."""

import signal
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from spikesight.app.cli import main
from spikesight.encoders.events import Events, SensorSize, empty_events, make_events
from spikesight.encoders.recordings.files import write_recording
from spikesight.model import Model
from spikesight.models.checkpoint import load, save
from spikesight.models.classifier import Classifier
from spikesight.models.novelty import KEPT, NOTHING
from spikesight.models.novelty.alarm import highest
from spikesight.models.novelty.conformal import Commitment, wrong_margin
from spikesight.models.statistics import Floats, interval
from spikesight.models.steps import Prediction
from spikesight.training.data import Data, bin_items, load_data, read_item
from spikesight.training.data.sets import Item
from spikesight.training.flags import from_mapping
from spikesight.training.network import build_network
from spikesight.training.run import conformal
from spikesight.training.run.conformal import CalibrationSample, LabelledStream, Seen, cut, seen_in, streams
from spikesight.training.run.evaluate import evaluate, sliding_mean
from spikesight.training.run.fit import begin, fit
from spikesight.training.run.loop import Run
from spikesight.training.run.novelty import calibration_error, profile_of, rebinned, unlike_start, with_bins
from spikesight.training.run.read_out import (
    BEGUN,
    TRAINED,
    FittedHead,
    better,
    first_head,
    heads_of,
    reason_not_to_train,
)
from spikesight.training.run.readings import LabelledItem
from tests.support.inputs.data_sets import small_config, write_nmnist, write_takes
from tests.support.models import EVENT_CONTRACT, LABELS, PREDICTION, promising, tiny


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
        known += [prediction.in_distribution for prediction in classifier.predict(inputs)]
    assert (np.array(known, float) >= KEPT).mean() > 0.9
    nothing = Model(classifier).predict(empty_events(), (34, 34))
    assert (nothing.label, nothing.in_distribution) == ("nothing", 0.0)


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


def test_the_command_calibrates_an_old_model(finished: tuple[Data, Path], capsys: pytest.CaptureFixture[str]) -> None:
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


def test_things_are_counted_by_class_with_an_interval() -> None:
    seen = [Seen(0, 40.0, False, 0.0, False), Seen(0, np.inf, True, 20.0, False), Seen(1, np.inf, False, 0.0, False)]
    seen += [Seen(1, 10.0, False, 0.0, False), Seen(2, 90.0, True, 0.0, False)]
    found = conformal.assess(promising(), seen, 0.1)
    assert found["median_ms"] == 90.0, "of all five, within which half had a right commitment"
    assert found["mean_steps"] == (4 + 4 + 4 + 1 + 4) / 5, "no more than those of a window"
    assert (found["count"], found["committed"], found["wrong"]) == (5, 3, 2)
    assert found["interval"] == list(interval(2, 5))
    assert found["by_class"] == {"zero": [1, 2], "one": [0, 2], "two": [1, 1]}
    assert conformal.assess(promising(), seen[1:3], 0.1)["median_ms"] is None


def says(*labels: str | None) -> list[Prediction]:
    """One step each, of 10 ms."""
    made = [Commitment(label, (), 0.1, n > 6, None) for n, label in enumerate(labels, 1)]
    return [replace(PREDICTION, end_us=10_000 * n, commitment=one) for n, one in enumerate(made, 1)]


def test_what_was_committed_to_counts_while_a_thing_is_in_view() -> None:
    """What was there before may be committed to until the network has settled, another class never."""
    stream = LabelledStream(empty_events(), SIZE, [0, 1, 2], [0, 1, 1], [0, 30_000, 60_000])
    said = says("a", None, "a", "a", "b", None, "b", "a", None)
    first, then, again = seen_in(stream, said, ("a", "b"), 2)
    assert first == Seen(0, 10.0, False, 0.0, False)
    assert then == Seen(1, 20.0, False, 10.0, False)
    assert again == Seen(1, 10.0, True, 0.0, True), "of the same class as before: a is no thing that was there"
    assert seen_in(stream, said, ("a", "b"), 0)[1].wrong
    assert seen_in(stream, says("b", *"aaaaaaa"), ("a", "b"), 2)[0].wrong


@pytest.mark.parametrize("length_us", [SHORT_US, LONG_US])
def test_a_recording_begins_at_a_moment_of_chance_and_goes_round_where_it_is_short(length_us: int) -> None:
    events, span_us = events_of(length_us, 7_000), 40_000
    lap = int(events["t"][-1]) - 7_000 + 1
    begins = set()
    for seed in range(20):
        found = cut(events, span_us, 1000, np.random.default_rng(seed))
        t = found["t"]
        assert (np.diff(t) >= 0).all()
        assert t[0] >= 0
        assert span_us - 200 < t[-1] < span_us
        at = int(np.flatnonzero((events["x"] == found["x"][0]) & (events["y"] == found["y"][0]))[0])
        begins.add(at)
        assert len(found) == pytest.approx(span_us / 100, abs=span_us / lap + 1)
    assert len(begins) > 10


def test_less_than_a_bin_of_events_comes_once_a_bin_and_nothing_stays_nothing() -> None:
    found = cut(events_of(100), 40_000, 10_000, None)
    assert found["t"].tolist() == [0, 10_000, 20_000, 30_000]
    assert len(cut(events_of(0), 40_000, 10_000, None)) == 0


def test_recordings_follow_each_other_at_random_with_and_without_a_gap() -> None:
    recordings = [CalibrationSample(lambda: (events_of(SHORT_US), SIZE), n % 3) for n in range(45)]
    contract, window_us = EVENT_CONTRACT, EVENT_CONTRACT.steps * EVENT_CONTRACT.bin_us
    for gaps in (False, True):
        made = list(streams(contract, recordings, 1, gaps=gaps))
        assert [len(one.rows) for one in made] == [20, 20, 5]
        assert sorted(row for one in made for row in one.rows) == list(range(45)), "each once"
        for one in made:
            assert one.labels == [row % 3 for row in one.rows]
            lives = np.diff(one.begins)
            assert (lives >= window_us).all()
            assert (lives <= window_us * (4 if gaps else 2)).all()
            assert len({begin % contract.bin_us for begin in one.begins}) > 2, "bins have changes in their middle"
            silence = np.diff(one.events["t"]).max()
            assert (silence > contract.bin_us) == gaps
    aligned = list(streams(replace(contract, frame="object"), recordings[:3], 1, gaps=False))
    assert [len(one.rows) for one in aligned] == [1, 1, 1]
    assert [len(one.events) for one in aligned] == [len(events_of(SHORT_US))] * 3, "whole"


def test_things_before_two_sensors_are_in_two_streams() -> None:
    recordings = [
        CalibrationSample(partial(lambda n: (events_of(SHORT_US), SensorSize(24, 32 + n % 2)), n), 0) for n in range(6)
    ]
    found = list(streams(EVENT_CONTRACT, recordings, 1, gaps=False))
    assert sorted(sorted(one.rows) for one in found) == [[0, 2, 4], [1, 3, 5]]


@pytest.mark.parametrize(("shortest", "bins"), [(1000, [1, 2, 5, 10]), (2000, [2, 5, 10]), (0, [10])])
def test_bins_are_the_trained_and_shorter(shortest: int, bins: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def read(classifier: Any, stream: LabelledStream) -> tuple[list[float], list[float]]:
        return [float(classifier.contract.bin_us + row) for row in stream.rows], [0.5] * 3000

    monkeypatch.setattr(conformal, "read_stream", read)
    recordings = [CalibrationSample(lambda: (events_of(100), SIZE), n % 3) for n in range(conformal.LEAST)]
    made, line = conformal.fit_conformal(tiny(replace(EVENT_CONTRACT, shortest_bin_us=shortest)), recordings)
    assert line == 0, "all windows are alike"
    assert conformal.commits(made, LABELS) == "at error rates from 14.29% on, as two has 6 recordings to calibrate with"
    found = made.trials
    assert list(found) == [1000 * ms for ms in bins]
    assert found[10_000].counts.tolist() == [7, 7, 6]
    assert found[10_000].largest[:7].tolist() == [10_000.0 + row for row in range(0, 20, 3)], "each its own"
    assert len(found[10_000].known) == conformal.MOST


def test_few_streams_of_what_was_calibrated_exceed_the_line_and_stranger_ones_do() -> None:
    """Also where windows that follow each other are alike, as those of a thing are."""
    random = np.random.default_rng(3)

    def made(things: int) -> Floats:
        return np.repeat(random.normal(0, 1, things), random.integers(1, 3, things))

    above = missed = 0
    for _ in range(10):
        known = made(1500)
        line, every = conformal.alarm_line(known.tolist()), np.sort(known)
        assert line is not None
        for long in (made(700)[: conformal.LONG] for _ in range(10)):
            p_values = (1 + np.searchsorted(every, long, "right")) / (1 + len(every))
            above += highest(p_values.tolist()) > line
            missed += highest((p_values * 0.5).tolist()) <= line
    assert above <= 100 * conformal.RATE + 4, "4 standard deviations"
    assert missed == 0
    assert conformal.alarm_line([0.5] * 20) is None, "too few to draw from"


def test_what_calibrates_is_the_lead_of_wrong_labels_and_known_at_the_ends_of_windows() -> None:
    classifier = promising(known=np.ones(1000))
    recordings = [CalibrationSample(lambda: (events_of(LONG_US), SIZE), 2) for _ in range(4)]
    (stream,) = streams(classifier.contract, recordings, 1, gaps=False)
    leads, known = conformal.read_stream(classifier, stream)
    answers = classifier.predict(classifier.event_inputs(stream.events, SIZE))
    logits, ends = np.array([one.logits for one in answers], np.float64), [one.end_us for one in answers]
    of_things = [wrong_margin(logits[part], 2, before, 2) for part, _, before in stream.things(ends)]
    assert leads == pytest.approx(of_things)
    window = classifier.contract.steps
    assert known == pytest.approx(
        [one.in_distribution for one in answers[window - 1 :: window] if one.label != NOTHING]
    )
    assert conformal.read_stream(tiny(), stream)[1] == []


def test_recordings_of_the_models_classes_are_judged_at_both_error_rates(tmp_path: Path) -> None:
    classifier = promising()
    sources = []
    for n, label in enumerate((*LABELS, "stranger")):
        write_recording(tmp_path / f"{n}.npz", events_of(40_000), SIZE)
        sources.append(LabelledItem(Item(tmp_path / f"{n}.npz", 0), label))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conformal, "CHANGES", 12)
        found = conformal.held_out(classifier, sources)
    assert [table["error_rate"] for table in found] == [0.05, 0.01]
    for table in found:
        assert {label: of for label, (_, of) in table["by_class"].items()} == dict.fromkeys(LABELS, 4), "no stranger"
    assert found[1]["committed"] == 0, "of 30 recordings nothing is known of 1 in 100"
    assert conformal.held_out(tiny(), sources) == []


def test_a_stream_is_followed_step_by_step_and_the_alarm_goes_on_from_thing_to_thing() -> None:
    classifier = promising(known=np.ones(1000))
    recordings = [CalibrationSample(lambda: (events_of(LONG_US), SIZE), n % 3) for n in range(6)]
    (stream,) = streams(classifier.contract, recordings, 1, gaps=False)
    (found,) = conformal.follow(classifier, stream, [classifier.stream_readout()])
    every = classifier.predict(classifier.event_inputs(stream.events, SIZE))
    assert found == seen_in(stream, every, classifier.labels, 2)
    assert [one.shifted for one in found] == sorted(one.shifted for one in found)
    assert found[-1].shifted


CPU = torch.device("cpu")
TAKES = [f"{name}-{recording}.npz" for name in ("cup", "phone") for recording in range(1, 8)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    root = tmp_path_factory.mktemp("read-out")
    write_takes(root / "mine", TAKES, 0.4, rate=2000)
    options = {"crop": "none", "height": 32, "width": 32, "epochs": 1}
    options |= {"shift": 2, "rotate": 10.0, "scale": 0.0, "drop": 0.2}
    return load_data(small_config(root, data=str(root / "mine"), **options))


def test_what_a_network_that_never_fires_cannot_tell_the_head_sees_in_the_input(data: Data) -> None:
    network = build_network(data.config, len(data.labels)).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.zeros_(module.weight)
    assert len(np.unique(evaluate(network, data.val, 2, CPU, data.contract).chosen)) == 1
    (head,) = heads_of(network, data)
    assert head.name == TRAINED
    assert head.right.all()


def test_the_head_is_judged_by_what_it_has_not_learnt_from(data: Data) -> None:
    wrong = replace(data, val=replace(data.val, labels=1 - data.val.labels))
    (head,) = heads_of(build_network(data.config, len(data.labels)), wrong)
    contract = replace(data.contract, readout=1)
    assert not head.right.any(), "it learns from these only after they have judged it"
    assert evaluate(head.judged, wrong.val, 2, CPU, contract).accuracy == 0, "nor does what they calibrate"
    assert evaluate(head.network, wrong.val, 2, CPU, contract).accuracy > 0


def test_no_head_for_inputs_that_are_no_plain_events(data: Data) -> None:
    network = build_network(data.config, len(data.labels))
    assert heads_of(network, replace(data, contract=replace(data.contract, encoding="count"))) == []
    assert heads_of(build_network(data.config, 2, channels=1), data) == []


def test_an_answer_is_the_mean_of_the_last_steps() -> None:
    logits = torch.arange(6.0).view(3, 1, 2)
    assert torch.equal(sliding_mean(logits, 1), logits)
    assert sliding_mean(logits, 3)[:, 0, 0].tolist() == [0.0, 1.0, 2.0]
    assert sliding_mean(logits, 2)[:, 0, 0].tolist() == [0.0, 1.0, 3.0]


@pytest.fixture(scope="module")
def begun(data: Data, tmp_path_factory: pytest.TempPathFactory) -> Data:
    """The same recordings, for a run that goes on with what another one has made."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    metrics = fit(replace(data.config, epochs=1, lr=1e-9), folder)  # too slow to learn anything
    assert metrics["read_out"]["kept"] == TRAINED, "from random weights there is no other head"
    assert metrics["test"]["best_guess"]["accuracy"] == 1.0, "recordings are answered as their windows are"
    return replace(data, config=replace(data.config, init_from=str(folder / "model"), epochs=None, seed=1))


def from_head(data: Data, folder: Path, **settings: object) -> tuple[Run, FittedHead]:
    config = from_mapping(data.config, settings, "test")
    run, first, _ = begin(config, replace(data, config=config), folder)
    assert first is not None
    return run, first


def test_what_is_trained_is_the_head_and_what_it_stands_on(begun: Data, tmp_path: Path) -> None:
    run, first = from_head(begun, tmp_path, epochs=1)
    run.keep_first()
    assert run.progress.best_val == first.right.mean(), "an epoch has to surpass it"
    before = {name: parameter.detach().clone() for name, parameter in run.network.named_parameters()}
    run.train_batch(np.arange(4))
    still = [name for name, parameter in run.network.named_parameters() if torch.equal(parameter, before[name])]
    assert set(still) == {"backbone.readout.weight", "backbone.readout.bias"}
    for name, buffer in first.judged.named_buffers():
        assert torch.equal(buffer, run.network.get_buffer(name)), "its normalisation stays"


def test_weights_that_nothing_teaches_go_back_to_where_they_began(begun: Data, tmp_path: Path) -> None:
    settings = {"epochs": 9, "lr": 1.0, "warmup_epochs": 0.0, "optimiser": "sgd", "clip_norm": 1e-9}
    run, first = from_head(begun, tmp_path, **settings)
    with torch.no_grad():
        run.network.get_parameter("head.bias").add_(1.0)
    run.train_batch(np.arange(4))
    assert torch.allclose(run.network.get_parameter("head.bias"), first.judged.head.bias, atol=1e-6)


def test_minutes_bound_a_run_and_its_plan_changes_nothing(begun: Data, tmp_path: Path) -> None:
    run, first = from_head(begun, tmp_path, epochs=3, epoch_steps=1, minutes=1e-9)
    run.plan_for(1e9, 7)
    assert run.config.epochs == run.data.config.epochs == 7
    taught, given = run.network.state_dict(), first.judged.state_dict()
    assert all(torch.equal(given[name], tensor) for name, tensor in taught.items())
    run.steps_an_epoch = 50
    run.plan_for(1e-9, 7)
    assert (run.config.epochs, run.steps_an_epoch) == (1, 1), "an epoch that does not fit is shorter"
    run.config = replace(run.config, epochs=3)
    run.train()
    assert run.progress.epoch == 1, "what the plan did not foresee"


@pytest.mark.parametrize("head", [False, True])
def test_stop_and_resume(head: bool, data: Data, begun: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C leaves a model that can be served, and the run goes on as if it was never stopped."""
    config = replace((begun if head else data).config, epochs=2, epoch_steps=2)
    step, folder = Run.train_batch, tmp_path / "stopped"

    def stopped(self: Run, *rows: np.ndarray) -> tuple[float, int]:
        assert (folder / "model" / "config.json").exists() == head, "a head is there at once"
        signal.raise_signal(signal.SIGINT)
        return step(self, *rows)

    with monkeypatch.context() as patch:
        patch.setattr(Run, "train_batch", stopped)
        with pytest.raises(KeyboardInterrupt):
            fit(config, folder)
    assert "as of epoch 1 of 2; not tested" in (folder / "model" / "README.md").read_text()
    assert Classifier.load(folder / "model").labels == ("cup", "phone")
    assert fit(config, folder, resume=True)["test"] == fit(config, tmp_path / "whole")["test"]
    ours, theirs = (load_file(run / "checkpoints" / "last.safetensors") for run in (tmp_path / "whole", folder))
    assert all(torch.equal(theirs[name], tensor) for name, tensor in ours.items())


def test_a_run_is_as_long_as_could_be_told_from_its_beginning(begun: Data, data: Data) -> None:
    def reason(of: Data) -> str | None:
        return (head := first_head(of)) and reason_not_to_train(head)

    assert "none is done" in (reason(begun) or "")
    assert first_head(data) is None, "random weights have learnt nothing elsewhere"
    assert first_head(replace(begun, config=replace(begun.config, beta=0.7))) is None, "another network"
    rows = np.resize(np.arange(len(data.val)), 12)
    wrong = replace(data.val, frames=data.val.frames[rows], labels=1 - data.val.labels[rows])
    items = [replace(data.val_items[0], path=Path(f"{n}.npz")) for n in range(12)]
    assert reason(replace(begun, val=wrong, val_items=items)) is None
    parts = data.train_items, data.val_items
    train, val = ([replace(item, path=Path(f"{item.label}.npz")) for item in items] for items in parts)
    assert reason(replace(begun, train_items=train, val_items=val)) is not None, (
        "one recording a class has validation windows"
    )


def test_a_head_alone_says_what_it_reads(data: Data, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = replace(data.config, init_from="things", network="event-medium", epochs=0)
    metrics = fit(config, tmp_path / "run")
    said, card = capsys.readouterr().out, (tmp_path / "run" / "model" / "README.md").read_text()
    assert "head only: the network of the shipped things stays as it is" in said
    assert metrics["read_out"]["kept"] == BEGUN
    assert "head only: the network of the shipped things, not trained further" in card
    assert "with a ridge read-out from 12 recordings" in card, "of training and validation"
    with pytest.raises(ValueError, match="--epochs 0 fits a read-out alone"):
        fit(replace(config, init_from=None), tmp_path / "other")


def test_more_recordings_prove_more_and_more_windows_do_not() -> None:
    right, share = np.full(100, True), 0.8
    assert better(right, np.arange(100), share)
    assert not better(right, np.zeros(100, np.int64), share)
    assert not better(right, np.arange(100), 1.0), "nothing is better than all right"
    assert not better(~right, np.arange(100), share)
