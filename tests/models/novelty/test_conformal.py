"""Commitments and the alarm: the true label stays possible as often as asked; statistics that several count with."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy.integrate import quad

from spikesight.models.novelty.alarm import RATE, Alarm, bet
from spikesight.models.novelty.conformal import Conformal, Evidence, Trials, fit_trials
from spikesight.models.statistics import Floats, energy, interval, moments, quantile, running_mean
from tests.support.models import trials

LABELS = ("a", "b", "c")


def walks(n: int, seed: int, steps: int = 20) -> tuple[Floats, np.ndarray]:
    """Mean logits [n, T, K] that come to favour the label [n], some of them late, a few never."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, n)
    drift = random.normal(0.25, 0.2, n)[:, None, None] * np.eye(3)[labels][:, None]
    steps_of = drift + random.normal(0, 0.8, (n, steps, 3))
    return np.cumsum(steps_of, 1) / np.sqrt(np.arange(1, steps + 1))[:, None], labels


def fitted(logits: Floats, labels: np.ndarray) -> Trials:
    """Of recordings [n, T, K] of one window each, before a model that cannot tell how familiar they are."""
    return fit_trials(logits[:, None], labels, np.full((len(labels), 1), np.nan), logits)


@cache
def calibration(seed: int = 0) -> Trials:
    return fitted(*walks(99, seed))


def run(trials: Trials, means: Floats, error_rate: float) -> list[tuple[str | None, tuple[str, ...], float]]:
    evidence, said = Evidence(), []
    for seen, mean in enumerate(means, 1):
        evidence = evidence.push(trials, mean[None], seen)
        said.append(tuple(evidence.commitment(trials, LABELS, error_rate, seen)))
    return said


@pytest.mark.parametrize("error_rate", [0.3, 0.1, 0.05])
def test_no_rule_of_stopping_errs_more_often_than_asked(error_rate: float) -> None:
    """Over many calibrations, the true label is ever ruled out in a share of at most `error_rate`; not in far less."""
    ruled_out, wrong, total = 0, 0, 0
    for seed in range(12):
        trials = calibration(seed)
        for means, label in zip(*walks(60, 1000 + seed)):
            said = run(trials, means, error_rate)
            ruled_out += any(LABELS[label] not in possible for _, possible, _ in said)
            first = next((committed for committed, _, _ in said if committed is not None), None)
            wrong += first not in (None, LABELS[label])
            total += 1
    slack = 3 * (error_rate * (1 - error_rate) / total) ** 0.5
    assert ruled_out / total < error_rate + slack
    assert ruled_out / total > error_rate / 3
    assert wrong <= ruled_out


def test_the_set_shrinks_within_a_window_and_begins_anew_with_the_next() -> None:
    trials = calibration()
    said = run(trials, np.concatenate([walks(1, 5)[0][0], np.zeros((1, 3))]), 0.1)
    sizes = [len(possible) for _, possible, _ in said]
    risks = [risk for _, _, risk in said]
    assert sizes[:20] == sorted(sizes[:20], reverse=True)
    assert risks[:20] == sorted(risks[:20], reverse=True)
    assert sizes[20] == 3  # of equal logits
    assert all((committed is None) == (len(possible) != 1) for committed, possible, _ in said)


def test_the_risk_is_the_least_rate_with_one_label_also_where_classes_differ() -> None:
    """Each class has its own trials, so of two labels the likelier one may be the less possible."""
    random = np.random.default_rng(0)
    largest = np.concatenate([np.sort(random.exponential(scale, 99)) for scale in (3.0, 0.2, 3.0)])
    trials = Trials(np.ones(1), largest[None], np.full(3, 99), np.zeros((1, 0)))
    for logits in random.normal(0, 1.5, (50, 3)):
        evidence = Evidence().push(trials, logits[None], 1)
        risk = evidence.commitment(trials, LABELS, 0.05, 1).risk
        assert len(evidence.commitment(trials, LABELS, risk, 1).set) <= 1
        assert len(evidence.commitment(trials, LABELS, risk - 1e-9, 1).set) > 1


