"""The service against the bare model, and many streams together against one by one: ratios from one run.

    python benchmarks/serving_load.py [--seconds 4] [--model NAME|FOLDER] [--only TABLE] [--peers PYTHON]

Client and server share this machine's cores, so absolute rates say little; every row stands beside the bare model (the
same decode, encode and batched steps in a loop, no HTTP) measured right before it. CPU is that of the server process.
`--peers` is the interpreter of an environment with litserve and bentoml: they then serve the same work.
"""

import argparse
import asyncio
import base64
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import numpy as np
import torch

from benchmarks.serving_clients import Load, Served, answered, closed_loop, peer, spikesight
from encoders.events import SensorSize, make_events
from models.checkpoint import Card, Contract, save
from models.classifier import Classifier, Input
from models.resnet import ResNetConfig, SpikingResNet
from service.memory import keep_membranes
from service.messages import EVENTS_T64, Frame
from service.packets import encode_t64
from service.registry import shipped
from service.uploads import image_inputs

LABELS = tuple(str(digit) for digit in range(10))


def made_model(folder: Path, *, kind: str = "events") -> Path:
    """A random model on disk: the shipped one's shape, or one that costs next to nothing."""
    torch.manual_seed(0)
    if kind == "null image":
        contract = Contract("image", 3, 4, 4, 1, "direct")
        config = ResNetConfig("ms", (1,), (1,), in_channels=3, classes=10)
    elif kind == "null events":
        contract = Contract("events", 2, 4, 4, 1, "binary", sensor_width=4, sensor_height=4, bin_us=10_000)
        config = ResNetConfig("ms", (1,), (1,), in_channels=2, classes=10)
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


def bare(classifier: Classifier, body: bytes, batch: int, seconds: float) -> tuple[float, float, float]:
    """The same work with no service around it: images a second, CPU ms an image, p50 ms of a batch.

    With two threads, as in the service: one decodes and encodes, one steps `batch` images at a time. A batch of one is
    decoded and then stepped.
    """
    n, times, cpu, begin = 0, [], time.process_time(), time.perf_counter()

    def decoded() -> list[list[Input]]:
        return [image_inputs(classifier, body, 2**24) for _ in range(batch)]

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(decoded)
        while time.perf_counter() - begin < seconds:
            at = time.perf_counter()
            samples = coming.result() if batch > 1 else decoded()
            if batch > 1:
                coming = pool.submit(decoded)
            state = classifier.initial_state(batch)
            for steps in zip(*samples):
                state = classifier.step(torch.from_numpy(np.stack([given.x for given in steps])), state).state
            n += batch
            times.append((time.perf_counter() - at) * 1e3)
        took, spent = time.perf_counter() - begin, time.process_time() - cpu
    return n / took, spent * 1e3 / n, float(np.median(times))


def row(*cells: object) -> None:
    """One line of a table."""
    print("| " + " | ".join(f"{c:.2f}" if isinstance(c, float) else str(c) for c in cells) + " |", flush=True)


def images(model: Path, seconds: float, python: str | None) -> None:
    """Saturation and single requests, beside the bare model of the same minute and other servers."""
    classifier, body = Classifier.load(model), picture()
    served = spikesight(model)
    print("\nImages, 320 x 240 JPEG; goals at 8 and 32: rate >= 0.90, CPU <= 1.10 of bare; at 1: p50 <= bare + 2 ms")
    row("clients", "img/s", "bare img/s", "rate / bare", "CPU ms", "CPU / bare", "p50 ms", "bare p50", "p99 ms")
    row(*["---"] * 9)
    asyncio.run(closed_loop(served, "/v1/predict", body, "image/jpeg", 8, 1))
    bare(classifier, body, 8, 1)  # compiled kernels are loaded
    for clients in (1, 8, 32):
        batch = 1 if clients == 1 else 8
        before = bare(classifier, body, batch, seconds / 2)
        load = asyncio.run(closed_loop(served, "/v1/predict", body, "image/jpeg", clients, seconds))
        after = bare(classifier, body, batch, seconds / 2)
        rate, cpu, p50 = ((a + b) / 2 for a, b in zip(before, after))
        own = load.cpu_s * 1e3 / max(1, load.good)
        row(clients, load.rate, rate, load.rate / rate, own, own / cpu, load.quantile(0.5), p50, load.quantile(0.99))
    print(f"resident {served.resident_mib():.0f} MiB (goal <= 600)")
    if python is not None:
        peers(served, python, model, body, seconds)
    served.stop()


