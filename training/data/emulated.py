"""MNIST's digits as events that join recordings: moved by saccades, or drawn on paper and held before a camera."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from encoders.emulator.pixels import Emulator
from encoders.emulator.saccades import saccade_events
from encoders.emulator.sheets import draw_sheet, frames
from encoders.events import SensorSize
from encoders.gaze.sight import Sight
from training.config import TrainConfig
from training.data.cache import cached, contract_key, encoder, filtered, frame_shape, noise_key, noisy
from training.data.images import find_idx, read_idx
from training.data.sets import Frames

CAMERAS = (SensorSize(640, 480), SensorSize(320, 240), SensorSize(320, 240))  # that film sheets, as often as listed
FOUND_US = 400_000  # after which a clip's drawing has been found
WINDOWS = 3  # samples of a clip


def emulate_mnist(config: TrainConfig, sensor: SensorSize, left_out: frozenset[int]) -> Frames:
    """The first `emulated_count` MNIST training images but those left out, moved by saccades before the sensor."""
    root = Path(config.root)
    images_path = find_idx(root, "mnist", "train-images-idx3-ubyte")
    labels = read_idx(find_idx(root, "mnist", "train-labels-idx1-ubyte"))
    images = read_idx(images_path)
    chosen = [index for index in range(len(images)) if index not in left_out][: config.emulation.emulated_count]
    encode = encoder(config, sensor)

    def samples() -> Iterator[np.ndarray]:
        for index in chosen:
            events = noisy(saccade_events(images[index], sensor, "digit", seed=index), sensor, config, index)
            yield encode(filtered(events, sensor, config))[:, 0]

    stat = images_path.stat()
    key = {"mnist": [stat.st_size, chosen], "sensor": str(sensor), "contract": contract_key(config)}
    key["noise"] = noise_key(config)
    binned = cached(Path(config.cache), key, len(chosen), frame_shape(config), samples(), "emulating MNIST")
    return Frames(binned, labels[chosen].astype(np.int64))


def film_sheets(config: TrainConfig, sensor: SensorSize, left_out: frozenset[int]) -> Frames:
    """`sheets` clips of the last MNIST training images but those left out, drawn on paper and held before a camera.

    Each clip gives WINDOWS samples, one after the other, of what the window that follows the drawing leaves.
    """
    root = Path(config.root)
    images_path = find_idx(root, "mnist", "train-images-idx3-ubyte")
    labels = read_idx(find_idx(root, "mnist", "train-labels-idx1-ubyte"))
    images = read_idx(images_path)
    chosen = [index for index in reversed(range(len(images))) if index not in left_out][: config.emulation.sheets]
    encode = encoder(config, sensor)
    span_us = config.steps * config.bin_us

    def samples() -> Iterator[np.ndarray]:
        for index in chosen:
            random = np.random.default_rng(index)
            camera = CAMERAS[int(random.integers(len(CAMERAS)))]
            eye, sight = Emulator(camera, seed=index), Sight(camera, sensor, config.filter_us, follow=True)
            seconds = (FOUND_US + WINDOWS * span_us) / 1e6
            film = frames(draw_sheet(images[index], camera, random), seconds, random)
            events = np.concatenate([sight(eye.push(frame, t_us)) for t_us, frame in film])
            for window in range(WINDOWS):
                start = FOUND_US + window * span_us
                begin, end = np.searchsorted(events["t"], [start, start + span_us])
                yield encode(events[begin:end], start)[:, 0]

    key = {"sheets": [images_path.stat().st_size, chosen], "sensor": str(sensor), "contract": contract_key(config)}
    binned = cached(Path(config.cache), key, len(chosen) * WINDOWS, frame_shape(config), samples(), "filming sheets")
    full = np.flatnonzero(binned.reshape(len(binned), config.steps, -1).any(2).sum(1) > config.steps // 2)
    kept = cached(Path(config.cache), {**key, "kept": True}, len(full), frame_shape(config), iter(binned[full]), "kept")
    return Frames(kept, np.repeat(labels[chosen], WINDOWS)[full].astype(np.int64))
