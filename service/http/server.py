"""The HTTP server: uvicorn with the service's own connection classes and a graceful shutdown."""

import asyncio
import signal
import socket
import time
from contextlib import suppress
from typing import Any

import uvicorn
from starlette.applications import Starlette

from spikesight.models.native.memory import keep_libraries
from spikesight.service.http.connection import FRAMES_A_MESSAGE, MIN_FRAMES_PER_S, DeadlineProtocol, StreamProtocol
from spikesight.service.http.logs import event
from spikesight.service.http.shares import Proxies, Quota
from spikesight.service.http.turns import Turns
from spikesight.service.settings import Settings

UNREAD_BYTES = 128 * 1024  # send buffer of a connection in the kernel: unread bytes beyond it are noticed
LAST_REQUESTS_S = 0.5  # seconds for open connections to send a last request after the port has closed


class Server(uvicorn.Server):
    """uvicorn's server with graceful shutdown: readiness ends, the port closes, then running requests get `drain_s`."""

    def __init__(self, config: uvicorn.Config, app: Starlette, greeting: str = "") -> None:
        super().__init__(config)
        self._app, self._greeting = app, greeting
        self._exit_at: float | None = None  # time.monotonic()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the models, listen, then print the greeting."""
        for sock in sockets or []:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)  # accepted connections inherit it
        await super().startup(sockets)
        if self._greeting and self.started:
            print(self._greeting, flush=True)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begin shutdown: at once on SIGINT; on SIGTERM after a grace time in which load balancers see "not ready"."""
        runtime = self._app.state.runtime
        if sig == signal.SIGTERM and not runtime.draining and runtime.settings.grace_s:
            runtime.draining = True
            self._exit_at = time.monotonic() + runtime.settings.grace_s
            return
        runtime.draining = True
        super().handle_exit(sig, frame)
        self._captured_signals.clear()  # exit with code 0 rather than die by the signal

    async def on_tick(self, counter: int) -> bool:
        """Return whether to shut down; uvicorn calls this ten times a second."""
        ended = await super().on_tick(counter)
        return ended or (self._exit_at is not None and time.monotonic() >= self._exit_at)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Shut down. After SIGTERM open connections may send last requests, so that no connection is reset."""
        event("shutting down")
        if self._exit_at is not None:
            await self._stop_accepting(sockets or [])
            end = time.monotonic() + LAST_REQUESTS_S
            while time.monotonic() < end and any(
                isinstance(connection, DeadlineProtocol) for connection in self.server_state.connections
            ):
                await asyncio.sleep(0.02)
        await super().shutdown(sockets)

    async def _stop_accepting(self, sockets: list[socket.socket]) -> None:
        """Close the port after accepting the connections that wait in the kernel, as closing would reset them."""
        held = [sock.dup() for sock in sockets]
        for listening in self.servers:
            listening.close()
        accepted: list[socket.socket] = []
        for sock in held:
            with sock, suppress(BlockingIOError, ConnectionError):
                sock.setblocking(False)
                while True:
                    accepted.append(sock.accept()[0])
        loop = asyncio.get_running_loop()
        made = [loop.connect_accepted_socket(self._protocol, sock, ssl=self.config.ssl) for sock in accepted]
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*made, return_exceptions=True), LAST_REQUESTS_S)

    def _protocol(self) -> asyncio.Protocol:
        made: Any = self.config.http_protocol_class
        return made(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


def server(
    app: Starlette, settings: Settings, certificate: str | None = None, key: str | None = None, greeting: str = ""
) -> Server:
    """Return the server of an app; `serve` runs it."""
    values = {
        "settings": settings,
        "caps": Quota(settings.max_connections, settings.max_connections_per_client),
        "turns": Turns(),
        "proxies": Proxies(settings.trusted_proxies),
        "runtime": app.state.runtime,
    }
    protocol = type("Protocol", (DeadlineProtocol,), values)
    frames = {"frames_per_s": max(MIN_FRAMES_PER_S, FRAMES_A_MESSAGE * settings.messages_per_s)}
    streams = type("Streams", (StreamProtocol,), frames)
    config = uvicorn.Config(
        app,
        http=protocol,
        ws=streams,
        ws_max_size=settings.max_message,
        ws_per_message_deflate=False,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        timeout_graceful_shutdown=int(settings.drain_s) or 1,
        timeout_keep_alive=30,
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    return Server(config, app, greeting)


def serve(
    app: Starlette, sock: socket.socket, settings: Settings, certificate: str | None, key: str | None, greeting: str
) -> int:
    """Run the server until a signal; return the exit code. `greeting` is printed once requests are accepted."""
    keep_libraries()
    running = server(app, settings, certificate, key, greeting)
    running.run(sockets=[sock])
    return 0 if running.started else 1
