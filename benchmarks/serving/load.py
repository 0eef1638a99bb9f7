"""Throughput of the service relative to the bare model, and of many streams in batches relative to one by one.

    python benchmarks/serving/load.py [--seconds 4] [--model NAME|FOLDER] [--only TABLE]

Client and server share this machine's cores, so absolute rates mean little. Every row is compared with the bare model
(the same decoding, encoding and batched steps without HTTP), measured right before and after: in a loop, to which the
goals refer, and with a second thread that decodes the next batch, the most that two cores allow. CPU time is the server
process's.
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import cv2
import numpy as np
import torch
import uvloop

from benchmarks.common import report
from benchmarks.serving import work
from benchmarks.serving.clients import Load, Served, answered, closed_loop, spikesight
from benchmarks.serving.streams import messages, send_periodically, send_when_answered
from benchmarks.serving.work import Bare, bare, bare_steps, head, row
from spikesight.encoders.events import make_events
from spikesight.models.classifier import Classifier
from spikesight.models.native.memory import keep_membranes
from spikesight.models.shipped import shipped

STREAMS = 32


def load(served: Served, path: str, body: bytes, kind: str, clients: int, seconds: float, offered: float = 0.0) -> Load:
    """Run `closed_loop` against a server."""
    return uvloop.run(closed_loop(served, path, body, kind, clients, seconds, offered))


def middle(before: Bare, after: Bare) -> Bare:
    """Return the mean of two measurements of the bare model."""
    return Bare(*((a + b) / 2 for a, b in zip(before, after)))


def images(title: str, model: Path, body: bytes, seconds: float) -> None:
    """Measure single requests and saturation, against the bare model."""
    classifier = Classifier.load(model)
    served = spikesight(model, "--max-queue", "48")  # of one address three quarters: 36
    beside = "/ loop", "/ two threads"
    goals = "at 8 and 32 rate >= 0.90, CPU <= 1.10 of the loop; at 1 p50 <= loop's + 2 ms"
    head(title, "clients", "img/s", *beside, "CPU ms", *beside, "p50 ms", "loop's p50", "p99 ms", goals=goals)
    load(served, "/v1/predict", body, "image/jpeg", 8, 1)
    bare(classifier, body, 8, 1)  # load the compiled kernels
    for clients in (1, 8, 32):
        batch = 1 if clients == 1 else 8
        before = bare(classifier, body, batch, seconds / 2), bare(classifier, body, batch, seconds / 2, apart=True)
        own = load(served, "/v1/predict", body, "image/jpeg", clients, seconds)
        after = bare(classifier, body, batch, seconds / 2), bare(classifier, body, batch, seconds / 2, apart=True)
        loop, two = (middle(*pair) for pair in zip(before, after))
        cpu = own.cpu_s * 1e3 / max(1, own.good)
        rates, cpus = (own.rate, own.rate / loop.rate, own.rate / two.rate), (cpu, cpu / loop.cpu_ms, cpu / two.cpu_ms)
        row(clients, *rates, *cpus, own.quantile(0.5), loop.p50_ms, own.quantile(0.99))
    print(f"resident {served.resident_mib():.0f} MiB (goal <= 600)")
    served.stop()


def null(folder: Path, seconds: float) -> None:
    """Measure the cost of HTTP and WebSockets alone, with models that cost next to nothing."""
    served = spikesight(work.null_images(folder / "image"))
    tiny = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="x.png"\r\n\r\n' + tiny + b"\r\n--b--\r\n"
    goals = "<= 0.5 ms CPU a request, <= 0.1 ms a WebSocket message"
    head("a model that costs next to nothing", "request", "a second", "CPU ms", goals=goals)
    for name, body, kind in (("raw", tiny, "image/png"), ("multipart", form, "multipart/form-data; boundary=b")):
        own = load(served, "/v1/predict", body, kind, 8, seconds)
        row(name, own.rate, own.cpu_s * 1e3 / max(1, own.good))
    served.stop()
    model, n = work.null_events(folder / "events"), int(1000 * seconds)
    contract = Classifier.load(model).contract
    served = spikesight(model, SPIKESIGHT_MESSAGES_PER_S="1000000")
    for name, step_us in (("message that closes no bin", 0), ("message and its prediction", contract.bin_us)):
        times = np.arange(10) + step_us * np.arange(n)[:, None]
        stream = messages(contract, [make_events(t, t % 4, t % 4, t % 2) for t in times])
        cpu = served.cpu_s()
        row(name, send_when_answered(served, [stream], 60, ahead=8), (served.cpu_s() - cpu) * 1e3 / n)
    served.stop()


def overload(model: Path, seconds: float) -> None:
    """Overload the queue: accepted requests must stay fast, others must be refused at once."""
    queue, batch = 16, 8
    served = spikesight(model, "--max-queue", str(queue), "--max-batch", str(batch))
    body = work.picture(320, 240)
    peak = load(served, "/v1/predict", body, "image/jpeg", 8, seconds)
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
        own, _ = await asyncio.gather(loaded, watch())
        return own

    own = uvloop.run(both())
    bound = (queue / batch + 1) * batch / peak.rate * 1e3 * 1.25
    head("overload, 4 times the peak, by 64 clients on 16 places", "what", "measured", "goal")
    row("goodput / peak", own.rate / peak.rate, ">= 0.90")
    row("p99 of accepted, ms", own.quantile(0.99), f"<= {bound:.0f}")
    row("p99 of refused, ms", float(np.quantile(own.refused_ms, 0.99)) if own.refused_ms else float("nan"), "<= 20")
    row("refused", own.refused, "> 0")
    row("slowest health answer, ms", max(health), "<= 100")
    served.stop()


def streams(model: Path, seconds: float) -> None:
    """Measure continuous batching of streams against one by one, at full speed and then at 70 % of it."""
    classifier = Classifier.load(model)
    served = spikesight(model, "--max-queue", "48")  # of one address three quarters: 36
    own = streams_of(classifier, int(seconds * 400))
    plain = bare_steps(classifier, STREAMS, 1, seconds / 2, plain=True)
    plain_batch = bare_steps(classifier, STREAMS, 8, seconds / 2, plain=True)
    alone = bare_steps(classifier, STREAMS, 1, seconds / 2)
    batched = bare_steps(classifier, STREAMS, 8, seconds / 2)
    cpu, begin = served.cpu_s(), time.perf_counter()
    rate = send_when_answered(served, own, seconds)
    cpu = (served.cpu_s() - cpu) / (time.perf_counter() - begin)
    title = f"{STREAMS} live streams, events on {work.ACTIVE:.0%} of the pixels"
    head(title, "what", "steps/s", "over PyTorch one by one")
    row("PyTorch, one by one", plain, 1.0)
    row("PyTorch, batches of 8", plain_batch, plain_batch / plain)
    row("engine, one by one", alone, alone / plain)
    row("engine, batches of 8", batched, batched / plain)
    row("through the service, as fast as answered", rate, rate / plain)
    print(f"CPU ms a step: service {cpu * 1e3 / rate:.3f}, engine alone {1e3 / alone:.3f}")
    steady(f"{model.name}, at 70 % of that", served, classifier, STREAMS / (0.7 * rate), seconds)
    served.stop()


def steady(name: str, served: Served, classifier: Classifier, period_s: float, seconds: float) -> None:
    """Measure the time from the end of a bin to its prediction when every stream sends a bin each `period_s`."""
    all_ms = 1e3 * STREAMS / bare_steps(classifier, STREAMS, 8, 1)
    ms = send_periodically(served, streams_of(classifier, int(seconds / period_s)), period_s)
    columns = (
        "a step of all, ms",
        "load of the model",
        "p50 ms",
        "p95 ms",
        "p95 / a step of all",
        "p95 / a batch of 8",
    )
    head(f"{name}: {STREAMS} streams, a step each {period_s * 1e3:.1f} ms", *columns, goals="p95 <= 2 steps")
    p50, p95 = np.quantile(ms, (0.5, 0.95)).tolist()
    row(all_ms, all_ms / 1e3 / period_s, p50, p95, p95 / all_ms, p95 / (all_ms * 8 / STREAMS))


def streams_of(classifier: Classifier, steps: int) -> list[list[bytes]]:
    """Return the messages of STREAMS streams, with four different contents."""
    contract = classifier.contract
    kinds = [messages(contract, work.packets(contract, steps, seed)) for seed in range(4)]
    return [kinds[number % 4] for number in range(STREAMS)]


def main() -> None:
    """Measure and print the tables."""
    parser = report.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each cell")
    parser.add_argument("--model", default="nmnist", help="a shipped model of events, or a folder (nmnist)")
    choices = ("large-images", "images", "null", "overload", "large-streams", "streams")
    parser.add_argument("--only", choices=choices, help="one table alone")
    args = parser.parse_args()
    torch.set_num_threads(1)
    keep_membranes()  # the service does so, too
    seconds, model = args.seconds, shipped().get(args.model, Path(args.model))
    print(f"model {model.name}, {os.cpu_count()} cores, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)

        def large_images() -> None:
            large = work.large_images(folder / "large-images")
            images("SEW ResNet-18 at 224 x 224, JPEG of 640 x 480", large, work.picture(640, 480), seconds)

        def large_streams() -> None:
            large = work.large_events(folder / "large-events")
            served = spikesight(large)
            steady("event-large, 56 x 56", served, Classifier.load(large), 0.02, seconds)
            served.stop()

        tables = {
            "large-images": large_images,
            "images": lambda: images(f"{model.name}, JPEG of 320 x 240", model, work.picture(320, 240), seconds),
            "null": lambda: null(folder, seconds),
            "overload": lambda: overload(model, seconds),
            "large-streams": large_streams,
            "streams": lambda: streams(model, seconds),
        }
        for table, run in tables.items():
            if args.only in (None, table):
                run()
    report.write("service", args.json)


if __name__ == "__main__":
    main()
