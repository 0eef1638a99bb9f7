"""Several windows are read out each by itself: what is an object, which leads, and in which order they are read."""

import numpy as np
import pytest

from spikesight.models.classifier.objects import CLEAR, Objects, merged_outcome
from spikesight.models.novelty.score import Judged
from spikesight.models.statistics import softmax
from spikesight.models.steps import Answer, Input, Outcome, Track, View

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
    assert answer.prediction.committed is None


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
