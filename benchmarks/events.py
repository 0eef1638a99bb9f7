"""Event input: reading, binning, filters, emulation and network transport, against other libraries.

    python -m benchmarks.events [reading bags binning filters emulator udp tcp] [--rounds 7]

One thread. Reading, binning, filters and emulation are timed by the process's CPU clock, the network by the wall clock.
Variants alternate within a round; a ratio is the median of the rounds' ratios, with their range beside it. v2e's
emulator is on no package index, so it is not in the table; eventcv.simulate, which follows the same model, is.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks.common import report
from benchmarks.common.timing import paired
from spikesight.encoders.binning import bin_events
from spikesight.encoders.emulator.pixels import CLEAN, Emulator, PixelModel
from spikesight.encoders.emulator.saccades import saccades
from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.preprocess.filters import BackgroundActivity, HotPixels
from spikesight.encoders.recordings.files import format_of, read_recording, write_recording

Variant = tuple[str, Callable[[], object]]
DATA = Path(os.environ.get("SPIKESIGHT_DATA", Path(__file__).resolve().parent.parent.parent / "shared" / "data"))


def compare(title: str, unit: str, amount: float, variants: list[Variant], rounds: int, goal: str = "") -> None:
    """Print a table of `amount` `unit` a second; each variant's time is divided by the first's, which is ours."""
    timings = paired(dict(variants), variants[0][0], rounds)
    print(f"\n{title}{'   goal: ' + goal if goal else ''}")
    report.table(title, "variant", unit, "ours over it", "low", "high")
    for name, timing in timings.items():
        speed, ratios = amount / timing.milliseconds * 1e3, (1 / timing.ratio, 1 / timing.high, 1 / timing.low)
        middle, low, high = ratios
        spread = f"   ours is {middle:6.2f} times as fast ({low:.2f} to {high:.2f})"
        print(f"  {name:42s} {speed:10.3g} {unit}{spread if name != variants[0][0] else ''}")
        report.row(name, speed, *ratios)


def some_events(n: int, size: SensorSize, span_us: int = 1_000_000, seed: int = 0) -> Events:
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, span_us, n))
    return make_events(t, rng.integers(0, size.width, n), rng.integers(0, size.height, n), rng.integers(0, 2, n))


def optional(name: str) -> Any:
    """Import another library, or print that it is not installed and return None."""
    try:
        return __import__(name)
    except ImportError:
        print(f"  ({name} is not installed)")
        return None


def reading(rounds: int) -> None:
    """Read whole files, against the readers of other libraries into their own event types."""
    size = SensorSize(1280, 720)
    with tempfile.TemporaryDirectory() as folder:
        events = some_events(3_000_000, size, 3_000_000)
        for suffix in (".raw", ".aedat4", ".csv"):
            path = Path(folder) / f"made{suffix}"
            write_recording(path, events, size)
            variants = [ours(path), *(readers(path, format_of(path), size) if suffix != ".csv" else [numpy_rows(path)])]
            compare(f"read 3 M events, {suffix}", "Mev/s", 3, variants, rounds)
    for name in ("recordings/evt2.raw", "recordings/evt3.raw", "recordings/gen4.dat", "recordings/davis346.aedat4",
                 "foreign/demo-01.aedat4", "foreign/IMU_translBoxes.aedat"):  # fmt: skip
        path = DATA / name
        if path.exists():
            recording = read_recording(path)
            peers = readers(path, recording.format, recording.size)
            millions = len(recording.events) / 1e6
            compare(
                f"read {path.name}, {len(recording.events):,} events", "Mev/s", millions, [ours(path), *peers], rounds
            )


def numpy_rows(path: Path) -> Variant:
    return "numpy loadtxt", lambda: np.loadtxt(path, delimiter=",", skiprows=1)


def bags(rounds: int) -> None:
    """Read robots' bags, against only extracting the packets without decoding events."""
    for name in ("ros2_evt3_640x480.db3", "ros2_libcaer_640x480.db3", "ros2_evt3.mcap"):
        path = DATA / "bags" / name
        packets = mcap_packets if path.suffix == ".mcap" else sqlite_packets
        alone: Variant = ("packets alone", lambda path=path, packets=packets: packets(path))
        count = len(read_recording(path).events)
        compare(f"read {name}, {count:,} events", "Mev/s", count / 1e6, [ours(path), alone], rounds)


