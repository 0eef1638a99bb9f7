"""Readings: recordings are answered as `predict` answers them, and windows are counted beside."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.recordings.files import digest, read_recording, write_recording
from spikesight.model import Model
from spikesight.models.classifier import Classifier
from spikesight.models.contract import Contract
from spikesight.models.shipped import find
from spikesight.models.statistics import softmax
from spikesight.training.data.images import read_picture
from spikesight.training.data.sets import DataError, Item
from spikesight.training.run.assessment import assess
from spikesight.training.run.readings import Readings, Source, read_recordings, read_set
from spikesight.training.step.batches import evaluation_input
from tests.support.inputs.data_sets import write_idx, write_nmnist, write_takes
from tests.support.inputs.samples import some_events
from tests.support.models import EVENT_CONTRACT, IMAGE_CONTRACT, some_known, tiny

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


def test_recordings_and_windows_are_answered_as_predict_answers(
    folder: Path, classifier: Classifier, readings: Readings
) -> None:
    model, ends, begins = Model(classifier), list[tuple[float, ...]](), list[int]()
    for n, name in enumerate(NAMES):
        steps = model.steps(folder / name)
        rest = [len(steps)] if len(steps) % 4 >= 2 else []  # half a window
        for end in [*range(4, len(steps) + 1, 4), *rest]:
            ends.append(steps[end - 1].probabilities)
            begins.append(steps[(end - 1) // 4 * 4].start_us - steps[0].start_us)
        answer = replace(model.predict(folder / name), latency_ms=0.0)
        assert replace(readings.answers[n], latency_ms=0.0) == answer
    assert readings.probabilities.tolist() == [list(end) for end in ends]
    assert readings.begin_us.tolist() == begins
    assert readings.recording.tolist() == sorted(readings.recording.tolist())
    assert [readings.classes[n] for n in readings.truth] == ["one", "two", "two"]


def test_a_recording_of_which_no_event_is_left_is_nothing(tmp_path: Path) -> None:
    """One in a folder ends nothing; and where there is no other, either."""
    classifier, one = Classifier.load(find("nmnist")), make_events([5], [0], [0], [1])
    for name, folder in (("1", "both"), ("1", "alone")):
        (tmp_path / folder / name).mkdir(parents=True)
        write_recording(tmp_path / folder / name / "one.npz", one, SensorSize(346, 260))
    (tmp_path / "both" / "2").mkdir()
    write_recording(tmp_path / "both" / "2" / "more.npz", some_events(900, size=(34, 34)), SensorSize(34, 34))
    for folder, count in (("both", 2), ("alone", 1)):
        found = read_set(classifier, str(tmp_path / folder))
        assert (found.answers[0].label, len(found.answers)) == ("nothing", count)
        assert assess(found)["right"]["count"] == count


def test_windows_go_through_the_models_filter(tmp_path: Path) -> None:
    folder, filtered = write_takes(tmp_path, NAMES, 0.5, rate=40_000), tiny(replace(EVENT_CONTRACT, filter_us=10))
    recording = read_recording(folder / NAMES[0])
    inputs = filtered.event_inputs(recording.events, recording.size)
    assert sum(given.n_events for given in inputs) < 0.5 * len(recording.events)
    expected = filtered.predict(inputs[:4])[-1].probabilities
    np.testing.assert_allclose(read_set(filtered, str(folder)).probabilities[0], expected, rtol=1e-5)


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
    assert (found.kind, found.probabilities.shape) == ("image", (6, 3))
    with pytest.raises(ValueError, match="takes images"):
        read_set(images, str(folder))
    with pytest.raises(DataError, match="no folder"):
        read_set(classifier, str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="takes events, and mnist holds images"):
        read_set(classifier, "mnist", str(tmp_path))
    (tmp_path / "cup.raw").write_bytes(b"% evt 3.0\n% end\n")
    with pytest.raises(DataError, match="cannot be read"):
        read_set(classifier, str(tmp_path))


def test_a_named_set_is_read_by_its_test_split(tmp_path: Path, classifier: Classifier) -> None:
    write_nmnist(tmp_path, train=1, test=2)
    found = read_set(classifier, "nmnist", str(tmp_path))
    assert (found.classes, found.truth.tolist()) == (("0", "1"), [0, 0, 1, 1])
    assert [source.item.name for source in found.sources] == [f"{n}/0000{m}.bin" for n in (0, 1) for m in (0, 1)]
    assert found.quiet == 0


@pytest.mark.parametrize(("length_us", "begins"), [(80_000, [0]), (80_001, [0, 40_000])])
def test_aligned_recordings_are_read_whole_or_in_windows(tmp_path: Path, length_us: int, begins: list[int]) -> None:
    classifier = tiny(replace(EVENT_CONTRACT, frame="object", height=12, width=12))
    t = np.sort(np.random.default_rng(0).integers(1, length_us, 400))
    t[[0, -1]] = 0, length_us
    write_recording(tmp_path / "one.npz", make_events(t + 777, t % 20, t % 31, t % 2 == 0), SensorSize(24, 32))
    found = read_recordings(classifier, [Source(Item(tmp_path / "one.npz", 0), "one")])
    assert found.begin_us.tolist() == begins
    assert replace(found.answers[0], latency_ms=0.0) == replace(
        Model(classifier).predict(tmp_path / "one.npz"), latency_ms=0.0
    )


@pytest.mark.parametrize(
    ("bins", "begins"), [(1, [0]), (3, [0]), (4, [0]), (5, [0]), (6, [0, 40_000]), (9, [0, 40_000])]
)
def test_what_is_left_of_a_recording_counts_from_half_a_window_on_or_alone(
    bins: int, begins: list[int], tmp_path: Path, classifier: Classifier
) -> None:
    t = np.arange(0, bins * 10_000, 100) + 5_000
    write_recording(tmp_path / "a.npz", make_events(t, t % 20, t % 31, t % 2 == 0), SensorSize(24, 32))
    assert read_recordings(classifier, [Source(Item(tmp_path / "a.npz", 0), "a")]).begin_us.tolist() == begins


def test_windows_that_hold_next_to_nothing_are_left_out(tmp_path: Path, classifier: Classifier) -> None:
    few = [begin + np.arange(count) * 40_000 // count for begin, count in ((120_000, 40), (160_000, 39))]
    t = np.concatenate([np.arange(0, 120_000, 50), *few])
    for name, on in (("two", t % 2 == 0), ("one", t % 2 == 1)):
        write_recording(tmp_path / f"{name}.npz", make_events(t, t % 20, t % 31, on), SensorSize(24, 32))
    found = read_set(classifier, str(tmp_path))
    assert found.begin_us.tolist() == [0, 40_000, 80_000, 120_000] * 2, "a twentieth of the median is enough"
    assert found.recording.tolist() == [0] * 4 + [1] * 4
    assert found.quiet == 2


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
    np.testing.assert_allclose(found.probabilities, softmax(logits.double().mean(0).numpy()), rtol=1e-5)
    assert (found.classes, found.truth.tolist(), found.recording.tolist()) == (("a", "b"), [0, 0, 1, 1], [0, 1, 2, 3])
    assert (found.begin_us.tolist(), found.notes) == ([0] * 4, ("4 images",))


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
    found, learnt = read_set(classifier, str(tmp_path)), read_set(classifier, str(tmp_path), part="train")
    for n, path in enumerate(sorted(tmp_path.rglob("*.png"))):
        answer = Model(classifier).predict(path)
        assert found.probabilities[n] == pytest.approx(np.array(answer.probabilities), rel=1e-5)
        assert (found.answers[n].label, found.answers[n].known) == (answer.label, pytest.approx(answer.known, rel=1e-5))
    assert np.array_equal(found.counts, learnt.counts), "also what baselines learn from"
    taught = replace(classifier.card, training={"recordings": [digest(tmp_path / "b" / "0.png")]})
    assert read_set(Classifier(classifier.network, taught), str(tmp_path)).shared == ("b/0.png",)
