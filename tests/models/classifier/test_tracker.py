"""Things in the network's answers at all places of a view: which there are, and which is which over time."""

import re
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikesight.encoders.events import SensorSize
from spikesight.encoders.native.targets import NETWORK_KERNELS
from spikesight.encoders.pyramid import READ, SEEN, Pyramid, pyramid_of
from spikesight.models.classifier import InputPipeline
from spikesight.models.classifier.readout import DetectionReadout, outcomes
from spikesight.models.classifier.tracker import MAX_DETECTIONS, WINDOW, output_cells_of
from spikesight.models.novelty import NOTHING, UNKNOWN
from spikesight.models.steps import Answer, Detection, Input, Outcome, StreamReadout
from tests.support.inputs.samples import some_events
from tests.support.models import finding

CAMERA = SensorSize(320, 240)
PYRAMID = pyramid_of(CAMERA)
PLACES = output_cells_of(PYRAMID)
LABELS = ("a", "b", "c")
ALL, NONE = (np.full((2, PYRAMID.height, PYRAMID.width), lit, np.uint8) for lit in (1, 0))
NUMBERS = PLACES["at"][:, 0]
RULES = dict(re.findall(r"SPIKESIGHT_(\w+) = (\d+)", (NETWORK_KERNELS / "tracker.h").read_text()))
MAX_AGE, REID_WINDOW, MIN_HITS = (int(RULES[name]) for name in ("MAX_AGE", "REIDENTIFICATION_WINDOW", "MIN_HITS"))


class Drawn(NamedTuple):
    """A thing in the sensor's pixels."""

    x: float
    y: float
    length: float = 60
    label: int = 0


def shown(*things: Drawn, x: np.ndarray = ALL, pyramid: Pyramid = PYRAMID) -> tuple[Input, Outcome]:
    """What a network would say that is the surer of a thing the nearer a place is to it, in where and in size."""
    logits = np.full((len(PLACES), len(LABELS)), -8.0)
    for one in things:
        apart = np.hypot(*(PLACES["box"][:, :2] - (one.x, one.y)).T) / one.length
        unlike = np.abs(np.log(PLACES["box"][:, 2] / one.length))
        logits[:, one.label] = np.maximum(logits[:, one.label], 12 - 20 * apart - 20 * unlike)
    everywhere = np.full((NUMBERS.max() + 1, len(LABELS)), 99, np.float32)  # what a place says that lies in no level
    everywhere[NUMBERS] = logits
    given = Input(x, 0, 10, 9 if pyramid.moved else int(np.count_nonzero(x)), False, pyramid=pyramid)
    return given, Outcome(everywhere.reshape(1, -1), [1, 2], 3, 0.1)


def looking() -> DetectionReadout:
    return DetectionReadout(LABELS, StreamReadout(LABELS, 4))


def told(
    objects: DetectionReadout, *things: Drawn, steps: int = 1, x: np.ndarray = ALL, pyramid: Pyramid = PYRAMID
) -> Answer:
    """The answer after as many like steps."""
    given, outcome = shown(*things, x=x, pyramid=pyramid)
    return [objects.read([given], outcome) for _ in range(steps)][-1]


def found(answer: Answer) -> dict[int, Detection]:
    """The things that are listed, by their numbers."""
    return {one.id: one for one in answer.prediction.objects or ()}


def distance(one: Detection, thing: Drawn) -> float:
    left, top, width, height = one.box
    return float(np.hypot(left + width / 2 - thing.x, top + height / 2 - thing.y)) / thing.length


things = st.builds(Drawn, st.floats(60, 260), st.floats(60, 180), st.floats(40, 90), st.integers(0, len(LABELS) - 1))


