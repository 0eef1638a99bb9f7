"""What is measured after a training: readings, assessment and the figures made of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.recordings.files import digest, write_recording
from spikesight.model import Model
from spikesight.models.classifier import Classifier
from spikesight.models.contract import Contract
from spikesight.models.networks.metering import Meter
from spikesight.models.networks.resnet import ResNetConfig, SpikingResNet
from spikesight.models.neurons.layers import Neuron
from spikesight.models.novelty import NOTHING, UNKNOWN
from spikesight.models.shipped import find
from spikesight.models.statistics import softmax
from spikesight.training.data import Frames
from spikesight.training.data.images import read_picture
from spikesight.training.data.sets import DataError
from spikesight.training.run.assessment import assess, auroc
from spikesight.training.run.baselines import Pairs, log_counts, pixels, sentences
from spikesight.training.run.evaluate import batches, evaluate
from spikesight.training.run.fit import fit
from spikesight.training.run.readings import Readings, read_set
from spikesight.training.step.batches import evaluation_input
from tests.support.inputs.data_sets import small_config, write_idx, write_nmnist, write_stripes, write_takes
from tests.support.inputs.samples import some_events
from tests.support.models import IMAGE_CONTRACT, PREDICTION, some_known, tiny
from tests.support.refusals import refusal

NAMES = ["one.npz", "two-1.npz", "two-2.npz"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_takes(tmp_path_factory.mktemp("takes"), NAMES, 0.5)


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return tiny()


@pytest.fixture(scope="module")
def readings(folder: Path, classifier: Classifier) -> Readings:
    return read_set(classifier, str(folder))


def test_recordings_are_answered_as_predict_answers(folder: Path, classifier: Classifier, readings: Readings) -> None:
    for n, name in enumerate(NAMES):
        answer = replace(Model(classifier).predict(folder / name), latency_ms=0.0)
        assert replace(readings.answers[n], latency_ms=0.0) == answer
    assert [readings.classes[n] for n in readings.truth] == ["one", "two", "two"]


def test_a_recording_of_which_no_event_is_left_is_nothing(tmp_path: Path) -> None:
    """One in a folder ends nothing; and where there is no other, either."""
    classifier, one = Classifier.load(find("nmnist")), make_events([5], [0], [0], [1])
    for name, folder in (("1", "both"), ("1", "alone")):
        (tmp_path / folder / name).mkdir(parents=True)
        write_recording(tmp_path / folder / name / "one.npz", one, SensorSize(346, 260))
    (tmp_path / "both" / "2").mkdir()
    write_recording(tmp_path / "both" / "2" / "more.npz", some_events(900, size=(34, 34)), SensorSize(34, 34))
    write_recording(tmp_path / "both" / "2" / "view.npz", some_events(900, size=(160, 120)), SensorSize(160, 120))
    for folder, count in (("both", 3), ("alone", 1)):
        found = read_set(classifier, str(tmp_path / folder))
        assert (found.answers[0].label, len(found.answers)) == ("nothing", count)
        assert assess(found)["right"]["count"] == count


def test_recordings_of_the_training_are_known_again(tmp_path: Path, folder: Path, classifier: Classifier) -> None:
    assert not read_set(classifier, str(folder)).shared
    (tmp_path / "copied").mkdir()
    (tmp_path / "copied" / "two-9.npz").write_bytes((folder / "two-2.npz").read_bytes())
    taught = replace(classifier.card, training={"recordings": [digest(folder / "two-2.npz")]})
    found = read_set(Classifier(classifier.network, taught), str(tmp_path / "copied"))
    assert found.shared == ("copied/two-9.npz",)


def test_the_test_folder_alone_is_read_by_the_models_classes(tmp_path: Path, classifier: Classifier) -> None:
    write_takes(tmp_path / "a", ["train/one.npz", "train/two.npz", "test/two.npz"], 0.3)
    found = read_set(classifier, str(tmp_path / "a"))
    assert found.classes == ("two",)
    assert "1 recordings of test/, 2 others left alone" in found.notes[0]
    write_takes(tmp_path / "b", ["kitchen/one.npz", "kitchen/two.npz", "office/one.npz", "office/two.npz"], 0.3)
    assert read_set(classifier, str(tmp_path / "b")).classes == ("one", "two"), "which settle what names leave open"


def test_images_and_events_are_not_mixed_up(tmp_path: Path, folder: Path, classifier: Classifier) -> None:
    write_idx(tmp_path)
    images = tiny(replace(IMAGE_CONTRACT, channels=1, mean=(0.5,), std=(0.25,), height=28, width=28))
    found = read_set(images, "mnist", str(tmp_path))
    assert [len(answer.probabilities) for answer in found.answers] == [3] * 6
    refusal(lambda: read_set(images, str(folder)), "takes images")
    refusal(lambda: read_set(classifier, str(tmp_path / "nowhere")), "no folder", DataError)
    refusal(lambda: read_set(classifier, "mnist", str(tmp_path)), "takes events, and mnist holds images")
    (tmp_path / "cup.raw").write_bytes(b"% evt 3.0\n% end\n")
    with pytest.raises(DataError, match="cannot be read"):
        read_set(classifier, str(tmp_path))


def test_a_named_set_is_read_by_its_test_split(tmp_path: Path, classifier: Classifier) -> None:
    write_nmnist(tmp_path, train=1, test=2)
    found = read_set(classifier, "nmnist", str(tmp_path))
    assert (found.classes, found.truth.tolist()) == (("0", "1"), [0, 0, 1, 1])
    assert [source.item.name for source in found.sources] == [f"{n}/0000{m}.bin" for n in (0, 1) for m in (0, 1)]


def test_pictures_are_read_in_the_models_colours(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for n in range(2):
            cv2.imwrite(str(tmp_path / name / f"{n}.png"), random.integers(0, 256, (16, 16, 3), np.uint8))
    classifier = tiny(IMAGE_CONTRACT)
    found = read_set(classifier, str(tmp_path))
    pictures = [read_picture(path, 3, 16, 16) for path in sorted(tmp_path.rglob("*.png"))]
    x_seq = evaluation_input(torch.from_numpy(np.stack(pictures))[:, None], IMAGE_CONTRACT).contiguous()
    logits = classifier.run(x_seq, classifier.initial_state(4)).logits
    said = np.array([answer.probabilities for answer in found.answers])
    np.testing.assert_allclose(said, softmax(logits.double().mean(0).numpy()), rtol=1e-5)
    assert (found.classes, found.truth.tolist(), found.notes) == (("a", "b"), [0, 0, 1, 1], ("4 images",))


DIGITS = replace(IMAGE_CONTRACT, channels=1, mean=(0.5,), std=(0.25,), height=28, width=28, still="digit")


@pytest.mark.parametrize("contract", [IMAGE_CONTRACT, DIGITS])
def test_pictures_are_judged_as_predict_judges_them(tmp_path: Path, contract: Contract) -> None:
    random, made = np.random.default_rng(0), tiny(contract)
    ink = np.full((30, 30, 4), 255, np.uint8)
    ink[4:20, 6:12, :3] = 0  # dark on light, where digits are learnt light on dark
    clear = np.zeros((30, 30, 4), np.uint8)
    clear[5:9, 4:25, 3] = 255  # black ink on nothing, which is shown on white
    for name, picture in (("a", random.integers(0, 256, (16, 16, 3), np.uint8)), ("b", ink), ("c", clear)):
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "0.png"), picture)
    classifier = Classifier(made.network, replace(made.card, novelty=some_known(made.network, contract)))
    found = read_set(classifier, str(tmp_path))
    for n, path in enumerate(sorted(tmp_path.rglob("*.png"))):
        answer = Model(classifier).predict(path)
        assert found.answers[n].probabilities == pytest.approx(answer.probabilities, rel=1e-5)
        assert (found.answers[n].label, found.answers[n].in_distribution) == (
            answer.label,
            pytest.approx(answer.in_distribution, rel=1e-5),
        )
    taught = replace(classifier.card, training={"recordings": [digest(tmp_path / "b" / "0.png")]})
    assert read_set(Classifier(classifier.network, taught), str(tmp_path)).shared == ("b/0.png",)


def assessed(*, known: bool = True) -> Readings:
    """Four recordings of a model's classes a and b, two of a class c that it does not have."""
    labels, sure = ["a", UNKNOWN, NOTHING, "b", "a", UNKNOWN], [0.9, 0.8, 0.6, 0.2, 0.7, 0.4]
    familiar = [0.9, 0.4, 0.0, 0.8, 0.6, 0.1] if known else [None] * 6
    answers = [
        replace(PREDICTION, label=label, index=int(a < 0.5), probabilities=(a, 1 - a), in_distribution=score)
        for label, a, score in zip(labels, sure, familiar)
    ]
    truth = np.array([0, 0, 1, 1, 2, 2])
    return Readings(labels=("a", "b"), classes=("a", "b", "c"), truth=truth, answers=tuple(answers))


