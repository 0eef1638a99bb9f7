"""Live streams through the service, by a WebSocket client that costs little CPU time itself."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import uvloop

from benchmarks.serving.clients import Served
from spikesight.encoders.packets import pack
from spikesight.models.contract import Contract
from spikesight.service.stream.messages import EVENTS_T64, Frame

TEXT, BINARY = 1, 2
AHEAD = 2  # unanswered messages of a stream that sends as fast as it is answered


def client_frame(opcode: int, payload: bytes) -> bytes:
    """Build a client's WebSocket frame (RFC 6455, 5.2); its mask is zero, so that masking costs nothing."""
    n = len(payload)
    size = bytes([0x80 | n]) if n < 126 else b"\xfe" + n.to_bytes(2) if n < 2**16 else b"\xff" + n.to_bytes(8)
    return bytes([0x80 | opcode]) + size + bytes(4) + payload


def messages(contract: Contract, events: Sequence[np.ndarray]) -> list[bytes]:
    """Return a stream's packets as WebSocket frames; the first is the hello message."""
    hello = {"type": "hello", "protocol": 1, "width": contract.sensor_width, "height": contract.sensor_height}
    ready = [client_frame(TEXT, json.dumps(hello).encode())]
    for seq, part in enumerate(events):
        ready.append(client_frame(BINARY, Frame(seq, 0.0, EVENTS_T64, pack(part, "t64")).pack()))
    return ready


class StreamClient(asyncio.Protocol):
    """WebSocket client of one stream; it calls `on_message` with each message of the service."""

    def __init__(self, on_message: Callable[[bytes], None]) -> None:
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._on_message, self._data, self._open = on_message, b"", False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(
            b"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self._open and b"\r\n\r\n" in self._data:
            self._open, self._data = True, self._data.partition(b"\r\n\r\n")[2]
            self.ready.set_result(None)
        while self._open and len(self._data) >= 4:
            wide = self._data[1] == 126
            begin = 4 if wide else 2
            end = begin + (int.from_bytes(self._data[2:4]) if wide else self._data[1])
            if len(self._data) < end:
                break
            message, self._data = self._data[begin:end], self._data[end:]
            self._on_message(message)


def field(message: bytes, name: str) -> float | None:
    """Return a number of a JSON message without parsing the rest; None if there is none of that name."""
    _, found, rest = message.partition(f'"{name}":'.encode())
    return float(rest[: rest.index(b",")]) if found else None


def by_seq(answered: Callable[[int], None]) -> Callable[[bytes], None]:
    """Return a message handler that calls `answered` with the sequence number of each answer to a packet."""

    def on_message(message: bytes) -> None:
        if (seq := field(message, "seq")) is not None:
            answered(int(seq))

    return on_message


async def connected(served: Served, hello: bytes, on_message: Callable[[bytes], None]) -> StreamClient:
    """Open a stream and send the hello message."""
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(lambda: StreamClient(on_message), "127.0.0.1", served.port)
    await client.ready
    client.transport.write(hello)
    return client


def send_when_answered(served: Served, streams: Sequence[list[bytes]], seconds: float, ahead: int = AHEAD) -> float:
    """Send as fast as answers arrive, with `ahead` packets unanswered a stream; return the answers a second."""

    async def run() -> float:
        answers, clients = 0, list[StreamClient]()

        def on_answer(number: int) -> Callable[[int], None]:
            def answered(seq: int) -> None:
                nonlocal answers
                answers += 1
                if seq + ahead + 1 < len(streams[number]):
                    clients[number].transport.write(streams[number][seq + ahead + 1])

            return answered

        for number, own in enumerate(streams):
            clients.append(await connected(served, own[0], by_seq(on_answer(number))))
        begin = time.perf_counter()
        for client, own in zip(clients, streams):
            client.transport.writelines(own[1 : ahead + 1])
        while time.perf_counter() - begin < seconds and answers < sum(len(own) - 1 for own in streams):
            await asyncio.sleep(0.005)
        rate = answers / (time.perf_counter() - begin)
        for client in clients:
            client.transport.close()
        return rate

    return uvloop.run(run())


def send_periodically(served: Served, streams: Sequence[list[bytes]], period_s: float) -> list[float]:
    """Send one packet a period from every stream, each at a random phase; return ms from sending to each answer."""

    async def run() -> list[float]:
        ms, sent = list[float](), [dict[int, float]() for _ in streams]

        def on_answer(number: int) -> Callable[[int], None]:
            return lambda seq: ms.append((time.perf_counter() - sent[number][seq]) * 1e3)

        clients = [await connected(served, own[0], by_seq(on_answer(number))) for number, own in enumerate(streams)]
        moments = np.random.default_rng(0).random(len(streams)) * period_s
        order = sorted(
            (moment + seq * period_s, number, seq)
            for number, (moment, own) in enumerate(zip(moments, streams))
            for seq in range(len(own) - 1)
        )
        begin = time.perf_counter() + 0.1
        for due, number, seq in order:
            wait_s = begin + due - time.perf_counter()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            sent[number][seq] = time.perf_counter()
            clients[number].transport.write(streams[number][seq + 1])
        await asyncio.sleep(0.5)
        for client in clients:
            client.transport.close()
        return ms[len(streams) :]  # without the answers to first packets, which close no bin

    return uvloop.run(run())