@given(things, st.integers(0, 2**32), st.floats(0.01, 0.4))
@settings(max_examples=30, deadline=None)
def test_a_thing_is_one_in_the_middle_of_its_events(thing: Drawn, seed: int, share: float) -> None:
    """Against NumPy, to the hundredths of a pixel to which boxes are told."""
    x = ALL * (np.random.default_rng(seed).random(ALL.shape) < share)
    ((number, one),) = found(told(looking(), thing, steps=MIN_HITS + 1, x=x)).items()
    assert (number, one.label) == (1, LABELS[thing.label])
    logits = shown(thing)[1].logits.reshape(-1, len(LABELS))[NUMBERS].astype(float)
    boxes, sure = PLACES["box"], np.exp(logits).max(1) / (np.exp(logits).sum(1) + 1)
    best, (_, row, column) = boxes[sure.argmax()], PLACES["at"][sure.argmax()]
    near = np.abs(boxes[:, :2] - best[:2]).max(1) / np.maximum(boxes[:, 2], best[2]) < 0.5
    near &= (np.abs(np.log(boxes[:, 2] / best[2])) < np.log(1.6)) & (sure >= 0.2)
    *middle, size = sure[near] @ np.c_[boxes[near, :2], np.log(boxes[near, 2])] / sure[near].sum()
    lit, side, now = x.max(0)[row : row + SEEN, column : column + SEEN], np.exp(size), middle
    cells = best[:2] + (np.argwhere(lit)[:, ::-1] - (SEEN - 1) / 2) * best[2] / READ
    for _ in range(2):
        inside = np.abs(cells - now).max(1) <= 0.6 * side
        now = cells[inside].mean(0) if inside.sum() > 7 else now
    x, y = (now if np.abs(np.subtract(now, middle)).max() < 0.35 * side else middle) - side / 2
    assert one.box == pytest.approx((x, y, side, side), abs=0.006)


@given(things, things, st.integers(20, 60))
@settings(max_examples=30, deadline=None)
def test_what_moves_and_comes_nearer_stays_the_same_thing(begin: Drawn, end: Drawn, steps: int) -> None:
    objects, seen, now = looking(), set[int](), begin
    for share in np.linspace(0, 1, steps):
        x, y, length = (float(a + share * (b - a)) for a, b in zip(begin[:3], end[:3]))
        now = Drawn(x, y, length, begin.label)
        seen |= found(told(objects, now)).keys()
    assert seen == {1}
    assert distance(found(told(objects, now, steps=30))[1], now) < 0.25


@given(st.permutations([Drawn(60, 60), Drawn(160, 70, 50, 1), Drawn(260, 55, 60, 2), Drawn(90, 170), Drawn(200, 180)]))
@settings(max_examples=10, deadline=None)
def test_several_things_are_as_many_and_are_told_in_reading_order(drawn: list[Drawn]) -> None:
    answer = told(looking(), *drawn, steps=20)
    assert [one.label for one in found(answer).values()] == ["a", "b", "c", "a", "a"]
    assert answer.prediction.label in LABELS


def test_what_leads_goes_on_leading_until_it_is_gone() -> None:
    objects, one, other = looking(), Drawn(60, 60), Drawn(200, 150, 60, 1)
    assert [told(objects, *drawn, steps=30).prediction.label for drawn in ([one], [one, other], [other])] == [
        "a",
        "a",
        "b",
    ]


def test_counts_are_those_of_the_whole_view() -> None:
    objects = looking()
    answer = told(objects, Drawn(60, 60), Drawn(200, 150), steps=3)
    assert (answer.prediction.step, answer.prediction.spikes, answer.prediction.synops) == (3, 3, 3)
    assert (answer.total_spikes, answer.total_synops, answer.layer_spikes) == (9, 9, [1, 2])
    again, made = shown(Drawn(60, 60))
    assert objects.read([again._replace(reset=True)], made).prediction.step == 1


def test_there_are_no_more_things_than_are_told() -> None:
    many = [Drawn(30 + 50 * n, 40 + 60 * row, 36) for n in range(6) for row in range(3)]
    assert len(found(told(looking(), *many, steps=MIN_HITS))) == MAX_DETECTIONS


@pytest.mark.parametrize(("x", "label"), [(ALL, UNKNOWN), (NONE, NOTHING)])
def test_where_the_network_takes_nothing_for_a_class_there_is_no_thing(x: np.ndarray, label: str) -> None:
    answer = told(looking(), steps=60, x=x)
    assert (answer.step_label, answer.prediction.label, answer.prediction.objects) == (label, label, ())