def test_right_is_what_is_shown_and_the_best_guess_another_column() -> None:
    found = assess(assessed())
    assert (found["right"]["correct"], found["right"]["count"], found["right"]["accuracy"]) == (2, 4, 0.5)
    assert (found["best_guess"]["correct"], found["best_guess"]["count"]) == (3, 4)
    assert found["per_class"]["a"]["right"]["correct"] == found["per_class"]["b"]["right"]["correct"] == 1
    assert found["per_class"]["a"]["best_guess"]["correct"] == 2
    assert found["confusion"] == [[1, 0, 1, 0], [0, 1, 0, 1]], "the last two: unknown and nothing"


def test_calibration_is_the_mean_gap_between_confidence_and_accuracy() -> None:
    gaps = 0.1, 0.2, 0.2, 0.6  # right and sure by 0.9 and twice by 0.8, wrong and sure by 0.6
    assert assess(assessed())["calibration_error"] == pytest.approx(sum(gaps) / 4, abs=1e-4)


def test_classes_that_the_model_does_not_have_stand_apart() -> None:
    judged, plain = (assess(assessed(known=known))["unknown"] for known in (True, False))
    assert (judged["classes"], judged["count"], judged["shown"]) == (["c"], 2, {"a": 1, UNKNOWN: 1})
    assert judged["auroc"] == pytest.approx(5 / 8)
    assert (plain["score"], plain["auroc"]) == ("highest probability", pytest.approx(6.5 / 8))


