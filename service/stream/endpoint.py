"""The WebSocket endpoint of live streams: accept, wait for the hello, run the stream, close with a code."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import WebSocket
from pydantic import ValidationError
from starlette.websockets import WebSocketDisconnect, WebSocketState

from spikesight.service.http.errors import ServiceError
from spikesight.service.http.gate import TOO_MANY_STREAMS, bearer_token, refuse_handshake, same_secret
from spikesight.service.http.logs import event, log
from spikesight.service.http.shares import Quota, address_of
from spikesight.service.runtime import Runtime
from spikesight.service.settings import Settings
from spikesight.service.stream.cameras import Cameras
from spikesight.service.stream.live import Live
from spikesight.service.stream.messages import Ended, Hello, fault
from spikesight.service.stream.teaching import TeachingStream
from spikesight.service.teach.sessions import TeachingSessions


async def stream(socket: WebSocket, runtime: Runtime, cameras: Cameras, sessions: TeachingSessions) -> None:
    """Serve one WebSocket from accepting to closing it."""
    client = address_of(socket)
    if (reached := runtime.streams.reached(client)) is not None:
        await refuse_handshake(socket, TOO_MANY_STREAMS[reached])
        return
    await socket.accept()
    try:
        async with admitted(socket, runtime.settings, runtime.streams) as hello:
            await run_stream(socket, hello, runtime, cameras, sessions)
    except Ended as end:
        await close(socket, end)
    except WebSocketDisconnect:
        return
    except RuntimeError:  # raised mostly because the client has gone
        await close(socket, Ended(1011))
    except Exception:
        log.exception("stream failed")
        await close(socket, Ended(1011))


@asynccontextmanager
async def admitted(socket: WebSocket, settings: Settings, quota: Quota) -> AsyncIterator[Hello]:
    """Wait for the client's hello, and hold a place among the live streams until the `async with` block ends.

    Raises Ended 1008 for a bad hello, 1013 if there is no place.
    """
    client = address_of(socket)
    hello = await receive_hello(socket, settings)
    if (reached := quota.acquire(client)) is not None:
        raise Ended(1013, str(TOO_MANY_STREAMS[reached]))
    try:
        yield hello
    finally:
        quota.release(client)


async def close(socket: WebSocket, end: Ended) -> None:
    """Close the WebSocket with a code, unless the client has gone."""
    if socket.application_state == WebSocketState.CONNECTED:
        with suppress(WebSocketDisconnect, RuntimeError):
            await socket.close(end.code, end.reason)


async def run_stream(
    socket: WebSocket, hello: Hello, runtime: Runtime, cameras: Cameras, sessions: TeachingSessions
) -> None:
    """Run the stream that a hello asks for: of a teaching session, a camera or the client. Raises Ended."""
    try:
        teaching = None if hello.teaching is None else sessions.get(hello.teaching)
        camera = None if hello.source is None else cameras.get(hello.source)
        own_ms = runtime.settings.camera_bin_ms if camera and hello.model is None else None
        model = teaching.learner.model if teaching else runtime.registry.get(hello.model, hello.bin_ms or own_ms)
    except ServiceError as error:
        raise Ended(1008, str(error)) from None
    if teaching is not None:
        live = TeachingStream(socket, runtime, teaching, hello, camera)
    else:
        live = Live(socket, runtime, model, hello, camera)
    name, begin = live.model.counted_as, time.monotonic()
    gauge = runtime.metrics.sessions.labels(name)
    gauge.inc()
    event("stream opened", model=name)
    try:
        await live.run()
    finally:
        gauge.dec()
        live.model.scheduler.close(live.job)
        event("stream closed", model=name, steps=live.job.steps, seconds=round(time.monotonic() - begin, 1))


async def receive_hello(socket: WebSocket, settings: Settings) -> Hello:
    """Receive and check the client's hello. Raises Ended 1008."""
    try:
        async with asyncio.timeout(settings.hello_s):
            message = await socket.receive()
    except TimeoutError:
        raise Ended(1008, "no hello in time: start again when the machine is less busy") from None
    if message["type"] != "websocket.receive":
        raise WebSocketDisconnect(message.get("code", 1006))
    try:
        hello = Hello.model_validate_json(message.get("text") or "")
    except ValidationError as error:
        raise Ended(1008, fault("hello", error)) from None
    token = settings.token
    if token is not None:
        given = hello.token or bearer_token(dict(socket.headers)) or ""
        if not same_secret(given, token.get_secret_value()):
            raise Ended(1008, "the token is missing or wrong")
    return hello
