"""Calibrate and assess commitments and their alarm (models/novelty) on streams of recordings not used for training."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, pairwise
from math import ceil
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from spikesight.encoders.events import Events, SensorSize, empty_events, joined
from spikesight.encoders.words import counted
from spikesight.models.classifier import Classifier, InputPipeline, Stepper
from spikesight.models.contract import Card, Contract
from spikesight.models.novelty import NOTHING
from spikesight.models.novelty.alarm import highest
from spikesight.models.novelty.conformal import Conformal, fit_trials, wrong_margin
from spikesight.models.statistics import interval
from spikesight.models.steps import Prediction, StreamReadout
from spikesight.training.data import Data, read_item
from spikesight.training.data.sets import Read
from spikesight.training.progress import say, with_progress
from spikesight.training.run.readings import LabelledItem

BINS_MS = (1, 2, 5, 10)  # bins to calibrate beside the trained one, if the contract allows them
MOST, LEAST, HELD = 2000, 20, 2000  # recordings: most and least for calibration, most for assessment
CHANGES, ROUNDS = 1000, 10  # objects of an assessment: fewer recordings come several times, up to ROUNDS
THINGS = 20  # of a stream
LIFE, GAP = (1.0, 2.0), (0.0, 2.0)  # windows that an object is in view, and that nothing is
DRAWN, LONG, BLOCK, RATE = 1000, 1000, 20, 0.01  # streams that fix the alarm's line, windows of each, of a block, share
# of the streams that may exceed it
ERROR_RATES = (0.05, 0.01)
SEED = 34  # of the streams
T = TypeVar("T")


def evenly(items: Sequence[T], most: int) -> list[T]:
    """Return up to `most` of the items, spread evenly.

    >>> evenly("abcdefg", 3)
    ['a', 'd', 'g']
    """
    return [items[n] for n in np.linspace(0, len(items) - 1, min(most, len(items))).astype(int)]


class CalibrationSample(NamedTuple):
    """A recording, as a function that reads it, and its class."""

    read: Callable[[], Read]
    label: int


def takes_of(data: Data) -> list[CalibrationSample]:
    """Return the calibration recordings of a run: its validation recordings and those that are set aside for this."""
    return [
        CalibrationSample(lambda item=item: read_item(item), item.label)
        for item in (*evenly(data.val_items, MOST), *data.calibration)
    ]


def cut(events: Events, span_us: int, least_us: int, random: np.random.Generator | None) -> Events:
    """Cut `span_us` of a recording, starting at a random time, or at its beginning (None); times begin at 0.

    A shorter recording repeats, with a period of at least `least_us`.
    """
    t = events["t"] - events["t"][:1]
    lap = max(int(t.max(initial=0)) + 1, least_us)
    turned = events.copy()
    begin = 0 if random is None else random.integers(lap - span_us if lap > span_us else lap)
    turned["t"] = (t - begin) % lap
    turned = turned[np.argsort(turned["t"], kind="stable")]
    laps = [turned.copy() for _ in range(-(-span_us // lap))]
    for number, one in enumerate(laps):
        one["t"] += number * lap
    found = joined([empty_events(), *laps])
    return found[: np.searchsorted(found["t"], span_us)]


class LabelledStream(NamedTuple):
    """Things that follow each other before one sensor. Each is in view from when it comes until the next one comes."""

    events: Events
    sensor: SensorSize
    rows: list[int]  # of the recordings
    labels: list[int]  # classes of the objects
    begins: list[int]  # us, when each comes

    def things(self, ends_us: Sequence[int]) -> Iterator[tuple[slice, int, int]]:
        """Yield, for each object, the steps that end while it is in view, its class, and that of the object before, -1
        for none. `ends_us`: of all steps.
        """
        edges = [*np.searchsorted(ends_us, self.begins, "right").tolist(), len(ends_us)]
        for steps, label, before in zip(pairwise(edges), self.labels, [-1, *self.labels]):
            yield slice(*steps), label, before


def streams(
    contract: Contract, recordings: Sequence[CalibrationSample], seed: int, *, gaps: bool, things: int = THINGS
) -> Iterator[LabelledStream]:
    """Yield streams of `things` in which the recordings, each once, follow each other at random: from a random time on,
    or with `gaps` from their beginning, after some time of nothing. Recordings for a model of aligned events, which
    sees a short one as a whole, are streams of their own.
    """
    random, window_us = np.random.default_rng([SEED, seed]), contract.steps * contract.bin_us
    aligned, order = contract.frame == "object", random.permutation(len(recordings))
    things = 1 if aligned else things
    for chosen in np.split(order, range(things, len(recordings), things)):
        read = {row: recordings[row].read() for row in chosen.tolist()}
        for sensor in dict.fromkeys(size for _, size in read.values()):
            parts, begins, now = [empty_events()], list[int](), 0
            rows = [row for row, (_, size) in read.items() if size == sensor]
            for row in rows:
                span_us, events = int(window_us * random.uniform(*LIFE)), read[row][0]
                if not aligned:
                    events = cut(events, span_us, contract.trained_us, None if gaps else random)
                    events["t"] += now
                parts.append(events)
                begins.append(now)
                now += span_us + (int(window_us * random.uniform(*GAP)) if gaps else 0)
            yield LabelledStream(joined(parts), sensor, rows, [recordings[row].label for row in rows], begins)


def read_stream(classifier: Classifier, stream: LabelledStream) -> tuple[list[float], list[float]]:
    """Run a stream, which is never reset; return the `wrong_margin` of its objects, and `in_distribution` at its
    windows' ends, but for windows of nothing.
    """
    logits, ends, known = list[NDArray[np.float32]](), list[int](), list[float]()
    steps = classifier.contract.steps
    for part, outcome, answer in Stepper(classifier).windows(classifier.event_inputs(stream.events, stream.sensor)):
        logits.append(outcome.logits)
        ends += [given.end_us for given in part]
        if len(part) == steps and answer.prediction.in_distribution is not None and answer.step_label != NOTHING:
            known.append(answer.prediction.in_distribution)
    every = np.concatenate(logits).astype(np.float64)
    return [wrong_margin(every[part], label, before, steps // 2) for part, label, before in stream.things(ends)], known


def fit_conformal(classifier: Classifier, recordings: Sequence[CalibrationSample]) -> tuple[Conformal, float | None]:
    """Calibrate on held-out recordings, at the trained bin and at those of BINS_MS; return the calibration and the
    line of the alarm, of windows at the trained bin. Raises ValueError for too few.

    Each recording comes twice, without a gap and after one: the larger lead counts.
    """
    if len(recordings) < LEAST:
        raise ValueError(f"{counted(len(recordings), 'validation recording')}: too few, at least {LEAST} are needed")
    own = classifier.contract
    bins = {own.bin_us / 1000, *(ms for ms in BINS_MS if own.bins_us[0] <= ms * 1000 < own.bin_us)}
    fine, labels = [classifier.at(ms) for ms in sorted(bins)], np.array([recording.label for recording in recordings])
    leads, known = np.zeros((len(fine), len(recordings))), [list[float]() for _ in fine]
    made = chain(*(streams(own, recordings, n, gaps=n > 0) for n in range(2)))
    for stream in with_progress(made, "calibrating commitments", "stream", 2 * ceil(len(recordings) / THINGS)):
        for n, one in enumerate(fine):
            found, seen = read_stream(one, stream)
            leads[n, stream.rows] = np.maximum(leads[n, stream.rows], found)
            known[n] += seen
    return Conformal({
        one.contract.bin_us: fit_trials(lead, labels, np.array(evenly(seen, MOST)), len(classifier.labels))
        for one, lead, seen in zip(fine, leads, known)
    }), alarm_line(known[-1])  # fmt: skip


def alarm_line(known: Sequence[float]) -> float | None:
    """Return the line of the alarm (models/novelty/alarm.py): the level that a share RATE of DRAWN streams of LONG
    windows exceeds, given `in_distribution` at the ends of the windows of the calibration's streams; None for too few.

    A stream is drawn from these as blocks of consecutive windows (Kuensch 1989, "The jackknife and the bootstrap for
    general stationary observations"), since an object is in view for more than one.
    """
    if len(known) <= BLOCK:
        return None
    every, random = np.sort(known), np.random.default_rng(SEED)
    p_values = np.searchsorted(every, known, "right") / len(every)  # a window's rank among all others
    begins = random.integers(len(known) - BLOCK + 1, size=(DRAWN, LONG // BLOCK))
    levels = [highest(p_values[(own[:, None] + np.arange(BLOCK)).ravel()].tolist()) for own in begins]
    return round(float(np.quantile(levels, 1 - RATE, method="higher")), 3)


def committing(network: nn.Module, card: Card, recordings: Sequence[CalibrationSample]) -> Card:
    """Return the card with what commitments and their alarm are judged by, and with `commits` among its metrics; it
    has none for images and (with a message) for too few recordings.
    """
    conformal = line = None
    try:
        conformal, line = fit_conformal(Classifier(network, card), recordings) if recordings else (None, None)
    except ValueError as error:
        say(f"no commitments, so `commitment` will be null: {error}")
    metrics = {**card.metrics, "commits": commits(conformal, card.labels)}
    return replace(card, conformal=conformal, alarm=line, metrics=metrics)


def commits(conformal: Conformal | None, labels: Sequence[str]) -> str:
    """Return the error rates at which a model commits, in words for its card."""
    if conformal is None:
        return "none"
    trials = next(iter(conformal.trials.values()))
    fewest, count = labels[int(trials.counts.argmin())], counted(int(trials.counts.min()), "recording")
    return f"at error rates from {trials.least:.2%} on, as {fewest} has {count} to calibrate with"


class Seen(NamedTuple):
    """What was committed to while an object was in view."""

    label: int  # its class
    right_ms: float  # from when it came until the first right commitment; inf: none came
    wrong: bool  # another label was committed to at some step, but for that of the object before in the first T / 2
    stale_ms: float  # until the last commitment to the object before, of another class; 0: none
    shifted: bool  # at its end


def seen_in(
    stream: LabelledStream, predictions: Sequence[Prediction], labels: Sequence[str], settles: int
) -> list[Seen]:
    """Return what a stream's predictions, one a step, committed to for each thing. `settles`: steps, T / 2."""
    found, ends = list[Seen](), [one.end_us for one in predictions]
    for (part, label, before), begin_us in zip(stream.things(ends), stream.begins):
        right = stale = list[float]()
        wrong, shifted = False, False
        for n, step in enumerate(predictions[part]):
            assert step.commitment is not None
            said, after_ms = step.commitment.label, (step.end_us - begin_us) / 1000
            shifted = bool(step.commitment.shifted)
            if said == labels[label]:
                right = right or [after_ms]
            elif said is not None:
                old = before >= 0 and said == labels[before]
                stale = [after_ms] if old else stale
                wrong |= not old or n >= settles
        found.append(Seen(label, (right or [np.inf])[0], wrong, (stale or [0.0])[0], shifted))
    return found


def follow(classifier: Classifier, stream: LabelledStream, tracks: Sequence[StreamReadout]) -> list[list[Seen]]:
    """Run a stream, which is never reset; return what each read-out committed to."""
    predictions = [list[Prediction]() for _ in tracks]
    for part, outcome, _ in Stepper(classifier).windows(classifier.event_inputs(stream.events, stream.sensor)):
        for given, made in outcome.each(part):
            for track, said in zip(tracks, predictions):
                said.append(track.read(given, made).prediction)
    return [seen_in(stream, said, classifier.labels, classifier.contract.steps // 2) for said in predictions]


def held_out(classifier: Classifier, sources: Sequence[LabelledItem]) -> list[dict[str, Any]]:
    """Run `assess` at ERROR_RATES on up to HELD recordings of the model's classes, in streams like those of the
    calibration, of CHANGES objects or more where each comes up to ROUNDS times; empty without a calibration, and of
    views, in which nothing is committed to.
    """
    own = [source for source in sources if source.label in classifier.labels]
    if classifier.trials is None or not own:
        return []
    recordings = [
        CalibrationSample(partial(read_item, one.item), classifier.labels.index(one.label)) for one in evenly(own, HELD)
    ]
    rounds, found = max(2, min(ROUNDS, ceil(CHANGES / len(recordings)))), {rate: list[Seen]() for rate in ERROR_RATES}
    made = chain(*(streams(classifier.contract, recordings, 2 + n, gaps=n % 2 > 0) for n in range(rounds)))
    for stream in with_progress(made, "committing", "stream", rounds * ceil(len(recordings) / THINGS)):
        if InputPipeline(classifier.card, stream.sensor).pyramid is not None:
            continue
        tracks = [classifier.stream_readout(rate) for rate in ERROR_RATES]
        for rate, seen in zip(ERROR_RATES, follow(classifier, stream, tracks)):
            found[rate] += seen
    return [assess(classifier, seen, rate) for rate, seen in found.items() if seen]


def assess(classifier: Classifier, seen: Sequence[Seen], error_rate: float) -> dict[str, Any]:
    """Return how many objects were committed to wrongly, in all and by class, and how soon rightly."""
    bin_ms, steps = classifier.contract.bin_us / 1000, classifier.contract.steps
    wrong, times = [one.wrong for one in seen], sorted(one.right_ms for one in seen)
    classes = sorted({one.label for one in seen})
    of = {k: [one.wrong for one in seen if one.label == k] for k in classes}
    median = times[(len(times) - 1) // 2]
    return {
        "error_rate": error_rate,
        "count": len(seen),
        "wrong": sum(wrong),
        "interval": list(interval(sum(wrong), len(seen))),
        "by_class": {classifier.labels[k]: [sum(own), len(own)] for k, own in of.items()},
        "committed": int(np.isfinite(times).sum()),
        "median_ms": median if np.isfinite(median) else None,
        "stale_ms": float(np.quantile([one.stale_ms for one in seen], 0.99)),
        "mean_steps": float(np.mean(np.minimum(np.array(times) / bin_ms, steps))),
    }