def test_where_no_events_come_from_a_thing_is_kept_and_frames_without_it_forget_it() -> None:
    """Nothing comes from a plain wall either, but it is known to be moved."""
    objects, thing, moved = looking(), Drawn(100, 100), replace(PYRAMID, moved=True)
    found(told(objects, thing, steps=5, pyramid=moved))
    given, outcome = shown(x=NONE, pyramid=moved)
    for _ in range(100):
        held = objects.read([given._replace(n_events=0)], outcome)
        assert distance(found(held)[1], thing) < 0.25
    lasting = [1 in found(told(objects, x=NONE, pyramid=moved)) for _ in range(MAX_AGE + WINDOW)]
    assert lasting == [True] * MAX_AGE + [False] * WINDOW
    again = WINDOW + MIN_HITS
    assert list(found(told(objects, thing._replace(label=1), steps=again, pyramid=moved))) == [2]
    found(told(objects, x=NONE, steps=REID_WINDOW - again, pyramid=moved))
    assert list(found(told(objects, thing._replace(label=1), steps=again, pyramid=moved))) == [2]
    found(told(objects, x=NONE, steps=REID_WINDOW + WINDOW, pyramid=moved))
    assert list(found(told(objects, thing, steps=again, pyramid=moved))) == [3], "another thing, as far as anyone knows"
    given, outcome = shown(thing, pyramid=moved)
    objects.read([given._replace(reset=True)], outcome)
    assert list(found(told(objects, thing, steps=again, pyramid=moved))) == [4]
    assert list(found(told(objects, thing, steps=again))) == [5], "another view"


def test_what_passes_behind_another_is_itself_when_it_comes_out() -> None:
    objects, said, behind = looking(), list[dict[int, Detection]](), Drawn(0, 0)
    for step in range(100):
        front, behind = Drawn(260 - 2.0 * step, 90), Drawn(60 + 2.0 * step, 110, label=1)
        visible = [front] if abs(front.x - behind.x) < 60 else [front, behind]
        said.append(found(told(objects, *visible)))
    assert (set(said[MIN_HITS]), len(said[50]), set(said[-1])) == ({1, 2}, 1, {1, 2})
    assert min(distance(one, behind) for one in said[-1].values() if one.label == "b") < 0.3


def steadied(*said: int | None) -> list[str]:
    """What is shown where the network takes a thing for these classes, step by step; None: no event comes."""
    objects, thing = looking(), Drawn(100, 100)
    drawn = [[] if label is None else [thing._replace(label=label)] for label in said]
    return [told(objects, *one, x=ALL if one else NONE).prediction.label for one in drawn]


def test_a_thing_has_the_label_that_it_is_taken_for_on_and_on() -> None:
    assert steadied(*[1] * 6) == [UNKNOWN] * (MIN_HITS - 1) + ["b"] * (7 - MIN_HITS)
    assert set(steadied(*[0, 0, 1, 1, 2, 2] * 6)) == {UNKNOWN}, "what looks like one after another is none"
    assert steadied(*[1] * 6, *[None] * 50)[-1] == "b", "what is held still sends no events"
    assert steadied(None, None) == [NOTHING] * 2


def answers(cuts: list[int]) -> list[Answer]:
    """Those of a stream whose steps are run, and read, so many at once."""
    model = finding()
    events = some_events(30_000, 300_000, size=(CAMERA.width, CAMERA.height))
    inputs = InputPipeline(model.card, CAMERA).push(events)
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
    together, alone = answers(cuts)[-1], answers([*range(1, 40)])
    single, parts = alone[-1], [one.prediction for one in alone[cuts[-1] :]]
    for name in ("n_events", "spikes", "synops"):
        assert getattr(together.prediction, name) == sum(getattr(one, name) for one in parts) > 0, name
    assert together.prediction.start_us == parts[0].start_us
    fields = {"n_events": 0, "spikes": 0, "synops": 0, "latency_ms": 0.0, "start_us": 0}
    assert replace(together.prediction, **fields) == replace(single.prediction, **fields)  # type: ignore[arg-type]
    assert together.prediction.objects
    assert (together.prediction.label, together.total_spikes, together.total_synops) == (
        single.prediction.label, single.total_spikes, single.total_synops,
    )  # fmt: skip
