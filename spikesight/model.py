"""A trained network as one object: files, arrays and live sources in, predictions out."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from encoders.events import SensorSize
from encoders.sample import Sample, read_sample
from models.classifier import Classifier, Stepper
from models.known.conformal import ERROR_RATE
from models.shipped import DEFAULT_MODEL, find, shipped
from models.steps import Prediction

Size = SensorSize | tuple[int, int]
"""Width and height of a sensor."""


def models() -> tuple[str, ...]:
    """The names of the shipped models, the default one first."""
    return tuple(shipped())


def load(model: str | Path = DEFAULT_MODEL) -> "Model":
    """A shipped model by name, or a folder that `train-dvs` or `spikesight convert` wrote. Raises CheckpointError."""
    return Model(Classifier.load(find(str(model))))


class Model:
    """A network that predicts. It keeps no stream: every call starts with resting membranes."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.name, self.labels = classifier.name, classifier.labels
        self.bins_ms = tuple(us / 1000 for us in classifier.contract.bins_us)  # the shortest and the longest step

    def __repr__(self) -> str:
        return f"<spikesight.Model {self.name}: {', '.join(self.labels)}>"

    def predict(self, what: Path | str | np.ndarray, size: Size | None = None) -> Prediction:
        """The answer after the last step.

        `what` is the path of a recording or an image; pixels, uint8 [H, W] or [H, W, 3] (RGB); or events (a structured
        array t, x, y, p; microseconds, sorted) from a sensor of `size` (width, height). Raises ValueError for what
        cannot be read (RecordingError) or what this model does not take, and OSError.
        """
        return self.steps(what, size)[-1]

    def steps(self, what: Path | str | np.ndarray, size: Size | None = None) -> list[Prediction]:
        """The answer after every step of what `predict` takes."""
        return self.classifier.predict(self.classifier.inputs(_sample(what, size)))

    def stream(
        self, source: str, *, bin_ms: float | None = None, error_rate: float = ERROR_RATE
    ) -> Iterator[Prediction]:
        """The predictions of something that goes on, one a step, until it ends; its membranes live as long.

        `source` is what `spikesight webcam --source` takes: a video, a recording, a shipped sample (`digit-3`), or a
        live source (`0`, `prophesee`, `dv://host:port`, `udp://host:port?...`). `bin_ms` is a step's length, for models
        of events from the shortest to the longest in `bins_ms`; the trained one without. `error_rate` in (0, 1) is how
        often what a prediction is `committed` to may be wrong. Raises SourceError; ValueError where the model takes
        images and events come, or another bin.
        """
        from app.webcam.sources import inputs_of, open_source
        from service.stream.session import Session

        classifier = self.classifier if bin_ms is None else self.classifier.at(bin_ms)
        opened = open_source(source)
        session = Session(classifier, opened.sensor, error_rate=error_rate)
        stepper = Stepper(classifier, session.track)
        for glimpse in opened.glimpses:
            for given in inputs_of(session, glimpse):
                yield stepper.step(given).prediction


def _sample(what: Path | str | np.ndarray, size: Size | None) -> Sample:
    if not isinstance(what, np.ndarray):
        return read_sample(what)
    if what.dtype.names is None:
        return Sample(pixels=what)
    if size is None:
        raise ValueError("events need the sensor's size: predict(events, size=(width, height))")
    return Sample(events=what, size=size if isinstance(size, SensorSize) else SensorSize(*size))
