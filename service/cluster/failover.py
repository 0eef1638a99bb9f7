"""Forward a live stream through the proxy to a replica, and move it with its state when the replica is lost.

The proxy asks for a snapshot of the session now and then, and keeps the messages sent since. When the replica is lost,
another one restores the snapshot and gets these messages again; answers that the client already has are dropped. The
steps are the same, bit for bit, so that the client notices nothing. A stream that cannot be repeated is closed with
code 1012: if too many messages came since the snapshot, or if no other replica accepts it.
"""

import asyncio
import json
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from spikesight.service.cluster.replicas import Replica, Replicas
from spikesight.service.http.logs import event
from spikesight.service.http.metrics import ProxyMetrics
from spikesight.service.http.shares import HelloQueue, Quota
from spikesight.service.settings import Settings
from spikesight.service.stream.endpoint import admitted, close
from spikesight.service.stream.messages import (
    CONTROL,
    SNAPSHOT_BEGIN,
    ControlMessage,
    Ended,
    Hello,
    ProbeMessage,
    SnapshotMessage,
    identity,
)
from spikesight.service.stream.outbox import end_all

if TYPE_CHECKING:
    import aiohttp

EVERY = 32  # messages between snapshots
KEPT_MESSAGES = 1024
KEPT_BYTES = 8 * 2**20
CLOSING_S = 5.0  # seconds for a closing replica to send its last answers
MOVES = 3  # most moves without a snapshot in between: messages that crash a replica must not crash them all
ELSEWHERE = (1006, 1012, None)  # close codes after which another replica is tried
SNAPSHOT = '{"type": "snapshot"}'


class Lost(Exception):
    """The connection to the replica was lost."""


@dataclass(frozen=True)
class Cluster:
    """What every forwarded stream needs: settings, HTTP client, replicas, metrics, and `draining` (shutting down?)."""

    settings: Settings
    client: "aiohttp.ClientSession"
    replicas: Replicas
    metrics: ProxyMetrics
    draining: Callable[[], bool]


async def relay(socket: WebSocket, cluster: Cluster, queue: HelloQueue, streams: Quota) -> None:
    """Serve one WebSocket at the proxy from accepting to closing it."""
    await socket.accept()
    try:
        async with admitted(socket, cluster.settings, queue, streams) as hello:
            await RelayedStream(socket, cluster, hello).run()
    except Ended as end:
        await close(socket, end)
    except (WebSocketDisconnect, RuntimeError):
        return


