"""Latency from an event to its decision: an event camera on the network, the service, and a viewer of its answers.

    python -m benchmarks.serving.camera --seconds 20
    python -m benchmarks.serving.camera --bin-ms 1 --rate 2e6

Three processes run on one machine with one clock. The camera sends a drawn digit on paper (640 x 480) plus sensor noise
up to the given rate, in datagrams of `--packet-ms`; each is sent after its last event. The service filters the events,
finds the drawing, bins, and steps the digit model; the viewer receives answers over a WebSocket. An event's latency is
the arrival time of its bin's answer minus the event's time. Bins begin in the middle of a datagram, so that a bin's
end waits for its datagram for the mean time.
"""

import argparse
import asyncio
import itertools
import json
import socket
import subprocess
import sys
import time
from typing import NamedTuple

import numpy as np
import uvloop
from numpy.typing import NDArray

from benchmarks.common import report
from benchmarks.serving.clients import Served, free_port, spikesight
from benchmarks.serving.streams import TEXT, client_frame, connected, field
from corpora.handheld import draw_sheet, frames
from corpora.noise import with_noise
from spikesight.encoders.emulator.pixels import Emulator, PixelModel
from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.packets import T64, pack
from spikesight.models.classifier import Classifier, InputPipeline
from spikesight.models.shipped import find
from spikesight.service.client import Client

SENSOR = SensorSize(640, 480)
LOOP_US = 1_000_000
PIXELS, SEED = PixelModel(threshold_on=0.3, threshold_off=0.3), 2  # with these the tracker finds the drawing
LARGEST = 4000 * 13  # bytes of a datagram: 4000 events
WARM_S = 3.0  # warm-up before answers count: the drawing is found, caches are warm
Floats = NDArray[np.float64]


def scene(rate_hz: float, seed: int) -> Events:
    """Make one second of a drawn 3 on paper with noise, about `rate_hz` events, at most half of them the drawing's."""
    random = np.random.default_rng(seed)
    digit = np.zeros((28, 28), np.uint8)
    for row, left, right in ((5, 8, 19), (13, 11, 19), (21, 8, 19)):
        digit[row : row + 2, left:right] = 255
    digit[5:23, 18:20] = 255
    sheet, camera = draw_sheet(digit, SENSOR, random), Emulator(SENSOR, PIXELS, seed)
    drawn = np.concatenate([camera.push(frame, t_us) for t_us, frame in frames(sheet, LOOP_US / 1e6 + 0.1, random)])
    drawn["t"] -= drawn["t"][0]
    drawn = drawn[drawn["t"] < LOOP_US]
    drawn = drawn[random.random(len(drawn)) < rate_hz / 2 / len(drawn)]
    missing = (rate_hz - len(drawn)) / (SENSOR.width * SENSOR.height)
    return with_noise(drawn, SENSOR, missing, random=random)


def packets(events: Events, packet_us: int) -> list[Events]:
    """Split one second of events into packets."""
    return np.split(events, np.searchsorted(events["t"], np.arange(packet_us, LOOP_US, packet_us)))


