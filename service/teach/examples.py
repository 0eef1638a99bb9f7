"""Examples of a teaching session: windows of STEPS inputs, cut from a recording or a stream; admitted within limits,
embedded in the teaching thread, removed, renamed.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import SensorSize
from spikesight.models.steps import Input
from spikesight.models.teach.few_shot import EmbeddedExample, FewShotLearner
from spikesight.service.http.errors import Overloaded, ServiceError
from spikesight.service.http.shares import OneByOne
from spikesight.service.page.colours import COLOURS

SENSOR = SensorSize(320, 240)
STEPS, BIN_US = 10, 31_000  # steps of an example, and their length
LEAST_ACTIVE = 60  # least active cells of an example, over all steps
GROUND, BRIGHTER, DARKER = np.array([COLOURS[f"event-{name}"] for name in ("ground", "on", "off")], np.float32)  # RGB
MAX_CLASSES = 32
MAX_WAITING = 16  # examples and uploads whose features are not computed yet
FULL = "the session is full: take examples back, or save the model and begin another session"


@dataclass(eq=False)
class Waiting:
    """Examples of a class that are read or whose features are being computed; None: the class was removed meanwhile."""

    label: str | None


class Examples:
    """At most `most` examples of at most MAX_CLASSES classes.

    `changed` is called in the event loop with the number of examples added, or None after a removal or renaming.
    """

    def __init__(
        self, few_shot: FewShotLearner, turns: OneByOne, most: int, changed: Callable[[int | None], None]
    ) -> None:
        self.most = most
        self._few_shot, self._turns, self._changed = few_shot, turns, changed
        self._digests: dict[str, str] = {}  # hashes of uploaded recordings, by the id of their take
        self._pieces = 0
        self._waiting: list[Waiting] = []
        self.showing: dict[object, str] = {}  # by stream: the class whose examples it gives now
        self._tasks: set[asyncio.Task[list[int]]] = set()
        self._closed = False

    def all(self) -> list[EmbeddedExample]:
        """Return a copy of the list of examples, oldest first."""
        return list(self._few_shot.shown)

    def numbers(self) -> dict[str, list[int]]:
        """Return the examples' numbers by class."""
        found: dict[str, list[int]] = {}
        for example in self._few_shot.shown:
            found.setdefault(example.label, []).append(example.number)
        return found

    def recordings(self, examples: list[EmbeddedExample]) -> list[str]:
        """Return the sorted hashes of the uploaded recordings that these examples come from."""
        return sorted({self._digests[one.piece] for one in examples if one.piece in self._digests})

    def new_take(self, digest: str = "") -> str:
        """Return the id of a new take (a continuous recording of one class). `digest`: an uploaded recording's hash."""
        self._pieces += 1
        if digest:
            self._digests[str(self._pieces)] = digest
        return str(self._pieces)

    def check_room(self, label: str) -> None:
        """Raise ServiceError if no more examples of this class can be added, Overloaded if too many wait."""
        if len(self._waiting) >= MAX_WAITING:
            raise Overloaded
        if len(self._few_shot.shown) + len(self._waiting) >= self.most:
            raise ServiceError(409, FULL)
        if len({*self._few_shot.labels, label}) > MAX_CLASSES:
            raise ServiceError(409, f"a session has at most {MAX_CLASSES} classes")

    def offer(self, label: str, take: str, window: list[Input]) -> None:
        """Add a window of a stream as an example, unless too many wait already. Raises ServiceError."""
        if len(self._waiting) < MAX_WAITING:
            self.check_room(label)
            waiting = Waiting(label)
            self._waiting.append(waiting)
            task = asyncio.create_task(self.add(waiting, take, lambda: [window]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: self._waiting.remove(waiting))

    async def arrived(self) -> None:
        """Wait until all windows of streams that were offered so far are examples."""
        if self._tasks:
            await asyncio.wait({*self._tasks})

    @contextmanager
    def expecting(self, label: str) -> Iterator[Waiting]:
        """Expect examples of a class in the `with` block, for `add`: they are renamed and removed with it."""
        waiting = Waiting(label)
        self._waiting.append(waiting)
        try:
            yield waiting
        finally:
            self._waiting.remove(waiting)

    async def add(self, waiting: Waiting, take: str, windows: Callable[[], Iterable[list[Input]]]) -> list[int]:
        """Add windows of STEPS inputs each as examples, as many as there is room for; return their numbers.

        `windows` is called in the teaching thread; between two examples other sessions may use that thread.
        """
        embedded = list[EmbeddedExample]()
        for x in await self._turns.run(lambda: [frames_of(window) for window in windows()]):
            if len(embedded) < self._room(waiting.label):
                embedded.append(await self._turns.run(lambda x=x: self._few_shot.embed(str(waiting.label), take, x)))
        if (now := waiting.label) is None:
            return []
        added = [replace(one, label=now) for one in embedded[: self._room(now)]]  # others may have been added meanwhile
        self._few_shot.shown.extend(added)
        if added:
            self._changed(len(added))
        return [one.number for one in added]

    def _room(self, label: str | None) -> int:
        """Return how many examples of this class can be added now."""
        if label is None or self._closed or len({*self._few_shot.labels, label}) > MAX_CLASSES:
            return 0
        return max(0, self.most - len(self._few_shot.shown))

    def get(self, number: int) -> EmbeddedExample:
        """Return the example of this number. Raises ServiceError 404."""
        for example in self._few_shot.shown:
            if example.number == number:
                return example
        raise ServiceError(404, "the session has no example of that number")

    def drop(self, number: int) -> None:
        """Remove one example. Raises ServiceError 404."""
        self.get(number)
        self._few_shot.drop(number)
        self._changed(None)

    def forget(self, label: str) -> None:
        """Remove a class with its examples; streams that show it stop. Raises ServiceError 404."""
        self._check_class(label)
        self._few_shot.forget(label)
        self.showing = {one: shown for one, shown in self.showing.items() if shown != label}
        self._rename_waiting(label, None)
        self._changed(None)

    def rename(self, label: str, to: str) -> None:
        """Rename a class. Raises ServiceError 404, and 409 if another class has that name."""
        self._check_class(label)
        coming = (waiting.label for waiting in self._waiting)
        if to != label and to in {*self._few_shot.labels, *coming, *self.showing.values()}:
            raise ServiceError(409, "another class has that name: take it back first")
        self._few_shot.rename(label, to)
        self._rename_waiting(label, to)
        self.showing = {one: to if shown == label else shown for one, shown in self.showing.items()}
        self._changed(None)

    def _rename_waiting(self, label: str, to: str | None) -> None:
        for waiting in self._waiting:
            if waiting.label == label:
                waiting.label = to

    def _check_class(self, label: str) -> None:
        if label not in self._few_shot.labels:
            raise ServiceError(404, "the session has no class of that name")

    def close(self) -> None:
        self._closed = True
        self._few_shot.shown = []
        for task in list(self._tasks):
            task.cancel()


def moves(window: list[Input]) -> bool:
    """Return whether enough moves in a window to learn from it."""
    return sum(int(np.count_nonzero(given.x)) for given in window) >= LEAST_ACTIVE


def frames_of(window: list[Input]) -> NDArray[np.uint8]:
    """Return the inputs of a window as one array, uint8 [T, 1, 2, H, W]."""
    return np.stack([given.x for given in window])[:, None]


class WindowCutter:
    """Cuts consecutive inputs into windows of STEPS; an unfinished window is dropped at a reset and at the end."""

    def __init__(self) -> None:
        self._open: list[Input] = []

    def push(self, given: Input) -> list[Input] | None:
        """Add an input; return the window that it completes, or None."""
        if given.reset:
            self._open = []
        self._open.append(given)
        if len(self._open) < STEPS:
            return None
        window, self._open = self._open, []
        return window


def windows_of(inputs: list[Input]) -> list[list[Input]]:
    """Return the windows of a recording."""
    cutter = WindowCutter()
    return [window for given in inputs if (window := cutter.push(given)) is not None]


def picture_of(steps: NDArray[np.uint8]) -> bytes:
    """Draw the sum of steps, OFF and ON [2, H, W], as a PNG: blue where it became brighter, orange where darker."""
    off, on = steps.astype(np.float32)
    level = np.minimum(1, (on + off) / max(1.0, float(np.quantile(on + off, 0.98))))[..., None] ** 0.6
    share = (on / np.maximum(1, on + off))[..., None]
    rgb = GROUND + level * (DARKER + share * (BRIGHTER - DARKER) - GROUND)
    return cv2.imencode(".png", rgb[..., ::-1].astype(np.uint8))[1].tobytes()
