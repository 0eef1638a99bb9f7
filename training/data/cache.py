"""Binned recordings on disk: memory-mapped uint8, found again by what went into them, never half-written."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.emulator.noise import with_noise
from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.roi.alignment import aligned_steps
from spikesight.encoders.roi.input_filter import InputFilter
from spikesight.models.classifier.inputs import encoder_for
from spikesight.models.contract import Contract
from spikesight.training.config import TrainConfig
from spikesight.training.data.recordings import read_item
from spikesight.training.data.sets import Frames, Item
from spikesight.training.data.windows import cut
from spikesight.training.progress import counted

CACHE_VERSION = 1


def cached(
    folder: Path, key: dict[str, Any], count: int, shape: tuple[int, ...], samples: Iterator[np.ndarray], what: str
) -> np.ndarray:
    """uint8 [count, *shape] from `samples`, kept on disk under the hash of `key`; written whole or not at all."""
    digest = hashlib.sha256(json.dumps([CACHE_VERSION, key], sort_keys=True).encode()).hexdigest()[:20]
    path = folder / f"{digest}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{digest}.{os.getpid()}.npy"
        array = np.lib.format.open_memmap(partial, "w+", np.uint8, (count, *shape))
        try:
            for index, sample in enumerate(counted(samples, what, "sample", count)):
                array[index] = sample
            array.flush()
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return np.load(path, mmap_mode="r")


def sample_shape(contract: Contract) -> tuple[int, ...]:
    """(T, C, H, W) of one sample."""
    return (contract.steps, *contract.shape)


def contract_key(contract: Contract) -> list[Any]:
    """What of a contract decides the frames; JSON-able, and as earlier versions wrote it."""
    c = contract
    key = [c.steps, c.bin_us, c.height, c.width, c.encoding, c.filter_us]
    key += [choice for choice in (c.frame, c.window) if choice not in ("", "sensor")]
    return [*key, "pooled"] if c.pooled else key


def binned(events: Events, sensor: SensorSize, start_us: int, contract: Contract) -> NDArray[np.uint8]:
    """A recording's input, uint8 [T, 2, H, W]: filtered, then all of the sensor or aligned to what moves."""
    front = in_front(sensor, contract)
    events = front(events)
    if contract.frame == "object":
        return aligned_steps(events, (contract.height, contract.width), contract.bin_us, contract.steps)
    return encoder_for(contract, front.size)(events, start_us)[:, 0]


def _pieces(items: Sequence[Item]) -> Iterator[tuple[Events, SensorSize, int | None]]:
    """Events, sensor and begin (None: the first event) of each; neighbouring windows of a file in one pass."""
    for (path, length_us), group in groupby(items, lambda item: (item.path, item.length_us)):
        if length_us:
            for events, sensor in cut(path, [item.begin_us for item in group], length_us):
                yield events, sensor, 0
        else:
            yield from ((*read_item(item), None) for item in group)


def in_front(sensor: SensorSize, contract: Contract) -> InputFilter:
    """What stands before the bins: a filter, or what sums a finer sensor's events by the input's pixels."""
    small = SensorSize(contract.width, contract.height) if contract.pooled else sensor
    return InputFilter(sensor, small, contract.filter_us, follow=contract.window == "drawing")


def noise_key(config: TrainConfig) -> list[float]:
    """What of the settings decides the added noise; JSON-able."""
    return [config.noise_hz, config.hot]


def noisy(events: Events, sensor: SensorSize, config: TrainConfig, seed: int) -> Events:
    """Events with the noise of a worse sensor, up to the settings' amount; half of the seeds add none."""
    random = np.random.default_rng(seed)
    if random.random() < 0.5:
        return events
    rate, hot = random.uniform(0, config.noise_hz), random.uniform(0, config.hot)
    return with_noise(events, sensor, rate, hot, random=random)


def file_stamps(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """(path, bytes, modification time in ns) of each file: a changed one has another stamp."""
    return [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]


def bin_items(
    items: Sequence[Item], contract: Contract, folder: Path, what: str, noise: TrainConfig | None = None, copy: int = 0
) -> Frames:
    """Recordings as frames, kept in `folder`; every sensor size is brought to the contract's.

    With `noise` each copy, by its number, has noise of its own. `what` names the job to whoever waits.
    """

    def samples() -> Iterator[np.ndarray]:
        for number, (events, sensor, start_us) in enumerate(_pieces(items)):
            start = start_us if start_us is not None else int(events["t"][0]) if len(events) else 0
            if noise is not None:
                events = noisy(events, sensor, noise, copy * len(items) + number)
            yield binned(events, sensor, start, contract)

    windows = [(item.begin_us, item.length_us) for item in items if item.length_us]
    key = {
        "items": file_stamps(item.path for item in items),
        "contract": contract_key(contract),
        **({"windows": windows} if windows else {}),
    }
    if noise is not None:
        key["copy"] = [copy, *noise_key(noise)]
    frames = cached(folder, key, len(items), sample_shape(contract), samples(), what)
    return Frames(frames, np.array([item.label for item in items], np.int64))


def shown_images(names: Iterable[str]) -> frozenset[int]:
    """The MNIST images that N-MNIST recordings of these names show: recording 00001.bin is image 0."""
    return frozenset(int(Path(name).stem) - 1 for name in names if Path(name).stem.isdigit())


def join(sets: Sequence[Frames], folder: Path) -> Frames:
    """Several sets as one memory-mapped array."""
    key = {"join": [str(getattr(f.frames, "filename", "")) for f in sets]}
    samples = (frame for frames in sets for frame in frames.frames)
    count = sum(map(len, sets))
    joined = cached(folder, key, count, sets[0].frames.shape[1:], samples, "joining")
    return Frames(joined, np.concatenate([f.labels for f in sets]))
