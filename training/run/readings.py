"""Run a model on a set of recordings or images: the answer to each, and the answers at the ends of its windows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from spikesight.encoders.events import Events, SensorSize, empty_events, joined
from spikesight.encoders.recordings.files import RecordingReader, digest
from spikesight.encoders.recordings.format import RecordingError
from spikesight.models.classifier import Classifier, InputPipeline, Stepper
from spikesight.models.classifier.verdict import Verdict
from spikesight.models.novelty.profile import Window, compare, measure, typical
from spikesight.models.steps import Input, Outcome, Prediction
from spikesight.training.config import TrainConfig
from spikesight.training.data.folders import read_folder
from spikesight.training.data.images import PictureRows, holds_pictures
from spikesight.training.data.load import DATA_NAMES, is_recorded, list_data
from spikesight.training.data.own import SPARSE, usable
from spikesight.training.data.recordings import read_item
from spikesight.training.data.sets import DataError, Frames, ImageSet, Item, Listing, MissingDataError
from spikesight.training.data.windows import PACKET_US
from spikesight.training.progress import with_progress
from spikesight.training.run.baselines import MOST, log_counts, pixels
from spikesight.training.step.batches import evaluation_input

AT_ONCE = 32  # images of a batch
Change = Callable[[int, Events, SensorSize], Events]  # maps (number of a recording, events, sensor size) to new events


class Source(NamedTuple):
    """A recording to read, and its class."""

    item: Item  # its label is not used
    label: str


@dataclass(frozen=True, kw_only=True)
class Readings:
    """R recordings (or images) with the model's answers, and their M windows; recordings are numbered from 0 in the
    order of the set.
    """

    labels: tuple[str, ...]  # of the model
    classes: tuple[str, ...]  # of the set
    kind: Literal["events", "image"]
    truth: NDArray[np.int64]  # [R], index among the set's classes
    answers: tuple[Prediction, ...]  # R, each of a whole recording or image
    recording: NDArray[np.int64]  # [M], of each window
    begin_us: NDArray[np.int64]  # [M], from the recording's first input; 0 for images
    probabilities: NDArray[np.float64]  # [M, K], at the window's end; calibrated if the model is
    counts: NDArray[np.float32]  # [M, F], the input of baselines for each window or image
    quiet: int = 0  # number of windows left out because they hold hardly any events
    shared: tuple[str, ...] = ()  # recordings that the model was trained on
    notes: tuple[str, ...] = ()  # sentences on what was read
    sources: tuple[Source, ...] = ()  # the recordings by their numbers


def read_set(
    classifier: Classifier,
    data: str,
    root: str = "data",
    layout: str = "auto",
    part: Literal["test", "train"] = "test",
    *,
    skip_bad: bool = False,
) -> Readings:
    """Run a model on a split of a named set below `root`, or of a folder; on everything if there is no such split. Of
    images to learn from, MOST are read at most, spread evenly. `skip_bad`: go on without files that cannot be read.

    Raises DataError, and ValueError for images with an event model or events with an image model.
    """
    contract = classifier.contract
    named = TrainConfig(data=data, root=root)
    if contract.kind == "events" and is_recorded(data):
        listing = list_data(named)
        assert isinstance(listing, Listing)
        items = (part == "test" and listing.test) or listing.train
        return read_recordings(classifier, [Source(item, listing.labels[item.label]) for item in items])
    if contract.kind == "events" and (data in DATA_NAMES or holds_pictures(Path(data))):
        raise ValueError(f"{classifier.name} takes events, and {data} holds images: spikesight emulate makes events")
    if contract.kind == "image":
        if data not in DATA_NAMES and Path(data).is_dir() and not holds_pictures(Path(data)):
            raise ValueError(f"{classifier.name} takes images, and {data} holds none in <class>/<file>")
        size = {"height": contract.height, "width": contract.width}
        images = list_data(replace(named, **size))
        assert isinstance(images, ImageSet)
        chosen = images.train if part == "train" else images.test or images.train
        files = chosen.frames.paths if isinstance(chosen.frames, PictureRows) else ()
        if isinstance(chosen.frames, PictureRows):  # brought to the input's size as `predict` does
            chosen = replace(chosen, frames=replace(chosen.frames, still=contract.still, channels=contract.channels))
        if part == "train":
            chosen = chosen.take(chosen.stratified_rows(MOST))
        found = read_images(classifier, images.labels, chosen)
        return replace(found, shared=_shared(classifier, files))
    folder = read_folder(data, layout, classifier.labels)
    takes = [take for take in folder.takes if take.part == part] or list(folder.takes)
    notes = [f"layout {folder.layout}: {len(takes)} recordings"]
    if len(takes) < len(folder.takes):
        notes[0] += f" of {part}/, {len(folder.takes) - len(takes)} others left alone"
    asked = replace(folder, takes=tuple(replace(take, part="train") for take in takes))
    read = usable(asked, skip_bad=skip_bad)
    found = read_recordings(classifier, [Source(Item(take.path, 0), take.label) for take in read.folder.takes])
    return replace(found, notes=(*notes, *read.notes, *found.notes))


class _Window(NamedTuple):
    """A window of T inputs, or fewer if the recording is shorter, and the answer at its end."""

    recording: int
    begin_us: int
    n_events: int
    probabilities: tuple[float, ...]
    counts: NDArray[np.float32]
    measured: Window


def read_recordings(classifier: Classifier, sources: Sequence[Source], change: Change | None = None) -> Readings:
    """Run a model on every recording, as `predict` does.

    `change` is applied to the events of each recording, which is then in memory as a whole. Raises DataError, and
    ValueError for an image model.
    """
    if classifier.contract.kind != "events":
        raise ValueError(f"{classifier.name} takes images, not recordings of events")
    if not sources:
        raise MissingDataError("there are no recordings to evaluate on")
    answers, rows = list[Prediction](), list[_Window]()
    for number, source in enumerate(with_progress(sources, "evaluating", "recording")):
        sensor, packets = packets_of(source.item)
        if change is not None:
            packets = iter([change(number, joined([empty_events(), *packets]), sensor)])
        inputs = InputPipeline(replace(classifier.card, profile=None), sensor).recording(packets)
        answer, windows = _read(classifier, number, inputs)
        answers.append(answer)
        rows += windows
    least = max(1.0, SPARSE * float(np.median([row.n_events for row in rows])))
    kept = [row for row in rows if row.n_events >= least] or rows
    classes = tuple(sorted({source.label for source in sources}))
    recording, begin, _, probabilities, counts, measured = zip(*kept)
    other = classifier.card.profile and compare(classifier.card.profile, typical(list(measured)))
    return Readings(
        labels=classifier.labels,
        classes=classes,
        kind="events",
        truth=np.array([classes.index(source.label) for source in sources]),
        answers=tuple(answers),
        recording=np.array(recording),
        begin_us=np.array(begin),
        probabilities=np.array(probabilities),
        counts=np.stack(counts),
        quiet=len(rows) - len(kept),
        shared=_shared(classifier, [source.item.path for source in sources]),
        notes=(other,) if other else (),
        sources=tuple(sources),
    )


def _read(classifier: Classifier, number: int, inputs: Iterator[Input]) -> tuple[Prediction, list[_Window]]:
    """Run one recording; return its answer and its windows of T steps. A rest of half a window or more is one, too."""
    contract, rows, first = classifier.contract, list[_Window](), None
    stepper, verdict = Stepper(classifier), Verdict(classifier.labels, contract.steps)
    while part := list(islice(inputs, contract.steps)):
        first, answer = part[0].start_us if first is None else first, None
        for answer in stepper.steps(part):
            verdict.push(answer)
        assert answer is not None
        if rows and 2 * len(part) < contract.steps:
            break
        frames = np.zeros((contract.steps, *contract.shape), np.uint8)
        frames[: len(part)] = [given.whole(contract.shape) for given in part]
        events, measured = sum(given.n_events for given in part), measure(frames[: len(part)], contract.trained_us)
        row = number, part[0].start_us - first, events, answer.prediction.probabilities, log_counts(frames[None])[0]
        rows.append(_Window(*row, measured))
    return verdict.prediction, rows


def _shared(classifier: Classifier, files: Iterable[Path]) -> tuple[str, ...]:
    """Return the names of the files that the model was trained on or chosen by."""
    trained = set(classifier.card.training.get("recordings", ()))
    return tuple(Item(path, 0).name for path in files if trained and path.is_file() and digest(path) in trained)


def packets_of(item: Item) -> tuple[SensorSize, Iterator[Events]]:
    """Return a recording's sensor size and its events in packets, so that memory stays bounded. Raises DataError."""
    if item.read is not None:
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


