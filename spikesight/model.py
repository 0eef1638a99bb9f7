"""A trained network as one object: files, arrays and live sources in, predictions out."""

from collections.abc import Generator, Iterator
from numbers import Real
from pathlib import Path

import numpy as np
import torch

from spikesight.encoders.events import EventsError, SensorSize, Size, as_events
from spikesight.encoders.sample import EmbeddedExample, sample_of
from spikesight.encoders.sources.chunks import of_events, open_source
from spikesight.models.classifier import Classifier, Stepper
from spikesight.models.classifier.session import Session, inputs_of, inputs_of_several
from spikesight.models.classifier.timeline import Segment, Timeline
from spikesight.models.networks.trace import Trace, trace_layers
from spikesight.models.novelty.conformal import ERROR_RATE
from spikesight.models.shipped import DEFAULT_MODEL, find, shipped
from spikesight.models.shipped.hub import push
from spikesight.models.steps import Prediction


def list_models() -> tuple[str, ...]:
    """The names of the shipped models, the default one first."""
    return tuple(shipped())


def load(model: str | Path = DEFAULT_MODEL) -> "Model":
    """A shipped model by name, a folder that `train-dvs` or `spikesight convert` wrote, or hf://owner/name@revision.

    Raises CheckpointError.
    """
    return Model(Classifier.load(find(str(model))))


def push_to_hub(model: str | Path, repository: str, *, private: bool = False) -> str:
    """Put a model into `owner/name` on the Hugging Face Hub; the address of this revision, as `load` takes it.

    With it goes a card of what was measured. Who may is the Hub's client's matter. Raises CheckpointError.
    """
    return push(find(str(model)), repository, private=private)


class Model:
    """A network that predicts. It keeps no stream: every call starts with resting membranes.

    Several threads may use it at once. A copy is the model itself; one that was loaded by name or from a folder may be
    pickled, and is loaded from there again.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.name, self.labels = classifier.name, classifier.labels
        self.bins_ms = tuple(us / 1000 for us in classifier.contract.bins_us)  # the shortest and the longest step

    def __deepcopy__(self, _: object = None) -> "Model":
        return self

    __copy__ = __deepcopy__

    def __reduce__(self) -> tuple[object, ...]:
        return Model, (self.classifier,)

    def __repr__(self) -> str:
        return f"<spikesight.Model {self.name}: {', '.join(self.labels)}>"

    def predict(self, what: EmbeddedExample, size: Size | None = None, *, objects: int = 0) -> Prediction:
        """The answer after the last step.

        `what` is the path of a recording or an image; pixels [H, W], or [H, W, C] with 1, 3 (RGB) or 4 channels, uint8
        or real numbers from 0 to 1; a Pillow image, or a torch tensor [C, H, W]; or events from a sensor of `size`
        (width, height): a structured array with fields t (microseconds, sorted), x, y and p in any order and of any
        numbers, none of them being one step in which nothing is seen. A recording's `size` is only compared. With
        `objects` (1 to 8) so many things are looked for, each in a window of its own: the prediction's `objects` has
        those that are familiar and steady, as they are read. Raises ValueError for what cannot be read
        (RecordingError) or what this model does not take, and OSError.
        """
        if objects:
            return self.steps(what, size, objects=objects)[-1]
        return Stepper(self.classifier).last(self.classifier.inputs(sample_of(what, size))).prediction

    def steps(self, what: EmbeddedExample, size: Size | None = None, *, objects: int = 0) -> list[Prediction]:
        """The answer after every step of what `predict` takes."""
        sample, classifier = sample_of(what, size), self.classifier
        given = inputs_of_several(classifier, sample, objects) if objects else classifier.inputs(sample)
        stepper = Stepper(classifier, classifier.readout(objects))
        return [answer.prediction for answer in stepper.steps(given)]

    def segments(self, what: EmbeddedExample, size: Size | None = None) -> list[Segment]:
        """What happened when in what `predict` takes: steps in a row with the same label to show, as one."""
        stepper, timeline = Stepper(self.classifier), Timeline(self.labels)
        for answer in stepper.steps(self.classifier.inputs(sample_of(what, size))):
            timeline.push(answer)
        return timeline.segments

    def trace(self, what: EmbeddedExample, size: Size | None = None) -> Trace:
        """The spikes and membranes of every neuron in each step of what `predict` takes; `figure()` draws them."""
        given = self.classifier.inputs(sample_of(what, size))
        answers = self.classifier.predict(given)
        steps = [(torch.from_numpy(np.ascontiguousarray(one.x)), one.reset or n == 0) for n, one in enumerate(given)]
        layers = trace_layers(self.classifier.network, steps) if self.classifier.origin != "ann" else {}
        inputs = np.array([one.x for one in given], np.float32)
        probabilities = np.array([one.probabilities for one in answers], np.float32)
        return Trace(self.labels, self.classifier.contract.bin_us, inputs, layers, probabilities)

    def stream(
        self,
        source: str | Path | int | np.ndarray,
        *,
        size: Size | None = None,
        bin_ms: float | None = None,
        error_rate: float = ERROR_RATE,
        objects: int = 0,
    ) -> Iterator[Prediction]:
        """The predictions of something that goes on, one a step, until it ends; its membranes live as long.

        `source` is what `spikesight webcam --source` takes: a video, a recording, a shipped sample (`digit-3`), or a
        live source (`0`, `prophesee`, `dv://host:port`, `udp://host:port?...`), open once this returns; or events from
        a sensor of `size`, as `predict` takes them. `bin_ms` is a step's length, for models of events from the shortest
        to the longest in `bins_ms`; the trained one without. `error_rate` in (0, 1) is the share of all recordings, of
        each class, that may be `committed` to and wrong. `objects` is as `predict` takes it. Raises SourceError;
        ValueError where the model takes images
        and events come, or another bin.
        """
        if not isinstance(error_rate, Real) or not 0 < error_rate < 1:
            raise ValueError(f"error_rate must lie between 0 and 1, for example 0.05, not {error_rate!r}")
        classifier = self.classifier.at(bin_ms)
        answers = _answers(classifier, source, size, float(error_rate), objects)
        next(answers)  # it is open
        return answers  # pyright: ignore[reportReturnType]


def _answers(
    classifier: Classifier, source: str | Path | int | np.ndarray, size: Size | None, error_rate: float, objects: int
) -> Generator[Prediction | None]:
    """None once the source is open, and its predictions; it is closed when they are not wanted any more."""
    if isinstance(source, np.ndarray):
        if size is None:
            raise EventsError("events need the sensor's size: stream(events, size=(width, height))")
        sensor = SensorSize.of(size)
        opened = of_events(as_events(source, sensor), sensor)
    elif size is not None:
        raise EventsError("only events are given with a size: a source has its own")
    else:
        opened = open_source(str(source))
    try:
        session = Session(classifier, opened.sensor, error_rate=error_rate, objects=objects)
        if opened.sensor is not None and not session.takes_events:
            raise ValueError("this model takes images, not events")
        yield None
        stepper = Stepper(classifier, session.track)
        for chunk in opened.chunks:
            for given in inputs_of(session, chunk):
                yield stepper.step(given).prediction
    finally:
        opened.close()
