"""Places that clients hold for a while (connections, streams, sequences): so many in all, and so many for one address.

streams = Shares(total=64, own=48)
if (refusal := streams.take(client)) is None: ...; streams.give(client)
"""

import ipaddress
from collections import Counter
from typing import Literal

from starlette.requests import HTTPConnection

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
            return "total"
        self._held[client] += 1
        return None

    def give(self, client: str) -> None:
        """Give a place back."""
        self._held[client] -= 1
        if not self._held[client]:
            del self._held[client]