def read_images(classifier: Classifier, classes: tuple[str, ...], frames: Frames) -> Readings:
    """Run a model on every image, T steps from zero state."""
    answers, seen = list[Prediction](), list[NDArray[np.float32]]()
    for start in with_progress(range(0, len(frames), AT_ONCE), "evaluating"):
        stored = torch.from_numpy(np.array(frames.frames[start : start + AT_ONCE]))
        seen.append(pixels(stored.numpy()))
        x_seq = evaluation_input(stored, classifier.contract).contiguous()
        done = classifier.run(x_seq, classifier.initial_state(x_seq.shape[1]))
        for n, x in enumerate(x_seq.unbind(1)):
            outcome = Outcome(done.logits[:, n].numpy(), [], 0, 0.0, rates=done.rates[:, n].numpy())
            inputs = [Input(one, t, t + 1, 0, False) for t, one in enumerate(x.numpy())]
            answers.append(classifier.track().read(inputs, outcome).prediction)
    rows = np.arange(len(frames))
    return Readings(
        labels=classifier.labels, classes=classes, kind="image", truth=frames.labels, answers=tuple(answers),
        recording=rows, begin_us=np.zeros_like(rows), probabilities=np.array([one.probabilities for one in answers]),
        counts=np.concatenate(seen), notes=(f"{len(frames)} images",),
    )  # fmt: skip
