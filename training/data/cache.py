"""Binned recordings on disk: memory-mapped uint8, found again by what went into them, never half-written."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.dvs import DvsEncoder
from spikesight.encoders.emulator.noise import with_noise
from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.roi.alignment import aligned_steps
from spikesight.encoders.roi.input_filter import InputFilter
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


def frame_shape(config: TrainConfig) -> tuple[int, ...]:
    """Of one sample of recordings."""
    return (config.steps, 2, config.height, config.width)


def encoder(config: TrainConfig, sensor: SensorSize) -> DvsEncoder:
    """The encoder of a run for recordings of this sensor."""
    return DvsEncoder(sensor, (config.height, config.width), config.bin_us, config.steps, config.encoding)


def contract_key(config: TrainConfig) -> list[Any]:
    key = [config.steps, config.bin_us, config.height, config.width, config.encoding, config.filter_us]
    return [*key, *(choice for choice in (config.crop, config.window) if choice not in ("", "none"))]


def binned(events: Events, sensor: SensorSize, start_us: int, config: TrainConfig) -> NDArray[np.uint8]:
    """What the network is fed of a recording, uint8 [T, 2, H, W]: filtered, as it is or cropped to what moves."""
    events = filtered(events, sensor, config)
    if config.crop == "object":
        return aligned_steps(events, (config.height, config.width), config.bin_us, config.steps)
    return encoder(config, sensor)(events, start_us)[:, 0]


def _pieces(items: Sequence[Item]) -> Iterator[tuple[Events, SensorSize, int | None]]:
    """Events, sensor and begin (None: the first event) of each; neighbouring windows of a file in one pass."""
    for (path, length_us), group in groupby(items, lambda item: (item.path, item.length_us)):
        if length_us:
            for events, sensor in cut(path, [item.begin_us for item in group], length_us):
                yield events, sensor, 0
        else:
            yield from ((*read_item(item), None) for item in group)


def filtered(events: Events, sensor: SensorSize, config: TrainConfig) -> Events:
    """What the contract's filter leaves of a recording."""
    return InputFilter(sensor, sensor, config.filter_us, follow=config.window == "drawing")(events)


def noise_key(config: TrainConfig) -> list[float]:
    return [config.emulation.noise_hz, config.emulation.hot]


def noisy(events: Events, sensor: SensorSize, config: TrainConfig, seed: int) -> Events:
    """As a worse sensor would give them: half of the samples get up to as much noise as the run says."""
    random = np.random.default_rng(seed)
    if random.random() < 0.5:
        return events
    rate, hot = random.uniform(0, config.emulation.noise_hz), random.uniform(0, config.emulation.hot)
    return with_noise(events, sensor, rate, hot, random=random)


def file_stamps(items: Sequence[Item]) -> list[tuple[str, int, int]]:
    """What tells a file from its successor of the same name."""
    return [(str(i.path), i.path.stat().st_size, i.path.stat().st_mtime_ns) for i in items]


def bin_items(items: Sequence[Item], config: TrainConfig, what: str, copy: int | None = None) -> Frames:
    """Recordings as frames; every sensor size is brought to the contract's. A numbered copy has noise of its own."""

    def samples() -> Iterator[np.ndarray]:
        for number, (events, sensor, start_us) in enumerate(_pieces(items)):
            start = start_us if start_us is not None else int(events["t"][0]) if len(events) else 0
            if copy is not None:
                events = noisy(events, sensor, config, copy * len(items) + number)
            yield binned(events, sensor, start, config)

    windows = [(item.begin_us, item.length_us) for item in items if item.length_us]
    key = {"items": file_stamps(items), "contract": contract_key(config), **({"windows": windows} if windows else {})}
    if copy is not None:
        key["copy"] = [copy, *noise_key(config)]
    frames = cached(Path(config.cache), key, len(items), frame_shape(config), samples(), what)
    return Frames(frames, np.array([item.label for item in items], np.int64))


def shown_images(items: Sequence[Item]) -> frozenset[int]:
    """The MNIST images that N-MNIST recordings show: recording 00001.bin is image 0."""
    return frozenset(int(item.path.stem) - 1 for item in items if item.path.stem.isdigit())


def join(sets: Sequence[Frames], folder: Path) -> Frames:
    """Several sets as one memory-mapped array."""
    key = {"join": [str(getattr(f.frames, "filename", "")) for f in sets]}
    samples = (frame for frames in sets for frame in frames.frames)
    count = sum(map(len, sets))
    joined = cached(folder, key, count, sets[0].frames.shape[1:], samples, "joining")
    return Frames(joined, np.concatenate([f.labels for f in sets]))