def sqlite_packets(path: Path) -> list[Any]:
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT data FROM messages").fetchall()


def mcap_packets(path: Path) -> list[bytes]:
    from mcap.reader import make_reader

    with path.open("rb") as file:
        return [message.data for _, _, message in make_reader(file).iter_messages()]


def ours(path: Path) -> Variant:
    return "spikesight read_recording", lambda: read_recording(path)


def readers(path: Path, name: str, size: SensorSize) -> list[Variant]:
    """Return other libraries' readers of this format; expelliarmus decodes EVT3 times wrongly but is timed as well."""
    import eventcv

    found: list[Variant] = [("eventcv load + numpy()", lambda: eventcv.load(str(path), time_unit="us").numpy())]
    faery = optional("faery")
    if faery and name != "aedat2":
        dimensions = (size.width, size.height)
        found.append(("faery", lambda: list(faery.events_stream_from_file(path, dimensions_fallback=dimensions))))
    if (evt3 := optional("evt3")) and name == "evt3":
        found.append(("evt3", lambda: evt3.decode_file(str(path))))
    if (expelliarmus := optional("expelliarmus")) and name in ("evt2", "evt3", "dat"):
        found.append(("expelliarmus", lambda: expelliarmus.Wizard(encoding=name).read(str(path))))
    if optional("evutils") and name in ("evt2", "evt3", "dat"):  # it reads only 402 events of davis346.aedat4
        found.append(("evutils", lambda: evutils_read(path)))
    if (dv := optional("dv_processing")) and name == "aedat4":
        found.append(("dv-processing", lambda: dv_read(dv, path)))
    return found


def evutils_read(path: Path) -> Any:
    from evutils.io import EventReader

    with EventReader(str(path)) as reader:
        return reader.read_all()


def dv_read(dv: Any, path: Path) -> list[np.ndarray]:
    recording = dv.io.MonoCameraRecording(str(path))
    parts = []
    while (batch := recording.getNextEventBatch()) is not None:
        parts.append(batch.numpy())
    return parts


