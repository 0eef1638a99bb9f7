"""The service under load, beside the bare model that does the same work without it.

    python -m benchmarks.service [--seconds 4] [--model NAME|FOLDER] [--only TABLE]

images     1, 8 and 32 clients send JPEGs, each its next one as soon as the last is answered
overload   64 clients on a queue of 16: accepted requests stay fast, others are refused at once
streams    32 live streams, each with two packets unanswered, beside PyTorch and the engine one by one and in batches

Clients and service share this machine's cores, so absolute rates mean little. CPU time is that of the service.
"""

import asyncio
import itertools
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from websockets.asyncio.client import connect

from benchmarks.common import report
from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.packets import pack
from spikesight.models.classifier import Classifier
from spikesight.models.contract import Contract
from spikesight.models.native.memory import keep_membranes
from spikesight.models.shipped import find
from spikesight.service.client import Client, ClientError
from spikesight.service.decoding.decode import decode
from spikesight.service.stream.messages import EVENTS_T64, Frame

STREAMS, AHEAD = 32, 2  # live streams; unanswered packets of each
ACTIVE = 0.1  # share of the pixels with an event in a step
START_S = 60.0


class Served(NamedTuple):
    """A service in a process of its own."""

    port: int
    pid: int

    def cpu_s(self) -> float:
        """Return the CPU seconds that its process and those that it started have used so far."""
        stats = dict[int, list[str]]()
        for path in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it has ended meanwhile
                stats[int(path.parent.name)] = path.read_text().rpartition(")")[2].split()
        own = [self.pid]
        for pid in own:
            own += [child for child, fields in stats.items() if int(fields[1]) == pid]
        return sum(int(stats[pid][11]) + int(stats[pid][12]) for pid in own if pid in stats) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(model: Path, *flags: str) -> Iterator[Served]:
    """Run the service with one model on a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "spikesight", "serve", "--port", str(port), "--model", str(model), *flags]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client, end = Client(f"http://127.0.0.1:{port}"), time.monotonic() + START_S
        while True:
            with suppress(ClientError, OSError):
                if client.ready():
                    break
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit("the service did not start")
            time.sleep(0.1)
        yield Served(port, process.pid)
    finally:
        process.terminate()
        process.wait(20)


@dataclass
class Load:
    """What clients in a closed loop got; times of answers in milliseconds."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    ms: list[float] = field(default_factory=list)
    refused_ms: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return len(self.ms) / self.seconds


async def closed_loop(served: Served, body: bytes, clients: int, seconds: float, offered: float = 0.0) -> Load:
    """Let each client send its next picture as soon as the last is answered; with `offered`, all together so many a
    second.
    """
    head = "POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    load, start, turn, cpu = Load(), time.perf_counter(), itertools.count(), served.cpu_s()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        while time.perf_counter() < start + seconds:
            if offered:
                await asyncio.sleep(max(0.0, start + next(turn) / offered - time.perf_counter()))
            begin = time.perf_counter()
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", answer.lower())
            await reader.readexactly(int(length[1]) if length else 0)
            good = answer.split(b" ", 2)[1] == b"200"
            (load.ms if good else load.refused_ms).append((time.perf_counter() - begin) * 1e3)
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    load.seconds, load.cpu_s = time.perf_counter() - start, served.cpu_s() - cpu
    return load


def quantile(ms: list[float], q: float) -> float:
    return float(np.quantile(ms, q)) if ms else float("nan")


def picture() -> bytes:
    """Make a JPEG of 320 x 240 with a camera's typical size."""
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
    return cv2.imencode(".jpg", cv2.GaussianBlur(noise, (0, 0), 2))[1].tobytes()


