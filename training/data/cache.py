"""Cache of binned recordings: memory-mapped uint8 files, named by a hash of their inputs, never half-written."""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.preprocess.crop import aligned_steps
from spikesight.encoders.preprocess.input_filter import InputFilter
from spikesight.encoders.words import counted
from spikesight.models.classifier.inputs import encoder_for
from spikesight.models.contract import Contract
from spikesight.training.data.recordings import read_item
from spikesight.training.data.sets import Frames, Item
from spikesight.training.data.windows import cut_windows
from spikesight.training.progress import say, with_progress

CACHE_VERSION = 2


def cached(
    folder: Path, key: dict[str, Any], count: int, shape: tuple[int, ...], samples: Iterator[np.ndarray], what: str
) -> np.ndarray:
    """Return uint8 [count, *shape] from the cache entry of `key`; if there is none, write it whole from `samples`."""
    digest = hashlib.sha256(json.dumps([CACHE_VERSION, key], sort_keys=True).encode()).hexdigest()[:20]
    path = folder / f"{digest}.npy"
    if not path.exists():
        if not sys.stderr.isatty():  # where no bar shows that it goes on
            say(f"{what}: {counted(count, 'sample')}")
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{digest}.{os.getpid()}.npy"
        try:
            array = np.lib.format.open_memmap(partial, "w+", np.uint8, (count, *shape))
            _reserve(partial)
            for index, sample in enumerate(with_progress(samples, what, "sample", count)):
                array[index] = sample
            array.flush()
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r")


def _reserve(path: Path) -> None:
    """Take a file's room on the disk. Raises OSError; a mapped file that finds none later ends the process."""
    if hasattr(os, "posix_fallocate"):  # not on every system
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def contract_key(contract: Contract) -> list[Any]:
    """Return the fields of a contract that determine the frames, for a cache key."""
    c = contract
    return [c.steps, c.bin_us, c.height, c.width, c.encoding, c.filter_us, c.frame, c.task, c.pooled]


def binned(events: Events, sensor: SensorSize, start_us: int, contract: Contract) -> NDArray[np.uint8]:
    """Bin a recording into frames, uint8 [T, 2, H, W]: filter it, then use all of the sensor or align to what moves."""
    small = SensorSize(contract.width, contract.height) if contract.pooled else sensor
    front = InputFilter(sensor, small, contract.filter_us, detects=contract.task == "detection")
    events = front(events)
    if contract.frame == "object":
        return aligned_steps(events, (contract.height, contract.width), contract.bin_us, contract.steps)
    return encoder_for(contract, front.size)(events, start_us)[:, 0]


def _pieces(items: Sequence[Item]) -> Iterator[tuple[Events, SensorSize, int | None]]:
    """Yield (events, sensor size, start in us or None: the first event) of each item; read each file in one pass."""
    for (path, length_us), group in groupby(items, lambda item: (item.path, item.length_us)):
        if length_us:
            for events, sensor in cut_windows(path, [item.begin_us for item in group], length_us):
                yield events, sensor, 0
        else:
            yield from ((*read_item(item), None) for item in group)


def file_stamps(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Return (path, bytes, modification time in ns) of each file, zeros for what is no file, for a cache key."""
    found = ((path, path.stat() if path.exists() else None) for path in paths)
    return [(str(path), stat.st_size, stat.st_mtime_ns) if stat else (str(path), 0, 0) for path, stat in found]


def bin_items(items: Sequence[Item], contract: Contract, folder: Path, what: str) -> Frames:
    """Bin recordings into frames of the contract's size, cached in `folder`; `what`: title of the progress bar."""

    def samples() -> Iterator[np.ndarray]:
        for events, sensor, start_us in _pieces(items):
            start = start_us if start_us is not None else int(events["t"][0]) if len(events) else 0
            yield binned(events, sensor, start, contract)

    windows = [(item.begin_us, item.length_us) for item in items if item.length_us]
    key = {
        "items": [(*stamp, item.mark) for item, stamp in zip(items, file_stamps(item.path for item in items))],
        "contract": contract_key(contract),
        **({"windows": windows} if windows else {}),
    }
    frames = cached(folder, key, len(items), (contract.steps, *contract.shape), samples(), what)
    return Frames(frames, np.array([item.label for item in items], np.int64))
