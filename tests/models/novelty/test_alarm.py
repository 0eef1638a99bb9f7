"""The alarm: quiet on what was calibrated however long it lasts, and soon where something else comes."""

import numpy as np
import pytest
from scipy.integrate import quad

from spikesight.models.novelty.alarm import RATE, Alarm, bet


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
