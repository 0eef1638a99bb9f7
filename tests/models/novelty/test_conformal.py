"""Commitments and the alarm: the true label stays possible as often as asked; statistics that several count with."""

from functools import cache

import numpy as np
import pytest

from spikesight.models.novelty.alarm import Alarm, highest
from spikesight.models.novelty.conformal import Commitment, Conformal, Trials, fit_trials, wrong_margin
from spikesight.models.statistics import Floats, energy, interval, moments, quantile, running_mean

LABELS = ("a", "b", "c")


def walks(n: int, seed: int, steps: int = 20) -> tuple[Floats, np.ndarray]:
    """Mean logits [n, T, K] that come to favour the label [n], some of them late, a few never."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, n)
    drift = random.normal(0.25, 0.2, n)[:, None, None] * np.eye(3)[labels][:, None]
    steps_of = drift + random.normal(0, 0.8, (n, steps, 3))
    return np.cumsum(steps_of, 1) / np.sqrt(np.arange(1, steps + 1))[:, None], labels


def fitted(logits: Floats, labels: np.ndarray) -> Trials:
    """Of things that were in view alone for the steps of logits [n, T, K], before a model without `in_distribution`."""
    leads = [wrong_margin(one, label, -1, 0) for one, label in zip(logits, labels.tolist())]
    return fit_trials(np.array(leads), labels, np.zeros(0), 3)


@cache
def calibration(seed: int = 0) -> Trials:
    return fitted(*walks(300, seed))


def run(trials: Trials, logits: Floats, error_rate: float) -> list[Commitment]:
    return [trials.commitment(step.tolist(), LABELS, error_rate) for step in logits]


@pytest.mark.parametrize("error_rate", [0.3, 0.1, 0.05])
def test_no_rule_of_stopping_errs_more_often_than_asked(error_rate: float) -> None:
    """Over many calibrations, the true label is ever ruled out in a share of at most `error_rate`; not in far less."""
    ruled_out, wrong, total = 0, 0, 0
    for seed in range(12):
        trials = calibration(seed)
        for logits, label in zip(*walks(60, 1000 + seed)):
            said = run(trials, logits, error_rate)
            ruled_out += any(LABELS[label] not in one.set for one in said)
            wrong += any(one.label not in (None, LABELS[label]) for one in said)
            total += 1
    slack = 3 * (error_rate * (1 - error_rate) / total) ** 0.5
    assert ruled_out / total < error_rate + slack
    assert ruled_out / total > error_rate / 3
    assert wrong <= ruled_out


def test_what_was_seen_before_is_forgotten() -> None:
    trials = calibration()
    first, then = np.array([9.0, 0, 0]), np.array([0, 0, 9.0])
    assert [one.label for one in run(trials, np.array([first, first, then, 0 * then]), 0.1)] == ["a", "a", "c", None]


def test_the_risk_is_the_least_rate_with_one_label_also_where_classes_differ() -> None:
    random = np.random.default_rng(0)
    largest = np.concatenate([np.sort(random.exponential(scale, 99)) for scale in (3.0, 0.2, 3.0)])
    trials = Trials(largest, np.full(3, 99), np.zeros(0))
    for logits in random.normal(0, 1.5, (50, 3)).tolist():
        risk = trials.commitment(logits, LABELS, 0.05).risk
        assert len(trials.commitment(logits, LABELS, risk).set) == 1
        assert len(trials.commitment(logits, LABELS, risk - 1e-9).set) > 1 or risk == trials.least


def test_with_few_trials_of_a_class_nothing_is_committed_to() -> None:
    sure = np.array([[50.0, 0, 0]])
    for counts, least in (([19, 19, 19], 1 / 20), ([19, 19, 12], 1 / 13), ([12, 19, 19], 1 / 13), ([19, 19, 0], 1.0)):
        trials = Trials(np.zeros(sum(counts)), np.array(counts), np.zeros(0))
        assert trials.least == least
        assert run(trials, sure, least)[0].label == "a"
        assert run(trials, sure, least - 1e-9)[0].label is None, counts


def test_state_goes_round_and_broken_ones_are_refused() -> None:
    conformal = Conformal({5000: fitted(*walks(30, 0)), 31_000: fitted(*walks(30, 1, 4))})
    state = conformal.state()
    again = Conformal.from_state(state, 3)
    assert sorted(again.trials) == [5000, 31_000]
    assert np.allclose(again.trials[5000].largest, conformal.trials[5000].largest)
    for name, wrong in (
        ("5000.largest", state["5000.largest"][::-1]),
        ("5000.largest", np.full(30, np.nan, np.float32)),
        ("5000.largest", np.zeros((2, 2), np.float32)),
        ("x.largest", np.ones(2, np.float32)),
        ("5000.counts", np.array([30.0, 1.0, 0.0], np.float32)),
        ("5000.counts", np.array([-1.0, 31.0, 0.0], np.float32)),
        ("5000.counts", np.array([30.0], np.float32)),
        ("5000.known", np.array([0.5, 0.25], np.float32)),
        ("5000.known", np.zeros((2, 3), np.float32)),
        ("5000.more", np.ones(2, np.float32)),
    ):
        with pytest.raises(ValueError, match=r"."):
            Conformal.from_state({**state, name: wrong}, 3)


def test_each_class_errs_no_more_often_than_asked() -> None:
    """Also one whose wrong labels lead by more than those of others."""
    own, total = np.zeros(3), np.zeros(3)
    for seed in range(8):
        means, labels = walks(1200, seed)
        means = np.where((labels == 2)[:, None, None], 2 * means, means)
        trials = fitted(means[:900], labels[:900])
        for logits, label in zip(means[900:], labels[900:]):
            own[label] += any(LABELS[label] not in one.set for one in run(trials, logits, 0.1))
        np.add.at(total, labels[900:], 1)
    slack = 3 * (0.1 * 0.9 / total) ** 0.5
    assert (own / total < 0.1 + slack).all()
    assert (own / total > 0.1 / 3).all()


@pytest.mark.parametrize(
    ("before", "settles", "lead"), [(-1, 2, 5.0), (0, 2, 5.0), (1, 2, 5.0), (2, 2, 3.0), (2, 1, 4.0), (1, 3, 5.0)]
)
def test_only_the_thing_before_may_lead_and_only_at_first(before: int, settles: int, lead: float) -> None:
    logits = np.array([[1.0, 0, 6], [0, 0, 4], [2.0, 5, 0], [9.0, 0, 0]])  # of class 0
    assert wrong_margin(logits, 0, before, settles) == lead
    assert wrong_margin(logits[3:], 0, before, settles) == wrong_margin(logits[:0], 0, before, settles) == 0.0


def test_labels_are_possible_above_the_error_rate_the_likeliest_first() -> None:
    few = Trials(np.tile([1.0, 2.0, 2.0, 3.0], 3), np.full(3, 4), np.zeros(0))
    logits = [0.0, 2.5, 1.0]
    assert few.commitment(logits, LABELS, 0.5) == (None, ("b", "c", "a"), 0.8, None, None)
    assert few.commitment(logits, LABELS, 0.8) == ("b", ("b",), 0.8, None, None)
    alone = Trials(np.ones(4), np.array([4]), np.zeros(0))
    assert alone.commitment([0.5], ("a",), 0.3) == ("a", ("a",), 0.2, None, None)


def test_limits_are_where_labels_are_ruled_out() -> None:
    own = calibration()
    for rate in (0.05, 0.3, 1e-4, 1.0):
        for k, limit in enumerate(own.limits(rate)):
            for lead in {max(limit - 1e-6, 0.0), max(limit, 0.0), limit + 1e-6 if limit > 0 else 0.0}:
                logits = [(lead or 1e-300) * (n == (k - 1) % 3) for n in range(3)]
                possible = LABELS[k] in own.commitment(logits, LABELS, rate).set
                assert possible == (max(logits) <= limit)


LINE = 2.5


def after(p_values: np.ndarray, alarm: Alarm | None = None) -> list[Alarm]:
    """The alarm after each window of these p-values."""
    found, alarm = [], alarm or Alarm()
    for p in p_values.tolist():
        alarm = alarm.push(p, LINE)
        found.append(alarm)
    return found


def first(alarms: list[Alarm]) -> int:
    """How many windows it took; one more than there are where it stayed quiet."""
    return next((n for n, alarm in enumerate(alarms, 1) if alarm.on), len(alarms) + 1)


def test_one_strange_thing_sets_nothing_off_and_many_do_at_any_time() -> None:
    random = np.random.default_rng(1)
    strange = np.full(20, 1 / 1201)
    for before in (0, 10, 1000):
        calm = after(random.random(before))[-1] if before else Alarm()
        assert not calm.on
        assert 4 <= first(after(strange, calm)) <= 10
        once = after(np.concatenate([strange[:3], random.uniform(0.2, 1, 100)]), Alarm())
        assert not any(alarm.on for alarm in once), "however strange"


def test_it_is_raised_when_its_level_exceeds_the_line() -> None:
    random = np.random.default_rng(0)
    for p_values in random.random((40, 300)) ** random.uniform(1, 2, (40, 1)):
        levels = [highest(p_values[: n + 1].tolist()) for n in range(300)]
        assert first(after(p_values)) == next((n for n, level in enumerate(levels, 1) if level > LINE), 301)


def test_it_ends_some_windows_after_the_strange_ones() -> None:
    random = np.random.default_rng(2)
    strange = after(np.full(500, 0.001))[-1]
    calm = after(random.uniform(0.2, 1, 60), strange)
    assert strange.on
    assert calm[2].on, "not at once"
    assert not calm[-1].on
    assert Alarm() in calm


def test_one_line_for_windows_that_are_all_alike_is_never_exceeded() -> None:
    assert not any(Alarm().push(p, 0.0).on for p in (1.0, 0.5))


def test_energy_is_minus_the_logarithm_of_the_sum() -> None:
    logits = np.random.default_rng(0).normal(size=(5, 4)) * 100
    np.testing.assert_allclose(energy(logits), -np.logaddexp.reduce(logits, 1))


def test_quantiles_are_the_smallest_value_that_reaches_the_share() -> None:
    values, even = np.array([4.0, 1.0, 3.0, 2.0]), np.ones(4)
    assert [quantile(values, even, share) for share in (0.0, 0.25, 0.26, 0.5, 0.75, 0.76, 1.0)] == [1, 1, 2, 2, 3, 4, 4]
    assert quantile(values, np.array([1.0, 1.0, 1.0, 5.0]), 0.5) == 2


def test_moments_are_weighted_and_never_without_spread() -> None:
    assert moments(np.array([1.0, 5.0]), np.array([3.0, 1.0])) == (2.0, pytest.approx(np.sqrt(3)))
    assert moments(np.array([2.0, 2.0]), np.ones(2)) == (2.0, 1e-6)


def test_running_means() -> None:
    steps = np.array([[[2, 4], [4, 0], [0, 2]]])
    assert running_mean(steps).tolist() == [[[2, 4], [3, 2], [2, 2]]]
    assert running_mean(steps[..., 0]).tolist() == [[2, 3, 2]]


@pytest.mark.parametrize(("correct", "count"), [(9, 10), (0, 7), (7, 7), (311, 1000)])
def test_an_interval_ends_where_the_proportion_is_196_deviations_away(correct: int, count: int) -> None:
    for bound in interval(correct, count):
        assert (correct / count - bound) ** 2 == pytest.approx(1.96**2 * bound * (1 - bound) / count, abs=1e-12)
