"""`known`: fitted on what a network was trained on, it tells other things from it; nothing else is asked of it."""

from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from spikesight.models.novelty.score import (
    KEPT,
    SHOWN,
    ClassDistance,
    Kind,
    Lines,
    NoveltyDetector,
    Windows,
    fit_novelty,
    rows_of,
)
from spikesight.models.statistics import energy, quantile, softmax

CLASSES, WIDTH, STEPS = 3, 8, 4
RANDOM = np.random.default_rng(0)
PLACES = RANDOM.uniform(0.2, 0.5, (CLASSES, WIDTH))


def windows(count: int, seed: int, shift: float = 0.0, sure: float = 6.0) -> Windows:
    """Samples of three classes: rates around PLACES, closer the longer the window, and logits that mostly agree."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, CLASSES, count)
    noise = random.normal(0, 0.05, (count, STEPS, WIDTH)) / np.sqrt(np.arange(1, STEPS + 1))[:, None]
    rates = np.clip(PLACES[labels][:, None] + noise + shift, 0, 1)
    logits = random.normal(0, 1, (count, STEPS, CLASSES))
    logits[np.arange(count), :, labels] += sure
    return Windows(logits, rates, np.full((count, STEPS), 50.0), labels, np.ones(count), np.zeros(count, int))


def mean(of: Windows, n: int, at: int, active: float | None = None) -> NDArray[np.float64]:
    """What a read-out holds of a sample's window of at + 1 steps."""
    return np.concatenate([of.logits[n, at], of.rates[n, at], [of.active[n, at] if active is None else active]])


def judged(known: NoveltyDetector, of: Windows, at: int, kind: int = 0) -> NDArray[np.float64]:
    """`known` of each sample's window of at + 1 steps."""
    return np.array([known.judge(mean(of, n, at), CLASSES, at + 1, kind).known for n in range(len(of.labels))])


KNOWN = fit_novelty(2, windows(600, 1), windows(2000, 2))


@pytest.mark.parametrize("at", range(STEPS))
def test_the_lines_keep_what_they_say_of_fresh_samples(at: int) -> None:
    fresh = judged(KNOWN, windows(2000, 3), at)
    assert 0.93 < (fresh >= SHOWN).mean() < 0.97
    assert 0.98 < (fresh >= KEPT).mean() < 0.998


@pytest.mark.parametrize("at", range(STEPS))
def test_a_window_is_judged_by_the_line_of_its_own_length(at: int) -> None:
    """As by what knows no longer windows, whose last line it is."""
    fresh = windows(20, 3)
    (distance, lines), rows = KNOWN.kinds[0], slice(at + 1)
    shorter = NoveltyDetector(KNOWN.layers, [Kind(distance, Lines(*(row[rows] for row in rows_of(lines))))])
    assert judged(KNOWN, fresh, at).tolist() == judged(shorter, fresh, at).tolist()
    whole = [KNOWN.judge(mean(fresh, n, at), CLASSES, STEPS).known for n in range(20)]
    assert (at == STEPS - 1) == (judged(KNOWN, fresh, at).tolist() == whole), "lines that differ"


def test_what_lies_elsewhere_is_unknown() -> None:
    assert (judged(KNOWN, windows(200, 4, shift=0.4), STEPS - 1) < KEPT).all(), "other rates, sure of a class"
    vague = judged(KNOWN, windows(200, 5, sure=0.0), STEPS - 1)
    assert np.median(vague) < KEPT, "the right rates, sure of no class"


def test_the_compiled_loops_are_the_equations() -> None:
    of, (distance, lines) = windows(50, 10, shift=0.05), KNOWN.kinds[0]
    for at in range(STEPS):
        far = np.log(distance.score(np.sqrt(of.rates[:, at])))
        strange = (far - lines.distance_mean[at]) / lines.distance_spread[at]
        strange += (energy(of.logits[:, at]) - lines.energy_mean[at]) / lines.energy_spread[at]
        expected = 1 / (1 + 9 ** ((strange - lines.kept[at]) / (lines.kept[at] - lines.shown[at])))
        np.testing.assert_allclose(judged(KNOWN, of, at), expected, rtol=1e-6, atol=1e-12)
        cooled = softmax(of.logits[:, at] / lines.temperature[at])
        np.testing.assert_allclose(KNOWN.judge(mean(of, 7, at), CLASSES, at + 1).probabilities, cooled[7])


def of_kinds(*parts: Windows) -> Windows:
    """Samples of several kinds."""
    joined = [np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Windows)[:-1]]
    kinds = np.repeat(np.arange(len(parts)), [len(part.labels) for part in parts])
    return replace(parts[0], **dict(zip([f.name for f in fields(Windows)], joined)), kinds=kinds)


