"""Lessons: the head, examples shown and taken back, and what is said of what was taught."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.roi.alignment import aligned
from spikesight.models.classifier import Classifier
from spikesight.models.networks.resnet import ResNetConfig
from spikesight.models.novelty import KEPT, NoveltyDetector
from spikesight.models.statistics import fit_temperature
from spikesight.models.teach.advice import another_day, report
from spikesight.models.teach.few_shot import EmbeddedExample, Example, FewShotLearner, augmented, pieces_of
from spikesight.models.teach.head import UNJUDGED_TEMPERATURE, HeadScores, Regression, folds, judge
from spikesight.models.teach.unknown import fit_unknown
from tests.support.inputs.data_sets import digit_events
from tests.support.models import lively
from tests.support.refusals import refusal

SENSOR = SensorSize(64, 64)


def drawn(label: str, seed: int) -> Example:
    """Events of a line that lies, stands, or a ring, anywhere and of any size."""
    random = np.random.default_rng([len(label), seed])
    count, turn = 1500, random.uniform(0, 2 * np.pi, 1500)
    line, thin = random.uniform(-1, 1, count), random.normal(0, 0.05, count)
    x, y = {"lying": (line, thin), "standing": (thin, line), "a ring": (np.cos(turn), np.sin(turn))}[label]
    size, middle = random.uniform(8, 14), random.uniform(24, 40, 2)
    t = np.sort(random.integers(0, 300_000, count))
    xs, ys = (values * size + at for values, at in zip((x, y), middle))
    return Example(label, f"{label} {seed}", make_events(t, xs.astype(int), ys.astype(int), t % 2), SENSOR)


def teaching(labels: tuple[str, ...] = ("lying", "standing"), count: int = 6, copies: int = 0) -> FewShotLearner:
    made = FewShotLearner(lively(ResNetConfig("ms", (1, 1), (4, 8), pool="max")), SENSOR, 6, 50_000, 2, copies)
    for seed in range(count):
        for label in labels:
            made.show(drawn(label, seed))
    return made


def test_a_class_that_comes_later_leaves_the_others() -> None:
    made = teaching()
    before = [shown.features for shown in made.shown]
    for seed in range(6):
        made.show(drawn("a ring", seed))
    assert made.counts() == {"a ring": 6, "lying": 6, "standing": 6}
    assert all(np.array_equal(a, b.features) for a, b in zip(before, made.shown))
    taught = made.learn()
    assert (taught.judged.scores.argmax(1) == taught.truth).mean() > 0.9
    made.forget("a ring")
    assert made.labels == ("lying", "standing")


@torch.inference_mode()
@pytest.mark.parametrize("with_input", [False, True])
def test_the_checkpoint_is_the_head(with_input: bool) -> None:
    taught = teaching().learn(with_input)
    network, card = taught.checkpoint({}, {})
    assert card.labels == ("lying", "standing")
    assert card.novelty is None  # twelve are too few to fix a threshold on
    made = teaching(count=1)
    logits = network.head(torch.from_numpy(taught.features[:, 0] / taught.scale))
    assert logits.argmax(1).tolist() == taught.truth.tolist()
    assert network.config.input_places == (8 if with_input else 0)
    assert made.contract == card.contract


def test_a_taught_model_runs_at_shorter_bins() -> None:
    made = Classifier(*teaching(("lying", "standing", "a ring")).learn().checkpoint({}, {}))
    fine = made.at(5)
    assert (fine.contract.steps, fine.ann_macs) == (60, made.ann_macs)
    for label in ("lying", "standing", "a ring"):
        shown = drawn(label, 9)
        for model in (made, fine):
            assert model.predict_events(shown.events, shown.sensor)[-1].label == label  # as one sample
        again = np.concatenate([shown.events] * 4)
        again["t"] += np.repeat(np.arange(4) * 300_000, len(shown.events))
        found = fine.predict_events(again, shown.sensor)  # as a stream
        assert found[-1].label == label
        assert 200 <= len(found) <= 241


def test_what_cannot_be_taught_is_refused() -> None:
    refusal(lambda: teaching(("lying",)).learn(), "two classes")
    refusal(lambda: teaching().show(drawn("lying", 0)._replace(events=drawn("lying", 0).events[:1])), "two events")


def shown(label: str, piece: str) -> EmbeddedExample:
    return EmbeddedExample(0, label, piece, np.zeros((1, 1), np.float32), np.zeros((2, 1, 1), np.uint8))


def test_the_only_piece_of_a_class_is_divided_into_five_of_time() -> None:
    alone = pieces_of([shown("a", "x") for _ in range(10)])
    assert alone.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert pieces_of([shown("a", "x") for _ in range(3)]).tolist() == [0, 1, 2]
    mixed = [shown("a", "x"), shown("b", "z"), shown("a", "y"), shown("b", "z"), shown("a", "x")]
    assert pieces_of(mixed).tolist() == [0, 2, 1, 3, 0], "b's two showings are two pieces, a's three are two"


@pytest.mark.parametrize("telling", ["the layers", "the input"])
def test_a_head_looks_at_the_input_where_it_judges_better_so(telling: str) -> None:
    made, random = teaching(count=1), np.random.default_rng(0)
    size, layers = made.shown[0].features.shape[1], made.learn(False).features.shape[2]
    of_layers = (np.arange(size) % (size // 2)) < layers // 2  # of each slice, what its layers gave comes first
    told = of_layers if telling == "the layers" else ~of_layers
    made.shown = [
        EmbeddedExample(
            number, label, f"{label} {number}",
            np.where(told, 3 * (label == "standing"), random.normal(size=(1, size))).astype(np.float32),
            made.shown[0].picture,
        )
        for number, label in enumerate(["lying", "standing"] * 8)
    ]  # fmt: skip
    taught = made.learn()
    assert taught.with_input == (telling == "the input")
    assert taught.features.shape[2] == (size if telling == "the input" else layers)


SIZE, LENGTH_US = (32, 32), 640_000


def test_a_copy_is_another_showing_of_the_same() -> None:
    events = aligned(digit_events(1, 2, 3000, length_us=4_000_000), SIZE, LENGTH_US)
    random, seen = np.random.default_rng(0), []
    for _ in range(20):
        copy = augmented(events, SIZE, LENGTH_US, random)
        assert 0.4 * len(events) < len(copy) <= len(events)
        assert (np.diff(copy["t"]) >= 0).all()
        assert 0 <= copy["t"][0] < copy["t"][-1] < LENGTH_US
        assert min(copy["x"].min(), copy["y"].min()) >= 0
        assert max(copy["x"].max(), copy["y"].max()) < 32
        assert np.hypot(np.median(copy["x"]) - 16, np.median(copy["y"]) - 16) < 6
        seen.append((len(copy), float(copy["x"].mean()), float(copy["t"].mean())))
    assert len(set(seen)) == 20


def clouds(count: int, pieces: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features [M, 1, 50], labels and pieces [M] of three classes, each piece with a mark of its own."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), count)
    piece = np.tile(np.arange(count) * pieces // count, 3) + 100 * labels
    middles, marks = random.normal(0, 1, (3, 50)), {p: random.normal(0, spread, 50) for p in np.unique(piece)}
    x = middles[labels] + np.stack([marks[p] for p in piece]) + random.normal(0, 0.1, (len(labels), 50))
    return x[:, None].astype(np.float32), labels, piece


def test_a_head_is_a_ridge_regression_in_which_every_class_weighs_the_same() -> None:
    random = np.random.default_rng(5)
    x, labels = random.normal(size=(8, 2, 5)).astype(np.float32), np.array([0, 0, 0, 0, 0, 1, 1, 2])
    rows, of = x.reshape(16, 5).astype(np.float64), labels.repeat(2)
    spread, weights = ((rows - rows.mean(0)) ** 2).sum(), (1 / np.bincount(of))[of]
    ridge = 0.1 * spread / 16 * 3 / 16  # by the mean eigenvalue, for samples that weigh 1 on average
    middle = weights @ rows / weights.sum()
    rest, targets = rows - middle, np.eye(3)[of] - 1 / 3
    weighed = rest.T * weights
    primal = np.linalg.solve(weighed @ rest + ridge * np.eye(5), weighed @ targets)
    head = Regression(x, labels, 3).head(0.5)
    np.testing.assert_allclose(head.weight, primal.T / 0.5, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(head.bias, (1 / 3 - primal.T @ middle) / 0.5, rtol=1e-3, atol=1e-4)


def test_each_fold_is_judged_by_the_head_of_all_others() -> None:
    x, labels, pieces = clouds(6, 3, 0.5)
    x = np.concatenate([x, x + np.random.default_rng(2).normal(0, 0.2, x.shape).astype(np.float32)], 1)
    pieces[labels == 2] = 7  # alone: learnt from by all, judged by none
    told, fold = judge(Regression(x, labels, 3), labels, pieces), folds(labels, pieces)
    for number in range(3):
        head = Regression(x[fold != number], labels[fold != number], 3).head(1.0)
        expected = x[fold == number, 0] @ head.weight.T + head.bias
        np.testing.assert_allclose(told.scores[fold == number], expected, rtol=0.02, atol=0.02)
    seen = fold >= 0
    assert np.isnan(told.scores).all(1).tolist() == (~seen).tolist() == (labels == 2).tolist()
    assert told.temperature == fit_temperature(told.scores[seen], labels[seen], np.ones(int(seen.sum())))


@pytest.mark.parametrize(("count", "judged"), [(5, False), (6, True)])
def test_a_temperature_is_fitted_on_two_judged_examples_a_class_or_more(count: int, judged: bool) -> None:
    random = np.random.default_rng(0)
    labels = np.array([0, 0, 0, 1, 1, 1])[:count]
    labels, pieces = np.r_[labels, 2], np.arange(count + 1)
    told = judge(Regression(random.normal(size=(count + 1, 1, 4)).astype(np.float32), labels, 3), labels, pieces)
    assert (~np.isnan(told.scores[:, 0])).sum() == count
    assert (told.temperature != UNJUDGED_TEMPERATURE) == judged


THINGS, S = 4, 6


def things(apart: float, seed: int = 0, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """Roots of rates [M, S] of THINGS classes whose means lie so far apart, and labels [M]."""
    random, labels = np.random.default_rng(seed), np.arange(count) % THINGS
    middles = 2 + apart * np.eye(S)[:THINGS]
    return middles[labels] + random.normal(0, 0.1, (count, S)), labels


def logits(labels: np.ndarray, sure: float, seed: int = 1) -> np.ndarray:
    return sure * np.eye(THINGS)[labels] + np.random.default_rng(seed).normal(0, 0.1, (len(labels), THINGS))


def fitted(roots: np.ndarray, labels: np.ndarray, pieces: np.ndarray, held: np.ndarray, left: np.ndarray) -> Any:
    """By what heads made of the examples that were held out, and of those of a class that was left out."""
    without = SimpleNamespace(without=lambda _: left[:, None].copy())
    return fit_unknown(1, roots, labels, pieces, cast(Any, without), HeadScores(held, 1.0))


def known_of(detector: NoveltyDetector, roots: np.ndarray, given: np.ndarray) -> np.ndarray:
    mean = np.concatenate([given, roots**2, np.ones((len(roots), 1))], 1)
    return np.array([detector.judge(row, THINGS, 1).in_distribution for row in mean])


@pytest.mark.parametrize("telling", ["distance", "energy"])
def test_the_score_counts_that_tells_left_out_classes(telling: str) -> None:
    """Classes that lie apart but whose logits tell none, or the other way round."""
    apart, sure = (2.0, 0.0) if telling == "distance" else (0.0, 5.0)
    roots, labels = things(apart)
    left_out = logits((labels + 1) % THINGS, 0.0)
    found = fitted(roots, labels, np.arange(200), logits(labels, sure), left_out)
    assert found.noticed > 0.8
    assert found.interval[0] < 0.6, "four classes are few"
    again, labels = things(apart, seed=5)
    assert (known_of(found.detector, again, logits(labels, sure, 6)) < KEPT).mean() < 0.12, "of what is known"
    if telling == "distance":
        assert (known_of(found.detector, again[::-1] + 1, logits(labels, sure, 7)) < KEPT).all()
    else:
        assert (known_of(found.detector, again, logits(labels, 0.0, 7)) < KEPT).mean() > 0.9
        assert (known_of(found.detector, again, logits(labels, 4.0, 6)) >= KEPT).mean() > 0.9, "room for another day"


def test_classes_that_are_alike_are_not_noticed() -> None:
    roots, labels = things(0.0)
    found = fitted(roots, labels, np.arange(200), logits(labels, 0.0), logits(labels, 0.0, 2))
    assert found.noticed == 0
    assert (known_of(found.detector, roots + 1, logits(labels, 0.0, 3)) >= KEPT).all(), "nothing is called unknown"


def test_what_left_out_classes_tell_of_others_comes_true() -> None:
    """Few examples with many rates: whatever a distance was not fitted with lies far from everything."""
    told, true, flat = [], [], np.zeros((48, THINGS))
    for seed in range(8):
        random, labels = np.random.default_rng(seed), np.arange(48) % THINGS
        middles = random.normal(3, 0.3, (THINGS + 1, 60))
        roots, others = (middles[of] + random.normal(0, 0.3, (48, 60)) for of in (labels, np.full(48, THINGS)))
        found = fitted(roots, labels, np.arange(48), flat, flat.copy())
        told.append(found.noticed)
        true.append((known_of(found.detector, others, flat) < KEPT).mean())
    assert np.mean(told) - np.mean(true) < 0.2


def test_too_few_examples_tell_nothing() -> None:
    roots, labels = things(2.0)
    given = (logits(labels, 1.0), logits(labels, 0.0))
    assert fitted(roots, labels, labels, np.nan * given[0], given[1]) is None, "one piece a class"
    few = slice(0, 19)
    assert fitted(roots[few], labels[few], np.arange(19), given[0][few], given[1][few]) is None
    assert fitted(0 * roots, labels, np.arange(200), *given) is None, "all alike"


K = 3


def taught(chosen: list[int], truth: list[int]) -> Any:
    """Examples that a head took for `chosen` (-1: judged by none)."""
    scores = np.where(np.array(chosen)[:, None] < 0, np.nan, np.eye(K)[chosen])
    labels = ("cup", "key", "pen")
    return SimpleNamespace(
        judged=HeadScores(scores, 1.0), truth=np.array(truth), labels=labels,
        piece_counts=dict.fromkeys(labels, 9), unknown=None,
    )  # fmt: skip


@pytest.mark.parametrize(("count", "classes"), [(2, 2), (30, 3), (500, 32)])
def test_another_day_is_between_chance_and_one_and_rises(count: int, classes: int) -> None:
    told = [another_day(correct, count, classes) for correct in range(count + 1)]
    assert all(1 / classes <= low + 1e-9 and low <= there <= high <= 1 for there, (low, high) in told)
    assert min(told)[0] == told[0][0] < told[-1][0] == max(told)[0]


def test_what_is_expected_another_day_is_told_first() -> None:
    truth = [0, 1, 2] * 10
    told, days = (report(taught([*truth[:-1], 0], truth), sessions=sessions) for sessions in (False, True))
    assert told["expected"][0].startswith(f"on another day about {told['another_day']:.0%}")
    assert told["expected"][1].startswith(f"of more of the same recordings {told['accuracy']:.0%}")
    assert (days["another_day"], days["another_day_interval"]) == (days["accuracy"], days["interval"])
    assert ["another session" in said for said in days["expected"]] == [True, False]
    assert report(taught([-1] * 3, [0, 1, 2]))["expected"] == []