def row(*cells: report.Cell) -> None:
    """Add a row and print it."""
    report.row(*cells)
    print(" | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells), flush=True)


def bare(classifier: Classifier, body: bytes, batch: int, seconds: float) -> tuple[float, float, float]:
    """Decode, encode and step pictures in a loop; return pictures a second, CPU ms of one, and median ms of a batch."""
    times, cpu, begin = list[float](), time.process_time(), time.perf_counter()
    while time.perf_counter() - begin < seconds:
        at = time.perf_counter()
        samples, state = [classifier.inputs(decode(body, "")) for _ in range(batch)], classifier.initial_state(batch)
        for steps in zip(*samples):
            state = classifier.step(torch.from_numpy(np.stack([given.x for given in steps])), state).state
        times.append((time.perf_counter() - at) * 1e3)
    n, took = batch * len(times), time.perf_counter() - begin
    return n / took, (time.process_time() - cpu) * 1e3 / n, quantile(times, 0.5)


def images(model: Path, seconds: float) -> None:
    """Measure single requests and saturation, against the bare model right before."""
    classifier, body = Classifier.load(model), picture()
    columns = "images a second", "of the bare model's", "CPU ms", "of the bare model's", "p50 ms", "bare p50", "p99 ms"
    report.table(f"{model.name}, JPEG of 320 x 240", "clients", *columns)
    bare(classifier, body, 8, 1)  # loads the compiled kernels
    with serving(model, "--max-queue", "48") as served:  # of one address three quarters: 36
        asyncio.run(closed_loop(served, body, 8, 1))
        for clients in (1, 8, 32):
            rate, cpu_ms, p50 = bare(classifier, body, min(clients, 8), seconds)
            own = asyncio.run(closed_loop(served, body, clients, seconds))
            cpu = own.cpu_s * 1e3 / max(1, len(own.ms))
            times = quantile(own.ms, 0.5), p50, quantile(own.ms, 0.99)
            row(str(clients), own.rate, own.rate / rate, cpu, cpu / cpu_ms, *times)


def overload(model: Path, seconds: float) -> None:
    """Offer four times as many requests as the service can answer."""
    report.table("overload, 4 times the peak, by 64 clients on 16 places", "what", "measured")
    with serving(model, "--max-queue", "16", "--max-batch", "8") as served:
        peak = asyncio.run(closed_loop(served, picture(), 8, seconds))
        own = asyncio.run(closed_loop(served, picture(), 64, seconds, 4 * peak.rate))
    row("goodput / peak", own.rate / peak.rate)
    row("p99 of accepted, ms", quantile(own.ms, 0.99))
    row("p99 of refused, ms", quantile(own.refused_ms, 0.99))
    row("refused", float(len(own.refused_ms)))


def bare_steps(classifier: Classifier, batch: int, seconds: float, *, plain: bool = False) -> float:
    """Return the bare model's stream steps a second, in batches of `batch`; `plain` uses the PyTorch network."""
    contract, n, begin = classifier.contract, 0, time.perf_counter()
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(batch, 2, contract.height, contract.width, generator=generator) < ACTIVE).to(torch.uint8)
    states = [None if plain else classifier.initial_state(batch) for _ in range(STREAMS // batch)]
    with torch.inference_mode():
        while time.perf_counter() - begin < seconds:
            for number, state in enumerate(states):
                if plain:
                    states[number] = classifier.network(x[None].float(), state)[1]
                else:
                    states[number] = classifier.step(x, state).state  # type: ignore[arg-type]
            n += STREAMS
    return n / (time.perf_counter() - begin)


def messages(contract: Contract, steps: int, seed: int) -> list[bytes]:
    """Return random packets of a stream, of which each but the first closes one bin."""
    random, sensor = np.random.default_rng(seed), SensorSize(contract.sensor_width, contract.sensor_height)
    n = int(ACTIVE * 2 * sensor.width * sensor.height) * steps
    t = np.sort(random.integers(0, steps * contract.bin_us, n))
    events = make_events(t, *(random.integers(0, end, n) for end in (sensor.width, sensor.height, 2)))
    parts = np.split(events, np.searchsorted(t, np.arange(1, steps) * contract.bin_us) + 1)
    return [Frame(seq, 0.0, EVENTS_T64, pack(part, "t64")).pack() for seq, part in enumerate(parts)]


async def streamed(served: Served, contract: Contract, seconds: float) -> float:
    """Send STREAMS streams as fast as they are answered; return answers a second."""
    kinds, answers = [messages(contract, int(400 * seconds), seed) for seed in range(4)], 0
    end = time.perf_counter() + seconds

    async def one(number: int) -> None:
        nonlocal answers
        ready = iter(kinds[number % len(kinds)])
        async with connect(f"ws://127.0.0.1:{served.port}/v1/stream", compression=None) as socket_:
            size = {"width": contract.sensor_width, "height": contract.sensor_height}
            await socket_.send(json.dumps({"type": "hello", "protocol": 1, **size}))
            for _ in range(AHEAD):
                await socket_.send(next(ready))
            async for message in socket_:
                if b'"seq":' in (message.encode() if isinstance(message, str) else message):
                    answers += 1
                    if time.perf_counter() > end:
                        break
                    await socket_.send(next(ready))

    begin = time.perf_counter()
    await asyncio.gather(*map(one, range(STREAMS)))
    return answers / (time.perf_counter() - begin)


def streams(model: Path, seconds: float) -> None:
    """Measure continuous batching of streams against one by one."""
    classifier = Classifier.load(model)
    report.table(f"{STREAMS} live streams, events on {ACTIVE:.0%} of the pixels", "what", "steps/s", "over the first")
    rates = dict[str, float]()
    for name, batch in itertools.product(("PyTorch", "engine"), (1, 8)):
        rates[f"{name}, batches of {batch}"] = bare_steps(classifier, batch, seconds / 2, plain=name == "PyTorch")
    with serving(model, "--max-queue", "48") as served:
        rates["through the service, as fast as answered"] = asyncio.run(streamed(served, classifier.contract, seconds))
    for what, rate in rates.items():
        row(what, rate, rate / next(iter(rates.values())))


TABLES = {"images": (images, "mnist-direct"), "overload": (overload, "mnist-direct"), "streams": (streams, "nmnist")}
"""What measures each table, and of which model."""


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each row")
    parser.add_argument("--model", help="a shipped model or a folder (of images mnist-direct, of streams nmnist)")
    parser.add_argument("--only", choices=TABLES, help="one table alone")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_membranes()  # the service does so, too
    for name, (measure, model) in TABLES.items():
        if args.only in (None, name):
            measure(find(args.model or model), args.seconds)
    report.write("service", args.json)


if __name__ == "__main__":
    main()
