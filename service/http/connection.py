"""uvicorn's HTTP and WebSocket protocols with the deadlines, limits and JSON refusals that they lack."""

import asyncio
import logging
import time
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import ProtocolError
from websockets.frames import CloseCode, Frame, Opcode
from websockets.server import ServerProtocol

from spikesight.service.http.errors import BUSY, TURNED_AWAY, refusal_bytes
from spikesight.service.http.gate import WORK_SUFFIXES, TokenBucket
from spikesight.service.http.shares import Proxies, Quota
from spikesight.service.http.turns import Turns
from spikesight.service.settings import Settings

MAX_PIPELINE = 16  # requests of one connection that wait for their answers
MAX_HEAD = 16 * 1024  # raw bytes until the headers are complete
SMALL_BODY = 64 * 1024  # bytes that a refused request may still send on its connection
LEAST_READ = 32 * 1024  # bytes of answers that a client must read within `read_s`, or all if fewer wait
ABORT_S = 2.0  # seconds that the client of a closing connection gets to read the last bytes
HELLO_FRAMES = 64  # WebSocket frames until the hello is complete; browsers cut messages of 2 MB into fewer
FRAMES_A_MESSAGE = 4  # frames a second for each message a second of the settings
MIN_FRAMES_PER_S = 1000.0
DATA_OPCODES = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)

WORK_ENDINGS = tuple(suffix.encode() for suffix in WORK_SUFFIXES)


