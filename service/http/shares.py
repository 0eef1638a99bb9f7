"""Who a client is; places that clients hold for a while (connections, streams): so many in all, and so many for one.

streams = Shares(total=64, own=48)
if (refusal := streams.take(client)) is None: ...; streams.give(client)
"""

import asyncio
import ipaddress
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Literal

from starlette.requests import HTTPConnection
from starlette.types import Scope

from spikesight.service.http.errors import Overloaded

NETWORK_BITS = 64  # of an IPv6 address: whoever is given one is given all addresses of its network


def client_key(host: str) -> str:
    """Who is behind an address: an IPv4 address is a client, and so is an IPv6 network of 64 bits.

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
    """Whose request or WebSocket it is; empty where the server does not know, and all of those share one place."""
    return client_key(connection.client.host) if connection.client else ""


class Proxies:
    """Proxies that are believed who their clients are: addresses, or networks as `10.0.0.0/8`. Raises ValueError."""

    def __init__(self, addresses: Iterable[str]) -> None:
        self._networks = [ipaddress.ip_network(address, strict=False) for address in addresses]

    def __contains__(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def holder(self, client: tuple[str, int] | None) -> str:
        """Whose connection it is: of one of these each is somebody else's."""
        if not client:
            return ""
        host, port = client
        return f"{host} {port}" if host in self else client_key(host)

    def client(self, host: str, forwarded: str) -> str:
        """Who asks: `host`; or, where that is one of these, the last of X-Forwarded-For that is none of them.

        What stands before that one is its own word, and is not believed.

        >>> Proxies(["10.0.0.0/8"]).client("10.0.0.1", "192.0.2.1, 192.0.2.7, 10.0.0.2")
        '192.0.2.7'
        """
        for address in reversed(forwarded.split(",")):
            if host not in self:
                break
            try:
                host = str(ipaddress.ip_address(address.strip()))
            except ValueError:
                break
        return host

    def tell(self, scope: Scope) -> None:
        """Put into a request's scope who asks."""
        if scope.get("client") and scope["client"][0] in self:
            values = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"]
            scope["client"] = self.client(scope["client"][0], ",".join(values)), scope["client"][1]


class Lobby:
    """Streams that have not sent their hello yet: they take no place of those that have.

    At most `places` wait. When one more comes, of the client with most of them the one that has waited longest goes.
    """

    def __init__(self, places: int) -> None:
        self.places = places
        self._waiting: dict[asyncio.Timeout, str] = {}

    @asynccontextmanager
    async def wait(self, client: str, seconds: float) -> AsyncIterator[None]:
        """While the client is waited for. Raises TimeoutError when it took too long, or had to go."""
        async with asyncio.timeout(seconds) as limit:
            self._waiting[limit] = client
            if len(self._waiting) > self.places:
                ((most, _),) = Counter(self._waiting.values()).most_common(1)
                longest = next(one for one, client in self._waiting.items() if client == most)
                del self._waiting[longest]
                longest.reschedule(asyncio.get_running_loop().time())
            try:
                yield
            finally:
                self._waiting.pop(limit, None)


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
        reached = self.reached(client)
        if reached is None:
            self._held[client] += 1
        return reached

    def held(self, client: str) -> int:
        """Places that this client holds."""
        return self._held.get(client, 0)

    def reached(self, client: str) -> Literal["total", "own"] | None:
        """Which limit keeps this client from a place now, if any."""
        if self.held(client) >= self.own:
            return "own"
        return "total" if self.taken >= self.total else None

    def give(self, client: str) -> None:
        self._held[client] -= 1
        if not self._held[client]:
            del self._held[client]


HALF_S = 10.0  # seconds after which what a client had counts half
MOST_WAITING = 8  # of one client


class Line:
    """Places that are waited for: `total`, of which one client holds `own`. Who had them least lately goes first.

    Of one event loop.
    """

    def __init__(self, total: int, own: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._places, self._clock = Shares(total, own), clock
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []  # in the order in which they came
        self._had: dict[str, tuple[float, float]] = {}  # seconds, as they counted at a time

    async def take(self, client: str) -> None:
        """Wait for a place. Raises Overloaded where MOST_WAITING of this client wait already."""
        if sum(one == client for one, _ in self._waiting) >= MOST_WAITING:
            raise Overloaded
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((client, turn))
        self._next()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(client, 0)
            raise
        finally:
            self._waiting = [one for one in self._waiting if one[1] is not turn]

    def give(self, client: str, seconds: float) -> None:
        """Give a place back that was held for so long."""
        self._places.give(client)
        self._had[client] = self.had(client) + seconds, self._clock()
        self._had = {one: kept for one, kept in self._had.items() if self.had(one) > 1e-3}
        self._next()

    def had(self, client: str) -> float:
        """Seconds for which a client held places lately."""
        seconds, then = self._had.get(client, (0.0, 0.0))
        return seconds * 0.5 ** ((self._clock() - then) / HALF_S)

    def _next(self) -> None:
        for client, turn in sorted(self._waiting, key=lambda one: self.had(one[0])):
            if not turn.done() and self._places.take(client) is None:
                turn.set_result(None)