class RelayedStream:
    """One forwarded stream, with what is needed to move it to another replica."""

    def __init__(self, socket: WebSocket, cluster: Cluster, hello: Hello) -> None:
        self.socket, self.cluster, self.hello = socket, cluster, hello
        self.greeted = False
        self.n = 0  # number of messages from the client so far
        self.kept: deque[tuple[int, str | bytes]] = deque()  # numbered messages since the last snapshot
        self.kept_bytes = 0
        self.start = 0  # number of the first message after the last snapshot
        self.heard = Counter[str | bytes]()  # answers sent to the client since the last snapshot
        self.given = Counter[str | bytes]()  # answers of the present replica since the last snapshot
        self.owners: deque[int | None] = deque()  # pending snapshots: a message number (the proxy's), None (client's)
        self.asked = 0
        self.moves = 0

    async def run(self) -> None:
        """Forward the stream until it ends, moving it when a replica is lost. Raises Ended."""
        tried: set[Replica] = set()
        while True:
            replica = self.cluster.replicas.choose(tried, lambda r: r.streams)
            if replica is None:
                raise Ended(1012 if self.greeted else 1013)
            replica.streams += 1
            try:
                async with replica.call(None):
                    await self.run_on(replica)
            except (Lost, TimeoutError):
                self.cluster.replicas.lost(replica)
                tried = {replica} if self.greeted else tried | {replica}
                if self.greeted:
                    self.prepare_move()
            finally:
                replica.streams -= 1

    def prepare_move(self) -> None:
        """Prepare to move to another replica. Raises Ended if the stream cannot be moved."""
        self.moves += 1
        whole = not self.kept or self.kept[0][0] == self.start
        whole = whole and (self.kept[-1][0] + 1 if self.kept else self.start) == self.n
        if not whole or self.moves > MOVES or self.cluster.draining():
            raise Ended(1012)
        self.cluster.metrics.moved.inc()
        event("stream moved", repeated=len(self.kept))

    async def run_on(self, replica: Replica) -> None:
        """Forward the stream to one replica. Raises Lost, Ended, or WebSocketDisconnect when the client leaves."""
        import aiohttp

        try:
            async with asyncio.timeout(self.cluster.settings.deadline_s):
                upstream = await self.cluster.client.ws_connect(
                    replica.url + "/v1/stream", compress=0, max_msg_size=64 * 2**20, autoclose=False
                )
        except (aiohttp.ClientError, OSError, TimeoutError):
            raise Lost from None
        self.owners.clear()
        self.asked = self.n
        try:
            await send(upstream, self.hello.model_dump_json(exclude={"token"}, exclude_none=True))
            down = asyncio.create_task(self.to_client(upstream))
            up = asyncio.create_task(self.to_replica(upstream))
            try:
                await asyncio.wait([down, up], return_when=asyncio.FIRST_COMPLETED)
                if up.done():
                    up.result()  # raises if the client has left or broken a rule
                await asyncio.wait_for(down, CLOSING_S)  # it ends when everything received has been forwarded
            except TimeoutError:
                raise Lost from None
            finally:
                await end_all([down, up])
        finally:
            with suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with asyncio.timeout(0 if replica.hung else CLOSING_S):  # do not wait for a hung replica
                    await upstream.close()

    async def to_replica(self, upstream: "aiohttp.ClientWebSocketResponse") -> None:
        """Send the kept messages, then the client's new ones; return when the replica accepts no more."""
        for _, data in list(self.kept):
            if not await self.forward(upstream, data):
                return
        while True:
            message = await self.socket.receive()
            if message["type"] != "websocket.receive":
                raise WebSocketDisconnect(message.get("code", 1006))
            data = message.get("bytes")
            if data is None:
                data = message.get("text") or ""
            self.keep(data)
            if not await self.forward(upstream, data):
                return
            if self.n - self.asked >= EVERY and not any(o is not None for o in self.owners):
                self.asked = self.n
                self.owners.append(self.n)
                if not await send(upstream, SNAPSHOT):
                    return

    def keep(self, data: str | bytes) -> None:
        """Keep a message until a snapshot includes it; the oldest are dropped at the limits."""
        self.kept.append((self.n, data))
        self.kept_bytes += len(data)
        self.n += 1
        while len(self.kept) > KEPT_MESSAGES or self.kept_bytes > KEPT_BYTES:
            self.kept_bytes -= len(self.kept.popleft()[1])

    async def forward(self, upstream: "aiohttp.ClientWebSocketResponse", data: str | bytes) -> bool:
        """Send a message of the client to the replica; return False if the connection is closed."""
        said = control_of(data) if isinstance(data, str) else None
        if isinstance(said, SnapshotMessage):
            self.owners.append(None)
        elif isinstance(said, ProbeMessage):
            self.hello = self.hello.model_copy(update={"probe": said.probe})
        return await send(upstream, data)

    async def to_client(self, upstream: "aiohttp.ClientWebSocketResponse") -> None:
        """Send the replica's answers to the client until the replica closes. Raises Ended or Lost."""
        from aiohttp import WSMsgType

        ready = False
        self.given.clear()
        while True:
            message = await upstream.receive()
            if message.type == WSMsgType.BINARY:
                if self.is_new(message.data[:8]):
                    await self.socket.send_bytes(message.data)
            elif message.type == WSMsgType.TEXT:
                if not ready:
                    ready = True
                    if self.greeted:
                        continue
                    self.greeted = True
                    await self.socket.send_text(message.data)
                elif not (message.data.startswith(SNAPSHOT_BEGIN) and self.own_snapshot(message.data)) and self.is_new(
                    identity(message.data)
                ):
                    await self.socket.send_text(message.data)
            elif message.type == WSMsgType.CLOSE and message.data not in ELSEWHERE:
                if self.moves and not ready:  # the replica has other weights, or refuses the message's size
                    raise Ended(1012)
                raise Ended(message.data, message.extra or "")
            else:
                raise Lost

    def is_new(self, answer: str | bytes) -> bool:
        """Return whether the client has not had this answer: a prediction's identity or a picture's header.

        A replica may give equal answers, as to two snapshots; one that repeats messages gives them again as often.
        """
        self.given[answer] += 1
        if self.given[answer] <= self.heard[answer]:
            return False
        self.heard[answer] += 1
        return True

    def own_snapshot(self, text: str) -> bool:
        """Return whether a snapshot was the proxy's own; if so, keep it as the point to restore from."""
        owner = self.owners.popleft() if self.owners else None
        if owner is None:
            return False
        self.hello = self.hello.model_copy(update={"restore": json.loads(text)["state"]})
        self.start = owner
        while self.kept and self.kept[0][0] < owner:
            self.kept_bytes -= len(self.kept.popleft()[1])
        self.heard.clear()
        self.given.clear()
        self.moves = 0
        return True


def control_of(text: str) -> ControlMessage | None:
    """Parse a text message as the replica will; None if it is not a control message."""
    try:
        return CONTROL.validate_json(text)
    except ValidationError:
        return None


async def send(upstream: "aiohttp.ClientWebSocketResponse", data: str | bytes) -> bool:
    """Send a message to the replica; return False if the connection is closed."""
    import aiohttp

    try:
        await (upstream.send_str(data) if isinstance(data, str) else upstream.send_bytes(data))
    except (aiohttp.ClientError, OSError, RuntimeError):
        return False
    return True
