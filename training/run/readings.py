"""Run a model on every window of a set of recordings, each from zero state and in one continuous stream."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from spikesight.encoders.events import Events, SensorSize, empty_events, joined
from spikesight.encoders.recordings.files import RecordingReader, digest
from spikesight.encoders.recordings.format import RecordingError
from spikesight.encoders.sources.settings import common, differs
from spikesight.models.classifier import Classifier, InputPipeline
from spikesight.models.novelty.profile import Window, compare, measure, typical
from spikesight.models.novelty.score import RECORDED
from spikesight.models.statistics import softmax
from spikesight.models.steps import Input, Readout, Step
from spikesight.training.config import TrainConfig
from spikesight.training.data.folders import read_folder
from spikesight.training.data.images import PictureRows, holds_pictures
from spikesight.training.data.load import DATA_NAMES, list_data
from spikesight.training.data.own import SPARSE
from spikesight.training.data.recordings import read_item, recorded
from spikesight.training.data.sets import DataError, Frames, ImageSet, Item, MissingDataError
from spikesight.training.data.windows import PACKET_US, window_starts
from spikesight.training.progress import with_progress
from spikesight.training.run.baselines import MOST, log_counts, pixels
from spikesight.training.step.batches import evaluation_input

AT_ONCE = 32  # windows of a batch
Change = Callable[[int, Events, SensorSize], Events]  # maps (number of a recording, events, sensor size) to new events


class Source(NamedTuple):
    """A recording to read, and its class."""

    item: Item  # its label is not used
    label: str


@dataclass(frozen=True, kw_only=True)
class Readings:
    """M windows (or images) and the model's answers; recordings are numbered from 0 in the order of the set."""

    labels: tuple[str, ...]  # of the model
    classes: tuple[str, ...]  # of the set
    truth: NDArray[np.int64]  # [M], index among the set's classes
    recording: NDArray[np.int64]  # [M]
    begin_us: NDArray[np.int64]  # [M], from the recording's first event; 0 for images
    probabilities: NDArray[np.float64]  # [M, K], each window from zero state; calibrated if the model is
    counts: NDArray[np.float32]  # [M, F], the input of baselines for each window or image
    frames: NDArray[np.uint8] | None = None  # [M, T, C, H, W], the windows of recordings, if `keep` asked for them
    streamed: NDArray[np.float64] | None = None  # [M, K], at each window's end in one stream that is never reset
    known: NDArray[np.float64] | None = None  # [M] in [0, 1]; None if the model has no score
    quiet: int = 0  # number of windows left out because they hold hardly any events
    shared: tuple[str, ...] = ()  # recordings that the model was trained on
    notes: tuple[str, ...] = ()  # sentences on what was read
    sources: tuple[Source, ...] = ()  # the recordings by their numbers

    @property
    def kind(self) -> Literal["events", "image"]:
        """The kind of input."""
        return "image" if self.streamed is None else "events"


def read_set(
    classifier: Classifier,
    data: str,
    root: str = "data",
    layout: str = "auto",
    part: Literal["test", "train"] = "test",
    keep: bool = False,
) -> Readings:
    """Run a model on a split of a named set below `root`, or of a folder; on everything if there is no such split. Of
    images to learn from, MOST are read at most, spread evenly.

    `keep`: also return the windows of recordings. Raises DataError, and ValueError for images with an event model or
    events with an image model.
    """
    contract = classifier.contract
    if contract.kind == "events" and data in recorded():
        listing = recorded()[data](Path(root))
        items = (part == "test" and listing.test) or listing.train
        return read_recordings(classifier, [Source(item, listing.labels[item.label]) for item in items], keep=keep)
    if contract.kind == "events" and (data in DATA_NAMES or holds_pictures(Path(data))):
        raise ValueError(f"{classifier.name} takes events, and {data} holds images: spikesight emulate makes events")
    if contract.kind == "image":
        if data not in DATA_NAMES and Path(data).is_dir() and not holds_pictures(Path(data)):
            raise ValueError(f"{classifier.name} takes images, and {data} holds none in <class>/<file>")
        size = {"height": contract.height, "width": contract.width, "channels": contract.channels}
        images = list_data(replace(TrainConfig(data=data, root=root), **size))
        assert isinstance(images, ImageSet)
        chosen = images.train if part == "train" else images.test or images.train
        files = chosen.frames.paths if isinstance(chosen.frames, PictureRows) else ()
        if isinstance(chosen.frames, PictureRows):  # brought to the input's size as `predict` does
            chosen = replace(chosen, frames=replace(chosen.frames, still=contract.still))
        if part == "train":
            chosen = chosen.take(chosen.stratified_rows(MOST))
        found = _read_images(classifier, images.labels, chosen)
        return replace(found, shared=_shared(classifier, files))
    folder = read_folder(data, layout, classifier.labels)
    takes = [take for take in folder.takes if take.part == part] or list(folder.takes)
    notes = [f"layout {folder.layout}: {len(takes)} recordings"]
    if len(takes) < len(folder.takes):
        notes[0] += f" of {part}/, {len(folder.takes) - len(takes)} others left alone"
    found = read_recordings(classifier, [Source(Item(take.path, 0), take.label) for take in takes], keep=keep)
    return replace(found, notes=(*notes, *found.notes))


