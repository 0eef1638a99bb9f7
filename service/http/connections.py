"""The account of open connections: how many each address holds, and until when each must send or read.

uvicorn's protocols stay as they are: `Counted` only listens to what asyncio tells them. A connection is busy while the
application works on a request or stream of it; else it has a deadline. Silent connections, slow or endless heads, and
handshakes that uvicorn never answers all end this way. Answers that nobody reads end a connection here alone: asyncio
says when so many bytes wait that the application must pause, and from then on the client has `receive_s` to read on.
"""

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from starlette.types import Scope
from websockets.frames import Close, CloseCode, Frame, Opcode

from spikesight.service.http.errors import refusal_bytes
from spikesight.service.http.shares import Proxies, Quota, RateLimit, share
from spikesight.service.settings import Settings

MAX_HEAD = 16 * 1024  # bytes until a request's headers are complete
KEEP_ALIVE_S = 30.0  # seconds until the first byte of a connection's next request
SLICE = 4096  # bytes given to the parser at once: about 700 of the smallest WebSocket frames
PARSING = 0.5  # share of a core for parsing one address's bytes, in bursts of 0.1 s: honest streams need a tenth of it
PARSING_BURST_S = 0.1
TOO_MANY_FRAMES = Frame(Opcode.CLOSE, Close(CloseCode.POLICY_VIOLATION, "too many frames").serialize()).serialize(
    mask=False
)

Key = tuple[tuple[str, int], tuple[str, int]]
"""A connection's two ends: address and port of the client, and of the service."""


class Connection:
    """One open connection. `calls`: how often it has reached the application, which works on `busy` requests of it."""

    def __init__(self, transport: asyncio.Transport, key: Key, client: str, receive_s: float) -> None:
        self.transport, self.key, self.client, self._receive_s = transport, key, client, receive_s
        self.until, self.read_by = self.soon(), math.inf  # time.monotonic() by which to send, and to read on
        self.busy = self.calls = 0
        self.unseen = 0  # bytes since the application was last busy; below 0 while the rest of a refused body may come
        self.ending = self.websocket = False
        self.sending = True  # or is between two requests

    def soon(self) -> float:
        """Return the deadline of what the client has to do now."""
        return time.monotonic() + self._receive_s

    def begin(self) -> None:
        """Note the first bytes of a next request: all of its head must come soon."""
        if not self.sending:
            self.sending, self.until = True, self.soon()

    def end(self, last: bytes) -> None:
        """Send the last bytes and close; cut off whoever still does not read, or has left an earlier answer unread."""
        if self.ending or self.transport.is_closing() or self.transport.get_write_buffer_size():
            self.transport.abort()
            return
        self.ending, self.until = True, self.soon()
        self.transport.write(last)
        self.transport.close()

    def expect(self, status: int, calls: int) -> None:
        """Refuse, unless the application is at work on it or has been called since the count of calls was `calls`."""
        if self.calls == calls and not self.busy and not self.transport.is_closing():
            self.end(refusal_bytes(status))


class Elsewhere(asyncio.Transport):
    """Stands for the transport of a connection that another server holds, as Ray's proxy does."""

    def is_closing(self) -> bool:
        """Return False: nothing is known of it."""
        return False