class DeadlineProtocol(HttpToolsProtocol):
    """One HTTP connection with deadlines for sending requests and reading answers, and limits on headers and count."""

    settings: Settings
    caps: Quota  # limits of open connections, in all and of one client
    turns: Turns  # fair order of pipelined requests: one an iteration of the event loop
    proxies: Proxies
    runtime: Any  # tells whether all models' queues are full, and counts requests refused for that

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._head = 0  # raw bytes since the request began; -1 once its headers are complete
        self._refused = False
        self._skipping = False  # the request is refused with "busy"; its body is read and discarded
        self._counted: str | None = None
        self._reader: asyncio.TimerHandle | None = None
        self._piped: Any = None  # the last request taken from the pipeline
        self._half_closed = False  # the client has closed its sending side and still reads

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(1, 0)  # pause while anything is unread; with (0, 0) TLS would never resume
        self._arm()
        client = self.proxies.holder(self.client)
        if self.caps.reached(client) == "total":
            self._make_room(client)
        if self.caps.acquire(client) is None:
            self._counted = client
        else:
            self._refuse(503)

    def _make_room(self, client: str) -> None:
        """Abort an idle connection of the client with most connections, if it has clearly more than `client`."""
        waiting = [
            (self.caps.held(one._counted), one)
            for one in self.connections
            if isinstance(one, DeadlineProtocol) and one._counted is not None and one._idle()
        ]
        most, idle = max(waiting, key=lambda pair: pair[0], default=(0, self))
        if most > self.caps.held(client) + 1:
            idle._uncount()
            idle.transport.abort()

    def _idle(self) -> bool:
        """Return whether the connection waits for its client to send or to read."""
        nothing = not self.pipeline and (self.cycle is None or self.cycle.response_complete)
        return nothing or self._deadline is not None or self._reader is not None

    def connection_lost(self, exc: Exception | None) -> None:
        for cycle in (self._piped, *(cycle for cycle, _ in self.pipeline)):  # uvicorn marks only the newest
            if cycle is not None:
                cycle.disconnected = True
        self._disarm()
        self._stop_watching()
        self._uncount()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        self._stop_watching()
        super().resume_writing()

    def _watch_reader(self) -> None:
        waiting = self.transport.get_write_buffer_size()
        self._reader = self.loop.call_later(self.settings.read_s, self._look_at_reader, waiting)

    def _look_at_reader(self, before: int) -> None:
        """Abort the connection of a client that has read less than LEAST_READ since the last check."""
        if before - self.transport.get_write_buffer_size() < LEAST_READ:
            self.transport.abort()
        else:
            self._watch_reader()

    def _stop_watching(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            self._reader = None

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep a half-closed connection open until its answers are sent; TLS cannot be half closed."""
        answering = self.cycle is not None and not self.cycle.response_complete and self._deadline is None
        self._half_closed = answering and self.scheme == "http"
        return self._half_closed

    def on_response_complete(self) -> None:
        if self.pipeline:
            self._piped = self.pipeline[-1][0]
            self._turn = self.loop.create_task(self._in_turn())
        else:
            self._complete()

    async def _in_turn(self) -> None:
        async with self.turns.account():
            self._complete()

    def _complete(self) -> None:
        super().on_response_complete()
        if self._half_closed and not self.pipeline and self.cycle is not None and self.cycle.response_complete:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._head += len(data) if self._head >= 0 else 0
        begun = max(self._head, 0)
        super().data_received(data)
        if begun > MAX_HEAD and self._head > MAX_HEAD:
            self._refuse(431)

    def on_message_begin(self) -> None:
        self._head = max(self._head, 0)
        self._arm()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields = getattr(self, "_fields", 0) + len(name) + len(value) + 4
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        size, self._fields, self._head = getattr(self, "_fields", 0), 0, -1
        if size > MAX_HEAD or len(self.url) > MAX_HEAD:
            self._refuse(431)
            return
        if self._turn_away():
            self._skipping = True
            return
        if len(self.pipeline) >= MAX_PIPELINE:
            self._refuse(429)
            return
        super().on_headers_complete()

    def _turn_away(self) -> bool:
        """Return whether to refuse this request unread because all queues are full; the gate handles others."""
        if not self.runtime.full() or self.parser.get_method() != b"POST" or self.expect_100_continue:  # type: ignore[union-attr]
            return False
        if self.pipeline or not (self.cycle is None or self.cycle.response_complete):
            return False
        path = self.url.partition(b"?")[0]
        if not path.endswith(WORK_ENDINGS):
            return False
        sent = dict(self.headers)
        length = sent.get(b"content-length", b"x")
        return b"origin" not in sent and length.isdigit() and int(length[:18]) <= SMALL_BODY

    def on_body(self, body: bytes) -> None:
        if not self._refused and not self._skipping:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._disarm()
        self._head = 0
        if self._skipping:
            self._skipping = False
            self.runtime.count_turned_away()
            stays = self.parser.should_keep_alive()  # type: ignore[union-attr]
            self.transport.write(TURNED_AWAY + (b"\r\n" if stays else b"connection: close\r\n\r\n") + BUSY)
            if stays:
                self.on_response_complete()
            else:
                self.transport.close()
        elif not self._refused:
            super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        if self._refused:
            return
        self._disarm()
        self.transport.set_write_buffer_limits()
        self._uncount_later()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:
        del msg  # uvicorn's text is not sent
        if not self._refused:
            self._refuse(400)

    def _arm(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self.settings.receive_s, self._late)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _late(self) -> None:
        self._deadline = None
        answered = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if answered:
            self.transport.abort()
        else:
            self._refuse(408)

    def _refuse(self, status: int) -> None:
        """Send a refusal and close; abort the connection if the client does not read it."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._disarm()
        self.transport.write(refusal_bytes(status))
        self.transport.close()
        self.loop.call_later(ABORT_S, self.transport.abort)

    def _uncount(self) -> None:
        if self._counted is not None:
            self.caps.release(self._counted)
            self._counted = None

    def _uncount_later(self) -> None:
        """Let the WebSocket protocol count the connection from now on."""
        if self._counted is not None:
            StreamProtocol.inherited[self.transport] = self.caps, self._counted
        self._counted = None


class CountedFrames(ServerProtocol):
    """Parser of a WebSocket's frames that limits their rate, because fragments and pings cost as much as messages.

    At most HELLO_FRAMES until the first message (the hello) is complete, then `frames_per_s` with bursts of a quarter
    of a second, as all frames that arrive together are parsed in one go while others wait.
    """

    def __init__(self, max_size: int | None, frames_per_s: float) -> None:
        super().__init__(max_size=max_size, logger=logging.getLogger("uvicorn.error"))
        self._bucket = TokenBucket.full(frames_per_s, time.monotonic(), frames_per_s / 4)
        self._before_hello: int | None = HELLO_FRAMES
        self._flooded = False

    def recv_frame(self, frame: Frame) -> None:
        """Process a frame, or end the connection at too many; what follows is discarded unparsed."""
        if self._before_hello is None:
            self._flooded = not self._bucket.take(time.monotonic())
        else:
            self._flooded = self._before_hello == 0
            self._before_hello -= 1
        if self._flooded:
            raise ProtocolError("too many frames")
        super().recv_frame(frame)
        if frame.fin and frame.opcode in DATA_OPCODES:
            self._before_hello = None

    def fail(self, code: int, reason: str = "") -> None:
        """Close with a code: policy violation for too many frames, else the given one."""
        super().fail(CloseCode.POLICY_VIOLATION if self._flooded else code, reason)


class StreamProtocol(WebSocketsSansIOProtocol):
    """One WebSocket: counts its frames, and aborts the connection of a client that does not read its close frame."""

    frames_per_s: float
    inherited: dict[Any, tuple[Quota, str]] = {}  # noqa: RUF012 - places of connections being upgraded from HTTP

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = CountedFrames(self.config.ws_max_size, self.frames_per_s)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._place = self.inherited.pop(transport, None)
        self._broken = False  # after a protocol error: nothing that the client sends is read any more

    def connection_lost(self, exc: Exception | None) -> None:
        if self._place is not None:
            caps, client = self._place
            caps.release(client)
            self._place = None
        super().connection_lost(exc)

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.loop.call_later(ABORT_S, self.transport.abort)

    def shutdown(self) -> None:
        while self.handshake_complete and not self.queue.empty():  # drop messages that were not processed yet
            self.queue.get_nowait()
        super().shutdown()
        self.loop.call_later(ABORT_S, self.transport.abort)

    def data_received(self, data: bytes) -> None:
        if not self._broken:
            super().data_received(data)

    def handle_ping(self) -> None:
        if self._broken:  # an earlier frame of the same bytes was the protocol error
            return
        pongs = b"".join(self.conn.data_to_send())
        if self.writable.is_set():  # a client that does not read gets no pongs: they would pile up
            self.transport.write(pongs)

    def handle_parser_exception(self) -> None:
        """Send the reason, then read and discard: closing with unread bytes resets the connection and loses it."""
        self._broken = self.close_sent = True
        reason = self.conn.close_sent
        assert reason is not None
        self.queue.put_nowait({"type": "websocket.disconnect", "code": reason.code, "reason": reason.reason})
        self.transport.write(b"".join(self.conn.data_to_send()))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        if self.read_paused:
            self.read_paused = False
            self.transport.resume_reading()
        if self.close_timer is not None:
            self.close_timer.cancel()
        self.close_timer = self.loop.call_later(ABORT_S, self.transport.abort)  # unless the client closes first

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            self.handshake_complete = True  # else uvicorn would log a refused handshake as an error

    async def run_asgi(self) -> None:
        await super().run_asgi()
        if self.transport.is_closing():
            self.loop.call_later(ABORT_S, self.transport.abort)
