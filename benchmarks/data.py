"""Loading N-MNIST as frames: samples a second from files and from the cache, against Tonic.

    python -m benchmarks.data [--root ../shared/data] [--count 400] [--rounds 5]

Every variant makes batches [32, 10, 2, 34, 34]. Tonic reads the file and applies ToFrame in this process. If there are
no recordings below --root, files of the same size are generated.
"""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.common import report
from benchmarks.common.timing import Timing, paired, print_machine, print_table
from spikesight.encoders.dvs import DvsEncoder
from spikesight.encoders.events import SensorSize
from spikesight.models.contract import Contract
from spikesight.models.engine.engine import engine_status
from spikesight.training.data import DataError, Item, bin_items, list_nmnist, read_item

BATCH, EVENTS_A_FILE = 32, 4200


def write_files(folder: Path, count: int) -> list[Item]:
    """Write files of random events in N-MNIST's five-byte format, with as many events as real files have."""
    random, items = np.random.default_rng(0), []
    for number in range(count):
        t = np.sort(random.integers(0, 310_000, EVENTS_A_FILE))
        x, y = random.integers(0, 34, (2, EVENTS_A_FILE))
        on = random.integers(0, 2, EVENTS_A_FILE)
        path = folder / f"{number:05}.bin"
        path.write_bytes(np.stack([x, y, on << 7 | t >> 16, t >> 8 & 255, t & 255], 1).astype(np.uint8).tobytes())
        items.append(Item(path, number % 10))
    return items


def tonic_batches(items: list[Item]) -> Callable[[], object]:
    import tonic

    to_frame = tonic.transforms.ToFrame(sensor_size=(34, 34, 2), n_time_bins=10)
    dtype = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])

    def run() -> None:
        for start in range(0, len(items), BATCH):
            chosen = items[start : start + BATCH]
            np.stack([to_frame(tonic.io.read_mnist_file(str(i.path), dtype=dtype)) for i in chosen])

    return run


def our_batches(items: list[Item]) -> Callable[[], object]:
    encoder = DvsEncoder(SensorSize(34, 34), (34, 34), 31_000, 10, "binary")

    def run() -> None:
        for start in range(0, len(items), BATCH):
            np.stack([encoder(read_item(item)[0])[:, 0] for item in items[start : start + BATCH]])

    return run


def cached_batches(items: list[Item], cache: Path, repeat: int = 50) -> Callable[[], object]:
    """Make a function that reads random batches from the memory-mapped cache for `repeat` epochs, enough to time."""
    contract = Contract(
        kind="events", channels=2, height=34, width=34, steps=10, encoding="binary", sensor_width=34, sensor_height=34,
        bin_us=31_000,
    )  # fmt: skip
    frames = bin_items(items, contract, cache, "binning")
    random = np.random.default_rng(0)
    order = np.concatenate([random.permutation(len(items)) for _ in range(repeat)])

    def run() -> None:
        for start in range(0, len(order), BATCH):
            np.array(frames.frames[np.sort(order[start : start + BATCH])])

    return run


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print_machine(engine_status())
    with tempfile.TemporaryDirectory() as folder:
        try:
            items, what = list(list_nmnist(args.root).train[: args.count]), "real N-MNIST recordings"
        except DataError:
            items, what = write_files(Path(folder), args.count), "generated recordings"
        repeat = 50
        variants = {
            "Tonic read and ToFrame": tonic_batches(items),
            "ours, from files": our_batches(items),
            f"ours, from the cache ({repeat} epochs)": cached_batches(items, Path(folder), repeat),
        }
        timings = paired(variants, "Tonic read and ToFrame", args.rounds)
    cached = next(name for name in timings if "cache" in name)
    ms, *ratios = timings[cached]
    timings[cached] = Timing(ms / repeat, *(ratio * repeat for ratio in ratios))
    print_table(f"{len(items)} {what}, one epoch in batches of {BATCH}", timings, "Tonic")
    for name, t in timings.items():
        print(f"{name}: {len(items) / t.milliseconds * 1e3:,.0f} samples a second")
    report.write("data", args.json)


if __name__ == "__main__":
    main()
