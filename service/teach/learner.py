"""When a head is learnt anew, and which one is the newest."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from spikesight.models.contract import Card
from spikesight.models.networks.taught import TaughtNetwork
from spikesight.models.teach.few_shot import EmbeddedExample
from spikesight.service.http.errors import ServiceError
from spikesight.service.http.logs import log
from spikesight.service.http.turns import ThreadAccount
from spikesight.service.scheduler.registry import Model
from spikesight.service.teach.examples import Examples

FEW, SHARE = 3, 20  # a head is learnt anew after so many examples, or this part of all
NOT_READY = "the session has no model yet: show examples of at least two classes"


@dataclass(frozen=True)
class Head:
    """A network with a learnt head, its card, and how good it is: see `models.teach.advice.report`."""

    network: TaughtNetwork
    card: Card
    report: dict[str, Any]
    examples: list[EmbeddedExample]


class Learner:
    """Learns heads of `examples` in the teaching thread, one after another.

    `make` makes a head (None of fewer than two classes) and its model. `serve` is given each new model;
    `notify` is called when examples change and when a head is there.
    """

    def __init__(
        self,
        examples: Examples,
        make: Callable[[list[EmbeddedExample], list[str]], tuple[Head | None, Model]],
        turns: ThreadAccount,
        serve: Callable[[Model], None],
        notify: Callable[[], None],
    ) -> None:
        self._examples, self._make, self._turns, self._serve, self._notify = examples, make, turns, serve, notify
        self.version = 0
        self.head, self.model = make([], [])
        self._new = 0  # examples since the last head was begun
        self._due = self._closed = False
        self._task: asyncio.Task[None] | None = None

    @property
    def learning(self) -> bool:
        """Whether another head is on its way."""
        return self._task is not None

    def update(self, added: int | None = None) -> None:
        """Learn anew when enough examples were added; at once for None, where they changed otherwise."""
        self._new += added or 0
        self._due |= added is None or self._new >= max(FEW, len(self._examples.all()) // SHARE)
        if self._due and self._task is None and not self._closed:
            self._task = asyncio.create_task(self._learn())
        self._notify()

    async def settled(self) -> None:
        """Learn what is new, and wait until that is served."""
        if self._new:
            self.update()
        while self._task is not None:
            await asyncio.wait([self._task])

    async def _learn(self) -> None:
        try:
            while self._due and not self._closed:
                self._due, self._new = False, 0
                examples = self._examples.all()
                recordings = self._examples.recordings(examples)
                head, model = await self._turns.run(lambda given=(examples, recordings): self._make(*given))
                if not self._closed:
                    self.head, self.model, self.version = head, model, self.version + 1
                    self._serve(model)
        except Exception:
            log.exception("a head was not learnt")
        finally:
            self._task = None
            self._notify()

    def ready(self) -> Head:
        """The newest head. Raises ServiceError 409 before there is one."""
        if self.head is None:
            raise ServiceError(409, NOT_READY)
        return self.head

    def close(self) -> None:
        self._closed = True
