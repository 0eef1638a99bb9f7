"""Run a model on a set of recordings or images, and keep its answer to each."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from spikesight.encoders.events import Events, SensorSize, empty_events, joined
from spikesight.encoders.recordings.files import RecordingReader, digest
from spikesight.encoders.words import counted
from spikesight.models.classifier import Classifier, InputPipeline, Stepper
from spikesight.models.steps import Input, Outcome, Prediction
from spikesight.training.config import TrainConfig
from spikesight.training.data.folders import read_folder
from spikesight.training.data.images import PictureRows, holds_pictures
from spikesight.training.data.load import DATA_NAMES, is_recorded, list_data
from spikesight.training.data.own import usable
from spikesight.training.data.recordings import read_item
from spikesight.training.data.sets import Frames, ImageSet, Item, Listing, MissingDataError
from spikesight.training.data.windows import PACKET_US, naming
from spikesight.training.progress import with_progress
from spikesight.training.step.batches import evaluation_input

AT_ONCE = 32  # images of a batch
Change = Callable[[int, Events, SensorSize], Events]  # maps (number of a recording, events, sensor size) to new events


class LabelledItem(NamedTuple):
    """A recording to read, and its class."""

    item: Item  # its label is not used
    label: str


@dataclass(frozen=True, kw_only=True)
class Readings:
    """R recordings or images, numbered from 0 in the order of the set, with the model's answers."""

    labels: tuple[str, ...]  # of the model
    classes: tuple[str, ...]  # of the set
    truth: NDArray[np.int64]  # [R], index among the set's classes
    answers: tuple[Prediction, ...]  # R, each of a whole recording or image
    shared: tuple[str, ...] = ()  # recordings that the model was trained on
    notes: tuple[str, ...] = ()  # sentences on what was read
    sources: tuple[LabelledItem, ...] = ()  # the recordings by their numbers


def read_set(
    classifier: Classifier, data: str, root: str = "data", layout: str = "auto", *, skip_bad: bool = False
) -> Readings:
    """Run a model on the test split of a named set below `root`, or of a folder; on everything if there is none.
    `skip_bad`: go on without files that cannot be read.

    Raises DataError, and ValueError for images with an event model or events with an image model.
    """
    contract = classifier.contract
    named = TrainConfig(data=data, root=root)
    if contract.kind == "events" and is_recorded(data):
        listing = list_data(named)
        assert isinstance(listing, Listing)
        items = listing.test or listing.train
        return read_recordings(classifier, [LabelledItem(item, listing.labels[item.label]) for item in items])
    if contract.kind == "events" and (data in DATA_NAMES or holds_pictures(Path(data))):
        raise ValueError(f"{classifier.name} takes events, and {data} holds images: spikesight emulate makes events")
    if contract.kind == "image":
        if data not in DATA_NAMES and Path(data).is_dir() and not holds_pictures(Path(data)):
            raise ValueError(f"{classifier.name} takes images, and {data} holds none in <class>/<file>")
        images = list_data(named)
        assert isinstance(images, ImageSet)
        if images.fitted is not None:
            images = images.fitted(replace(named, height=contract.height, width=contract.width))
        chosen = images.test or images.train
        files = chosen.frames.paths if isinstance(chosen.frames, PictureRows) else ()
        if isinstance(chosen.frames, PictureRows):  # brought to the input's size as `predict` does
            chosen = replace(chosen, frames=replace(chosen.frames, still=contract.still, channels=contract.channels))
        found = read_images(classifier, images.labels, chosen)
        return replace(found, shared=_shared(classifier, files))
    folder = read_folder(data, layout, classifier.labels)
    recordings = [recording for recording in folder.recordings if recording.part == "test"] or list(folder.recordings)
    notes = [f"layout {folder.layout}: {counted(len(recordings), 'recording')}"]
    if len(recordings) < len(folder.recordings):
        notes[0] += f" of test/, {len(folder.recordings) - len(recordings)} others left alone"
    asked = replace(folder, recordings=tuple(replace(recording, part="train") for recording in recordings))
    read = usable(asked, skip_bad=skip_bad)
    found = read_recordings(
        classifier, [LabelledItem(Item(recording.path, 0), recording.label) for recording in read.folder.recordings]
    )
    return replace(found, notes=(*notes, *read.notes, *found.notes))


def read_recordings(classifier: Classifier, sources: Sequence[LabelledItem], change: Change | None = None) -> Readings:
    """Run a model on every recording, as `predict` does.

    `change` is applied to the events of each recording, which is then in memory as a whole. Raises DataError, and
    ValueError for an image model.
    """
    if classifier.contract.kind != "events":
        raise ValueError(f"{classifier.name} takes images, not recordings of events")
    if not sources:
        raise MissingDataError("there are no recordings to evaluate on")
    answers, others = list[Prediction](), list[str]()
    for number, source in enumerate(with_progress(sources, "evaluating", "recording")):
        sensor, packets = packets_of(source.item)
        if change is not None:
            packets = iter([change(number, joined([empty_events(), *packets]), sensor)])
        pipeline = InputPipeline(classifier.card, sensor)
        answers.append(Stepper(classifier).verdict(pipeline.recording(packets)).prediction)
        others += [pipeline.watch.says] if pipeline.watch.says else []
    classes = tuple(sorted({source.label for source in sources}))
    return Readings(
        labels=classifier.labels,
        classes=classes,
        truth=np.array([classes.index(source.label) for source in sources]),
        answers=tuple(answers),
        shared=_shared(classifier, [source.item.path for source in sources]),
        notes=tuple(others[:1] if 2 * len(others) > len(sources) else ()),
        sources=tuple(sources),
    )


def _shared(classifier: Classifier, files: Iterable[Path]) -> tuple[str, ...]:
    """Return the names of the files that the model was trained on or chosen by."""
    trained = set(classifier.card.training.get("recordings", ()))
    return tuple(Item(path, 0).name for path in files if trained and path.is_file() and digest(path) in trained)


def packets_of(item: Item) -> tuple[SensorSize, Iterator[Events]]:
    """Return a recording's sensor size and its events in packets, so that memory stays bounded. Raises DataError."""
    if item.read is not None:
        events, sensor = read_item(item)
        return sensor, iter([events])
    with naming(item.path):
        reader = RecordingReader(item.path)

    def packets() -> Iterator[Events]:
        with naming(item.path):
            yield from reader.packets(PACKET_US)

    return reader.size, packets()


def read_images(classifier: Classifier, classes: tuple[str, ...], frames: Frames) -> Readings:
    """Run a model on every image, T steps from zero state."""
    answers = list[Prediction]()
    for start in with_progress(range(0, len(frames), AT_ONCE), "evaluating"):
        stored = torch.from_numpy(np.array(frames.frames[start : start + AT_ONCE]))
        x_seq = evaluation_input(stored, classifier.contract).contiguous()
        done = classifier.run(x_seq, classifier.initial_state(x_seq.shape[1]))
        for n, x in enumerate(x_seq.unbind(1)):
            outcome = Outcome(done.logits[:, n].numpy(), [], 0, 0.0, rates=done.rates[:, n].numpy())
            inputs = [Input(one, t, t + 1, 0, False) for t, one in enumerate(x.numpy())]
            answer = classifier.stream_readout().read(inputs, outcome)
            answers.append(replace(answer.prediction, label=answer.step_label))  # all that there is was seen
    return Readings(
        labels=classifier.labels, classes=classes, truth=frames.labels, answers=tuple(answers),
        notes=(counted(len(frames), "image"),),
    )  # fmt: skip
