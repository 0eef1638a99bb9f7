"""Forward a live stream through the proxy to a replica; when the replica is lost, it is closed with code 1012."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.websockets import WebSocket, WebSocketDisconnect

from spikesight.service.cluster.replicas import Replica, Replicas
from spikesight.service.http.metrics import ProxyMetrics
from spikesight.service.http.shares import HelloQueue, Quota
from spikesight.service.settings import Settings
from spikesight.service.stream.endpoint import admitted, close
from spikesight.service.stream.messages import Ended, Hello
from spikesight.service.stream.outbox import end_all

if TYPE_CHECKING:
    import aiohttp

CLOSING_S = 5.0  # seconds for a closing replica to send its last answers
ELSEWHERE = (1006, 1012, None)  # close codes after which another replica is tried


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
    """One forwarded stream."""

    def __init__(self, socket: WebSocket, cluster: Cluster, hello: Hello) -> None:
        self.socket, self.cluster, self.hello = socket, cluster, hello
        self.greeted = False

    async def run(self) -> None:
        """Forward the stream to the first replica that greets it, until it ends. Raises Ended."""
        tried: set[Replica] = set()
        while not self.greeted:
            replica = self.cluster.replicas.choose(tried, lambda r: r.streams)
            if replica is None:
                raise Ended(1013)
            replica.streams += 1
            try:
                async with replica.call(None):
                    await self.run_on(replica)
            except (Lost, TimeoutError):
                self.cluster.replicas.lost(replica)
                tried.add(replica)
            finally:
                replica.streams -= 1
        raise Ended(1012)

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
        """Send the client's messages; return when the replica accepts no more."""
        while True:
            message = await self.socket.receive()
            if message["type"] != "websocket.receive":
                raise WebSocketDisconnect(message.get("code", 1006))
            data = message.get("bytes")
            if not await send(upstream, (message.get("text") or "") if data is None else data):
                return

    async def to_client(self, upstream: "aiohttp.ClientWebSocketResponse") -> None:
        """Send the replica's answers to the client until the replica closes. Raises Ended or Lost."""
        from aiohttp import WSMsgType

        while True:
            message = await upstream.receive()
            if message.type == WSMsgType.BINARY:
                await self.socket.send_bytes(message.data)
            elif message.type == WSMsgType.TEXT:
                self.greeted = True
                await self.socket.send_text(message.data)
            elif message.type == WSMsgType.CLOSE and message.data not in ELSEWHERE:
                raise Ended(message.data, message.extra or "")
            else:
                raise Lost


async def send(upstream: "aiohttp.ClientWebSocketResponse", data: str | bytes) -> bool:
    """Send a message to the replica; return False if the connection is closed."""
    import aiohttp

    try:
        await (upstream.send_str(data) if isinstance(data, str) else upstream.send_bytes(data))
    except (aiohttp.ClientError, OSError, RuntimeError):
        return False
    return True
