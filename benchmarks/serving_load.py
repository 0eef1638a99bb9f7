"""The service against the bare model, and many streams together against one by one: ratios from one run.

    python benchmarks/serving_load.py [--seconds 4] [--model NAME|FOLDER] [--peers PYTHON]

Client and server share this machine's cores, so absolute rates say little; every row stands beside the bare model (the
same decode, encode and batched steps in a loop, no HTTP) measured right before it. CPU is that of the server process.
`--peers` is the interpreter of an environment with litserve and bentoml: they then serve the same work.
"""

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import torch

from encoders.events import SensorSize, make_events
from models.checkpoint import Card, Contract, save
from models.classifier import Classifier
from models.resnet import ResNetConfig, SpikingResNet
from service.messages import EVENTS_T64, Frame
from service.packets import encode_t64
from service.registry import shipped
from service.uploads import image_inputs

LABELS = tuple(str(digit) for digit in range(10))


def made_model(folder: Path, *, null: bool = False) -> Path:
    """A random model on disk: the shipped one's shape, or one that costs next to nothing."""
    torch.manual_seed(0)
    if null:
        contract = Contract("image", 3, 4, 4, 1, "direct")
        config = ResNetConfig("ms", (1,), (1,), in_channels=3, classes=10)
    else:
        contract = Contract("events", 2, 34, 34, 30, "binary", sensor_width=34, sensor_height=34, bin_us=10_000)
        config = ResNetConfig("ms", (1, 1, 1), (16, 32, 64), pool="max")
    save(folder, SpikingResNet(config), Card(contract, LABELS))
    return folder


def picture() -> bytes:
    """A JPEG of 320 x 240, as a browser sends it."""
    random = np.random.default_rng(0)
    pixels = cv2.GaussianBlur(random.integers(0, 255, (240, 320, 3), np.uint8), (0, 0), 4)
    return cv2.imencode(".jpg", pixels)[1].tobytes()


class Served:
    """A server in a process of its own."""

    def __init__(self, command: list[str], ready: str) -> None:
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - as long as the process
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(ready, line)
        if found is None:
            self.log.seek(0)
            raise SystemExit(f"the server did not start: {line} {self.log.read()[-2000:]}")
        self.port = int(found.group(1))

    def cpu_s(self) -> float:
        """CPU seconds of the process so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self) -> float:
        """Resident memory."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096 / 2**20

    def stop(self) -> None:
        """Ask it to end."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def spikesight(model: Path, *flags: str) -> Served:
    """Our service on a free port."""
    start = "import sys; from app.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", start, "serve", "--port", "0", "--model", str(model), *flags]
    return Served(command, r":(\d+)\s")


@dataclass
class Load:
    """What a closed loop of clients saw."""

    good: int
    refused: int
    seconds: float
    ms: list[float]
    refused_ms: list[float]
    cpu_s: float

    @property
    def rate(self) -> float:
        return self.good / self.seconds

    def quantile(self, q: float) -> float:
        return float(np.quantile(self.ms, q)) if self.ms else float("nan")


async def closed_loop(served: Served, path: str, body: bytes, kind: str, clients: int, seconds: float) -> Load:
    """Each client sends its next request when the last is answered, on one connection."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    load = Load(0, 0, seconds, [], [], 0.0)
    end = time.perf_counter() + seconds

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        while time.perf_counter() < end:
            begin = time.perf_counter()
            writer.write(request)
            status = await answered(reader)
            took = (time.perf_counter() - begin) * 1e3
            if status == 200:
                load.good += 1
                load.ms.append(took)
            else:
                load.refused += 1
                load.refused_ms.append(took)
                await asyncio.sleep(0.02)
        writer.close()

    cpu = served.cpu_s()
    await asyncio.gather(*(client() for _ in range(clients)))
    load.cpu_s = served.cpu_s() - cpu
    return load