def send(port: int, rate_hz: float, packet_us: int) -> None:
    """Act as the camera until killed: send datagrams to a port, with event times on the machine's clock."""
    made = [np.frombuffer(pack(part, "t64"), np.uint8) for part in packets(scene(rate_hz, seed=SEED), packet_us)]
    made[0] = made[0][len(made[0]) // 26 * 13 :]  # so bins begin in the middle of a datagram
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        begin_us = time.monotonic_ns() // 1000 + 100_000
        for number in itertools.count():
            second, place = divmod(number, len(made))
            raw = made[place].copy()
            raw.view(T64)["t"] += begin_us + second * LOOP_US
            data = memoryview(raw.tobytes())
            due_us = begin_us + (number + 1) * packet_us
            time.sleep(max(0.0, due_us / 1e6 - time.monotonic()))
            for first in range(0, len(raw), LARGEST):
                sock.send(data[first : first + LARGEST])


class Seen(NamedTuple):
    """Timing of one answer at the viewer, in milliseconds."""

    after: float  # arrival after the end of the bin
    queue: float
    step: float


def collect_timing(served: Served, seconds: float) -> list[Seen]:
    """Collect the timing of answers for `seconds`, starting WARM_S after the first answer."""
    came: list[tuple[float, Seen]] = []

    def on_message(message: bytes) -> None:
        now = time.monotonic()
        end_us, queue_ms, step_ms = (field(message, name) for name in ("end_us", "queue_ms", "step_ms"))
        if end_us is not None and queue_ms is not None and step_ms is not None:
            came.append((now, Seen(now * 1e3 - end_us / 1e3, queue_ms, step_ms)))

    async def run() -> None:
        hello = client_frame(TEXT, json.dumps({"type": "hello", "protocol": 1, "source": "0"}).encode())
        client = await connected(served, hello, on_message)
        while not came or came[-1][0] < came[0][0] + WARM_S + seconds:
            await asyncio.sleep(0.1)
        client.transport.close()

    uvloop.run(run())
    return [seen for now, seen in came if now > came[0][0] + WARM_S]


def front_ms(classifier: Classifier, rate_hz: float, packet_us: int) -> Floats:
    """Time filtering, tracking and binning of each packet of the scene, without the service."""
    pipeline, spent = InputPipeline(classifier.card, SENSOR), list[float]()
    for part in packets(scene(rate_hz, seed=SEED), packet_us):
        begin = time.perf_counter()
        pipeline.push(part)
        spent.append((time.perf_counter() - begin) * 1e3)
    return np.array(spent[len(spent) // 2 :])


def measure(args: argparse.Namespace) -> tuple[list[Seen], str]:
    """Run camera, service and viewer; return the answers' timing and a summary of the service's counters."""
    port = free_port()
    source = f"udp://127.0.0.1:{port}?format=t64&size={SENSOR}"
    served = spikesight(find("nmnist"), "--camera", source, "--bin-ms", f"{args.bin_ms:g}")
    words = ["--send", str(port), "--rate", str(args.rate), "--packet-ms", str(args.packet_ms)]
    command = [sys.executable, "-m", "benchmarks.serving.camera", *words]
    camera = subprocess.Popen(command)
    try:
        seen = collect_timing(served, args.seconds)
        (body,) = Client(f"http://127.0.0.1:{served.port}").cameras()
        said = f"{body.n_events:,} events read, {body.n_dropped:,} dropped, {served.cpu_s():.1f} s of CPU"
    finally:
        camera.kill()
        camera.wait()
        served.stop()
    return seen, said


def tell(seen: list[Seen], front: Floats, bin_ms: float, rate_hz: float, packet_ms: float) -> None:
    """Print and report the parts of the latency of an event."""
    after, queue, step = (np.array(part) for part in zip(*seen))
    within = np.linspace(0, bin_ms, 101)  # the place of an event in its bin, from its end
    whole = (after[:, None] + within).ravel()
    rest = after - queue - step - np.median(front) - packet_ms / 2
    parts = {
        "its bin": within,
        "the camera's packet": np.linspace(0, packet_ms, 101),
        "filter, window, bins": front,
        "queue": queue,
        "network": step,
        "network sockets, JSON, threads": rest,
        "event to decision": whole,
    }
    title = f"network camera, bins of {bin_ms:g} ms, {rate_hz / 1e6:g} Mev/s"
    report.table(title, "an event waits for", "bin, ms", "Mev/s", "mean, ms", "p50, ms", "p95, ms")
    print(f"{len(seen)} answers at bins of {bin_ms:g} ms, {rate_hz / 1e6:g} Mev/s, packets of {packet_ms:g} ms")
    for name, values in parts.items():
        mean, half, most = float(values.mean()), *(float(np.quantile(values, q)) for q in (0.5, 0.95))
        report.row(name, bin_ms, rate_hz / 1e6, mean, half, most)
        print(f"{name:32} mean {mean:6.2f}   p50 {half:6.2f}   p95 {most:6.2f} ms")


def main() -> None:
    """Measure and print the latency; with --send, act as the camera."""
    parser = report.parser(__doc__)
    parser.add_argument("--rate", type=float, default=1e6, metavar="HZ", help="events a second")
    parser.add_argument("--bin-ms", type=float, default=2.0)
    parser.add_argument("--packet-ms", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--send", type=int, metavar="PORT", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.send:
        send(args.send, args.rate, round(args.packet_ms * 1000))
        return
    classifier = Classifier.load(find("nmnist")).at(args.bin_ms)
    front = front_ms(classifier, args.rate, round(args.packet_ms * 1000))
    seen, said = measure(args)
    tell(seen, front, args.bin_ms, args.rate, args.packet_ms)
    print(said)
    report.write("camera", args.json)


if __name__ == "__main__":
    main()
