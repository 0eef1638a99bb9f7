"""Models of a service: found on disk, loaded, warmed up, looked up by name, and replaced while running."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from spikesight.encoders.emulator.pixels import Emulator
from spikesight.encoders.events import SensorSize, joined, make_events
from spikesight.models.classifier import Classifier, sensor_of
from spikesight.models.classifier.session import Session
from spikesight.models.contract import CheckpointError
from spikesight.models.shipped import find, names, shipped
from spikesight.service.http.errors import ServiceError, Stopped
from spikesight.service.http.logs import event
from spikesight.service.http.metrics import Metrics, Tick
from spikesight.service.scheduler.mailbox import Mailbox
from spikesight.service.scheduler.scheduler import Scheduler
from spikesight.service.served.saved import leave_out, servable
from spikesight.service.settings import Settings


def warm_up(classifier: Classifier) -> None:
    """Classify one input of every kind the model accepts, so that compiled loops are loaded before the first client."""
    picture = np.full((240, 320), 220, np.uint8)  # dark strokes on paper, so that the drawing search runs too
    picture[60:180, 120:132] = picture[168:180, 120:200] = 30
    if classifier.contract.kind == "events":
        own, camera = sensor_of(classifier.contract), SensorSize(320, 240)
        t = np.arange(0, 4 * classifier.contract.bin_us, 1000)
        classifier.event_inputs(make_events(t, t % own.width, t % own.height, t % 2), own)
        film = [(np.roll(picture, 2 * n, 1), n * 33_000) for n in range(8)]
        pixels, filmed = Emulator(camera), Session(classifier)
        classifier.event_inputs(joined([pixels.push(*frame) for frame in film]), camera)
        classifier.predict([given for frame in film for given in filmed.frame(*frame)])
    if "image" in classifier.kinds:
        classifier.predict(classifier.image_inputs(picture)[:1])


class UnknownModel(ServiceError):
    """No model of the requested name is served."""

    def __init__(self) -> None:
        super().__init__(404, "no model of that name: GET /v1/models lists them")


class WrongBin(ServiceError):
    """The model cannot run with bins of the requested length."""


class ServedModel:
    """A served model: a classifier and the thread that steps it. Each further bin length has a thread of its own."""

    def __init__(
        self,
        classifier: Classifier,
        settings: Settings,
        metrics: Metrics,
        mailbox: Mailbox,
        counted_as: str = "",
        on_step: Callable[[], None] = lambda: None,
    ) -> None:
        """Create the model. `counted_as`: a teaching session's name in metrics and logs, as its real name is a secret.

        `on_step` is called after every step of a batch, at any bin length, by the thread that made the step.
        """
        self.classifier, self.name = classifier, classifier.name
        self.counted_as = counted_as or self.name
        self._made_from = settings, metrics, mailbox, counted_as, on_step
        self._at: dict[int, ServedModel] = {}  # by bin length, us: whole milliseconds in the contract's range, so few
        self._ended, self._changing = False, threading.Lock()
        counted = metrics.ticker(self.counted_as)

        def count(tick: Tick) -> None:
            on_step()
            counted(tick)

        self.scheduler = Scheduler(
            classifier,
            max_batch=settings.max_batch,
            max_queue=settings.max_queue,
            on_tick=count,
            after_tick=mailbox.flush,
            call_soon=mailbox.call_soon,
        )
        if not counted_as and not classifier.contract.input_us:
            metrics.depth.labels(self.name).set_function(self.depth)

    def depth(self) -> int:
        """Return the number of requests admitted and not yet answered, at all bin lengths."""
        return self.scheduler.depth + sum(model.scheduler.depth for model in list(self._at.values()))

    def at(self, bin_ms: float | None) -> "ServedModel":
        """Return this model with bins of `bin_ms`, starting it if needed; None: itself. Raises WrongBin, Stopped."""
        if bin_ms is None:
            return self
        own = self.classifier.contract
        try:
            bin_us = own.at(bin_ms).bin_us
        except ValueError as error:
            raise WrongBin(400, str(error)) from None
        if bin_us == own.bin_us:
            return self
        if self.counted_as != self.name:
            raise WrongBin(400, "a teaching session runs at its own bin: save the model for others")
        with self._changing:
            if self._ended:
                raise Stopped
            if bin_us not in self._at:
                self._at[bin_us] = ServedModel(self.classifier.at(bin_ms), *self._made_from)
                self._at[bin_us].scheduler.start()
            return self._at[bin_us]

    def _all_bins(self) -> list["ServedModel"]:
        """Return this model and those at other bin lengths; from now on no further bin length starts."""
        with self._changing:
            self._ended = True
            return [self, *self._at.values()]

    def stop(self) -> None:
        """Stop every thread; waiting jobs fail."""
        for model in self._all_bins():
            model.scheduler.stop()

    def retire(self) -> None:
        """Stop every thread once its last stream and request has ended."""
        for model in self._all_bins():
            model.scheduler.retire()

    def warm_up(self) -> None:
        """Run every kind of work once, so that the first client does not wait for lazy initialisation."""
        self.scheduler.warm_up()
        warm_up(self.classifier)


SLOW = "this model runs slowly: PyTorch takes 17 times as long as the engine for a step of the digit model"


class Registry:
    """Served models by name; the first is the default."""

    def __init__(self, settings: Settings, metrics: Metrics, mailbox: Mailbox) -> None:
        self._settings, self._metrics, self._mailbox = settings, metrics, mailbox
        self._models: dict[str, ServedModel] = {}
        self._unlisted: dict[str, ServedModel] = {}  # models of teaching sessions: found by name, but not listed
        self._folders: dict[str, Path] = {}  # by name, of the models loaded from disk
        self._named: frozenset[str] = frozenset()  # models named in the settings

    def load(self) -> None:
        """Load all models of the settings from disk, warm them up and start them. Slow. Raises CheckpointError."""
        wanted = self._settings.models or tuple(shipped())
        if not wanted:
            raise CheckpointError("no model to serve: name a folder with --model FOLDER (train one with train-dvs)")
        folders = [find(name) for name in wanted]
        named = dict(zip(names(folders), folders))
        self._named = frozenset(named)
        every = named | {folder.name: folder for folder in servable(self._settings.save_to, named)}
        for n, (name, folder) in enumerate(every.items(), 1):
            try:
                self._models[name] = self._from_disk(folder, name, f"{n}/{len(every)}")
            except Exception as error:
                if name in named:
                    raise
                leave_out(name, error)
        for model in self._models.values():
            model.scheduler.start()
        event("models loaded", models=",".join(self._models))

    def _from_disk(self, folder: Path, name: str, of: str) -> ServedModel:
        """Load a model and warm it up; `of` is its number in the log. Raises CheckpointError."""
        begin = time.monotonic()
        classifier = Classifier.load(folder)
        classifier.name = name
        model = ServedModel(classifier, self._settings, self._metrics, self._mailbox)
        model.warm_up()
        self._folders[name] = folder
        took = round(time.monotonic() - begin, 1)
        event("model ready", model=name, of=of, seconds=took, runs_on=classifier.runs_on)
        if classifier.slow:
            event(SLOW, logging.WARNING, model=name, mend="spikesight doctor")
        return model

    def add(self, classifier: Classifier, folder: Path | None = None) -> ServedModel:
        """Add a classifier from memory, replacing any model of the same name. `folder`: where it is saved, if it is."""
        model = ServedModel(classifier, self._settings, self._metrics, self._mailbox)
        model.warm_up()
        if folder is not None:
            self._folders[model.name] = folder
        self._replace(self._models, model)
        return model

    def add_unlisted(self, model: ServedModel) -> None:
        """Serve a teaching session's model without listing it, replacing any of the same name."""
        self._replace(self._unlisted, model)

    def _replace(self, models: dict[str, ServedModel], model: ServedModel) -> None:
        """Start a model and put it in place of the old one, which ends after its open streams and requests."""
        model.scheduler.start()
        old, models[model.name] = models.get(model.name), model
        if old is not None:
            old.retire()

    def remove(self, name: str) -> None:
        """Stop serving a listed model, and forget its queue; open streams and requests finish on it."""
        self._folders.pop(name, None)
        if (model := self._models.pop(name, None)) is not None:
            model.retire()
            self._metrics.depth.remove(name)

    def saved_at(self, name: str) -> Path | None:
        """Return a model's folder in the folder of saved models; None for others, or if the settings name the model."""
        folder = None if name in self._named or name not in self._models else self._folders.get(name)
        return folder if folder is not None and folder.parent == self._settings.save_to else None

    def remove_unlisted(self, name: str) -> None:
        """Stop serving a teaching session's model; open streams finish on it."""
        self._unlisted.pop(name).retire()

    def get(self, name: str | None, bin_ms: float | None = None) -> ServedModel:
        """Return the model of this name (None: default), with bins of `bin_ms`. Raises UnknownModel, WrongBin."""
        if name is None:
            model = next(iter(self._models.values()))
        else:
            model = self._models.get(name) or self._unlisted.get(name)
        if model is None:
            raise UnknownModel
        return model.at(bin_ms)

    def all(self) -> list[ServedModel]:
        """Return all listed models, the default first."""
        return list(self._models.values())

    def stop(self) -> None:
        for model in [*self.all(), *self._unlisted.values()]:
            model.stop()
