"""A recording's one answer, of one window or of several: label, segments, commitment and objects tell one story."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikesight.encoders.events import SensorSize
from spikesight.model import Model
from spikesight.models.classifier import Classifier, Stepper
from spikesight.models.classifier.verdict import Segment, Verdict
from spikesight.models.novelty import NOTHING, UNKNOWN
from spikesight.models.novelty.conformal import Commitment
from spikesight.models.steps import Answer
from tests.support.inputs.samples import some_events
from tests.support.models import EVENT_CONTRACT, PREDICTION, promising, some_known

TWO, WINDOW = ("a", "b"), 3
TO_A = Commitment("a", ("a",), 0.1, False, 510)


def step(n: int, step_label: str, label: str, a: float = 0.5, **other: object) -> Answer:
    """Of the n-th step: its own label, the label to show, the probability of "a"."""
    index = TWO.index(step_label) if step_label in TWO else 0
    fields = {"step": n + 1, "start_us": 500 + 10 * n, "end_us": 510 + 10 * n, "label": label, "top1": TWO[index]}
    fields |= {"index": index}
    fields |= {"probabilities": (a, 1 - a), "in_distribution": None, "commitment": None, "objects": None, **other}
    return Answer(replace(PREDICTION, **fields), step_label, [4], False, 0, 0)  # type: ignore[arg-type]


def verdict(*answers: Answer) -> Verdict:
    made = Verdict(TWO, WINDOW)
    for answer in answers:
        made.push(answer)
    return made


def test_a_recording_of_one_window_is_what_its_last_step_says_in_one_segment() -> None:
    found = verdict(step(0, UNKNOWN, UNKNOWN), step(1, "a", UNKNOWN), step(2, "b", UNKNOWN, 0.25))
    assert (found.label, found.prediction.label, found.steps) == ("b", "b", 3)
    assert found.segments == [Segment(0, 30, "b", 0.75, 3)]
    nothing = verdict(step(0, NOTHING, ""))
    assert nothing.segments == [Segment(0, 10, NOTHING, None, 1)]


@pytest.mark.parametrize(("end", "label"), [("ab", "a"), ("abb", "b"), ("bba", "b"), ("abc", "c")])
def test_a_longer_recording_has_the_label_shown_for_most_of_its_last_window(end: str, label: str) -> None:
    assert verdict(*(step(n, "b", shown) for n, shown in enumerate("aaaa" + end))).label == label


def test_segments_are_the_stretches_over_which_a_label_was_shown() -> None:
    shown, sure = ["", "a", "a", "a", "b", UNKNOWN, UNKNOWN], [0.5, 0.75, 0.25, 0.875, 0.25, 0.5, 0.5]
    found = verdict(*(step(n, "b", *one) for n, one in enumerate(zip(shown, sure))))
    assert found.label == UNKNOWN
    assert found.segments == [(10, 40, "a", 0.625, 3), (40, 50, "b", 0.75, 1), (50, 70, UNKNOWN, None, 2)]


def test_without_a_stable_label_a_longer_recording_is_what_its_last_step_says() -> None:
    found = verdict(*(step(n, "ab"[n % 2], "") for n in range(6)))
    assert [(one.start_us, one.end_us, one.label, one.steps) for one in found.segments] == [(0, 60, "b", 6)]
    assert found.label == found.prediction.label == "b"


def test_a_segment_ends_where_no_step_follows() -> None:
    found = verdict(step(0, "a", "a"), step(1, "a", "a"), step(500, "a", "a"), step(501, "a", "a"))
    assert [(s.start_us, s.end_us) for s in found.segments] == [(0, 20), (5000, 5020)]


def test_figures_are_those_of_the_last_step_that_says_the_label_and_counts_are_sums() -> None:
    says = [step(n, "a", "a", 0.9, commitment=TO_A) for n in range(4)]
    found = verdict(*says, step(4, "b", "a", 0.2, commitment=TO_A._replace(label="b", set=("b",), risk=0.4))).prediction
    assert (found.label, found.index, found.probabilities[0]) == ("a", 0, 0.9)
    assert found.commitment == TO_A._replace(at_us=540), "the end of the last step that says it"
    assert (found.step, found.start_us, found.end_us) == (5, 500, 550)
    for name in ("n_events", "spikes", "synops", "latency_ms"):
        assert getattr(found, name) == 5 * getattr(PREDICTION, name)
    shifted = verdict(*says, step(4, "a", "a", 0.9, commitment=TO_A._replace(label=None, shifted=True))).prediction
    assert shifted.commitment == (None, ("a",), 0.1, True, None)


def test_a_commitment_of_an_earlier_step_is_none_of_a_recording_that_ends_otherwise() -> None:
    says = [step(n, "a", "a", commitment=TO_A) for n in range(4)]
    for last in (TO_A, TO_A._replace(label=None, set=("a", "b"))):
        found = verdict(*says, *(step(n, "b", "b", commitment=last) for n in (4, 5)))
        assert (found.label, found.prediction.commitment) == ("b", last.withdrawn())
    never = verdict(*(step(n, "a", UNKNOWN, commitment=TO_A) for n in range(5)))
    assert (never.label, never.prediction.label, never.prediction.commitment) == (UNKNOWN, UNKNOWN, TO_A.withdrawn())


def test_before_the_first_step_there_is_no_answer() -> None:
    with pytest.raises(ValueError, match="no step"):
        _ = Verdict(TWO, WINDOW).prediction


def judging() -> Model:
    """A model that commits, and tells what is unknown."""
    made = promising()
    return Model(Classifier(made.network, replace(made.card, novelty=some_known(made.network, made.contract))))


@pytest.mark.parametrize("count", [3, 90, 900])  # one step, one window, several
@given(seed=st.integers(0, 2**31))
@settings(max_examples=8, deadline=None)
def test_predict_segments_and_the_steps_one_by_one_agree(count: int, seed: int) -> None:
    model, size = judging(), (EVENT_CONTRACT.sensor_width, EVENT_CONTRACT.sensor_height)
    events = some_events(count, seed=seed, size=size)
    events["t"] = np.sort(events["t"] % (1 + 400 * count))
    inputs = model.classifier.event_inputs(events, SensorSize(*size))
    slowly = Verdict(model.labels, model.classifier.contract.steps)
    for one in Stepper(model.classifier).steps(inputs):
        slowly.push(one)
    answer, segments = model.predict(events, size), model.segments(events, size)
    assert replace(answer, latency_ms=0.0) == replace(slowly.prediction, latency_ms=0.0)
    assert segments == slowly.segments
    assert answer.label in [segment.label for segment in segments]
    assert answer.commitment is not None
    assert answer.commitment.label in (None, answer.label)