async def answered(reader: asyncio.StreamReader) -> int:
    """Read one answer; its status."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head.lower())
    await reader.readexactly(int(length.group(1)) if length else 0)
    return int(head.split(b" ", 2)[1])


def bare(classifier: Classifier, body: bytes, batch: int, seconds: float) -> tuple[float, float, float]:
    """Decode, encode and step `batch` images at a time: images a second, CPU ms an image, p50 ms of a batch."""
    n, times, cpu, begin = 0, [], time.process_time(), time.perf_counter()
    while time.perf_counter() - begin < seconds:
        at = time.perf_counter()
        samples = [image_inputs(classifier, body, 2**24) for _ in range(batch)]
        state = classifier.initial_state(batch)
        for steps in zip(*samples):
            state = classifier.step(torch.from_numpy(np.stack([given.x for given in steps])), state).state
        n += batch
        times.append((time.perf_counter() - at) * 1e3)
    return n / (time.perf_counter() - begin), (time.process_time() - cpu) * 1e3 / n, float(np.median(times))


def row(*cells: object) -> None:
    """One line of a table."""
    print("| " + " | ".join(f"{c:.2f}" if isinstance(c, float) else str(c) for c in cells) + " |", flush=True)


def images(model: Path, seconds: float) -> None:
    """Saturation and single requests, beside the bare model of the same minute."""
    classifier, body = Classifier.load(model), picture()
    served = spikesight(model, "--log-format", "text")
    print("\nImages, 320 x 240 JPEG; goals at 8 and 32: rate >= 0.90, CPU <= 1.10 of bare; at 1: p50 <= bare + 2 ms")
    row("clients", "img/s", "bare img/s", "rate / bare", "CPU ms", "CPU / bare", "p50 ms", "bare p50", "p99 ms")
    row(*["---"] * 9)
    asyncio.run(closed_loop(served, "/v1/predict", body, "image/jpeg", 8, 1))
    bare(classifier, body, 8, 1)  # compiled kernels are loaded
    for clients in (1, 8, 32):
        rate, cpu, p50 = bare(classifier, body, 1 if clients == 1 else 8, seconds / 2)
        load = asyncio.run(closed_loop(served, "/v1/predict", body, "image/jpeg", clients, seconds))
        after = bare(classifier, body, 1 if clients == 1 else 8, seconds / 2)
        rate, cpu, p50 = ((a + b) / 2 for a, b in zip((rate, cpu, p50), after))
        own = load.cpu_s * 1e3 / max(1, load.good)
        row(clients, load.rate, rate, load.rate / rate, own, own / cpu, load.quantile(0.5), p50, load.quantile(0.99))
    print(f"resident {served.resident_mib():.0f} MiB (goal <= 600)")
    served.stop()


def null(folder: Path, seconds: float) -> None:
    """What HTTP itself costs."""
    served = spikesight(made_model(folder, null=True))
    tiny = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.png"\r\n\r\n' + tiny + b"\r\n--b--\r\n"
    print("\nA model that costs next to nothing; goal: <= 0.5 ms CPU a request")
    row("request", "req/s", "CPU ms")
    row("---", "---", "---")
    for name, body, kind in (("raw", tiny, "image/png"), ("multipart", form, "multipart/form-data; boundary=b")):
        load = asyncio.run(closed_loop(served, "/v1/predict", body, kind, 8, seconds))
        row(name, load.rate, load.cpu_s * 1e3 / max(1, load.good))
    served.stop()


def overload(model: Path, seconds: float) -> None:
    """Many more clients than places: what is accepted stays quick, the rest is refused at once."""
    queue, batch = 16, 8
    served = spikesight(model, "--max-queue", str(queue), "--max-batch", str(batch))
    body = picture()
    peak = asyncio.run(closed_loop(served, "/v1/predict", body, "image/jpeg", 8, seconds))
    health: list[float] = []

    async def watch() -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            begin = time.perf_counter()
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(b"GET /v2/health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            await answered(reader)
            writer.close()
            health.append((time.perf_counter() - begin) * 1e3)
            await asyncio.sleep(0.05)

    async def both() -> Load:
        load, _ = await asyncio.gather(closed_loop(served, "/v1/predict", body, "image/jpeg", 64, seconds), watch())
        return load

    load = asyncio.run(both())
    bound = (queue / batch + 1) * batch / peak.rate * 1e3 * 1.25
    print("\nOverload: 64 clients on 16 places")
    row("what", "measured", "goal")
    row("---", "---", "---")
    row("goodput / peak", load.rate / peak.rate, ">= 0.90")
    row("p99 of accepted, ms", load.quantile(0.99), f"<= {bound:.0f}")
    row("p99 of refused, ms", float(np.quantile(load.refused_ms, 0.99)) if load.refused_ms else float("nan"), "<= 20")
    row("refused", load.refused, "> 0")
    row("slowest health answer, ms", max(health), "<= 100")
    served.stop()


def recording(seed: int, steps: int, bin_us: int, sensor: SensorSize) -> np.ndarray:
    """Random events, about 150 a step, the first at 0."""
    random = np.random.default_rng(seed)
    n = 150 * steps
    t = np.sort(random.integers(0, steps * bin_us, n))
    t[0] = 0
    return make_events(
        t, random.integers(0, sensor.width, n), random.integers(0, sensor.height, n), random.random(n) < 0.5
    )


def sparse_input(classifier: Classifier, streams: int) -> torch.Tensor:
    """Binary events, one pixel in ten."""
    contract = classifier.contract
    shape = (streams, contract.channels, contract.height, contract.width)
    return (torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.1).to(torch.uint8)


def bare_steps(classifier: Classifier, streams: int, batch: int, seconds: float, *, plain: bool = False) -> float:
    """Steps a second of the model alone, `batch` of the streams at a time; `plain`: the PyTorch network itself."""
    x = sparse_input(classifier, batch)
    network, n = classifier.network, 0
    states = [None if plain else classifier.initial_state(batch) for _ in range(streams // batch)]
    begin = time.perf_counter()
    with torch.inference_mode():
        while time.perf_counter() - begin < seconds:
            for number, state in enumerate(states):
                if plain:
                    states[number] = network(x[None].float(), state)[1]
                else:
                    states[number] = classifier.step(x, state).state  # type: ignore[arg-type]
            n += streams
    return n / (time.perf_counter() - begin)


async def streams_run(
    port: int, packets: list[list[bytes]], period_s: float | None, seconds: float
) -> tuple[int, list[float]]:
    """Each stream sends a bin's packet a period (None: when the last is answered); answers, and ms to each."""
    from websockets.asyncio.client import connect

    answers, late = 0, []
    end = time.perf_counter() + seconds

    async def talk(number: int, mine: list[bytes]) -> None:
        nonlocal answers
        async with connect(f"ws://127.0.0.1:{port}/v1/stream", compression=None) as socket:
            await socket.send(json.dumps({"type": "hello", "protocol": 1, "width": 34, "height": 34}))
            await socket.recv()
            sent: dict[int, float] = {}

            async def listen() -> None:
                nonlocal answers
                async for text in socket:
                    if isinstance(text, str) and '"prediction"' in text[:24]:
                        message = json.loads(text)
                        answers += 1
                        late.append((time.perf_counter() - sent[message["seq"]]) * 1e3)
                        room.release()

            room = asyncio.Semaphore(2 if period_s is None else 1_000_000)
            listener = asyncio.create_task(listen())
            await asyncio.sleep((period_s or 0.02) * number / len(packets))
            due = time.perf_counter()
            for seq, packet in enumerate(mine):
                if time.perf_counter() > end:
                    break
                if seq:
                    await room.acquire()
                if period_s is not None:
                    due += period_s
                    await asyncio.sleep(max(0.0, due - time.perf_counter()))
                sent[seq] = time.perf_counter()
                await socket.send(Frame(seq, 0.0, EVENTS_T64, packet).pack())
            await asyncio.sleep(0.3)
            listener.cancel()

    await asyncio.gather(*(talk(number, mine) for number, mine in enumerate(packets)))
    return answers, late