@dataclass
class _Window:
    """A window of T inputs, or fewer if the recording is shorter."""

    source: int
    begin_us: int
    inputs: list[Input]
    n_events: int = field(init=False)

    def __post_init__(self) -> None:
        self.n_events = sum(given.n_events for given in self.inputs)


def read_recordings(
    classifier: Classifier, sources: Sequence[Source], change: Change | None = None, keep: bool = False
) -> Readings:
    """Run a model on consecutive windows of its own length, of every recording from its first event on.

    `change` is applied to the events of each recording, which is then in memory as a whole. `keep`: also return the
    windows. Raises DataError, and ValueError for an image model.
    """
    if classifier.contract.kind != "events":
        raise ValueError(f"{classifier.name} takes images, not recordings of events")
    if not sources:
        raise MissingDataError("there are no recordings to evaluate on")
    stream = _Stream(classifier)
    rows: list[_Answer] = []
    waiting: list[tuple[_Window, NDArray]] = []
    progress = with_progress(sources, "evaluating", "recording")
    for number, source in enumerate(progress):
        sensor, packets = packets_of(source.item)
        if change is not None:
            packets = iter([change(number, joined([empty_events(), *packets]), sensor)])
        for window in _windows(classifier, number, sensor, packets):
            waiting.append((window, stream.push(window.inputs)))
            if len(waiting) == AT_ONCE:
                rows += _answers(classifier, waiting, keep)
                waiting = []
    rows += _answers(classifier, waiting, keep)
    least = max(1.0, SPARSE * float(np.median([row.n_events for row in rows]))) if rows else 1.0
    kept = [row for row in rows if row.n_events >= least]
    if not kept:
        raise DataError("no window of these recordings holds events enough to be classified")
    classes = tuple(sorted({source.label for source in sources}))
    by_label = {label: n for n, label in enumerate(classes)}
    recording, begin, _, probabilities, known, streamed, counts, measured, frames = zip(*kept)
    settings = common(dict.fromkeys(source.item.path for source in sources))
    other = differs(classifier.card.training.get("camera", {}), settings)
    other = [other, classifier.card.profile and compare(classifier.card.profile, typical(list(measured)))]
    return Readings(
        labels=classifier.labels,
        classes=classes,
        truth=np.array([by_label[sources[n].label] for n in recording]),
        recording=np.array(recording),
        begin_us=np.array(begin),
        probabilities=np.stack(probabilities),
        counts=np.stack(counts),
        frames=np.stack(frames) if keep else None,
        streamed=np.stack(streamed),
        known=None if classifier.novelty is None else np.array(known, float),
        quiet=len(rows) - len(kept),
        shared=_shared(classifier, [source.item.path for source in sources]),
        notes=tuple(filter(None, other)),
        sources=tuple(sources),
    )


def _shared(classifier: Classifier, files: Iterable[Path]) -> tuple[str, ...]:
    """Return the names of the files that the model was trained on or chosen by."""
    trained = set(classifier.card.training.get("recordings", ()))
    return tuple(Item(path, 0).name for path in files if trained and digest(path) in trained)


def packets_of(item: Item) -> tuple[SensorSize, Iterator[Events]]:
    """Return a recording's sensor size and its events in packets, so that memory stays bounded. Raises DataError."""
    if item.reader != "recording":
        events, sensor = read_item(item)
        return sensor, iter([events])
    try:
        reader = RecordingReader(item.path)
    except (RecordingError, OSError) as error:
        raise DataError(f"{item.name} cannot be read: {error}") from None

    def packets() -> Iterator[Events]:
        try:
            yield from reader.packets(PACKET_US)
        except (RecordingError, OSError) as error:
            raise DataError(f"{item.name} cannot be read: {error}") from None

    return reader.size, packets()


def _windows(classifier: Classifier, number: int, sensor: SensorSize, packets: Iterator[Events]) -> Iterator[_Window]:
    """Yield the network's inputs for a recording, T at a time; a rest of at least half a window counts."""
    steps, held, first, full = classifier.contract.steps, list[Input](), None, False
    if classifier.contract.frame == "object":
        yield from _aligned_windows(classifier, number, sensor, packets)
        return
    for given in InputPipeline(classifier.card, sensor).recording(packets):
        first = given.start_us if first is None else first
        held.append(given)
        if len(held) == steps:
            yield _Window(number, held[0].start_us - first, held)
            held, full = [], True
    if held and first is not None and (2 * len(held) >= steps or not full):
        yield _Window(number, held[0].start_us - first, held)


