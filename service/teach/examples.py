"""The examples of a teaching session: admitted within limits, embedded in the teaching thread, taken back, renamed."""

import asyncio
from collections.abc import Callable, Iterable

from spikesight.models.steps import Input
from spikesight.models.teach.few_shot import EmbeddedExample, FewShotLearner
from spikesight.service.http.errors import Overloaded, ServiceError
from spikesight.service.http.turns import ThreadAccount
from spikesight.service.teach.windows import frames_of

MAX_CLASSES = 32
MAX_WAITING = 16  # examples and uploads whose features are not there yet
FULL = "the session is full: take examples back, or save the model and begin another session"


class Examples:
    """At most `most` examples of at most MAX_CLASSES classes.

    `changed` is called in the event loop with how many were added, or None where some were taken back or renamed.
    """

    def __init__(
        self, few_shot: FewShotLearner, turns: ThreadAccount, most: int, changed: Callable[[int | None], None]
    ) -> None:
        self.most = most
        self._few_shot, self._turns, self._changed = few_shot, turns, changed
        self._digests: dict[str, str] = {}  # of the recordings among the pieces
        self._pieces = self._waiting = 0
        self._tasks: set[asyncio.Task[list[int]]] = set()
        self._closed = False

    def all(self) -> list[EmbeddedExample]:
        """A copy, in the order they came."""
        return list(self._few_shot.shown)

    def numbers(self) -> dict[str, list[int]]:
        """The examples' numbers by class."""
        found: dict[str, list[int]] = {}
        for example in self._few_shot.shown:
            found.setdefault(example.label, []).append(example.number)
        return found

    def recordings(self, examples: list[EmbeddedExample]) -> list[str]:
        """The digests of the recordings that these examples are from, sorted."""
        return sorted({self._digests[one.piece] for one in examples if one.piece in self._digests})

    def piece(self, digest: str = "") -> str:
        """The name of a new piece, a take of one class; `digest` of the recording, where it is one."""
        self._pieces += 1
        if digest:
            self._digests[str(self._pieces)] = digest
        return str(self._pieces)

    def check_room(self, label: str) -> None:
        """Raise ServiceError where no example of this class can be taken, Overloaded where too many wait."""
        if self._waiting >= MAX_WAITING:
            raise Overloaded
        if len(self._few_shot.shown) + self._waiting >= self.most:
            raise ServiceError(409, FULL)
        if len({*self._few_shot.labels, label}) > MAX_CLASSES:
            raise ServiceError(409, f"a session has at most {MAX_CLASSES} classes")

    def offer(self, label: str, piece: str, window: list[Input]) -> None:
        """Take an example of a stream, unless it comes too fast. Raises ServiceError."""
        if self._waiting < MAX_WAITING:
            self.check_room(label)
            task = asyncio.create_task(self.take(label, piece, lambda: [window]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def take(self, label: str, piece: str, windows: Callable[[], Iterable[list[Input]]]) -> list[int]:
        """Take examples of STEPS inputs each, as many as there is room for; their numbers.

        `windows` runs in the teaching thread, which other sessions have between two examples.
        """
        self._waiting += 1
        added: list[EmbeddedExample] = []
        try:
            for x in await self._turns.run(lambda: [frames_of(window) for window in windows()]):
                if len(added) < self._room(label):
                    added.append(await self._turns.run(lambda x=x: self._few_shot.seen(label, piece, x)))
        finally:
            self._waiting -= 1
        added = added[: self._room(label)]  # others came meanwhile
        self._few_shot.shown.extend(added)
        if added:
            self._changed(len(added))
        return [one.number for one in added]

    def _room(self, label: str) -> int:
        """How many examples of this class can be taken now."""
        if self._closed or len({*self._few_shot.labels, label}) > MAX_CLASSES:
            return 0
        return max(0, self.most - len(self._few_shot.shown))

    def get(self, number: int) -> EmbeddedExample:
        """The example of this number. Raises ServiceError 404."""
        for example in self._few_shot.shown:
            if example.number == number:
                return example
        raise ServiceError(404, "the session has no example of that number")

    def drop(self, number: int) -> None:
        """Take one example back. Raises ServiceError 404."""
        self.get(number)
        self._few_shot.drop(number)
        self._changed(None)

    def forget(self, label: str) -> None:
        """Take a class back. Raises ServiceError 404."""
        self._check_class(label)
        self._few_shot.forget(label)
        self._changed(None)

    def rename(self, label: str, to: str) -> None:
        """Give a class another name. Raises ServiceError 404, and 409 where another class has it."""
        self._check_class(label)
        if to != label and to in self._few_shot.labels:
            raise ServiceError(409, "another class has that name: take it back first")
        self._few_shot.rename(label, to)
        self._changed(None)

    def _check_class(self, label: str) -> None:
        if label not in self._few_shot.labels:
            raise ServiceError(404, "the session has no class of that name")

    def close(self) -> None:
        self._closed = True
        self._few_shot.shown = []
        for task in list(self._tasks):
            task.cancel()