def test_nothing_of_the_models_classes() -> None:
    found = assess(replace(assessed(), classes=("p", "q", "r")))
    assert found["right"]["accuracy"] is found["best_guess"]["accuracy"] is None
    assert found["unknown"]["auroc"] is None
    assert "calibration_error" not in found


def test_auroc_is_the_share_of_pairs() -> None:
    random = np.random.default_rng(0)
    high, low = random.integers(0, 10, 40) / 10.0, random.integers(0, 8, 30) / 10.0
    pairs = [(a > b) + 0.5 * (a == b) for a in high for b in low]
    assert auroc(high, low) == pytest.approx(np.mean(pairs))


def test_counts_lose_no_event_and_know_place_polarity_and_order() -> None:
    frames = np.zeros((2, 6, 2, 40, 32), np.uint8)
    frames[0, :, 1, :20] = 1  # ON above, all the time
    frames[1, 5, 0, 20:] = 1  # OFF below, at the end
    counts = np.expm1(log_counts(frames)).reshape(2, -1, 2, 16, 16)
    assert counts.sum((1, 2, 3, 4)) == pytest.approx(frames.sum((1, 2, 3, 4)))
    assert not counts[0, :, 0].any()
    assert not counts[0, :, 1, 9:].any()
    assert not counts[1, :-1].any()


def test_pixels_know_place_and_colour_in_shares_of_white() -> None:
    pictures = np.zeros((1, 1, 3, 32, 8), np.uint8)
    pictures[0, 0, 2, 16:] = 255  # blue below
    pictures[0, 0, 0, 0] = 51  # a red line of a place's two
    seen = pixels(pictures).reshape(3, 16, 8)
    assert seen[2, 8:] == pytest.approx(1)
    assert seen[0, 0] == pytest.approx(0.1)
    assert seen.sum() == pytest.approx(8 * 8 + 0.1 * 8)


def test_pictures_have_baselines_that_learn_the_training_ones(tmp_path: Path) -> None:
    write_stripes(tmp_path / "pictures")
    options = {"height": 32, "width": 32, "network": "image-small", "epochs": 1, "epoch_steps": 1}
    metrics = fit(small_config(tmp_path, data=str(tmp_path / "pictures"), **options), tmp_path / "run")
    rows = metrics["baselines"]
    assert [row["count"] for row in rows] == [metrics["test"]["count"]] * 2
    assert rows[1]["correct"] == 24, "stripes are told by a kernel machine"
    assert all("on pixels" in line and "pictures better" in line for line in sentences(rows))
    assert "on pixels" in (tmp_path / "run" / "model" / "README.md").read_text()