class ConnectionLimiter:
    """All open connections of one server: `max_connections` in all, of one address a quarter."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.proxies = settings, Proxies(settings.trusted_proxies)
        self.places = Quota(settings.max_connections, share(settings.max_connections, 1 / 4))
        self.parsing = RateLimit(PARSING, PARSING_BURST_S)
        self.open: dict[Key, Connection] = {}

    def enter(self, transport: asyncio.Transport) -> Connection:
        """Count a new connection, or find the one that becomes a WebSocket; refuse it with 503 above a limit."""
        key = key_of(transport.get_extra_info("peername"), transport.get_extra_info("sockname"))
        if (known := self.open.get(key)) is not None and known.transport is transport:
            return known
        client = self.proxies.holder(key[0])
        made = Connection(transport, key, client, self.settings.receive_s)
        if self.places.acquire(client) is None:
            self.open[key] = made
        else:
            made.end(refusal_bytes(503))
        return made

    def leave(self, connection: Connection) -> None:
        """Give a connection's place back, if it has one."""
        if self.open.get(connection.key) is connection:
            del self.open[connection.key]
            self.places.release(connection.client)

    def sweep(self) -> None:
        """End the connections whose time is up; to be called several times a second."""
        for connection in list(self.open.values()):
            self.check(connection)

    def check(self, one: Connection) -> None:
        """End a connection whose time is up, or cut it off if it leaves too much unread."""
        now, frames = time.monotonic(), one.websocket
        late = now > one.until
        unread = one.busy and now > one.read_by
        if unread or (frames and (late or one.transport.get_write_buffer_size() > self.settings.max_unread)):
            one.transport.abort()
        elif late:
            one.end(refusal_bytes(408))

    @contextmanager
    def calling(self, scope: Scope) -> Iterator[Connection]:
        """Note that the application is called with this scope."""
        key = key_of(scope.get("client"), scope.get("server"))
        connection = self.open.get(key) or Connection(Elsewhere(), key, "", self.settings.receive_s)
        connection.calls, connection.unseen = connection.calls + 1, 0
        connection.websocket = scope["type"] == "websocket"
        if connection.websocket:  # it is busy from its first message on
            connection.until = connection.soon() + self.settings.hello_s
        else:
            connection.busy, connection.until = connection.busy + 1, math.inf
        try:
            yield connection
        finally:
            connection.busy = 0 if connection.websocket else connection.busy - 1
            if not connection.busy:
                connection.sending = False
                connection.until = connection.soon() + (0 if connection.websocket else KEEP_ALIVE_S)


def key_of(peer: Any, own: Any) -> Key:
    """Return a connection's key: of its ends as a socket names them, or an ASGI scope."""
    ends = [(str(end[0]), int(end[1] or 0)) if isinstance(end, tuple | list) else ("", 0) for end in (peer, own)]
    return ends[0], ends[1]


class Counted(asyncio.Protocol):
    """What asyncio tells a protocol of uvicorn, told to the connection limiter as well. To be mixed into uvicorn's classes."""

    limiter: ConnectionLimiter
    connection: Connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.connection = self.limiter.enter(cast(asyncio.Transport, transport))

    def connection_lost(self, exc: Exception | None) -> None:
        self.limiter.leave(self.connection)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        self.connection.read_by = self.connection.soon()
        super().pause_writing()

    def resume_writing(self) -> None:
        self.connection.read_by = math.inf
        super().resume_writing()


class CountedRequests(Counted):
    """For uvicorn's HTTP protocol: heads have a limit."""

    def data_received(self, data: bytes) -> None:
        mine, calls = self.connection, self.connection.calls
        if mine.ending:
            return
        if not mine.busy:
            mine.unseen += len(data)
            mine.begin()
        super().data_received(data)
        if mine.unseen > MAX_HEAD:
            asyncio.get_running_loop().call_soon(mine.expect, 431, calls)  # after the application has been called


class CountedFrames(Counted):
    """For uvicorn's WebSocket protocol: parsing has a budget, as fragments and pings cost as much as messages."""

    greeted = False

    def data_received(self, data: bytes) -> None:
        mine, calls = self.connection, self.connection.calls
        for at in range(0, len(data), SLICE):
            if mine.ending:
                return
            begun = time.thread_time()
            super().data_received(data[at : at + SLICE])
            if not self.limiter.parsing.allows(mine.client, time.thread_time() - begun):
                mine.end(TOO_MANY_FRAMES)
            self.limiter.check(mine)  # pongs that nobody reads
        if not self.greeted:  # the request of the handshake: uvicorn never answers one that it cannot parse
            self.greeted = True
            asyncio.get_running_loop().call_soon(mine.expect, 400, calls)  # after the application has been called
