"""Calibrate and assess conformal sets and their alarm (models/novelty) on recordings not used for training."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spikesight.encoders.events import Events, SensorSize, empty_events, joined
from spikesight.models.classifier import Classifier, InputPipeline
from spikesight.models.contract import Card
from spikesight.models.novelty import NOTHING
from spikesight.models.novelty.conformal import Conformal, Trials, fit_trials
from spikesight.models.statistics import interval
from spikesight.models.steps import Input, Outcome, Track
from spikesight.training.data.recordings import Read, read_item
from spikesight.training.data.sets import Data
from spikesight.training.progress import say, with_progress
from spikesight.training.run.readings import Source, packets_of

BINS_MS = (1, 2, 5, 10)  # bins to calibrate beside the trained one, if the contract allows them
MOST, LEAST, HELD = 2000, 20, 2000  # recordings: most and least for calibration, most for assessment
ROUNDS = 2  # consecutive windows of a recording
ERROR_RATES = (0.05, 0.01)
SEED = 34  # of the times at which windows begin
T = TypeVar("T")


def evenly(items: Sequence[T], most: int) -> list[T]:
    """Return up to `most` of the items, spread evenly.

    >>> evenly("abcdefg", 3)
    ['a', 'd', 'g']
    """
    return [items[n] for n in np.linspace(0, len(items) - 1, min(most, len(items))).astype(int)]


class Take(NamedTuple):
    """A recording, as a function that reads it, and its class."""

    read: Callable[[], Read]
    label: int


def takes_of(data: Data) -> list[Take]:
    """Return the calibration recordings of a run: its validation recordings and those that are set aside for this."""
    return [
        Take(lambda item=item: read_item(item), item.label) for item in (*evenly(data.val_items, MOST), *data.aside)
    ]


def random_cut(events: Events, span_us: int, least_us: int, random: np.random.Generator) -> Events:
    """Cut `span_us` of a recording, starting at a random time; times begin at 0.

    A shorter recording repeats, with a period of at least `least_us`.
    """
    t = events["t"] - events["t"][:1]
    lap = max(int(t.max(initial=0)) + 1, least_us)
    turned = events.copy()
    turned["t"] = (t - random.integers(lap - span_us if lap > span_us else lap)) % lap
    turned = turned[np.argsort(turned["t"], kind="stable")]
    laps = [turned.copy() for _ in range(-(-span_us // lap))]
    for number, one in enumerate(laps):
        one["t"] += number * lap
    found = joined([empty_events(), *laps])
    return found[: np.searchsorted(found["t"], span_us)]


class Run(NamedTuple):
    """A network's inputs and outputs for one recording, from zero state."""

    inputs: list[Input]  # k
    logits: NDArray[np.float32]  # [k, K]
    rates: NDArray[np.float32]  # [k, S]

    def part(self, begin: int, end: int) -> tuple[list[Input], Outcome]:
        """Return the steps from `begin` to `end`, in the form that `Track.read` takes."""
        outcome = Outcome(self.logits[begin:end], [], 0, 0.0, rates=self.rates[begin:end])
        return self.inputs[begin:end], outcome


def run_through(classifier: Classifier, sensor: SensorSize, packets: Iterable[Events], steps: int) -> Run:
    """Run the network on the first `steps` steps of a recording, or on as many as it has."""
    inputs = list(islice(classifier.packet_inputs(packets, sensor), steps))
    x_seq = torch.from_numpy(np.stack([given.x for given in inputs]))[:, None]
    done = classifier.run(x_seq, classifier.initial_state())
    return Run(inputs, done.logits[:, 0].numpy(), done.rates[:, 0].numpy())


class Paths(NamedTuple):
    """Outputs for n recordings, W windows of T steps each; a shorter recording repeats its last output."""

    logits: NDArray[np.float64]  # [n, W, T, K]
    labels: NDArray[np.int64]  # [n]
    known: NDArray[np.float64]  # [n, W], at each window's end; 0: nothing was seen; NaN: the model has no score
    begins: NDArray[np.float64]  # [n, T, K]: logits of the recording's first window


def read_paths(classifier: Classifier, takes: Sequence[Take]) -> Paths:
    """Run the network on ROUNDS windows of each recording from a random time on, and on its first window; only on the
    latter for a model of aligned events, which sees a short recording as a whole.
    """
    contract = classifier.contract
    steps, rounds = contract.steps, 1 if contract.frame == "object" else ROUNDS
    logits, begins, known = list[NDArray](), list[NDArray](), np.full((len(takes), rounds), np.nan)
    for n, take in enumerate(with_progress(takes, f"stepping at {contract.bin_us / 1000:g} ms", "recording")):
        events, sensor = take.read()
        if rounds > 1:
            begins.append(padded(run_through(classifier, sensor, [events], steps).logits, steps))
            span_us = rounds * steps * contract.bin_us
            events = random_cut(events, span_us, contract.trained_us, np.random.default_rng([SEED, n]))
        run = run_through(classifier, sensor, [events], rounds * steps)
        track = Track(classifier.labels, contract.horizon, classifier.novelty)
        for window in range(rounds):
            inputs, outcome = run.part(window * steps, (window + 1) * steps)
            if inputs:
                track.absorb(inputs, outcome)
            if inputs and classifier.novelty is not None:
                known[n, window] = track.judge().known
        logits.append(padded(run.logits, rounds * steps).reshape(rounds, steps, -1))
    made = np.stack(logits).astype(np.float64)
    return Paths(
        made, np.array([take.label for take in takes]), known,
        np.stack(begins).astype(np.float64) if begins else made[:, 0],
    )  # fmt: skip


