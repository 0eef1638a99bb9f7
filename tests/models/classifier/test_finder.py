"""Things in the network's answers at all places of a view: which there are, and which is which over time."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikesight.encoders.events import SensorSize
from spikesight.encoders.pyramid import SEEN, pyramid_of
from spikesight.models.classifier import InputPipeline
from spikesight.models.classifier.finder import LASTS, MOST, RETURNS, SETTLES, WINDOW, Finder, Part, Spotted, grid_of
from spikesight.models.classifier.objects import Objects, outcomes
from spikesight.models.novelty import NOTHING, UNKNOWN
from spikesight.models.steps import Answer, Input, Outcome, Track
from tests.support.inputs.samples import some_events
from tests.support.models import finding

CAMERA = SensorSize(320, 240)
PYRAMID = pyramid_of(CAMERA)
GRID = grid_of(PYRAMID)
LABELS = ("a", "b", "c")
ALL, NONE = (np.full((2, PYRAMID.height, PYRAMID.width), lit, np.uint8) for lit in (1, 0))
PLACES = int(GRID.places.max()) + 1


class Drawn(NamedTuple):
    """A thing in the sensor's pixels."""

    x: float
    y: float
    length: float = 60
    label: int = 0


def shown(*things: Drawn, x: np.ndarray = ALL, reset: bool = False) -> tuple[Input, Outcome]:
    """What a network would say that is the surer of a thing the nearer a place is to it, in where and in size."""
    logits, middles = np.full((len(GRID.boxes), len(LABELS)), -8.0), GRID.boxes[:, :2] + GRID.boxes[:, 2:] / 2
    for one in things:
        apart = np.hypot(*(middles - (one.x, one.y)).T) / one.length
        unlike = np.abs(np.log(GRID.boxes[:, 2] / one.length))
        logits[:, one.label] = np.maximum(logits[:, one.label], 10 - 20 * apart - 20 * unlike)
    everywhere = np.full((PLACES, len(LABELS)), 99, np.float32)  # what a place says that lies in no level
    everywhere[GRID.places] = logits
    given = Input(x, 0, 10, int(np.count_nonzero(x)), reset, pyramid=PYRAMID)
    return given, Outcome(everywhere.reshape(1, -1), [1, 2], 3, 0.1)


def found(finder: Finder, *things: Drawn, x: np.ndarray = ALL) -> dict[int, Part]:
    """The things of a step by their numbers."""
    return {view.id: view for view, _ in finder.find(*shown(*things, x=x))}


def distance(view: Part, thing: Drawn) -> float:
    left, top, width, height = view.box
    return float(np.hypot(left + width / 2 - thing.x, top + height / 2 - thing.y)) / thing.length


things = st.builds(
    Drawn, st.floats(60, 260), st.floats(60, 180), st.floats(40, 90), st.sampled_from(range(len(LABELS)))
)


@given(things)
@settings(max_examples=30, deadline=None)
def test_a_thing_is_one_thing_of_its_place_and_size(thing: Drawn) -> None:
    finder = Finder(len(LABELS))
    for _ in range(5):
        ((number, view),) = found(finder, thing).items()
        assert number == 1
        assert distance(view, thing) < 0.25
        assert 0.8 < view.box[2] / thing.length < 1.25
        assert view.given.x.shape == (2, SEEN, SEEN)
        assert view.given.n_events == 2 * SEEN**2


@given(things, things, st.integers(20, 60))
@settings(max_examples=30, deadline=None)
def test_what_moves_and_comes_nearer_stays_the_same_thing(begin: Drawn, end: Drawn, steps: int) -> None:
    finder, seen, now = Finder(len(LABELS)), set[int](), begin
    for share in np.linspace(0, 1, steps):
        x, y, length = (float(a + share * (b - a)) for a, b in zip(begin[:3], end[:3]))
        now = Drawn(x, y, length, begin.label)
        seen |= found(finder, now).keys()
    assert seen == {1}
    assert distance([found(finder, now)[1] for _ in range(30)][-1], now) < 0.25


@given(st.permutations([Drawn(60, 60), Drawn(160, 70, 50, 1), Drawn(260, 55, 60, 2), Drawn(90, 170), Drawn(200, 180)]))
@settings(max_examples=10, deadline=None)
def test_several_things_are_as_many_and_are_told_in_reading_order(drawn: list[Drawn]) -> None:
    objects = Objects(LABELS, Track(LABELS, 4))
    answer = [objects.read([given], outcome) for given, outcome in [shown(*drawn)] * 20][-1]
    listed = answer.prediction.objects
    assert listed is not None
    assert [one.label for one in listed] == ["a", "b", "c", "a", "a"]
    assert len({one.id for one in listed}) == 5
    assert answer.steady in LABELS


def test_what_leads_goes_on_leading_until_it_is_gone() -> None:
    objects, one, other = Objects(LABELS, Track(LABELS, 4)), Drawn(60, 60), Drawn(200, 150, 60, 1)

    def steady(*drawn: Drawn) -> str:
        return [objects.read([given], outcome) for given, outcome in [shown(*drawn)] * 30][-1].steady

    assert [steady(one), steady(one, other), steady(other)] == ["a", "a", "b"]


def test_counts_are_those_of_the_whole_view() -> None:
    objects = Objects(LABELS, Track(LABELS, 4))
    answer = [objects.read(*([one], made)) for one, made in [shown(Drawn(60, 60), Drawn(200, 150))] * 3][-1]
    assert (answer.prediction.step, answer.prediction.spikes, answer.prediction.synops) == (3, 3, 3)
    assert (answer.total_spikes, answer.total_synops, answer.layer_spikes) == (9, 9, [1, 2])
    again, made = shown(Drawn(60, 60), reset=True)
    assert objects.read([again], made).prediction.step == 1


