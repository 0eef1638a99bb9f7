"""The label to show, and when the network is woken."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from spikesight.models import steps as module
from spikesight.models.classifier.inputs import QuietReset
from spikesight.models.novelty import NOTHING, UNKNOWN
from spikesight.models.novelty.alarm import Alarm
from spikesight.models.novelty.conformal import Commitment
from spikesight.models.novelty.score import Judged
from spikesight.models.steps import OTHER, Answer, Input, Outcome, SlidingMean, StableLabel, StreamReadout
from tests.support.exporting import CARD, CONFIG
from tests.support.models import EVENT_CONTRACT, lively, some_known, tiny, trials

LABELS = ("a", "b")
SURE = np.array([0.97, 0.03])
A, B = Judged(SURE, 1.0, False), Judged(SURE[::-1].copy(), 1.0, False)
STRANGE, EMPTY = Judged(SURE, 0.01, False), Judged(SURE, 0.0, True)


def shown(stable: StableLabel, seen: list[Judged]) -> list[str]:
    labels = []
    for judged in seen:
        stable = stable.push(judged)
        labels.append(stable.label(LABELS))
    return labels


def test_a_label_appears_with_evidence_and_stays_until_there_is_other() -> None:
    labels = shown(StableLabel(), [A] * 10 + [B] * 3 + [A] * 10 + [B] * 30)
    changes = [n for n in range(1, len(labels)) if labels[n] != labels[n - 1]]
    assert labels[0] == "", "one step is no evidence yet"
    assert [labels[n] for n in changes] == ["a", "b"], "three steps of another class change nothing"
    assert 3 <= changes[0] + 1 <= 7
    assert 23 + OTHER * module.LEAST_INERTIA / np.log(0.97 / 0.03) <= changes[1] + 1 <= 23 + 15


@pytest.mark.parametrize(("seen", "label", "steps"), [(STRANGE, UNKNOWN, 15), (EMPTY, NOTHING, 40)])
def test_unknown_and_nothing_are_labels_like_others(seen: Judged, label: str, steps: int) -> None:
    labels = shown(StableLabel(), [seen] * steps + [A] * 20 + [seen] * steps)
    assert [labels[n] for n in (steps - 1, steps + 19, 2 * steps + 19)] == [label, "a", label]


def test_behind_nothing_a_doubtful_class_is_no_label() -> None:
    doubtful = Judged(np.array([0.6, 0.4]), 0.6, False)
    assert shown(StableLabel(), [EMPTY] * 40 + [doubtful] * 30)[-1] == NOTHING, "as little as before any label"
    assert shown(StableLabel(), [EMPTY] * 40 + [doubtful] * 5 + [STRANGE] * 15)[-1] == UNKNOWN
    assert shown(StableLabel(), [EMPTY] * 40 + [A] * 10)[-1] == "a"


def test_a_lull_of_half_a_second_changes_nothing() -> None:
    assert set(shown(StableLabel(), ([A] * 20 + [EMPTY] * 16) * 5)[10:]) == {"a"}


def test_two_classes_that_take_turns_change_nothing() -> None:
    turns = ([Judged(np.array([0.7, 0.3]), 1.0, False)] * 12 + [Judged(np.array([0.3, 0.7]), 1.0, False)] * 12) * 20
    assert set(shown(StableLabel(), [A] * 10 + turns)[10:]) == {"a"}


def test_a_reset_keeps_what_is_shown_and_forgets_the_evidence() -> None:
    stable = StableLabel()
    for judged in [A] * 10 + [B] * 11:
        stable = stable.push(judged)
    assert stable.label(LABELS) == "a"
    assert stable.evidence is not None
    assert stable.evidence[1] > OTHER / 2
    again = stable.restarted()
    assert again.label(LABELS) == "a"
    assert shown(again, [B] * 5) == ["a"] * 5


@pytest.mark.parametrize(
    ("probabilities", "known", "which", "gained"),
    [
        ((0.97, 0.03), 1.0, 0, np.log(0.97 / 0.03) / 12),
        ((1.0, 0.0), 1.0, 0, np.log(1000) / 12),  # what is below a thousandth says no more than that
        ((0.75, 0.25), 0.01, 2, np.log(0.99 / 0.0075) / 12),
        ((0.75, 0.25), -1.0, 3, np.log(1000) / 12 / 4),  # nothing to see says a quarter
        ((0.54, 0.46), 1.0, 0, 0.0),  # no more than the margin
        ((0.56, 0.44), 1.0, 0, np.log(0.56 / 0.44) / 12),
    ],
)
def test_evidence_is_log_odds(probabilities: tuple[float, float], known: float, which: int, gained: float) -> None:
    stable = StableLabel(12).push(Judged(np.array(probabilities), max(known, 0.0), known < 0))
    expected = np.zeros(4)
    expected[which] = gained
    np.testing.assert_allclose(stable.evidence, expected)  # type: ignore[arg-type]


def test_the_network_begins_anew_behind_a_long_quiet() -> None:
    rest = QuietReset(active=3, steps=4)
    counts = [5, 0, 2, 0, 5, 0, 0, 0, 0, 2, 5, 5]
    inputs = [rest.push(Input(np.arange(9) < n, 0, 1, n, False)) for n in counts]
    assert [given.reset for given in inputs] == [False] * 10 + [True, False]
    for quiet, woken in ((3, False), (4, True), (5, True)):
        rest = QuietReset(active=3, steps=4)
        pauses = [rest.push(Input(np.arange(9) < n, 0, 1, n, False)) for n in [5] + [2] * quiet + [3, 3]]
        assert [given.reset for given in pauses] == [False] * (quiet + 1) + [woken, False], "with its first input"
    asleep = QuietReset(active=0, steps=1)
    assert not any(asleep.push(Input(np.zeros(9), 0, 1, 0, False)).reset for _ in range(5)), "0: nothing is quiet"


@pytest.mark.parametrize("readout", [0, 1])
def test_a_pause_shorter_than_a_window_is_part_of_it(readout: int) -> None:
    model = tiny(replace(EVENT_CONTRACT, readout=readout))
    contract = model.contract
    rest = QuietReset.of(replace(model.card, novelty=some_known(model.network, contract)))
    for quiet in (contract.steps - 1, contract.steps):
        shown = [np.zeros(contract.shape)] * quiet + [np.ones(contract.shape)]
        woken = [rest.push(Input(x, 0, 1, 0, False)).reset for x in shown]
        assert woken == [False] * quiet + [quiet == contract.steps]


def test_active_inputs_are_read_out_and_an_overflow_is_refused() -> None:
    track, logits = StreamReadout(CARD.labels, CARD.contract.horizon), np.arange(3, dtype=np.float32)[None]
    given = Input(np.ones(CARD.contract.shape, np.uint8), 0, 10_000, 3, False)
    track.absorb([given], Outcome(logits, [4], 5, 0.1))
    track.absorb([given._replace(x=0 * given.x)], Outcome(logits, [1], 2, 0.1))
    assert track.readout.mean is not None
    assert track.readout.mean.tolist() == [0, 1, 2, np.prod(CARD.contract.shape) / 2]
    with pytest.raises(module.SessionError, match="too large"):
        track.absorb([given], Outcome(logits, [1], 2, 0.1, finite=False))


def test_a_read_out_is_the_mean_of_its_last_steps() -> None:
    readout = SlidingMean(3)
    assert readout.mean is None
    values = np.arange(10, dtype=np.float32).reshape(5, 2) ** 2
    readout = readout.push(values[:2])
    assert (readout.seen, readout.mean) == (2, pytest.approx(values[:2].mean(0)))
    readout = readout.push(values[2:])
    assert (readout.seen, readout.mean) == (5, pytest.approx(values[2:].mean(0)))


def answered(track: StreamReadout, logits: list[list[float]], **given: object) -> Answer:
    inputs = [Input(np.ones((1, 2, 2), np.uint8), n, n + 1, 3, False)._replace(**given) for n in range(len(logits))]  # type: ignore[arg-type]
    outcome = Outcome(np.array(logits, np.float32), [4, 5], 6, 0.25)
    return track.read(inputs, outcome)


def test_an_answer_says_what_was_seen_and_counted() -> None:
    track = StreamReadout(LABELS, 2)
    answer = answered(track, [[9.0, 9.0], [0.0, 2.0]])
    prediction = answer.prediction
    assert (prediction.start_us, prediction.end_us, prediction.step, prediction.n_events) == (0, 2, 2, 6)
    assert (answer.step_label, prediction.top1, prediction.index, prediction.in_distribution) == ("b", "b", 1, None)
    assert prediction.probabilities == pytest.approx((1 / (1 + np.e), np.e / (1 + np.e)))
    assert (prediction.logits, prediction.spikes, prediction.synops) == ((0.0, 2.0), 9, 6)
    assert prediction.latency_ms == 0.25
    assert prediction.commitment is None
    assert (answer.total_spikes, answer.total_synops, answer.layer_spikes) == (9, 6, [4, 5])
    again = answered(track, [[0.0, 2.0]])
    assert (again.total_spikes, again.total_synops, again.prediction.step) == (18, 12, 3)
    fresh = answered(track, [[5.0, 2.0]], reset=True)
    assert (fresh.total_spikes, fresh.prediction.step, fresh.step_label, fresh.reset) == (9, 1, "a", True)


def committed(track: StreamReadout, logits: list[list[float]], **given: object) -> Commitment:
    found = answered(track, logits, **given).prediction.commitment
    assert found is not None
    return found


def test_a_stream_commits_to_what_is_seen_now_and_says_since_when() -> None:
    track = StreamReadout(LABELS, 2, rule=module.ConformalRule(trials(np.linspace(0, 4, 19)), 0.1, 2))
    found = committed(track, [[2.0, 0.0], [0.0, 4.0]])
    assert found == ("b", ("b",), 0.1, None, 2), "nothing to compare the stream with"
    assert [committed(track, [[0.0, 9.0]], end_us=end_us).at_us for end_us in (20, 30)] == [2, 2]
    assert committed(track, [[9.0, 0.0]], end_us=40)[::4] == ("a", 40), "whatever the read-out still shows"
    assert committed(track, [[3.0, 2.0]], end_us=50) == (None, ("a", "b"), 0.75, None, None)
    assert committed(track, [[9.0, 0.0]], end_us=60).at_us == 60
    dark = committed(track, [[9.0, 0.0]] * 2, x=np.zeros((1, 2, 2), np.uint8))
    assert dark[:2] == (None, ("a",)), "nothing is in view"


def test_without_a_calibration_an_input_without_any_event_is_nothing() -> None:
    track, empty = StreamReadout(LABELS, 2), np.zeros((1, 2, 2), np.uint8)
    labels = [answered(track, [[0.0, 9.0]], x=x).step_label for x in (empty, empty + 1, empty, empty)]
    assert labels == [NOTHING, "b", "b", NOTHING], "an event counts for as long as it is read out"


def test_a_reset_keeps_the_label_that_is_shown_until_there_is_evidence() -> None:
    track = StreamReadout(LABELS, 1)
    before = [answered(track, [logits]).prediction.label for logits in [[9.0, 0.0]] * 6 + [[0.0, 9.0]] * 5]
    again = answered(track, [[0.0, 9.0]], reset=True)
    assert (before[-1], again.prediction.label) == ("a", "a"), "one step is no evidence of a change"
    assert [answered(track, [[0.0, 9.0]]).prediction.label for _ in range(9)][-1] == "b"


def test_each_step_is_judged_by_the_steps_that_were_seen() -> None:
    known, horizon = some_known(lively(CONFIG), CARD.contract), CARD.contract.horizon
    track, rates = StreamReadout(CARD.labels, horizon, known), np.full((1, known.width), 0.1, np.float32)
    outcome = Outcome(np.eye(3, dtype=np.float32)[:1], [0], 0, 0.0, rates=rates)
    given, seen = Input(np.ones(CARD.contract.shape, np.uint8), 0, 1, 4, False), []
    for number in range(1, horizon + 3):
        track.absorb([given], outcome)
        mean = track.readout.mean
        assert mean is not None
        expected = known.judge(mean, len(CARD.labels), min(number, horizon))
        found = track.judge()
        assert (found.in_distribution, found.nothing) == (expected.in_distribution, expected.nothing)
        np.testing.assert_array_equal(found.probabilities, expected.probabilities)
        seen.append(found.probabilities[0])
    assert len(set(seen)) > 1, "a length of the window may have a temperature of its own"


def test_steps_that_are_taken_at_once_are_those_taken_one_by_one() -> None:
    """However they are cut, over windows' ends, where the alarm listens, and resets."""
    network, horizon, k = lively(CONFIG), 4, 60
    known, random = some_known(network, CARD.contract), np.random.default_rng(0)
    rule = module.ConformalRule(trials(np.linspace(0, 4, 19), len(CARD.labels), np.full(2000, 0.999)), 0.1, 7, 1.5)
    logits = random.normal(0, 2, (k, len(CARD.labels))).astype(np.float32)
    rates = random.random((k, known.width), np.float32)
    given = [Input(np.ones(CARD.contract.shape, np.uint8), t, t + 1, 4, t in (9, 31)) for t in range(k)]

    def after(edges: list[int]) -> list[tuple[Alarm, object]]:
        track, found = StreamReadout(CARD.labels, horizon, known, rule=rule), []
        for a, b in pairwise(edges):
            outcome = Outcome(logits[a:b], [1] * (b - a), b - a, 0.0, rates=rates[a:b])
            track.absorb(given[a:b], outcome)
            if b in (9, 31, 45, k):
                mean = track.readout.mean
                assert mean is not None
                found.append((track.alarm, (mean.tolist(), track.seen)))
        return found

    one_by_one = after([*range(k + 1)])
    assert any(alarm.level > 0 for alarm, _ in one_by_one)
    for edges in ([0, 9, 31, 45, k], [0, 2, 9, 10, 24, 31, 33, 36, 45, 59, k]):
        assert after(edges) == one_by_one