def padded(logits: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """Extend logits [k, K] to [steps, K] by repeating the last step."""
    return np.concatenate([logits, np.repeat(logits[-1:], steps - len(logits), 0)])


def fit_conformal(classifier: Classifier, takes: Sequence[Take]) -> Conformal:
    """Calibrate on held-out recordings, at the trained bin and at those of BINS_MS. Raises ValueError for too few."""
    if len(takes) < LEAST:
        raise ValueError(
            f"{len(takes)} validation recordings are too few for conformal sets; {LEAST} at least are needed"
        )
    own = classifier.contract
    bins = {own.bin_us / 1000, *(ms for ms in BINS_MS if own.bins_us[0] <= ms * 1000 < own.bin_us)}
    trials: dict[int, Trials] = {}
    for bin_ms in sorted(bins):
        fine = classifier.at(bin_ms)
        trials[fine.contract.bin_us] = fit_trials(*read_paths(fine, takes))
    return Conformal(trials)


def conformal_of(network: nn.Module, card: Card, takes: Sequence[Take]) -> Conformal | None:
    """Return the network's conformal calibration; None for images and (with a message) for too few recordings."""
    if not takes:
        return None
    try:
        return fit_conformal(Classifier(network, card), takes)
    except ValueError as error:
        say(f"no commitments, so `set` will be null: {error}")
        return None


class Window(NamedTuple):
    """The conformal set, commitment and scores of one window."""

    held: bool  # the true label was in the set at every step
    committed: int  # first committed class; -1: none
    steps: int  # until the commitment
    known: float | None  # at the end; None: nothing was seen, or the model has no score
    shifted: bool  # at the end


def windows_of(classifier: Classifier, track: Track, run: Run, label: int) -> Iterator[Window]:
    """Yield the result of each window of a recording of class `label` in a stream, which is reset before it."""
    steps = classifier.contract.steps
    inputs = [run.inputs[0]._replace(reset=track.readout.seen > 0), *run.inputs[1:]]
    for begin in range(0, len(inputs), steps):
        ns = range(begin, min(begin + steps, len(inputs)))
        answers = [track.read([inputs[n]], run.part(n, n + 1)[1]).prediction for n in ns]
        said = [(n, answer.committed) for n, answer in enumerate(answers, 1) if answer.committed is not None]
        after, committed = said[0] if said else (0, None)
        last = answers[-1]
        yield Window(
            classifier.labels[label] in (last.set or ()),
            -1 if committed is None else classifier.labels.index(committed),
            after,
            None if last.label == NOTHING else last.known,
            bool(last.shifted),
        )


def held_out(classifier: Classifier, sources: Sequence[Source]) -> list[dict[str, Any]]:
    """Run `assess` at ERROR_RATES on up to HELD recordings of the model's classes; empty without a calibration, and of
    views, in which nothing is committed to.
    """
    own = [source for source in sources if source.label in classifier.labels]
    if classifier.trials is None or not own:
        return []
    labels, found = list[int](), {rate: list[Window]() for rate in ERROR_RATES}
    for source in with_progress(evenly(own, HELD), "committing", "recording"):
        sensor, packets = packets_of(source.item)
        if InputPipeline(classifier.card, sensor).pyramid is not None:
            continue
        labels.append(classifier.labels.index(source.label))
        run = run_through(classifier, sensor, packets, classifier.contract.steps)
        for rate, windows in found.items():
            windows += windows_of(classifier, classifier.track(error_rate=rate), run, labels[-1])
    if not labels:
        return []
    return [assess(classifier, np.array(labels), windows, rate) for rate, windows in found.items()]


def assess(
    classifier: Classifier, labels: NDArray[np.int64], windows: Sequence[Window], error_rate: float
) -> dict[str, Any]:
    """Return how often the set holds the true label at every step, and how early and how correct commitments are.
    `labels` [n]: the true classes of the windows.
    """
    held, chosen = np.array([w.held for w in windows]), np.array([w.committed for w in windows])
    done, wrong = int((chosen >= 0).sum()), int(((chosen >= 0) & (chosen != labels)).sum())
    bin_ms = classifier.contract.bin_us / 1000
    times = sorted(w.steps * bin_ms if w.committed >= 0 else np.inf for w in windows)
    taken = [w.steps if w.committed >= 0 else classifier.contract.steps for w in windows]
    median = float(times[(len(times) - 1) // 2])
    return {
        "error_rate": error_rate,
        "coverage": float(held.mean()),
        "interval": list(interval(int(held.sum()), len(held))),
        "by_class": {classifier.labels[k]: float(held[labels == k].mean()) for k in np.unique(labels).tolist()},
        "count": len(held),
        "committed": done,
        "wrong": wrong,
        "wrong_of_committed": list(interval(wrong, done)) if done else None,
        "median_ms": median if np.isfinite(median) else None,
        "mean_steps": float(np.mean(taken)),
    }
