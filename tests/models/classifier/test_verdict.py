"""A recording's one answer, of one window or of several: label, segments, commitment and objects tell one story."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikesight.encoders.events import SensorSize
from spikesight.model import Model
from spikesight.models.classifier import Classifier, Stepper
from spikesight.models.classifier.objects import CLEAR, Objects, merged_outcome
from spikesight.models.classifier.verdict import Segment, Verdict
from spikesight.models.novelty import NOTHING, UNKNOWN
from spikesight.models.novelty.conformal import Commitment
from spikesight.models.novelty.score import Judged
from spikesight.models.statistics import softmax
from spikesight.models.steps import Answer, Input, Outcome, Prediction, Track, View
from tests.support.inputs.samples import some_events
from tests.support.models import EVENT_CONTRACT, PREDICTION, promising, some_known

TWO, WINDOW = ("a", "b"), 3
TO_A = Commitment("a", ("a",), 0.1, False, 510)


def step(n: int, label: str, steady: str, a: float = 0.5, **other: object) -> Answer:
    """Of the n-th step: its own label, the label to show, the probability of "a"."""
    index = TWO.index(label) if label in TWO else 0
    fields = {"step": n + 1, "start_us": 500 + 10 * n, "end_us": 510 + 10 * n, "label": label, "index": index}
    fields |= {"probabilities": (a, 1 - a), "known": None, "commitment": None, "objects": None, **other}
    return Answer(replace(PREDICTION, **fields), steady, [4], False, 0, 0)  # type: ignore[arg-type]


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


def test_a_longer_recording_has_the_label_shown_at_its_end() -> None:
    shown, sure = ["", "a", "a", "a", "b", UNKNOWN, UNKNOWN, "a"], [0.5, 0.75, 0.25, 0.875, 0.25, 0.5, 0.5, 0.5]
    found = verdict(*(step(n, "b", *one) for n, one in enumerate(zip(shown, sure))))
    assert found.label == "a"
    assert found.segments == [
        Segment(10, 40, "a", 0.625, 3),
        Segment(40, 50, "b", 0.75, 1),
        Segment(50, 70, UNKNOWN, None, 2),
        Segment(70, 80, "a", 0.5, 1),
    ]


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
        found = verdict(*says, step(4, "b", "b", commitment=last))
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
    assert timeless(answer) == timeless(slowly.prediction)
    assert segments == slowly.segments
    assert segments[-1].label == answer.label
    assert answer.commitment is not None
    assert answer.commitment.label in (None, answer.label)


def timeless(prediction: Prediction) -> Prediction:
    return replace(prediction, latency_ms=0.0)


LABELS = ("a", "b", "c")
Box = tuple[float, float, float, float]
SURE = {"a": (6.0, 0.0, 0.0), "b": (0.0, 6.0, 0.0), "c": (0.0, 0.0, 6.0), "?": (0.0, 0.0, 0.0)}


def at(x: float, y: float = 50, side: float = 20) -> Box:
    return x - side / 2, y - side / 2, side, side


def stepped(
    objects: Objects, shown: dict[int, tuple[Box, str]], likeness: float = 1.0, *, reset: bool = False
) -> Answer:
    """A step in which each window says so."""
    given = Input(np.ones((1, 1, 1), np.uint8), 0, 10, 1, False)
    views = tuple(View(identity, box, given, likeness) for identity, (box, _) in shown.items())
    parts = [Outcome(np.array([SURE[label]], np.float32), [1, 2], 3, 0.1) for _, label in shown.values()]
    whole = given._replace(views=views, reset=reset)
    return objects.read([whole], merged_outcome(whole, parts))


def said(answer: Answer) -> list[tuple[int, str]]:
    assert answer.prediction.objects is not None
    return [(one.id, one.label) for one in answer.prediction.objects]


def made() -> Objects:
    return Objects(LABELS, lambda: Track(LABELS, 4))


def after(objects: Objects, steps: int, shown: dict[int, tuple[Box, str]], likeness: float = 1.0) -> Answer:
    return [stepped(objects, shown, likeness) for _ in range(steps)][-1]


def test_a_window_is_an_object_once_it_says_a_class_steadily() -> None:
    objects = made()
    shown = {1: (at(50), "a"), 2: (at(150), "?")}
    assert said(stepped(objects, shown)) == []
    answer = after(objects, 30, shown)
    assert said(answer) == [(1, "a")]
    assert (answer.steady, answer.prediction.label) == ("a", "a")


def test_a_stream_without_an_object_names_no_class() -> None:
    answer = stepped(made(), {1: (at(50), "a")})
    assert answer.prediction.label not in LABELS
    assert answer.steady not in LABELS
    assert answer.prediction.commitment is None or answer.prediction.commitment.label is None


def test_counts_are_those_of_all_windows() -> None:
    objects = made()
    shown = {1: (at(50), "a"), 2: (at(150), "b")}
    answer = after(objects, 3, shown)
    assert (answer.prediction.step, answer.prediction.spikes, answer.prediction.synops) == (3, 6, 6)
    assert (answer.total_spikes, answer.total_synops, answer.layer_spikes) == (18, 18, [2, 4])
    assert stepped(objects, shown, reset=True).prediction.step == 1


def test_objects_are_read_line_by_line() -> None:
    shown = {
        1: (at(150, 60), "a"), 2: (at(40, 150), "b"), 3: (at(50, 55), "c"), 4: (at(90, 148), "a"),
    }  # fmt: skip
    assert said(after(made(), 30, shown)) == [(3, "c"), (1, "a"), (2, "b"), (4, "a")]


def test_of_two_in_one_place_the_more_familiar_stays() -> None:
    objects = made()
    after(objects, 10, {1: (at(50), "a")})
    answer = after(objects, 30, {1: (at(50), "a"), 2: (at(50, side=14), "b")})
    assert len(said(answer)) == 1


def test_two_that_were_apart_are_two_while_one_lies_in_the_others_place() -> None:
    objects = made()
    after(objects, 30, {1: (at(50), "a"), 2: (at(150), "b")})
    assert sorted(said(stepped(objects, {1: (at(100), "a"), 2: (at(102), "b")}))) == [(1, "a"), (2, "b")]


def test_what_leads_goes_on_leading_until_it_is_gone() -> None:
    objects = made()
    after(objects, 30, {1: (at(50), "a")})
    assert after(objects, 30, {1: (at(50), "a"), 2: (at(150), "b")}).steady == "a"
    answer = after(objects, 30, {2: (at(150), "b")})
    assert (answer.steady, said(answer)) == ("b", [(2, "b")])


def test_a_window_that_follows_something_else_is_read_out_anew() -> None:
    objects = made()
    after(objects, 30, {1: (at(50), "a")})
    assert said(stepped(objects, {2: (at(50), "a")})) == []


class Familiar:
    """A judge that finds all of it as familiar as this."""

    width = 0

    def __init__(self, known: float) -> None:
        self.known = known

    def judge(self, mean: np.ndarray, classes: int, *_: object) -> Judged:
        return Judged(softmax(mean[:classes]), self.known, False)


class Judge:
    """Finds each class as familiar as it is told; where nothing stands out there is nothing."""

    width = 0

    def __init__(self, **known: float) -> None:
        self.known = known

    def judge(self, mean: np.ndarray, classes: int, *_: object) -> Judged:
        best = LABELS[int(mean[:classes].argmax())]
        return Judged(softmax(mean[:classes]), self.known.get(best, 0.0), bool(np.ptp(mean[:classes]) < 1))


@pytest.mark.parametrize(("known", "leads"), [(0.8, "a"), (0.75, "b")])
def test_another_leads_once_it_is_clearly_more_familiar(known: float, leads: str) -> None:
    objects = Objects(LABELS, lambda: Track(LABELS, 4, Judge(a=known, b=0.99)))  # type: ignore[arg-type]
    after(objects, 60, {1: (at(50), "a")})
    assert after(objects, 60, {1: (at(50), "a"), 2: (at(150), "b")}).steady == leads


def test_a_thing_that_rests_stays_as_familiar_as_it_was() -> None:
    objects = Objects(LABELS, lambda: Track(LABELS, 4, Judge(a=0.9)))  # type: ignore[arg-type]
    after(objects, 30, {1: (at(50), "a")})
    assert said(after(objects, 12, {1: (at(50), "?")})) == [(1, "a")], "it sends no events, and is still there"


@pytest.mark.parametrize(("likeness", "seen"), [(1.0, True), (CLEAR, True), (0.5 * CLEAR, False)])
def test_what_looks_little_like_a_drawing_has_to_be_more_familiar(likeness: float, seen: bool) -> None:
    objects = Objects(LABELS, lambda: Track(LABELS, 4, Familiar(0.9)))  # type: ignore[arg-type]
    answer = after(objects, 30, {1: (at(50), "a")}, likeness)
    assert (said(answer) == [(1, "a")]) == seen
    assert answer.prediction.known == pytest.approx(0.9 * min(1, likeness / CLEAR))
    assert (answer.steady == "a") == seen, "twice as familiar at least"