def test_each_kind_of_input_is_known_by_itself() -> None:
    both = fit_novelty(
        2, of_kinds(windows(600, 1), windows(600, 11, 0.4)), of_kinds(windows(2000, 2), windows(2000, 12, 0.4))
    )
    for kind, shift in enumerate((0.0, 0.4)):
        fresh = judged(both, windows(2000, 3, shift), STEPS - 1, kind)
        assert 0.93 < (fresh >= SHOWN).mean() < 0.97
        assert 0.98 < (fresh >= KEPT).mean() < 0.998
        assert (judged(both, windows(200, 4, 0.4 - shift), STEPS - 1, kind) < KEPT).all(), "the other kind"
    of = windows(50, 9, 0.4)
    np.testing.assert_allclose(
        judged(NoveltyDetector.from_state(both.state()), of, 2, 1), judged(both, of, 2, 1), atol=1e-4
    )
    np.testing.assert_array_equal(judged(both, of, 2, 2), judged(both, of, 2, 1), "where only two kinds are known")
    with pytest.raises(ValueError, match="20 at least"):
        fit_novelty(2, of_kinds(windows(60, 1), windows(60, 1)), of_kinds(windows(60, 2), windows(19, 2)))


def test_too_few_active_inputs_are_nothing() -> None:
    of = windows(1, 7)
    floor = KNOWN.active[-1]
    assert floor == 25
    quiet = KNOWN.judge(mean(of, 0, -1, 24.9), CLASSES, STEPS)
    assert quiet.nothing
    assert quiet.known == 0
    assert KNOWN.judge(mean(of, 0, -1, 24.9), CLASSES, STEPS, missed=24.9).nothing
    unseen = KNOWN.judge(mean(of, 0, -1, 24.9), CLASSES, STEPS, missed=25)
    assert (unseen.known, unseen.nothing) == (0, False), "unknown: there was something, but not to the network"
    assert not KNOWN.judge(mean(of, 0, -1, 25.0), CLASSES, 99).nothing, "longer windows count as the longest"


def test_the_temperature_of_each_kind_makes_its_probabilities_those_of_being_right() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(0, 2, (8000, CLASSES))
    labels = np.array([random.choice(CLASSES, p=p) for p in softmax(truth)])
    kinds, hot = np.arange(8000) % 2, np.array([3.0, 0.5])
    logits = np.repeat((hot[kinds, None] * truth)[:, None], STEPS, 1)
    of = Windows(logits, windows(8000, 8).rates, np.ones((8000, STEPS)), labels, np.ones(8000), kinds)
    both = fit_novelty(1, of_kinds(windows(600, 1), windows(600, 1)), of)
    for kind, expected in zip(both.kinds, hot):
        np.testing.assert_allclose(kind.lines.temperature, expected, rtol=0.1)


def test_a_few_samples_that_are_all_right_do_not_ask_for_boundless_certainty() -> None:
    of = windows(20, 2)
    right = np.repeat(np.eye(CLASSES)[of.labels][:, None], STEPS, 1)
    (kind,) = fit_novelty(1, windows(600, 1), replace(of, logits=right)).kinds
    wrong = 1 - softmax(np.eye(CLASSES)[0] / kind.lines.temperature[-1])[0]
    assert 0.01 < wrong < 1 / 20, "less than one in twenty, and not much less"
    (kind,) = fit_novelty(1, windows(600, 1), replace(of, logits=10 * right)).kinds
    assert kind.lines.temperature[-1] == 1, "what is right at 10 is not made less sure"


def test_the_distance_is_mahalanobis_of_the_nearest_class() -> None:
    random = np.random.default_rng(1)
    mix = random.normal(size=(4, 4))
    labels = np.arange(5000) % 2
    features = random.normal(size=(5000, 4)) @ mix + labels[:, None] * 20
    distance = ClassDistance.fit(features, labels, shrink=0)
    inverse = np.linalg.inv(np.cov((features - distance.centres[labels]).T, bias=True))
    apart = random.normal(size=(6, 4)) * 30
    expected = [min((x - c) @ inverse @ (x - c) for c in distance.centres) for x in apart]
    np.testing.assert_allclose(distance.score(apart), expected, rtol=1e-6)
    assert distance.scores(features).argmin(1).tolist() == labels.tolist()
    assert abs(distance.score(features).mean() - 4) < 0.1, "as many as there are dimensions"
    again = ClassDistance.from_state(distance.state())
    np.testing.assert_allclose(again.score(apart), expected, rtol=1e-3)


def test_weights_are_repetitions() -> None:
    features, labels = RANDOM.normal(size=(30, 3)), np.arange(30) % 2
    times = np.arange(30) % 3 + 1
    repeated = ClassDistance.fit(np.repeat(features, times, 0), np.repeat(labels, times))
    weighted = ClassDistance.fit(features, labels, times.astype(float))
    np.testing.assert_allclose(weighted.whiten @ weighted.centres.T, repeated.whiten @ repeated.centres.T)
    assert quantile(features[:, 0], times.astype(float), 0.9) == quantile(
        np.repeat(features[:, 0], times), np.ones(times.sum()), 0.9
    )


def test_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match="20 at least"):
        fit_novelty(1, windows(50, 1), windows(19, 2))
    with pytest.raises(ValueError, match="no samples"):
        ClassDistance.fit(np.zeros((0, 3)), np.zeros(0, int))
    with pytest.raises(ValueError, match="equals its class mean"):
        ClassDistance.fit(np.ones((9, 3)), np.zeros(9, int))
