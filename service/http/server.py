"""The HTTP server: uvicorn with an account of its connections and a graceful shutdown."""

import logging
import signal
import socket
import time
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from spikesight.models.native.memory import keep_libraries
from spikesight.service.http.connections import KEEP_ALIVE_S, CountedFrames, CountedRequests
from spikesight.service.settings import Settings

UNREAD_BYTES = 128 * 1024  # send buffer of a connection in the kernel: unread bytes beyond it are noticed


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
        """Return whether to shut down, and end late connections; uvicorn calls this ten times a second."""
        self._app.state.runtime.connections.sweep()
        ended = await super().on_tick(counter)
        return ended or (self._exit_at is not None and time.monotonic() >= self._exit_at)


def of_interest(record: logging.LogRecord) -> bool:
    """Return whether to log uvicorn's record: not for handshakes that we refuse and clients that we cut off."""
    return not str(record.msg).startswith("ASGI callable returned without")


def server(app: Starlette, settings: Settings, greeting: str = "") -> Server:
    """Return the server of an app; `serve` runs it."""
    logging.getLogger("uvicorn.error").addFilter(of_interest)
    limiter = {"limiter": app.state.runtime.connections}
    config = uvicorn.Config(
        app,
        http=type("Requests", (CountedRequests, HttpToolsProtocol), limiter),
        ws=type("Frames", (CountedFrames, WebSocketsSansIOProtocol), limiter),
        ws_max_size=settings.max_message,
        ws_per_message_deflate=False,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        timeout_graceful_shutdown=int(settings.drain_s),
        timeout_keep_alive=int(KEEP_ALIVE_S),
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
    )
    return Server(config, app, greeting)


def serve(app: Starlette, sock: socket.socket, settings: Settings, greeting: str) -> int:
    """Run the server until a signal; return the exit code. `greeting` is printed once requests are accepted."""
    keep_libraries()
    running = server(app, settings, greeting)
    running.run(sockets=[sock])
    return 0 if running.started else 1