def peers(ours: Served, python: str, model: Path, body: bytes, seconds: float) -> None:
    """The same images through other servers, in turns; goal: at least as many a second as either."""
    form = b'--b\r\nContent-Disposition: form-data; name="request"; filename="x.jpg"\r\n\r\n' + body + b"\r\n--b--\r\n"
    coded = json.dumps({"images": [base64.b64encode(body).decode()]}).encode()
    requests = {
        "spikesight": ("/v1/predict", body, "image/jpeg"),
        "litserve": ("/predict", form, "multipart/form-data; boundary=b"),
        "bentoml": ("/predict", coded, "application/json"),
    }
    servers = {"spikesight": ours} | {name: peer(name, python, model) for name in ("litserve", "bentoml")}
    for name, served in servers.items():
        while not asyncio.run(closed_loop(served, *requests[name], 8, 0.5)).good:  # its worker is still loading
            time.sleep(0.5)
    print("\nThe same model behind other servers: img/s (CPU ms an image, all processes), medians of three turns")
    row("clients", *servers)
    row(*["---"] * (1 + len(servers)))
    for clients in (1, 8, 32):
        loads: dict[str, list[Load]] = {name: [] for name in servers}
        for turn in range(3):
            for name in list(servers)[:: -1 if turn % 2 else 1]:
                loads[name].append(asyncio.run(closed_loop(servers[name], *requests[name], clients, seconds / 2)))
        middle = [sorted(each, key=lambda load: load.rate)[1] for each in loads.values()]
        row(clients, *(f"{m.rate:.0f} ({m.cpu_s * 1e3 / max(1, m.good):.1f})" for m in middle))
    row("MiB", *(f"{served.resident_mib():.0f}" for served in servers.values()))
    for served in list(servers.values())[1:]:
        served.stop()


def null(folder: Path, seconds: float) -> None:
    """What HTTP and WebSockets cost themselves."""
    served = spikesight(made_model(folder / "image", kind="null image"))
    tiny = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.png"\r\n\r\n' + tiny + b"\r\n--b--\r\n"
    print("\nA model that costs next to nothing; goals: <= 0.5 ms CPU a request, <= 0.1 ms a WebSocket message")
    row("request", "a second", "CPU ms")
    row("---", "---", "---")
    for name, body, kind in (("raw", tiny, "image/png"), ("multipart", form, "multipart/form-data; boundary=b")):
        load = asyncio.run(closed_loop(served, "/v1/predict", body, kind, 8, seconds))
        row(name, load.rate, load.cpu_s * 1e3 / max(1, load.good))
    served.stop()
    model = made_model(folder / "events", kind="null events")
    served = spikesight(model, SPIKESIGHT_MESSAGES_PER_S="1000000")
    for name, step_us in (("message that closes no bin", 0), ("message with a prediction", 10_000)):
        n, cpu, begin = 4000, served.cpu_s(), time.perf_counter()
        asyncio.run(messages(served.port, n, step_us))
        row(name, n / (time.perf_counter() - begin), (served.cpu_s() - cpu) * 1e3 / n)
    served.stop()


async def messages(port: int, n: int, step_us: int) -> None:
    """One stream sends n messages of ten events, `step_us` apart; at most 8 wait for their answers."""
    from websockets.asyncio.client import connect

    async with connect(f"ws://127.0.0.1:{port}/v1/stream", compression=None) as socket:
        await socket.send(json.dumps({"type": "hello", "protocol": 1, "width": 4, "height": 4}))
        await socket.recv()
        for seq in range(n):
            t = np.arange(10) + seq * step_us
            packet = encode_t64(make_events(t, t % 4, t % 4, t % 2))
            await socket.send(Frame(seq, 0.0, EVENTS_T64, packet).pack())
            if seq >= 8:
                await socket.recv()
        for _ in range(8):
            await socket.recv()


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
        loaded = closed_loop(served, "/v1/predict", body, "image/jpeg", 64, seconds, 4 * peak.rate)
        load, _ = await asyncio.gather(loaded, watch())
        return load

    load = asyncio.run(both())
    bound = (queue / batch + 1) * batch / peak.rate * 1e3 * 1.25
    print(f"\nOverload: {4 * peak.rate:.0f} requests a second, 4 times the peak, by 64 clients on 16 places")
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
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter with litserve and bentoml; else no such rows")
    parser.add_argument("--only", choices=("images", "null", "overload", "streams"), help="one table alone")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_membranes()  # the bare model has what the service has
    with tempfile.TemporaryDirectory() as folder:
        known = shipped()
        if args.model:
            model = known.get(args.model, Path(args.model))
        else:
            model = next(iter(known.values()), None) or made_model(Path(folder) / "random")
        print(f"model {model.name}, {os.cpu_count()} cores, torch {torch.__version__}")
        tables = {
            "images": lambda: images(model, args.seconds, args.peers),
            "null": lambda: null(Path(folder), args.seconds),
            "overload": lambda: overload(model, args.seconds),
            "streams": lambda: streams(model, args.seconds),
        }
        for name, table in tables.items():
            if args.only in (None, name):
                table()


if __name__ == "__main__":
    main()