def test_with_few_trials_nothing_is_promised_that_they_cannot_show() -> None:
    trials = fitted(*walks(20, 0))
    sure = np.array([[50.0, 0, 0]] * 20)
    assert run(trials, sure, 0.05)[-1][0] == "a"
    assert run(trials, sure, 0.04)[-1][0] is None  # 1 / 21 is more


def test_state_goes_round_and_broken_ones_are_refused() -> None:
    conformal = Conformal({5000: fitted(*walks(30, 0)), 31_000: fitted(*walks(30, 1, 4))})
    state = conformal.state()
    again = Conformal.from_state(state)
    assert sorted(again.trials) == [5000, 31_000]
    assert np.allclose(again.trials[5000].largest, conformal.trials[5000].largest)
    for name, wrong in (
        ("5000.largest", state["5000.largest"][:, ::-1]),
        ("5000.temperature", np.array([0.0], np.float32)),
        ("5000.temperature", np.array([np.nan], np.float32)),
        ("5000.largest", np.zeros((2, 2), np.float32)),
        ("x.largest", np.ones(2, np.float32)),
        ("5000.counts", np.array([30.0, 1.0], np.float32)),
        ("5000.counts", np.array([-1.0, 31.0], np.float32)),
        ("5000.known", np.array([[0.5, 0.25]], np.float32)),
        ("5000.known", np.zeros((2, 3), np.float32)),
        ("5000.more", np.ones(2, np.float32)),
    ):
        with pytest.raises(ValueError, match=r"."):
            Conformal.from_state({**state, name: wrong})


def uneven(n: int, seed: int) -> tuple[Floats, np.ndarray]:
    """Walks of which those of class 2 are twice as sure, of what is wrong as well."""
    means, labels = walks(n, seed)
    return np.where((labels == 2)[:, None, None], 2 * means, means), labels


def missed(trials: Trials, means: Floats, labels: np.ndarray, error_rate: float) -> np.ndarray:
    """Whether the label of each walk [n] is ruled out by the end of its window."""
    strange = np.stack([trials.strangeness(means[:, at], at + 1) for at in range(means.shape[1])], 1).max(1)
    return np.array([trials.p_values(one, 1)[label] <= error_rate for one, label in zip(strange, labels)])


def test_each_class_errs_no_more_often_than_asked() -> None:
    """Where each class has enough recordings; all together, the easy classes pay for a hard one."""
    assert calibration().by_class is False
    own, together = np.zeros(3), np.zeros(3)
    total = np.zeros(3)
    for seed in range(8):
        trials = fitted(*uneven(900, seed))
        assert trials.by_class
        means, labels = uneven(300, 1000 + seed)
        np.add.at(own, labels, missed(trials, means, labels, 0.1))
        np.add.at(together, labels, missed(replace(trials, counts=np.array([900])), means, labels, 0.1))
        np.add.at(total, labels, 1)
    slack = 3 * (0.1 * 0.9 / total) ** 0.5
    assert (own / total < 0.1 + slack).all()
    assert (own / total > 0.1 / 3).all()
    assert together[2] / total[2] > 0.1 + slack[2]


def test_windows_from_rest_and_those_behind_them_are_judged_by_their_own() -> None:
    logits, labels = walks(40, 3, 8)
    trials = fit_trials(logits.reshape(40, 2, 4, 3), labels, np.tile([0.25, 0.75], (40, 1)), logits[:, :4])
    np.testing.assert_allclose(trials.temperature, fitted(logits[:, :4], labels).temperature)
    strange = np.stack([trials.strangeness(logits[:, at], at + 1) for at in range(8)], 1).reshape(40, 2, 4, 3)
    own = strange[np.arange(40), :, :, labels].max(2)
    for row, largest in enumerate(trials.largest):
        np.testing.assert_allclose(largest, np.concatenate([np.sort(own[labels == k, row]) for k in range(3)]))
        middle = float(np.median(largest))
        for steps in (1, 4) if row == 0 else (5, 8, 9, 100):
            assert (trials.p_values(np.full(3, middle), steps) == 21 / 41).all()
    assert trials.counts.tolist() == np.bincount(labels).tolist()
    assert [trials.familiarity(0.5, steps) for steps in (4, 8, 12)] == [1.0, 1 / 41, 1 / 41]


