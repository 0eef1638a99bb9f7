"""The replicas behind the front: who is there, how much each has to do, and which one is next."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

SUSPECT_S = 1.0  # a replica that broke a connection is asked again only after this long, if there are others


@dataclass(eq=False)
class Replica:
    """One service behind the front."""

    identity: str
    url: str
    running: int = 0  # requests
    streams: int = 0
    suspect_until: float = 0.0  # time.monotonic()


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
        """Who is there now."""
        known = await self._known()
        self._there = {identity: self._there.get(identity) or Replica(identity, url) for identity, url in known.items()}

    def lost(self, replica: Replica) -> None:
        """A connection to it broke: others go first for a while."""
        replica.suspect_until = time.monotonic() + SUSPECT_S

    def choose(self, tried: set[Replica], work: Callable[[Replica], int]) -> Replica | None:
        """The one with the least work that was not tried; suspects last."""
        now = time.monotonic()
        left = [replica for replica in self._there.values() if replica not in tried]
        return min(left, key=lambda replica: (replica.suspect_until > now, work(replica)), default=None)
