"""The replicas behind the proxy: who is there, which one is next, and the sums of what they say about themselves."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

ALIVE_S = 3.0  # what a replica gets to say that it lives: a busy machine is no reason to leave it
SUSPECT_S = 1.0  # a replica that broke a connection is asked again only after this long, if there are others


@dataclass(eq=False)
class Replica:
    """One service behind the proxy."""

    identity: str
    url: str
    running: int = 0  # requests
    streams: int = 0
    suspect_until: float = 0.0  # time.monotonic()
    hung: bool = False  # it takes connections, and does not answer
    _calls: set[asyncio.Timeout] = field(default_factory=set)

    @asynccontextmanager
    async def call(self, seconds: float | None) -> AsyncIterator[None]:
        """Around whatever waits for it. Raises TimeoutError after so long, or at once when it is found to hang."""
        async with asyncio.timeout(seconds) as limit:
            self._calls.add(limit)
            try:
                yield
            finally:
                self._calls.discard(limit)

    def hangs(self) -> None:
        """It did not say in time that it lives: nothing new goes there, and what waits for it waits no more."""
        self.hung = True
        now = asyncio.get_running_loop().time()
        for limit in self._calls:
            if not limit.expired():
                limit.reschedule(now)


class Replicas:
    """Those that are there. `known` gives their addresses by identity."""

    def __init__(self, known: Callable[[], Awaitable[dict[str, str]]]) -> None:
        self._known = known
        self._there: dict[str, Replica] = {}

    def __len__(self) -> int:
        return len(self._there)

    def all(self) -> list[Replica]:
        """Every one."""
        return list(self._there.values())

    def get(self, identity: str) -> Replica | None:
        """By identity; None when it is gone."""
        return self._there.get(identity)

    async def refresh(self) -> None:
        """Who is there now. Raises TimeoutError when nobody says so."""
        async with asyncio.timeout(ALIVE_S):
            known = await self._known()
        self._there = {identity: self._there.get(identity) or Replica(identity, url) for identity, url in known.items()}

    def lost(self, replica: Replica) -> None:
        """A connection to it broke: others go first for a while."""
        replica.suspect_until = time.monotonic() + SUSPECT_S

    def answering(self) -> list[Replica]:
        """Those that do not hang."""
        return [replica for replica in self._there.values() if not replica.hung]

    def choose(self, tried: set[Replica], work: Callable[[Replica], int]) -> Replica | None:
        """The one with the least work that answers and was not tried; suspects last."""
        now = time.monotonic()
        left = [replica for replica in self.answering() if replica not in tried]
        return min(left, key=lambda replica: (replica.suspect_until > now, work(replica)), default=None)


def summed(bodies: list[Any]) -> Any:
    """JSON of one shape from several replicas: numbers are added, times since 1970 (`last_*`) take the latest.

    >>> summed([{"a": [1], "last_ms": 5, "b": "x"}, {"a": [2], "last_ms": 3, "b": "x"}])
    {'a': [3], 'last_ms': 5, 'b': 'x'}
    """
    first = bodies[0]
    if isinstance(first, dict):
        return {
            key: (max if key.startswith("last_") else summed)([body[key] for body in bodies if key in body])
            for key in first
        }
    if isinstance(first, list):
        return [summed(list(items)) for items in zip(*bodies)]
    return sum(bodies) if type(first) is int else first


def summed_metrics(texts: list[bytes]) -> bytes:
    """Prometheus expositions of the same service, added up sample by sample."""
    families: dict[str, Metric] = {}
    sums: dict[tuple[str, str, tuple[tuple[str, str], ...]], float] = defaultdict(float)
    for text in texts:
        for family in text_string_to_metric_families(text.decode()):
            for sample in family.samples:
                if not sample.name.endswith("_created"):
                    families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                    sums[family.name, sample.name, tuple(sample.labels.items())] += sample.value
    for (family_name, name, labels), value in sums.items():
        families[family_name].add_sample(name, dict(labels), value)
    return generate_latest(cast(CollectorRegistry, SimpleNamespace(collect=families.values)))