FEW = trials(np.array([1.0, 2.0]), np.array([1.0, 2.0, 2.0, 3.0]))


def test_a_stream_may_begin_with_a_recording_or_within_one() -> None:
    (within, labels), (begins, _) = walks(40, 3), walks(40, 4)
    none = np.full((40, 1), np.nan)
    either = fit_trials(within[:, None], labels, none, begins), fit_trials(begins[:, None], labels, none, within)
    np.testing.assert_allclose(either[0].largest, either[1].largest, rtol=1e-6)


def test_labels_are_possible_above_the_error_rate_the_likeliest_first() -> None:
    found = Evidence(1, np.array([2.5, 0.5, 1.5]))
    assert found.commitment(FEW, LABELS, 0.3, 1) == (None, ("b", "c", "a"), 0.8)
    assert found.commitment(FEW, LABELS, 0.4, 1) == (None, ("b", "c"), 0.8)
    assert found.commitment(FEW, LABELS, 0.8, 1) == ("b", ("b",), 0.8)
    assert found.commitment(FEW, LABELS, 1.0, 1) == (None, (), 0.8)
    assert Evidence(1, np.array([0.5])).commitment(FEW, ("a",), 0.3, 1) == ("a", ("a",), 0.0)
    assert Evidence().commitment(FEW, LABELS, 0.3, 0) == (None, (), 1.0)


def test_limits_are_where_p_values_fall_to_the_error_rate() -> None:
    own = fitted(*uneven(900, 5))
    for judge, rate in ((own, 0.05), (FEW, 0.3), (own, 1e-4), (FEW, 1.0)):
        limits = judge.limits(rate, 3)[0]
        for k, limit in enumerate(limits):
            strange = np.array([limit - 1e-9, limit, limit + 1e-9])
            possible = [judge.p_values(np.full(3, one), 1)[k] > rate for one in strange]
            assert possible == ([True, True, False] if abs(limit) < 1e300 else [limit > 0] * 3)


def after(p_values: np.ndarray, alarm: Alarm | None = None) -> list[Alarm]:
    """The alarm after each window of these p-values."""
    found, alarm = [], alarm or Alarm()
    for p in p_values.tolist():
        alarm = alarm.push(p)
        found.append(alarm)
    return found


def first(alarms: list[Alarm]) -> int:
    """How many windows it took; one more than there are where it stayed quiet."""
    return next((n for n, alarm in enumerate(alarms, 1) if alarm.on), len(alarms) + 1)


def test_a_bet_wins_nothing_in_the_mean() -> None:
    mean = sum(quad(bet, low, 10 * low)[0] for low in np.logspace(-300, -1, 300))
    assert mean < 1
    assert mean + 1 / np.log(1e300) == pytest.approx(1, abs=1e-3)  # the part below 1e-300 is 1 / -ln of it
    p = np.linspace(0.001, 1, 200)
    assert (np.diff([bet(one) for one in p]) < 0).all(), "the stranger a window, the more it brings"
    assert bet(1.0) == pytest.approx(bet(1 - 1e-6), abs=1e-5)


def test_streams_of_what_was_calibrated_seldom_set_it_off() -> None:
    random, streams = np.random.default_rng(0), 1000
    off = sum(first(after(random.random(500))) <= 500 for _ in range(streams))
    assert 0 < off < streams * RATE + 3 * (streams * RATE) ** 0.5


def test_what_is_stranger_than_nearly_all_sets_it_off_in_few_windows_at_any_time() -> None:
    random = np.random.default_rng(1)
    strange = np.full(20, 1 / 1201)
    assert first(after(strange)) == 2
    for before in (10, 100, 1000):
        calm = after(random.random(before))[-1]
        assert not calm.on
        assert 2 <= first(after(strange, calm)) <= 7


def test_it_ends_some_windows_after_the_strange_ones_and_forgets_them() -> None:
    random = np.random.default_rng(2)
    strange = after(np.full(500, 0.001))[-1]
    calm = after(random.uniform(0.2, 1, 40), strange)
    assert strange.on
    assert calm[2].on, "not at once"
    assert not calm[-1].on
    assert Alarm() in calm


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
