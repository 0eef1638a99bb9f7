"""Places that clients hold for a while (connections, streams, sequences): so many in all, and so many for one address.

streams = Shares(total=64, own=48)
if (refusal := streams.take(address)) is None: ...; streams.give(address)
"""

from collections import Counter
from typing import Literal

from starlette.requests import HTTPConnection


def address_of(connection: HTTPConnection) -> str:
    """Whose request or WebSocket it is; empty where the server does not know, and all of those share one place."""
    return connection.client.host if connection.client else ""


class Shares:
    """`total` places, of which one address may hold `own`."""

    def __init__(self, total: int, own: int) -> None:
        self.total, self.own = total, own
        self._held: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """Places held, by all addresses."""
        return self._held.total()

    def take(self, client: str) -> Literal["total", "own"] | None:
        """Take a place; or which of the two limits is reached, and nothing is taken."""
        if self._held[client] >= self.own:
            return "own"
        if self.taken >= self.total:
            self._forget(client)
            return "total"
        self._held[client] += 1
        return None

    def give(self, client: str) -> None:
        """Give a place back."""
        self._held[client] -= 1
        self._forget(client)

    def _forget(self, client: str) -> None:
        if not self._held[client]:
            del self._held[client]