def binning(rounds: int) -> None:
    """Bin 1e6 events into counts 10 x 2 x H x W; every variant gives the same numbers."""
    from tonic.functional import to_frame_numpy

    for size, goal in ((SensorSize(128, 128), ">= 20x tonic, >= 100 Mev/s"), (SensorSize(1280, 720), ">= 10x, >= 25")):
        events = some_events(1_000_000, size)
        foreign = events.astype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "i1")])
        shape = (10, 2, size.height, size.width)
        out = np.zeros(shape, np.uint8)

        def kernel(events: Events = events, size: SensorSize = size, out: np.ndarray = out) -> np.ndarray:
            return bin_events(events, 0, 100_000, 10, size, mode="count", out=out)

        def fresh(events: Events = events, size: SensorSize = size) -> np.ndarray:
            return bin_events(events, 0, 100_000, 10, size, mode="count")

        def tonic(foreign: np.ndarray = foreign, size: SensorSize = size) -> np.ndarray:
            sensor = (size.width, size.height, 2)
            return to_frame_numpy(foreign, sensor, time_window=100_000, start_time=0, end_time=1_000_000)

        def bincount(events: Events = events, shape: tuple[int, ...] = shape) -> np.ndarray:
            step = events["t"] // 100_000
            cell = ((step * 2 + events["p"]) * shape[2] + events["y"]) * shape[3] + events["x"]
            return np.bincount(cell, minlength=int(np.prod(shape))).reshape(shape)

        def add_at(events: Events = events, shape: tuple[int, ...] = shape) -> np.ndarray:
            counts = np.zeros(shape, np.int16)
            np.add.at(counts, (events["t"] // 100_000, events["p"].astype(int), events["y"], events["x"]), 1)
            return counts

        assert all(np.array_equal(kernel(), other()) for other in (fresh, tonic, bincount, add_at))
        variants: list[Variant] = [
            ("spikesight bin_events, into a buffer", kernel),
            ("spikesight bin_events, a new array", fresh),
            ("tonic to_frame_numpy (safe form)", tonic),
            ("np.bincount", bincount),
            ("np.add.at", add_at),
        ]
        compare(f"bin 1 M events into 10x2x{size.height}x{size.width}", "Mev/s", 1, variants, rounds, goal)


def filters(rounds: int) -> None:
    """Filter 1 M events at 640x480 through stateful filters, against EventCV's."""
    import eventcv

    size = SensorSize(640, 480)
    events = some_events(1_000_000, size)
    table = np.stack([events["x"], events["y"], events["t"], events["p"]], axis=1).astype(np.int64)
    stream = eventcv.from_numpy(table, sensor_size=(640, 480), time_unit="us")
    pairs: list[tuple[str, Callable[[], object], Callable[[], object]]] = [
        ("background activity", lambda: BackgroundActivity(size, 2_000)(events),
         lambda: stream.background_activity_filter(2_000)),
        ("hot pixels", lambda: HotPixels(size, 100_000)(events), lambda: stream.hot_pixel_filter(6.0)),
    ]  # fmt: skip
    for name, mine, theirs in pairs:
        variants: list[Variant] = [(f"spikesight {name}", mine), (f"eventcv {name}", theirs)]
        compare(f"{name}, 640x480", "Mev/s", 1, variants, rounds, ">= 30 Mev/s")


def video(size: SensorSize, n: int = 24) -> np.ndarray:
    """Make frames of a smooth pattern that moves two pixels a frame: about 35,000 events a frame at 640x480."""
    import cv2

    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (size.height + 20, size.width + 2 * n)).astype(np.uint8)
    soft = cv2.normalize(cv2.GaussianBlur(wide, (0, 0), 12), np.empty(0), 0, 255, cv2.NORM_MINMAX)
    return np.stack([soft[10 : 10 + size.height, 2 * k : 2 * k + size.width] for k in range(n)]).astype(np.uint8)


def emulator(rounds: int) -> None:
    """Emulate events of video frames, with sorted output, against EventCV's simulator."""
    import eventcv

    for size in (SensorSize(640, 480), SensorSize(346, 260)):
        frames = video(size)

        def run(params: PixelModel, frames: np.ndarray = frames, size: SensorSize = size) -> int:
            camera = Emulator(size, params)
            return sum(len(camera.push(frame, k * 33_333)) for k, frame in enumerate(frames))

        noisy = PixelModel(noise_hz=5, cutoff_hz=30, refractory_us=1000)
        n = run(CLEAN)
        variants: list[Variant] = [
            ("spikesight Emulator, no noise", lambda run=run: run(CLEAN)),
            ("spikesight Emulator, noise and low-pass", lambda run=run, noisy=noisy: run(noisy)),
            (
                "eventcv simulate, upsample none",
                lambda frames=frames: eventcv.simulate(frames, fps=30, upsample="none"),
            ),
        ]
        title = f"emulate {size}, {n / (len(frames) - 1):,.0f} events a frame"
        compare(title, "frames/s", len(frames), variants, rounds, "640x480: >= 300, with noise >= 150")
    digit = np.zeros((28, 28), np.uint8)
    digit[5:23, 9:13] = digit[5:9, 9:20] = 255
    made: list[Variant] = [("spikesight saccades", lambda: saccades(digit))]
    compare("saccades over a 28x28 image", "images/s", 1, made, 20 * rounds)


def udp(_: int) -> None:
    """Send events by UDP over loopback at given rates; print the share received and the delay until our packet."""
    from spikesight.encoders.sources.address import Address
    from spikesight.encoders.sources.network import UdpDriver
    from spikesight.encoders.sources.source import Source

    print("\nUDP loopback, 180 events a datagram, 5 ms batches   goal: 4 Mev/s without loss, p95 <= 35 ms")
    report.table("UDP on loopback", "layout", "Mev/s", "received, %", "p50 ms", "p95 ms")
    for layout, rate in (("t64", 1e6), ("t64", 4e6), ("aestream", 4e6)):
        opened: list[UdpDriver] = []

        def open_driver(address: Address, opened: list[UdpDriver] = opened) -> UdpDriver:
            opened.append(UdpDriver(address))
            return opened[-1]

        address = Address("udp", "udp", "127.0.0.1", 0, {"size": "1280x720", "format": layout})
        with Source(address, open_driver) as source:
            sent, late = _udp_round(source, opened[0].port, layout, rate)
            share = 100 * source.n_events / sent
        p50, p95 = np.percentile(late, (50, 95)) if late else (float("nan"), float("nan"))
        print(f"  {layout:9s} {rate / 1e6:.0f} Mev/s   received {share:6.2f} %   p50 {p50:5.1f} ms, p95 {p95:5.1f} ms")
        report.row(layout, rate / 1e6, share, float(p50), float(p95))


def _udp_round(source: Any, port: int, layout: str, rate: float) -> tuple[int, list[float]]:
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    ready = context.Queue()
    sender = context.Process(target=_send_udp, args=(port, layout, rate, 2.0, ready), daemon=True)
    sender.start()
    late: list[float] = []
    sent = 0
    while True:
        packet = source.read(0.05)
        if packet is not None:
            now = time.monotonic_ns() // 1000 & 0xFFFFFFFF
            late.append((now - (int(packet["t"][-1]) & 0xFFFFFFFF)) / 1e3)
        elif not ready.empty() and not sender.is_alive():
            sent = ready.get()
            break
    return sent, late


def _send_udp(port: int, layout: str, rate: float, seconds: float, result: Any) -> None:
    import socket

    from spikesight.encoders.packets import EVENT_BYTES, encode

    batch_s = 0.005
    n = int(rate * batch_s)
    events = some_events(n, SensorSize(1280, 720), round(batch_s * 1e6))
    offsets = events["t"].copy()
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    begin = time.monotonic()
    sent = 0
    while time.monotonic() - begin < seconds:
        due = begin + (sent // n + 1) * batch_s
        time.sleep(max(0.0, due - time.monotonic()))
        events["t"] = time.monotonic_ns() // 1000 - round(batch_s * 1e6) + offsets
        for datagram in encode(events, layout, longest=180 * EVENT_BYTES[layout]):
            out.sendto(datagram, ("127.0.0.1", port))
        sent += n
    result.put(sent)


def tcp(_: int) -> None:
    """Send events of the virtual camera by TCP at 1 Mev/s; print the share received and the delay until our packet."""
    import socket

    from spikesight.app.recordings.play import DvSink
    from spikesight.encoders.sources.network import DvDriver
    from spikesight.encoders.sources.source import Source, parse

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    size = SensorSize(640, 480)
    sink = DvSink(size, "127.0.0.1", port)
    late: list[float] = []
    with Source(parse(f"dv://127.0.0.1:{port}"), DvDriver) as source:
        while not sink.n_clients:
            time.sleep(0.01)
        batch = some_events(1000, size, 1000)
        offsets = batch["t"].copy()
        begin, k = time.monotonic(), 0
        while k < 1500:
            time.sleep(max(0.0, begin + (k + 1) * 0.001 - time.monotonic()))
            batch["t"] = time.monotonic_ns() // 1000 - 1000 + offsets
            sink.send(batch)
            k += 1
            while (packet := source.read(0)) is not None:
                late.append(time.monotonic_ns() / 1e6 - int(packet["t"][-1]) / 1e3)
        time.sleep(0.3)
        received = source.n_events
    sink.close()
    p50, p95 = np.percentile(late, (50, 95))
    print("\nTCP virtual camera, 1 ms packets, about 1 Mev/s   goal: p95 <= 10 ms")
    print(f"  received {100 * received / (k * 1000):.2f} %   p50 {p50:.1f} ms, p95 {p95:.1f} ms")
    report.table("network camera over TCP, 1 ms packets", "Mev/s", "received, %", "p50 ms", "p95 ms")
    report.row(1.0, 100 * received / (k * 1000), float(p50), float(p95))


PARTS = {
    "reading": reading,
    "bags": bags,
    "binning": binning,
    "filters": filters,
    "emulator": emulator,
    "udp": udp,
    "tcp": tcp,
}


def main() -> None:
    """Run the parts asked for, all by default."""
    parser = report.parser(__doc__)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"numpy {np.__version__}, Python {sys.version.split()[0]}, load {load:.1f} on {os.cpu_count()} cores")
    for name in args.parts or PARTS:
        PARTS[name](args.rounds)
    report.write("events", args.json)


if __name__ == "__main__":
    main()