def _aligned_windows(
    classifier: Classifier, number: int, sensor: SensorSize, packets: Iterator[Events]
) -> Iterator[_Window]:
    """Yield windows for a network of aligned events: a short recording as one window, else each aligned separately."""
    contract = classifier.contract
    events, window_us = joined([empty_events(), *packets]), contract.steps * contract.bin_us

    def sample(part: Events) -> list[Input] | None:
        return InputPipeline(classifier.card, sensor).sample(part)

    if (inputs := sample(events)) is not None:
        yield _Window(number, 0, inputs)
        return
    first = int(events["t"][0])
    for begin in window_starts(0, int(events["t"][-1]) - first + 1, window_us, window_us):
        low, high = np.searchsorted(events["t"], (first + begin, first + begin + window_us))
        if (inputs := sample(events[low:high])) is not None:
            yield _Window(number, begin, inputs)


class _Stream:
    """A stream of all recordings one after another through one network that is never reset."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier, self.state = classifier, classifier.initial_state()
        self.readout = Readout(classifier.contract.horizon)

    def push(self, inputs: Sequence[Input]) -> NDArray[np.float64]:
        """Run a window's inputs; return the probabilities [K] after the last one."""
        x_seq = torch.from_numpy(np.stack([given.x for given in inputs]))[:, None]
        done = self.classifier.run(x_seq, self.state)
        self.state = done.state
        self.readout = self.readout.push(done.logits[:, 0].numpy())
        return self.readout.probabilities()


class _Answer(NamedTuple):
    """A model's answer to a window from zero state, and a stream's answer at the window's end."""

    recording: int
    begin_us: int
    n_events: int
    probabilities: NDArray[np.float64]
    known: float | None
    streamed: NDArray[np.float64]
    counts: NDArray[np.float32]
    measured: Window
    frames: NDArray[np.uint8] | None  # [T, C, H, W], if it is kept


def _answers(classifier: Classifier, waiting: Sequence[tuple[_Window, NDArray]], keep: bool) -> list[_Answer]:
    if not waiting:
        return []
    contract = classifier.contract
    x_seq = torch.zeros(contract.steps, len(waiting), *contract.shape, dtype=torch.uint8)
    for n, (window, _) in enumerate(waiting):
        x_seq[: len(window.inputs), n] = torch.from_numpy(np.stack([given.x for given in window.inputs]))
    done = classifier.run(x_seq, classifier.initial_state(len(waiting)))
    values = _values(done, x_seq)
    frames, rows = x_seq.transpose(0, 1).numpy(), []
    counts = log_counts(frames)
    for n, (window, streamed) in enumerate(waiting):
        steps = min(len(window.inputs), contract.horizon)
        mean = values[len(window.inputs) - steps : len(window.inputs), n].mean(0)
        probabilities, known = _judged(classifier, mean, steps, window.inputs[0].kind)
        measured = measure(x_seq[: len(window.inputs), n].numpy(), contract.trained_us)
        answer = window.source, window.begin_us, window.n_events, probabilities, known, streamed, counts[n], measured
        rows.append(_Answer(*answer, frames[n] if keep else None))
    return rows


def _values(done: Step, x_seq: Tensor) -> NDArray[np.float64]:
    """Return what a novelty detector judges by, a step and sample: logits, rates, active inputs, [T, N, K + R + 1]."""
    active = x_seq.flatten(2).count_nonzero(2).float()
    return torch.cat([done.logits.float(), done.rates, active[..., None]], 2).double().numpy()


def _judged(
    classifier: Classifier, mean: NDArray[np.float64], steps: int, kind: int = RECORDED
) -> tuple[NDArray[np.float64], float | None]:
    """Judge the mean of `steps` steps' values: return probabilities [K] and `known` (None without a calibration)."""
    k = len(classifier.labels)
    if classifier.novelty is None:
        return softmax(mean[:k]), None
    probabilities, known, _ = classifier.novelty.judge(mean, k, steps, kind)
    return probabilities, known


def _read_images(classifier: Classifier, classes: tuple[str, ...], frames: Frames) -> Readings:
    """Run a model on every image, T steps from zero state."""
    answers, seen, steps = [], [], min(classifier.contract.steps, classifier.contract.horizon)
    for start in with_progress(range(0, len(frames), AT_ONCE), "evaluating"):
        stored = torch.from_numpy(np.array(frames.frames[start : start + AT_ONCE]))
        seen.append(pixels(stored.numpy()))
        x_seq = evaluation_input(stored, classifier.contract).contiguous()
        done = classifier.run(x_seq, classifier.initial_state(x_seq.shape[1]))
        answers += [_judged(classifier, mean, steps) for mean in _values(done, x_seq)[-steps:].mean(0)]
    rows = np.arange(len(frames))
    probabilities, known = zip(*answers)
    return Readings(
        labels=classifier.labels, classes=classes, truth=frames.labels, recording=rows, begin_us=np.zeros_like(rows),
        probabilities=np.stack(probabilities), counts=np.concatenate(seen),
        known=None if classifier.novelty is None else np.array(known, float), notes=(f"{len(frames)} images",),
    )  # fmt: skip