def test_there_are_no_more_things_than_are_told() -> None:
    finder = Finder(len(LABELS))
    many = [Drawn(30 + 50 * n, 40 + 60 * row, 36) for n in range(6) for row in range(3)]
    assert len(found(finder, *many)) == MOST


@pytest.mark.parametrize(("x", "label"), [(ALL, UNKNOWN), (NONE, NOTHING)])
def test_where_the_network_takes_nothing_for_a_class_there_is_no_thing(x: np.ndarray, label: str) -> None:
    objects = Objects(LABELS, Track(LABELS, 4))
    answer = [objects.read([given], outcome) for given, outcome in [shown(x=x)] * 60][-1]
    assert (answer.prediction.label, answer.steady, answer.prediction.objects) == (label, label, ())
    assert list(found(Finder(len(LABELS)), x=x)) == [0]


def test_where_no_events_come_from_a_thing_is_kept_and_noise_forgets_it() -> None:
    finder, thing = Finder(len(LABELS)), Drawn(100, 100)
    [found(finder, thing) for _ in range(5)]
    for _ in range(100):
        assert distance(found(finder, x=NONE)[1], thing) < 0.25
    lasting = [1 in found(finder) for _ in range(LASTS + WINDOW)]
    assert lasting == [True] * LASTS + [False] * WINDOW
    other = [found(finder, thing._replace(label=1)) for _ in range(WINDOW)][-1]
    assert list(other) == [2]
    [found(finder) for _ in range(RETURNS + WINDOW)]
    assert list([found(finder, thing) for _ in range(WINDOW)][-1]) == [3], "another thing, as far as anyone knows"
    finder.reset()
    assert list(found(finder, thing)) == [4]


def test_what_passes_behind_another_is_itself_when_it_comes_out() -> None:
    finder, said, behind, parts = Finder(len(LABELS)), list[set[int]](), Drawn(0, 0), dict[int, Part]()
    for step in range(100):
        front, behind = Drawn(260 - 2.0 * step, 90), Drawn(60 + 2.0 * step, 110, label=1)
        visible = [front] if abs(front.x - behind.x) < 60 else [front, behind]
        parts = found(finder, *visible)
        said.append({number for number, part in parts.items() if part.given.n_events})
    assert (said[0], len(said[50]), said[-1]) == ({1, 2}, 1, {1, 2}), "what is hidden is not read"
    assert min(distance(part, behind) for part in parts.values()) < 0.3


def test_what_leaves_frames_that_are_moved_is_forgotten_though_nothing_comes_from_a_plain_wall() -> None:
    finder, moved = Finder(len(LABELS)), replace(PYRAMID, moved=True)
    steps = [shown(Drawn(100, 100))] * 5 + [shown(x=NONE)] * (LASTS + WINDOW + 1)
    ids = [finder.find(given._replace(pyramid=moved, n_events=9), made)[0][0].id for given, made in steps]
    assert (ids[4], ids[-1]) == (1, 0)


def spotted(*said: int | None) -> list[str]:
    """What is shown of a thing that the network takes for these classes, step by step; None: no event comes."""
    one, shown = Spotted(LABELS), list[str]()
    for label in said:
        logits = np.full((1, len(LABELS)), -5.0)
        logits[0, label or 0] = 1.5
        x = ALL[:, :SEEN, :SEEN] if label is not None else NONE[:, :SEEN, :SEEN]
        given = Input(x, 0, 10, int(np.count_nonzero(x)), False)
        shown.append(one.read([given], Outcome(logits.astype(np.float32), [1], 1, 0.1)).steady)
    return shown


def test_a_thing_has_the_label_that_it_is_taken_for_on_and_on() -> None:
    assert spotted(*[1] * 6) == [UNKNOWN] * (SETTLES - 1) + ["b"] * (7 - SETTLES)
    assert set(spotted(*[0, 1, 2] * 10)[SETTLES:]) == {UNKNOWN}, "what looks like one after another is none"
    assert spotted(*[1] * 6, *[None] * 50)[-1] == "b", "what is held still sends no events"
    assert spotted(None, None) == [NOTHING] * 2


def answers(cuts: list[int]) -> list[Answer]:
    """Those of a stream whose steps are run, and read, so many at once."""
    model = finding()
    events = some_events(30_000, 300_000, size=(CAMERA.width, CAMERA.height))
    inputs = InputPipeline(model.card, CAMERA).push(events)
    assert all(one.x.shape == model.runner(one.x.shape).shape for one in inputs)
    readout, state, said = model.readout(), model.initial_state(1, inputs[0].x.shape), list[Answer]()
    for part in np.split(np.arange(len(inputs)), cuts):
        if len(part):
            mine = [inputs[n] for n in part]
            result = model.run(torch.from_numpy(np.stack([one.x for one in mine])[:, None]), state)
            state = result.state
            said.append(readout.read(mine, *outcomes(result, 0.0)))
    return said


@pytest.mark.parametrize("cuts", [[1], [3, 4, 11], [20]])
def test_steps_of_a_view_that_are_read_at_once_are_those_read_one_by_one(cuts: list[int]) -> None:
    together, single = answers(cuts)[-1], answers([*range(1, 40)])[-1]
    fields = {"n_events": 0, "spikes": 0, "synops": 0, "latency_ms": 0.0, "start_us": 0}
    assert replace(together.prediction, **fields) == replace(single.prediction, **fields)  # type: ignore[arg-type]
    assert together.prediction.objects
    assert (together.steady, together.total_spikes, together.total_synops) == (
        single.steady, single.total_spikes, single.total_synops,
    )  # fmt: skip
