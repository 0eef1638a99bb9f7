"""Commitments: the true label stays possible as often as asked, whatever the moment of stopping."""

from functools import cache

import numpy as np
import pytest

from spikesight.models.novelty.conformal import Conformal, Evidence, Trials, fit_trials
from spikesight.models.statistics import Floats, fit_temperature

LABELS = ("a", "b", "c")


def walks(n: int, seed: int, steps: int = 20) -> tuple[Floats, np.ndarray]:
    """Mean logits [n, T, K] that come to favour the label [n], some of them late, a few never."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 3, n)
    drift = random.normal(0.25, 0.2, n)[:, None, None] * np.eye(3)[labels][:, None]
    steps_of = drift + random.normal(0, 0.8, (n, steps, 3))
    return np.cumsum(steps_of, 1) / np.sqrt(np.arange(1, steps + 1))[:, None], labels


@cache
def calibration(seed: int = 0) -> Trials:
    return fit_trials(*walks(99, seed))


def run(trials: Trials, means: Floats, error_rate: float) -> list[tuple[str | None, tuple[str, ...], float]]:
    evidence, said = Evidence(), []
    for seen, mean in enumerate(means, 1):
        evidence = evidence.push(trials, mean, seen)
        said.append(tuple(evidence.commitment(trials, LABELS, error_rate)))
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


def test_a_risk_is_the_rate_at_which_one_label_is_left() -> None:
    trials = calibration()
    means = walks(1, 7)[0][0]
    risk = run(trials, means, 0.05)[-1][2]
    assert len(run(trials, means, risk)[-1][1]) <= 1
    assert len(run(trials, means, risk - 1e-9)[-1][1]) > 1


def test_with_few_trials_nothing_is_promised_that_they_cannot_show() -> None:
    trials = fit_trials(*walks(20, 0))
    sure = np.array([[50.0, 0, 0]] * 20)
    assert run(trials, sure, 0.05)[-1][0] == "a"
    assert run(trials, sure, 0.04)[-1][0] is None  # 1 / 21 is more


def test_state_goes_round_and_broken_ones_are_refused() -> None:
    conformal = Conformal({5000: fit_trials(*walks(30, 0)), 31_000: fit_trials(*walks(30, 1, 4))})
    state = conformal.state()
    again = Conformal.from_state(state)
    assert sorted(again.trials) == [5000, 31_000]
    assert np.allclose(again.trials[5000].largest, conformal.trials[5000].largest)
    for name, wrong in (
        ("5000.largest", np.array([2.0, 1.0], np.float32)),
        ("5000.temperature", np.array([0.0], np.float32)),
        ("5000.temperature", np.array([np.nan], np.float32)),
        ("5000.largest", np.zeros((2, 2), np.float32)),
        ("x.largest", np.ones(2, np.float32)),
    ):
        with pytest.raises(ValueError, match=r"."):
            Conformal.from_state({**state, name: wrong})


FEW = Trials(np.array([1.0, 2.0]), np.array([1.0, 2.0, 2.0, 3.0]))


def test_strangeness_is_minus_the_logarithm_of_the_cooled_probability() -> None:
    mean = np.array([[2.0, 1.0, -1.0], [0.0, 0.0, 4.0]])
    for steps, temperature in ((1, 1.0), (2, 2.0), (3, 2.0)):
        expected = np.log(np.exp(mean / temperature).sum(1, keepdims=True)) - mean / temperature
        np.testing.assert_allclose(FEW.strangeness(mean, steps), expected)


def test_p_values_count_trials_that_were_at_least_as_strange() -> None:
    assert (5 * FEW.p_values(np.array([0.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.1]))).tolist() == [5, 5, 4, 4, 2, 2, 1]


def test_evidence_is_the_largest_of_a_window_and_the_next_begins_where_it_ends() -> None:
    means = [np.array(row) for row in ([3.0, 0.0], [0.0, 3.0], [1.0, 1.0])]
    strange = [FEW.strangeness(mean, seen) for seen, mean in enumerate(means, 1)]
    one = Evidence().push(FEW, means[0], 1)
    two = one.push(FEW, means[1], 2)
    three = two.push(FEW, means[2], 3)
    assert [found.steps for found in (one, two, three)] == [1, 2, 1]
    for found, expected in ((one, strange[0]), (two, np.maximum(*strange[:2])), (three, strange[2])):
        assert found.strangest is not None
        np.testing.assert_array_equal(found.strangest, expected)


def test_labels_are_possible_above_the_error_rate_the_likeliest_first() -> None:
    found = Evidence(1, np.array([2.5, 0.5, 1.5]))
    assert found.commitment(FEW, LABELS, 0.3) == (None, ("b", "c", "a"), 0.8)
    assert found.commitment(FEW, LABELS, 0.4) == (None, ("b", "c"), 0.8)
    assert found.commitment(FEW, LABELS, 0.8) == ("b", ("b",), 0.8)
    assert found.commitment(FEW, LABELS, 1.0) == (None, (), 0.8)
    assert Evidence(1, np.array([0.5])).commitment(FEW, ("a",), 0.3) == ("a", ("a",), 0.0)
    assert Evidence().commitment(FEW, LABELS, 0.3) == (None, (), 1.0)


def test_trials_keep_the_largest_strangeness_of_the_true_label() -> None:
    means, labels = walks(30, 3, 4)
    trials = fit_trials(means, labels)
    over_time = np.stack([trials.strangeness(means[:, at], at + 1) for at in range(4)], 1)
    np.testing.assert_allclose(trials.largest, np.sort(over_time[np.arange(30), :, labels].max(1)))
    expected = [fit_temperature(means[:, at], labels, np.ones(30), 1 / 31) for at in range(4)]
    np.testing.assert_allclose(trials.temperature, expected)