def streams(model: Path, seconds: float, number: int = 32) -> None:
    """Continuous batching."""
    classifier = Classifier.load(model)
    bin_us, steps = classifier.contract.bin_us, int(seconds * 400)
    sensor = SensorSize(34, 34)
    served = spikesight(model)
    packets: list[list[bytes]] = []
    for seed in range(number):
        events = recording(seed, steps, bin_us, sensor)
        cuts = np.searchsorted(events["t"], np.arange(1, steps) * bin_us)
        packets.append([encode_t64(part) for part in np.split(events, cuts + 1)])  # each packet closes a bin
    plain = bare_steps(classifier, number, 1, seconds / 2, plain=True)
    plain_batch = bare_steps(classifier, number, 8, seconds / 2, plain=True)
    alone = bare_steps(classifier, number, 1, seconds / 2)
    batched = bare_steps(classifier, number, 8, seconds / 2)
    cpu = served.cpu_s()
    answers, _ = asyncio.run(streams_run(served.port, packets, None, seconds))
    cpu = served.cpu_s() - cpu
    print(f"\n{number} live streams, one event in ten pixels")
    row("what", "steps/s", "over PyTorch one by one")
    row("---", "---", "---")
    row("PyTorch, one by one", plain, 1.0)
    row("PyTorch, batches of 8", plain_batch, plain_batch / plain)
    row("engine, one by one", alone, alone / plain)
    row("engine, batches of 8", batched, batched / plain)
    row("through the service, as fast as answered", answers / seconds, answers / seconds / plain)
    print(f"CPU ms a step: service {cpu * 1e3 / max(1, answers):.3f}, engine alone {1e3 / alone:.3f}")
    rate = 0.7 * answers / seconds
    period = number / rate
    answers, late = asyncio.run(streams_run(served.port, packets, period, seconds))
    step_ms = 1e3 * 8 / batched
    print(
        f"at 70 % load ({rate:.0f} steps/s): p50 {np.quantile(late, 0.5):.1f} ms, p95 {np.quantile(late, 0.95):.1f} ms "
        f"= {np.quantile(late, 0.95) / step_ms:.2f} step times of a batch of 8 ({step_ms:.1f} ms; goal <= 2)"
    )
    served.stop()


def main() -> None:
    """All tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each cell")
    parser.add_argument("--model", help="a shipped model or a folder; default: the first shipped, else random weights")
    parser.add_argument("--only", choices=("images", "null", "overload", "streams"), help="one table alone")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        known = shipped()
        if args.model:
            model = known.get(args.model, Path(args.model))
        else:
            model = next(iter(known.values()), None) or made_model(Path(folder) / "random")
        print(f"model {model.name}, {os.cpu_count()} cores, torch {torch.__version__}")
        tables = {
            "images": lambda: images(model, args.seconds),
            "null": lambda: null(Path(folder) / "null", args.seconds),
            "overload": lambda: overload(model, args.seconds),
            "streams": lambda: streams(model, args.seconds),
        }
        for name, table in tables.items():
            if args.only in (None, name):
                table()


if __name__ == "__main__":
    main()