def test_pairs_count_recordings_and_not_their_windows() -> None:
    truth, recording = np.repeat([0, 1, 0, 1], 50), np.repeat(np.arange(4), 50)
    better = Pairs(truth, truth, recording).beside({"always 0": np.zeros_like(truth)})[0]
    assert (better["won"], better["lost"], better["correct"]) == (2, 0, 100)
    assert better["p"] == 0.5  # two coins
    assert Pairs(truth, truth, recording).beside({"the same": truth})[0]["p"] == 1


T, COUNT = 4, 9


@pytest.fixture
def network() -> SpikingResNet:
    torch.manual_seed(0)
    return SpikingResNet(ResNetConfig("sew", (1,), (4,), in_channels=2, classes=3)).eval()


@pytest.fixture
def frames() -> Frames:
    random = np.random.default_rng(0)
    return Frames((random.random((COUNT, T, 2, 9, 8)) < 0.4).astype(np.uint8), random.integers(0, 3, COUNT))


def keep(name: str, spikes: dict[str, torch.Tensor]) -> Any:
    def hook(_: torch.nn.Module, __: Any, out: torch.Tensor) -> None:
        spikes[name] = out

    return hook


def test_against_a_plain_pass(network: SpikingResNet, frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    spikes: dict[str, torch.Tensor] = {}
    for name, module in network.named_modules():
        if isinstance(module, Neuron):
            module.register_forward_hook(keep(name, spikes))
    with torch.no_grad():
        logits, _ = network(torch.from_numpy(frames.frames).transpose(0, 1).float())
    labels = torch.from_numpy(frames.labels)
    rates = {name: float((s != 0).float().mean()) for name, s in spikes.items()}
    monkeypatch.setattr("spikesight.training.run.evaluate.EVALUATION_BATCH", 4)  # an uneven last batch
    result = evaluate(network, frames, 3, torch.device("cpu"))
    correct = logits.mean(0).argmax(1) == labels
    assert result.accuracy == pytest.approx(float(correct.float().mean()))
    assert result.loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits.mean(0), labels)), rel=1e-5)
    assert (result.count, result.confusion.sum()) == (COUNT, COUNT)
    assert result.confusion.sum(1).tolist() == np.bincount(frames.labels, minlength=3).tolist()
    for name, rate in rates.items():
        assert result.firing_rates[name] == pytest.approx(rate)
    running = [logits[: t + 1].mean(0).argmax(1) == labels for t in range(T)]
    assert result.accuracy_by_step == pytest.approx([float(right.float().mean()) for right in running])
    meter = Meter(network)
    with torch.no_grad():
        network(torch.from_numpy(frames.frames).transpose(0, 1).float())
    assert result.synops == pytest.approx(float(meter.read().synops.sum()) / COUNT)
    meter.close()


def test_dead_and_saturated_channels_are_counted_and_named(network: SpikingResNet, frames: Frames) -> None:
    state = network.state_dict()
    with torch.no_grad():  # the stem's norm: two channels never fire, two always do
        state["stem.1.weight"].zero_()
        state["stem.1.bias"].copy_(torch.tensor([-1.0, -1.0, 9.0, 9.0]))
        state["blocks.0.conv2.1.weight"].zero_()
        state["blocks.0.conv2.1.bias"].fill_(-1)
    result = evaluate(network, frames, 3, torch.device("cpu"))
    stem, last = result.layers["neuron"], result.layers["blocks.0.neuron2"]
    assert (stem.rate, stem.dead, stem.saturated) == (0.5, 0.5, 0.5)
    assert (last.rate, last.dead) == (0, 1)
    assert result.warnings() == ["silent layers: blocks.0.neuron2"], "half is not more than half"
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


@pytest.mark.parametrize(("rank", "rows"), [(0, [0, 1, 4, 5, 8]), (1, [2, 3, 6, 7])])
def test_every_second_batch_is_the_second_processs(rank: int, rows: list[int], frames: Frames) -> None:
    parts = list(batches(Frames(frames.frames, np.arange(COUNT)), 2, rank, 2))
    assert [int(label) for _, labels in parts for label in labels] == rows
    assert torch.equal(torch.cat([x for x, _ in parts]), torch.from_numpy(frames.frames[rows]))
