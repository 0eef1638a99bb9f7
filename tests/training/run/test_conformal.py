"""How commitments fare, from logits made by hand; which recordings are read."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.recordings.files import read_recording, write_recording
from spikesight.models.novelty.conformal import Trials
from spikesight.models.statistics import interval
from spikesight.training.data.sets import Item
from spikesight.training.run import conformal
from spikesight.training.run.conformal import (
    LEAST,
    Paths,
    assess,
    conformal_of,
    fit_conformal,
    held_out,
    read_paths,
)
from spikesight.training.run.readings import Source
from tests.support.models import EVENT_CONTRACT, LABELS, promising, tiny

SIZE = SensorSize(24, 32)
SURE, UNSURE = [9.0, 0.0, 0.0], [0.0, 0.0, 0.0]
TRIALS = Trials(np.ones(3), np.linspace(0, 0.5, 99))  # of recordings that were never strange


def told(*paths: list[list[float]], labels: list[int], rate: float = 0.05) -> dict[str, Any]:
    return assess(TRIALS, Paths(np.array(paths, float), np.array(labels)), rate, 10.0)


def test_what_is_left_is_committed_to_at_its_time() -> None:
    paths = [[SURE] * 3, [[5.0, 5.0, 0.0], SURE, SURE], [[0.0, 9.0, 0.0]] * 3]
    found = told(*paths, labels=[0, 0, 0], rate=0.05)
    strange = TRIALS.strangeness(np.array([5.0, 5.0, 0.0]), 1)
    assert strange[0] == strange[1] > 0.5
    assert (found["count"], found["committed"], found["wrong"]) == (3, 2, 1)
    assert found["coverage"] == pytest.approx(1 / 3)
    assert found["interval"] == list(interval(1, 3))
    assert found["median_ms"] == 10.0


def test_half_of_all_within_a_time_or_never() -> None:
    quiet = Trials(np.ones(3), np.linspace(0, 5, 99))  # what is unsure stays possible
    unsure, late = [UNSURE] * 3, [UNSURE, UNSURE, SURE]

    def median(*paths: list[list[float]]) -> float | None:
        return assess(quiet, Paths(np.array(paths), np.zeros(len(paths), int)), 0.05, 2.5)["median_ms"]

    assert median(late) == 7.5
    assert median(late, [SURE] * 3) == 2.5
    assert median(late, [SURE] * 3, late) == 7.5
    assert median(unsure, [SURE] * 3) == 2.5
    assert median(unsure, unsure, [SURE] * 3) is None


def test_too_few_recordings_give_no_conformal_sets(capsys: pytest.CaptureFixture[str]) -> None:
    classifier: Any = SimpleNamespace()
    with pytest.raises(ValueError, match="19 validation recordings are too few"):
        fit_conformal(classifier, [SimpleNamespace()] * (LEAST - 1))  # type: ignore[list-item]
    data: Any = SimpleNamespace(val_items=())
    network: Any = None
    card: Any = None
    assert conformal_of(network, card, data) is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("shortest", "bins"), [(1000, [1, 2, 5, 10]), (2000, [2, 5, 10]), (0, [10])])
def test_bins_are_the_trained_one_and_shorter_ones_of_its_range(
    shortest: int, bins: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(classifier: Any, items: list[Any], labels: np.ndarray) -> Paths:
        del classifier, items
        return Paths(np.zeros((len(labels), 2, 3)), labels)

    monkeypatch.setattr(conformal, "read_paths", read)
    items = [Item(tmp_path, n % 3) for n in range(LEAST)]
    classifier = tiny(replace(EVENT_CONTRACT, shortest_bin_us=shortest))
    assert list(fit_conformal(classifier, items).trials) == [1000 * ms for ms in bins]


def test_recordings_of_the_models_classes_are_judged_at_both_error_rates(tmp_path: Path) -> None:
    classifier = promising()
    sources = []
    for n, label in enumerate((*LABELS, "stranger")):
        t = np.arange(0, 40_000, 100)
        write_recording(tmp_path / f"{n}.npz", make_events(t, t // 100 % 20, t // 70 % 31, t % 200 == 0), SIZE)
        sources.append(Source(Item(tmp_path / f"{n}.npz", 0), label))
    found = held_out(classifier, sources)
    items, trials = [source.item for source in sources[:3]], classifier.trials
    assert trials is not None
    paths = read_paths(classifier, items, np.arange(3))
    assert found == [assess(trials, paths, rate, 10.0) for rate in (0.05, 0.01)], "none of the stranger"
    assert held_out(tiny(), sources) == []


def test_a_short_recording_keeps_its_last_answer_and_a_long_one_is_cut(tmp_path: Path) -> None:
    classifier, items = tiny(), []
    for length_us in (15_000, 90_000):
        t = np.arange(0, length_us, 100)
        items.append(Item(tmp_path / f"{length_us}.npz", 0))
        write_recording(items[-1].path, make_events(t, t // 100 % 20, t // 70 % 31, t % 200 == 0), SIZE)
    found = read_paths(classifier, items, np.array([2, 1]))
    assert (found.logits.shape, found.labels.tolist()) == ((2, 4, 3), [2, 1])
    for path, item, steps in zip(found.logits, items, (2, 4)):
        inputs = list(classifier.event_inputs(read_recording(item.path).events, SIZE))[:4]
        assert len(inputs) == steps
        x_seq = torch.from_numpy(np.stack([given.x for given in inputs]))[:, None]
        logits = classifier.run(x_seq, classifier.initial_state()).logits[:, 0].double().numpy()
        np.testing.assert_array_equal(path, logits[[min(n, steps) - 1 for n in (1, 2, 3, 4)]])
