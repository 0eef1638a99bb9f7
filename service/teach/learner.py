"""Learner of a teaching session's head: when to learn again, and which head is the newest."""

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

FEW, SHARE = 3, 20  # a new head is learnt after FEW new examples, or 1 / SHARE of all if that is more
NOT_READY = "the session has no model yet: show examples of at least two classes"


@dataclass(frozen=True)
class Head:
    """A network with a learnt head, its card, and its quality (see `models.teach.advice.report`)."""

    network: TaughtNetwork
    card: Card
    report: dict[str, Any]
    examples: list[EmbeddedExample]


class Learner:
    """Learns heads from `examples` in the teaching thread, one after another.

    `make` returns a head (None for fewer than two classes) and its model. `serve` is called with each new model,
    `notify` when examples change and when a head is ready.
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
        self._new = 0  # examples added since the last head was begun
        self._due = self._closed = False
        self._task: asyncio.Task[None] | None = None

    @property
    def learning(self) -> bool:
        """Whether a new head is being learnt."""
        return self._task is not None

    def update(self, added: int | None = None) -> None:
        """Learn a new head if enough examples were added, or at once if they changed otherwise (`added` is None)."""
        self._new += added or 0
        self._due |= added is None or self._new >= max(FEW, len(self._examples.all()) // SHARE)
        if self._due and self._task is None and not self._closed:
            self._task = asyncio.create_task(self._learn())
        self._notify()

    async def settled(self) -> None:
        """Learn from all new examples, those on their way too, and wait until the head is served."""
        await self._examples.arrived()
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
        """Return the newest head. Raises ServiceError 409 before there is one."""
        if self.head is None:
            raise ServiceError(409, NOT_READY)
        return self.head

    def close(self) -> None:
        self._closed = True
