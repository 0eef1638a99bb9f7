"""Identity of clients, and fair limits for what they hold (connections, streams, decoders): in all and for each client.

streams = Quota(total=64, own=48)
if (refusal := streams.acquire(client)) is None: ...; streams.release(client)
"""

import asyncio
import ipaddress
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from contextlib import suppress
from typing import Literal, TypeVar

from starlette.requests import HTTPConnection

from spikesight.service.http.errors import Overloaded

T = TypeVar("T")

NETWORK_BITS = 64  # of an IPv6 address: a client usually owns all addresses with the same first 64 bits


def client_key(host: str) -> str:
    """Return the client that an address belongs to: the IPv4 address itself, or the IPv6 network of 64 bits.

    >>> [client_key(host) for host in ("192.0.2.7", "::ffff:192.0.2.7", "2001:db8:1:2:3:4:5:6", "testclient")]
    ['192.0.2.7', '192.0.2.7', '2001:db8:1:2::', 'testclient']
    """
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), NETWORK_BITS), strict=False).network_address)


def address_of(connection: HTTPConnection) -> str:
    """Return the client of a request or WebSocket; "" if unknown, so that all unknown clients share one limit."""
    return client_key(connection.client.host) if connection.client else ""


class Proxies:
    """Trusted proxies, whose X-Forwarded-For uvicorn believes: addresses or networks (`10.0.0.0/8`)."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(address, strict=False) for address in addresses]

    def holder(self, client: tuple[str, int]) -> str:
        """Return the key to count a connection by: its client, or for a trusted proxy the connection itself."""
        host, port = client
        with suppress(ValueError):
            if any(ipaddress.ip_address(host) in network for network in self._networks):
                return f"{host} {port}"
        return client_key(host)


def share(places: int, part: float) -> int:
    """Return how many of all places one address may hold: this part of them, rounded up."""
    return math.ceil(places * part)


class Quota:
    """`total` places, of which one client may hold `own`."""

    def __init__(self, total: int, own: int) -> None:
        self.total, self.own = total, own
        self._held: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """Number of places held by all clients."""
        return self._held.total()

    def acquire(self, client: str) -> Literal["total", "own"] | None:
        """Occupy a place and return None; or return which limit is reached."""
        reached = self.reached(client)
        if reached is None:
            self._held[client] += 1
        return reached

    def held(self, client: str) -> int:
        """Return the number of places that this client holds."""
        return self._held.get(client, 0)

    def reached(self, client: str) -> Literal["total", "own"] | None:
        """Return which limit refuses this client a place now; None if it may have one."""
        if self.taken >= self.total:
            return "total"
        return "own" if self.held(client) >= self.own else None

    def release(self, client: str) -> None:
        self._held[client] -= 1
        if not self._held[client]:
            del self._held[client]


MOST_WAITING = 8  # waiting calls of one client


class FairQueue:
    """A queue for `total` places, of which one client may hold `own`; the client that holds fewest goes first.

    To be used in one event loop.
    """

    def __init__(self, total: int, own: int) -> None:
        self._places = Quota(total, own)
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []  # in order of arrival

    async def acquire(self, client: str) -> None:
        """Wait for a place. Raises Overloaded if MOST_WAITING calls of this client wait already."""
        if sum(one == client for one, _ in self._waiting) >= MOST_WAITING:
            raise Overloaded
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((client, turn))
        self._next()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.release(client)
            raise
        finally:
            self._waiting = [one for one in self._waiting if one[1] is not turn]

    def release(self, client: str) -> None:
        """Free a place."""
        self._places.release(client)
        self._next()

    def _next(self) -> None:
        for client, turn in sorted(self._waiting, key=lambda one: self._places.held(one[0])):
            if not turn.done() and self._places.acquire(client) is None:
                turn.set_result(None)


class OneByOne:
    """One user's work in a thread that many share: one piece of it at a time is there, so that users take turns."""

    def __init__(self, thread: Executor) -> None:
        self._thread, self._lock = thread, asyncio.Lock()

    async def run(self, work: Callable[[], T]) -> T:
        """Run `work` in the thread after all earlier work of this user; return or raise what it does."""
        async with self._lock:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)


MAX_CLIENTS = 4096  # addresses whose rate is tracked


class TokenBucket:
    """A rate limit: `rate` events a second on average, with bursts of up to `burst`: a second's worth, at least 1."""

    def __init__(self, rate: float, now: float, burst: float | None = None) -> None:
        self.rate, self.burst, self.at = rate, max(1.0, rate) if burst is None else burst, now
        self.level = self.burst

    def take(self, now: float, n: float = 1) -> bool:
        """Consume n events if allowed at time `now` (seconds, any monotonic clock); return whether they were."""
        self.level, self.at = min(self.burst, self.level + (now - self.at) * self.rate), now
        allowed = self.level >= n
        self.level -= n if allowed else 0
        return allowed


class RateLimit:
    """A token bucket for each client, the least recently seen client is forgotten first; None: no limit."""

    def __init__(
        self, rate: float | None, burst: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rate, self.burst, self._clock = rate, burst, clock
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def allows(self, client: str, n: float = 1) -> bool:
        """Count n events of this client; return whether they are within the rate."""
        if self.rate is None:
            return True
        now = self._clock()
        bucket = self._buckets.pop(client, None) or TokenBucket(self.rate, now, self.burst)
        self._buckets[client] = bucket
        if len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return bucket.take(now, n)
