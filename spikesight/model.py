"""A trained network as one object: files, arrays and live sources in, predictions out."""

from collections.abc import Callable, Generator, Iterable, Iterator
from numbers import Real
from pathlib import Path

import numpy as np
import torch

from spikesight.encoders.events import Events, EventsError, SensorSize, Size, as_events
from spikesight.encoders.recordings.files import RecordingReader
from spikesight.encoders.sample import SampleLike, is_image, read_sample, sample_of
from spikesight.encoders.sources.chunks import of_events, open_source
from spikesight.models.classifier import Classifier, InputPipeline, Stepper
from spikesight.models.classifier.session import Session, check_objects, inputs_of
from spikesight.models.classifier.verdict import Segment, Verdict
from spikesight.models.networks.trace import Trace, trace_layers
from spikesight.models.novelty.conformal import ERROR_RATE
from spikesight.models.shipped import DEFAULT_MODEL, find, shipped
from spikesight.models.shipped.hub import push
from spikesight.models.steps import Input, Prediction

Progress = Callable[[Iterable[Events]], Iterable[Events]]


def list_models() -> tuple[str, ...]:
    """Return the names of the shipped models, the default first."""
    return tuple(shipped())


def load(model: str | Path = DEFAULT_MODEL) -> "Model":
    """Load a shipped model by name, a folder that `train-dvs` or `spikesight convert` wrote, or
    hf://owner/name@revision. Raises CheckpointError.
    """
    return Model(Classifier.load(find(str(model))))


def push_to_hub(model: str | Path, repository: str, *, private: bool = False) -> str:
    """Upload a model to `owner/name` on the Hugging Face Hub; return the address of this revision for `load`.

    A card with what was measured goes with it. The Hub's client handles login. Raises CheckpointError.
    """
    return push(find(str(model)), repository, private=private)


class Model:
    """A network that predicts. It keeps no stream: every call starts from zero state.

    Several threads may use it at once.
    """

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.name, self.labels = classifier.name, classifier.labels
        self.bins_ms = tuple(us / 1000 for us in classifier.contract.bins_us)  # the shortest and the longest step

    def __repr__(self) -> str:
        return f"<spikesight.Model {self.name}: {', '.join(self.labels)}>"

    def predict(self, what: SampleLike, size: Size | None = None, *, objects: int = 0) -> Prediction:
        """Return the one answer to a recording or image (models/classifier/verdict.py has the rule).

        `what` is the path of a recording or an image; pixels [H, W], or [H, W, C] with 1, 3 (RGB) or 4 channels, uint8
        or real numbers from 0 to 1; a Pillow image, or a torch tensor [C, H, W]; or events from a sensor of `size`
        (width, height): a structured array with fields t (microseconds, sorted), x, y and p, in any order and of any
        numeric type. An empty array is one step without events. For a recording, `size` is only compared with the
        file's. `objects` (1 to 8): look for up to that many objects; the prediction's `objects` lists those that have
        a label, in reading order. Of an event camera that shows more than one object, `nmnist` always lists them.
        Raises ValueError if it cannot be read (RecordingError) or does not suit this model, and OSError.
        """
        return self._verdict(what, size, objects).prediction

    def steps(self, what: SampleLike, size: Size | None = None, *, objects: int = 0) -> list[Prediction]:
        """Return the answer after every step of what `predict` takes; the label is what `predict` would answer if the
        sample ended there.
        """
        stepper, given = self._opened(what, size, objects)
        verdict, found = Verdict(self.labels, self.classifier.contract.steps), list[Prediction]()
        for answer in stepper.steps(given):
            verdict.push(answer)
            found.append(verdict.last_step)
        return found

    def segments(self, what: SampleLike, size: Size | None = None) -> list[Segment]:
        """Return what was shown when in what `predict` takes; one of the last segments has the label of `predict`."""
        return self._verdict(what, size).segments

    def _verdict(self, what: SampleLike, size: Size | None, objects: int = 0) -> Verdict:
        stepper, given = self._opened(what, size, objects)
        return stepper.verdict(given)

    def _opened(self, what: SampleLike, size: Size | None, objects: int) -> tuple[Stepper, list[Input]]:
        sample, classifier = sample_of(what, size), self.classifier
        if objects:
            check_objects(classifier.card, objects)
        return Stepper(classifier, classifier.readout(objects)), classifier.inputs(sample)

    def follow(
        self, path: Path, verdict: Verdict, error_rate: float | None, progress: Progress, warn: Callable[[str], None]
    ) -> Iterator[Prediction]:
        """Yield the answer after each step of a file, of which the new `verdict` is told; it is read in packets, so
        that a long one fits in memory. With an `error_rate` the first commitment is the end.

        `progress` wraps the packets; `warn` is told at the end what is wrong with the file or its camera. Raises
        ValueError and OSError.
        """
        classifier, rate = self.classifier, ERROR_RATE if error_rate is None else error_rate
        stepper = Stepper(classifier, classifier.readout(error_rate=rate))
        reader = pipeline = None
        if is_image(path):
            inputs = classifier.inputs(read_sample(path))
        else:
            reader = RecordingReader(path)
            pipeline = InputPipeline(classifier.card, reader.size)
            inputs = pipeline.recording(progress(reader.packets()))
        for given in inputs:
            answer = stepper.step(given)
            verdict.push(answer)
            yield verdict.last_step
            commitment = None if error_rate is None else verdict.prediction.commitment
            if commitment is not None and commitment.label is not None:
                return
        if reader is not None and pipeline is not None:
            for warning in (*reader.warnings(), *filter(None, [pipeline.watch.says])):
                warn(warning)

    def trace(self, what: SampleLike, size: Size | None = None) -> Trace:
        """Record spikes and membranes of every neuron in each step of what `predict` takes."""
        given = self.classifier.inputs(sample_of(what, size))
        answers = self.classifier.predict(given)
        steps = [(torch.from_numpy(np.ascontiguousarray(one.x)), one.reset or n == 0) for n, one in enumerate(given)]
        spiking = self.classifier.origin != "ann"
        layers = trace_layers(self.classifier.runner(given[0].x.shape).network, steps) if spiking else {}
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
        """Yield the predictions of a continuing source, one a step, until it ends; membranes carry over between steps.

        `source` is what `spikesight webcam --source` takes: a video, a recording, a shipped sample (`digit-3`) or a
        live source (`0`, `prophesee`, `dv://host:port`, `udp://host:port?...`); or an array of events from a sensor of
        `size`, as in `predict`. The source is open when this returns. `bin_ms`: length of a step for models of events,
        from the shortest to the longest in `bins_ms`; None: as trained. `error_rate` in (0, 1): of all objects that
        come into view, in each class, at most so many are committed to wrongly (`commitment`), if they are like those
        of the calibration. `objects`: as in `predict`. Raises SourceError if the source cannot be opened; ValueError if
        the model takes images but events come, or does not run at `bin_ms`.
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
    """Yield None once the source is open, then its predictions; close the source at the end."""
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
        stepper = Stepper(classifier, session.readout)
        for chunk in opened.chunks:
            for given in inputs_of(session, chunk):
                yield stepper.step(given).prediction
    finally:
        opened.close()
