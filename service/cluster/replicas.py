"""The replicas behind the proxy: which are known, which one is next, and sums of their metrics."""

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

ALIVE_S = 3.0  # seconds for a health check's answer: long enough for a busy machine
SUSPECT_S = 1.0  # seconds for which a replica that broke a connection is chosen last


@dataclass(eq=False)
class Replica:
    """One replica as the proxy sees it."""

    identity: str
    url: str
    running: int = 0  # requests being forwarded
    streams: int = 0
    suspect_until: float = 0.0  # time.monotonic()
    hung: bool = False  # whether it accepts connections but does not answer
    _calls: set[asyncio.Timeout] = field(default_factory=set)

    @asynccontextmanager
    async def call(self, seconds: float | None) -> AsyncIterator[None]:
        """Limit how long the block waits for the replica. Raises TimeoutError after `seconds`, or once it hangs."""
        async with asyncio.timeout(seconds) as limit:
            self._calls.add(limit)
            try:
                yield
            finally:
                self._calls.discard(limit)

    def hangs(self) -> None:
        """Mark the replica as hung, and end all waiting for it."""
        self.hung = True
        now = asyncio.get_running_loop().time()
        for limit in self._calls:
            if not limit.expired():
                limit.reschedule(now)


class Replicas:
    """The known replicas. `known` returns their addresses by identity."""

    def __init__(self, known: Callable[[], Awaitable[dict[str, str]]]) -> None:
        self._known = known
        self._there: dict[str, Replica] = {}

    def __len__(self) -> int:
        return len(self._there)

    def all(self) -> list[Replica]:
        return list(self._there.values())

    def get(self, identity: str) -> Replica | None:
        """Return a replica by identity; None if it is gone."""
        return self._there.get(identity)

    async def refresh(self) -> None:
        """Update the list of replicas. Raises TimeoutError if the directory does not answer."""
        async with asyncio.timeout(ALIVE_S):
            known = await self._known()
        self._there = {identity: self._there.get(identity) or Replica(identity, url) for identity, url in known.items()}

    def lost(self, replica: Replica) -> None:
        """Mark a replica as suspect after a broken connection: others are preferred for a while."""
        replica.suspect_until = time.monotonic() + SUSPECT_S

    def answering(self) -> list[Replica]:
        """Return the replicas that do not hang."""
        return [replica for replica in self._there.values() if not replica.hung]

    def choose(self, tried: set[Replica], work: Callable[[Replica], int]) -> Replica | None:
        """Return the replica with least `work` that is not hung or in `tried`, suspects last; None if there is none."""
        now = time.monotonic()
        left = [replica for replica in self.answering() if replica not in tried]
        return min(left, key=lambda replica: (replica.suspect_until > now, work(replica)), default=None)


def summed(bodies: list[Any]) -> Any:
    """Merge JSON of one shape from several replicas: add numbers, take the latest of times (`last_*`).

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
    """Add up the Prometheus texts of several replicas, sample by sample."""
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
