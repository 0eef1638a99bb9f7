"""One lesson: examples come in, a head is learnt beside the event loop whenever some have come, and served at once.

Everything here runs in the event loop but what is handed to the teaching thread: features of examples, heads, models.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import SensorSize
from spikesight.models.classifier import Classifier
from spikesight.models.contract import Card
from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.networks.taught import TaughtNetwork
from spikesight.models.steps import Input
from spikesight.models.teach.advice import report
from spikesight.models.teach.few_shot import EmbeddedExample, FewShotLearner
from spikesight.service.http.errors import Overloaded, ServiceError
from spikesight.service.http.logs import log
from spikesight.service.runtime import Runtime
from spikesight.service.scheduler.registry import Model
from spikesight.service.scheduler.threads import DecodeThread
from spikesight.service.teach.bodies import TaughtClass, TeachingBody
from spikesight.service.teach.turns import Turns

SENSOR = SensorSize(320, 240)
STEPS, BIN_US = 10, 31_000  # of an example
LEAST_ACTIVE = 60  # lit places in all steps of an example together
MAX_CLASSES = 32
MAX_WAITING = 16  # examples and uploads whose features are not there yet
FEW, SHARE = 3, 20  # a head is learnt anew after so many examples, or this part of all
GROUND, BRIGHTER, DARKER = np.array([[16, 20, 27], [94, 170, 255], [255, 158, 66]], np.float32)  # RGB


class TeachingError(ServiceError):
    """What a lesson cannot do as it stands."""


NOT_READY = TeachingError(409, "the lesson has no model yet: show examples of at least two classes")
FULL = "the lesson is full: take examples back, or save the model and begin another lesson"


@dataclass(frozen=True)
class Head:
    """What was learnt, and what is said of it."""

    network: TaughtNetwork
    card: Card
    told: dict[str, Any]


class TeachingSession:
    """A client's lesson. `thread` does the work; who follows it is told of every change.

    `used`: when it last was, on time.monotonic(): taught, asked for, or its network stepped for whoever it was.
    """

    def __init__(self, identity: str, features: Model, runtime: Runtime, thread: DecodeThread) -> None:
        network = features.classifier.network
        assert isinstance(network, SpikingResNet)
        self.id, self.features, self.used = identity, features.name, time.monotonic()
        self.lesson = FewShotLearner(network, SENSOR, STEPS, BIN_US)
        self.followers: set[Callable[[TeachingBody | None], None]] = set()  # None: it is over
        self.head: Head | None = None
        self.saved: str | None = None
        self.version = 0
        self._runtime, self.turns = runtime, Turns(thread)
        self._frozen_macs = 0  # multiply-adds a step of all but the head: counted once
        self.model = self._model(*self.lesson.untaught())
        self._digests: dict[str, str] = {}  # of the recordings among the pieces
        self._pieces = self._waiting = self._news = 0
        self._tasks: set[asyncio.Task[object]] = set()
        self._learning: asyncio.Task[object] | None = None
        self._due = self._closed = False

    # What is shown.

    def piece(self, digest: str = "") -> str:
        """The name of a new piece: what is shown in one go; `digest` of the recording, where it is one."""
        self._pieces += 1
        if digest:
            self._digests[str(self._pieces)] = digest
        return str(self._pieces)

    def check_room(self, label: str) -> None:
        """Raise TeachingError where no example of this class can be taken, Overloaded where too many wait."""
        if self._waiting >= MAX_WAITING:
            raise Overloaded
        if len(self.lesson.shown) + self._waiting >= self._runtime.settings.max_examples:
            raise TeachingError(409, FULL)
        if label not in self.lesson.labels and len(self.lesson.labels) >= MAX_CLASSES:
            raise TeachingError(409, f"a lesson has at most {MAX_CLASSES} classes")

    def offer(self, label: str, piece: str, window: list[Input]) -> None:
        """Take an example of a stream, unless it comes too fast. Raises TeachingError."""
        if self._waiting < MAX_WAITING:
            self.check_room(label)
            task = asyncio.create_task(self.take(label, piece, lambda: [window]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def take(self, label: str, piece: str, windows: Callable[[], Iterable[list[Input]]]) -> list[int]:
        """Examples of STEPS inputs each, as many as there is room for; their numbers. `windows` runs in the thread.

        Other lessons have the thread between two examples.
        """
        self._waiting += 1
        shown: list[EmbeddedExample] = []
        try:
            for x in await self.turns.run(lambda: [frames_of(window) for window in windows()]):
                if len(shown) < self._room(label):
                    shown.append(await self.turns.run(lambda x=x: self.lesson.seen(label, piece, x)))
        finally:
            self._waiting -= 1
        shown = shown[: self._room(label)]  # others came meanwhile
        self.lesson.shown.extend(shown)
        self._news += len(shown)
        if shown:
            self.changed(due=self._news >= max(FEW, len(self.lesson.shown) // SHARE))
        return [one.number for one in shown]

    def _room(self, label: str) -> int:
        """How many examples of this class can be taken now."""
        labels = {*self.lesson.labels, label}
        if self._closed or len(labels) > MAX_CLASSES:
            return 0
        return max(0, self._runtime.settings.max_examples - len(self.lesson.shown))

    def example(self, number: int) -> EmbeddedExample:
        """Raises TeachingError 404."""
        for shown in self.lesson.shown:
            if shown.number == number:
                return shown
        raise TeachingError(404, "the lesson has no example of that number")

    def drop(self, number: int) -> None:
        """Take one example back. Raises TeachingError 404."""
        self.example(number)
        self.lesson.drop(number)
        self.changed(due=True)

    def check_class(self, label: str) -> None:
        """Raise TeachingError 404 for a class without examples."""
        if label not in self.lesson.labels:
            raise TeachingError(404, "the lesson has no class of that name")

    def forget(self, label: str) -> None:
        """Take a class back. Raises TeachingError 404."""
        self.check_class(label)
        self.lesson.forget(label)
        self.changed(due=True)

    def rename(self, label: str, to: str) -> None:
        """Give a class another name. Raises TeachingError 404, and 409 where another class has it."""
        self.check_class(label)
        if to != label and to in self.lesson.labels:
            raise TeachingError(409, "another class has that name: take it back first")
        self.lesson.rename(label, to)
        self.changed(due=True)

    # What is learnt.

    def changed(self, *, due: bool = False) -> None:
        """Learn anew if it is time, and tell who follows."""
        self.touch()
        self._due |= due
        if self._due and self._learning is None and not self._closed:
            self._learning = asyncio.create_task(self._learn())
        self.tell()

    def touch(self) -> None:
        """Somebody uses it. From any thread."""
        self.used = time.monotonic()

    async def settled(self) -> None:
        """Learn what is new, and wait until that is served."""
        if self._news:
            self.changed(due=True)
        while (learning := self._learning) is not None:
            await asyncio.wait([learning])

    async def _learn(self) -> None:
        try:
            while self._due and not self._closed:
                self._due, self._news = False, 0
                shown = list(self.lesson.shown)
                head, model = await self.turns.run(lambda shown=shown: self._made(shown))
                if not self._closed:
                    self.head, self.version = head, self.version + 1
                    self._runtime.registry.hold(model)
                    self.model = model
        except Exception:
            log.exception("a lesson was not learnt")
        finally:
            self._learning = None
            self.tell()

    def _made(self, shown: list[EmbeddedExample]) -> tuple[Head | None, Model]:
        """In the thread: the head of all that was shown, and its model; an untaught one for fewer than two classes."""
        if len({one.label for one in shown}) < 2:
            return None, self._model(*self.lesson.untaught())
        taught = self.lesson.learn(shown=shown)
        told = report(taught)
        network, card = taught.checkpoint(
            {
                "data": "taught live",
                "features": self.features,
                "examples": len(shown),
                "recordings": sorted({self._digests[one.piece] for one in shown if one.piece in self._digests}),
            },
            {key: told[key] for key in ("accuracy", "correct", "count", "interval")},
        )
        return Head(network, card, told), self._model(network, card)

    def _model(self, network: TaughtNetwork, card: Card) -> Model:
        runtime = self._runtime
        own = network.head.weight.numel()
        classifier = Classifier(network, card, self.id, ann_macs=self._frozen_macs and self._frozen_macs + own)
        self._frozen_macs = classifier.ann_macs - own
        return Model(classifier, runtime.settings, runtime.metrics, runtime.mailbox, "lesson", self.touch)

    def ready(self) -> Head:
        """The head. Raises TeachingError 409 before there is one."""
        if self.head is None:
            raise NOT_READY
        return self.head

    # Who follows.

    def tell(self) -> None:
        """The state to everybody who follows."""
        if self.followers:
            body = self.body()
            for follower in list(self.followers):
                follower(body)

    def body(self) -> TeachingBody:
        """The state."""
        numbers: dict[str, list[int]] = {}
        for shown in self.lesson.shown:
            numbers.setdefault(shown.label, []).append(shown.number)
        told = {} if self.head is None else self.head.told
        return TeachingBody(
            id=self.id,
            features=self.features,
            window_ms=STEPS * BIN_US / 1000,
            classes=[TaughtClass(label=label, examples=examples) for label, examples in numbers.items()],
            ready=self.head is not None,
            learning=self._learning is not None,
            version=self.version,
            accuracy=told.get("accuracy"),
            correct=told.get("correct", 0),
            count=told.get("count", 0),
            interval=told.get("interval"),
            confused=told.get("confused", []),
            advice=told.get("advice", ["show examples of at least two classes"]),
            max_examples=self._runtime.settings.max_examples,
            can_save=self._runtime.settings.save_to is not None,
            saved=self.saved,
        )

    def close(self) -> None:
        """The lesson is over: nothing of it is kept."""
        self._closed = True
        self.lesson.shown = []
        for follower in list(self.followers):
            follower(None)
        for task in list(self._tasks):
            task.cancel()


def moves(window: list[Input]) -> bool:
    """Whether enough happens in an example to learn from it."""
    return sum(int(np.count_nonzero(given.x)) for given in window) >= LEAST_ACTIVE


def frames_of(window: list[Input]) -> NDArray[np.uint8]:
    """uint8 [T, 1, 2, H, W]."""
    return np.stack([given.x for given in window])[:, None]


class WindowCutter:
    """Inputs that follow each other, cut into examples; what is left over at a reset or at the end is lost.

    Each input shows what came in the last `shown` bins, so every so many-th is taken.
    """

    def __init__(self, shown: int = 1) -> None:
        self._shown, self._bins = shown, 0
        self._open: list[Input] = []

    def push(self, given: Input) -> list[Input] | None:
        """The example that this input completes, or None."""
        if given.reset:
            self._open, self._bins = [], 0
        self._bins += 1
        if self._bins % self._shown == 0:
            self._open.append(given)
        if len(self._open) < STEPS:
            return None
        whole, self._open = self._open, []
        return whole


def windows_of(inputs: list[Input]) -> list[list[Input]]:
    """The examples of a whole recording."""
    cutter = WindowCutter()
    return [window for given in inputs if (window := cutter.push(given)) is not None]


def picture_of(shown: EmbeddedExample) -> bytes:
    """An example's events as a PNG: blue where it became brighter, orange where darker."""
    off, on = shown.picture.astype(np.float32)
    level = np.minimum(1, (on + off) / max(1.0, float(np.quantile(on + off, 0.98))))[..., None] ** 0.6
    share = (on / np.maximum(1, on + off))[..., None]
    rgb = GROUND + level * (DARKER + share * (BRIGHTER - DARKER) - GROUND)
    return cv2.imencode(".png", rgb[..., ::-1].astype(np.uint8))[1].tobytes()
