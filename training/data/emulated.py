"""Emulate events of MNIST digits, moved by saccades or held on paper before a camera, to train beside recordings."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from spikesight.encoders.emulator.handheld import Sheet, draw_room, draw_sheet, frames
from spikesight.encoders.emulator.noise import with_noise
from spikesight.encoders.emulator.pixels import Emulator
from spikesight.encoders.emulator.saccades import NMNIST, Saccades, saccade_events, saccades
from spikesight.encoders.events import NMNIST_SENSOR, Events, SensorSize
from spikesight.encoders.roi.frame_tracker import FrameTracker
from spikesight.encoders.roi.input_filter import InputFilter
from spikesight.encoders.roi.window import SHARE, Window
from spikesight.models.classifier.inputs import encoder_for, sensor_of
from spikesight.models.contract import Contract
from spikesight.training.config import TrainConfig
from spikesight.training.data.cache import cached, contract_key, make_input_filter, noisy, sample_shape
from spikesight.training.data.images import find_idx, read_idx
from spikesight.training.data.recordings import Read
from spikesight.training.data.sets import Frames

Draw = Callable[[SensorSize, np.random.Generator], Sheet]
CAMERAS = (SensorSize(640, 480), SensorSize(320, 240), SensorSize(320, 240))  # that film paper, equally likely
FOUND_US = 400_000  # time in which the tracker finds a clip's drawing
ROOM_US = 1_000_000  # time in which it may take noise in a room for one
SIDES, HOT = (28, 39), 0.005  # range of a small camera's side, pixels; largest share of hot pixels
WINDOWS = 3  # samples of a clip
FILM_VERSION = 4  # part of the cache key: raise it when a tracker's output for the same clip changes
OTHER = {
    "threshold_on": (0.85, 1.15), "threshold_off": (0.85, 1.15), "sigma": (0.5, 2.0), "blur_px": (0.8, 1.2),
    "cutoff_hz": (0.8, 1.5), "refractory_us": (0.7, 1.4), "noise_hz": (0.25, 2.0),
}  # fmt: skip
"""Ranges of another camera's settings, as multiples of N-MNIST's."""
PARTS = 10  # a sample is divided into so many parts; most must hold events
SET_ASIDE = range(40_000, 42_000)  # MNIST training images never trained on as emulations: they calibrate conformal sets
NEAR = 0.35  # largest distance of a window that holds a sheet's drawing from its middle, as a share of the sheet's size
INK = 20 / 28  # a digit's share of the side of an MNIST image


def training_digits(root: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Read MNIST's training split; return (images uint8 [M, 28, 28], labels [M], size in bytes of the image file)."""
    path = find_idx(root, "mnist", "train-images-idx3-ubyte")
    return read_idx(path), read_idx(find_idx(root, "mnist", "train-labels-idx1-ubyte")), path.stat().st_size


def emulate_mnist(config: TrainConfig, contract: Contract, left_out: frozenset[int]) -> Frames:
    """Emulate the first `config.emulated_count` MNIST training images, without `left_out`, moved by saccades."""
    images, labels, size = training_digits(Path(config.root))
    sensor, left_out = sensor_of(contract), left_out.union(SET_ASIDE)
    chosen = [index for index in range(len(images)) if index not in left_out][: config.emulated_count]
    encode = encoder_for(contract, make_input_filter(sensor, contract).size)

    def samples() -> Iterator[np.ndarray]:
        for index in chosen:
            events = noisy(saccade_events(images[index], sensor, "digit", seed=index), sensor, config, index)
            yield encode(make_input_filter(sensor, contract)(events))[:, 0]

    key = {"mnist": [size, chosen], "sensor": str(sensor), "contract": contract_key(contract)}
    key["noise"] = config.noise_hz
    binned = cached(Path(config.cache), key, len(chosen), sample_shape(contract), samples(), "emulating MNIST")
    return Frames(binned, labels[chosen].astype(np.int64))


def emulate_drawings(pictures: np.ndarray, config: TrainConfig, contract: Contract, what: str) -> np.ndarray:
    """Emulate pictures, uint8 [M, 28, 28], as event frames, uint8 [M, T, 2, H, W].

    Pictures of the first half each get a random camera and movement, the others N-MNIST's, as digits do: the movement
    must not reveal the class. `what` is the title of the progress bar.
    """

    def samples() -> Iterator[np.ndarray]:
        for number, picture in enumerate(pictures):
            random, sensor, camera = np.random.default_rng(number), sensor_of(contract), NMNIST
            if own := number < len(pictures) // 2:
                sensor, camera = SensorSize(side := int(random.integers(*SIDES)), side), random_movement(random)
            events = saccades(picture, sensor, movement=camera, seed=number)
            if own:
                events = with_noise(events, sensor, 0.0, random.uniform(0, HOT), random=random)
            yield encoder_for(contract, sensor)(make_input_filter(sensor, contract)(events))[:, 0]

    key = {"drawings": hashlib.sha256(pictures.tobytes()).hexdigest(), "contract": contract_key(contract), "path": 3}
    return cached(Path(config.cache), key, len(pictures), sample_shape(contract), samples(), f"emulating {what}")


def random_movement(random: np.random.Generator) -> Saccades:
    """Draw one to four straight movements of random length and direction, with a random camera."""
    turns = int(random.integers(1, 5))
    corners = np.cumsum([random.uniform(1, 4, 2), *random.uniform(-5, 5, (turns, 2))], 0)
    length = NMNIST.total_ms / turns
    return replace(
        NMNIST,
        path_px=tuple((float(x), float(y)) for x, y in corners.clip(-2, 8)),
        starts_ms=tuple(float(n * length) for n in range(turns)),
        lengths_ms=(length,) * turns,
        threshold_on=(threshold := float(random.uniform(0.15, 0.6))),
        threshold_off=threshold,
        sigma=float(random.uniform(0.01, 0.08)),
        blur_px=float(random.uniform(0.3, 0.9)),
        cutoff_hz=float(random.uniform(30, 150)),
        noise_hz=float(random.uniform(0, 2)),
        inverted=bool(random.random() < 0.5),
    )


def other_digits(root: Path, left_out: frozenset[int], count: int) -> list[tuple[Callable[[], Read], int]]:
    """Return (a function that emulates it, label) of `count` images of each digit from SET_ASIDE, without `left_out`.

    Each image has a camera of N-MNIST's size with random pixel settings, lens and path.
    """
    images, labels, _ = training_digits(root)
    free = [index for index in SET_ASIDE if index < len(images) and index not in left_out]
    chosen = [index for k in range(10) for index in [index for index in free if labels[index] == k][:count]]

    def shown(index: int) -> Read:
        camera = another_camera(np.random.default_rng(index))
        return saccades(images[index], movement=camera, seed=index), NMNIST_SENSOR

    return [(partial(shown, index), int(labels[index])) for index in chosen]


def another_camera(random: np.random.Generator) -> Saccades:
    """Draw a variant of N-MNIST's camera and path within the ranges of OTHER."""
    spread = {name: getattr(NMNIST, name) * random.uniform(*between) for name, between in OTHER.items()}
    path = tuple((x + random.normal(0, 0.2), y + random.normal(0, 0.2)) for x, y in NMNIST.path_px)
    return replace(NMNIST, path_px=path, **spread)


def film_paper_clips(config: TrainConfig, contract: Contract, left_out: frozenset[int], clips: range) -> list[Frames]:
    """Emulate clips of MNIST training images on paper, half before a webcam and half before an event camera.

    `clips` numbers the images from the last one down, without `left_out`. Each clip gives up to WINDOWS consecutive
    samples, as a live stream would feed them to the network while its window holds the digit. Returns one set a camera.
    """
    images, labels, size = training_digits(Path(config.root))
    folder, left_out = Path(config.cache), left_out.union(SET_ASIDE)
    chosen = [index for index in reversed(range(len(images))) if index not in left_out][clips.start : clips.stop]
    key = {"sheets": [size, chosen], "sensor": str(sensor_of(contract)), "contract": contract_key(contract)}
    key["gaze"] = FILM_VERSION
    films = (_filmed(partial(draw_sheet, images[index]), contract, index) for index in chosen)
    shape = (WINDOWS, *sample_shape(contract))
    binned = cached(folder, key, len(chosen), shape, films, "filming digits on paper").reshape(-1, *shape[1:])
    full = _well_filled(binned)
    films = []
    for webcam in (True, False):
        rows = np.flatnonzero(full & (np.repeat(_by_webcam(np.array(chosen)), WINDOWS) == webcam))
        kept = {**key, "camera": "webcam" if webcam else "event camera"}
        frames = cached(folder, kept, len(rows), shape[1:], iter(binned[rows]), "choosing windows")
        films.append(Frames(frames, np.repeat(labels[chosen], WINDOWS)[rows].astype(np.int64)))
    return films


def _by_webcam(image: Any) -> Any:
    """Return whether a webcam films the image of this number (an event camera, otherwise)."""
    return image % 2 == 1


def film_outliers(pictures: np.ndarray, config: TrainConfig, contract: Contract) -> np.ndarray:
    """Film sheets with pictures, uint8 [N, 28, 28], as uint8 [M, T, 2, H, W]; the window may look anywhere."""
    key = {"sheets of outliers": hashlib.sha256(pictures.tobytes()).hexdigest()}
    films = (_filmed(partial(draw_sheet, one), contract, seed, anywhere=True) for seed, one in enumerate(pictures))
    return _kept_films(key, len(pictures), films, config, contract, "filming no digits")


def film_rooms(count: int, config: TrainConfig, contract: Contract) -> np.ndarray:
    """Film `count` textured scenes without a drawing, as uint8 [M, T, 2, H, W]: what the tracker shows of them."""
    even = range(0, 2 * count, 2)  # event cameras: nothing is found in a webcam's rooms
    rooms = (_filmed(draw_room, contract, seed, ROOM_US, anywhere=True) for seed in even)
    return _kept_films({"rooms": count}, count, rooms, config, contract, "filming empty rooms")


def _kept_films(
    key: dict[str, Any], count: int, films: Iterator[np.ndarray], config: TrainConfig, contract: Contract, what: str
) -> np.ndarray:
    """Return the well-filled samples of `count` films, through the cache."""
    shape = (WINDOWS, *sample_shape(contract))
    key = {**key, "contract": contract_key(contract), "gaze": FILM_VERSION}
    samples = cached(Path(config.cache), key, count, shape, films, what).reshape(-1, *shape[1:])
    return samples[_well_filled(samples)]


def _well_filled(binned: np.ndarray) -> np.ndarray:
    """Return which samples, uint8 [M, T, 2, H, W], hold events in most of their PARTS; bool [M]."""
    parts = np.array_split(binned.reshape(*binned.shape[:2], -1).any(2), min(PARTS, binned.shape[1]), 1)
    return np.stack([part.any(1) for part in parts]).sum(0) > len(parts) // 2


def _filmed(
    draw: Draw, contract: Contract, seed: int, begin_us: int = FOUND_US, *, anywhere: bool = False
) -> np.ndarray:
    """Film one clip of a sheet as uint8 [WINDOWS, T, 2, H, W], from a time on; samples during which the tracked window
    lost its digit are blank, unless it may be `anywhere`.
    """
    random, span_us, sensor = np.random.default_rng(seed), contract.steps * contract.bin_us, sensor_of(contract)
    camera = CAMERAS[int(random.integers(len(CAMERAS)))]
    source = FrameTracker(sensor) if _by_webcam(seed) else Emulator(camera, seed=seed)
    front = InputFilter(camera if isinstance(source, Emulator) else sensor, sensor, contract.filter_us, follow=True)
    sheet, parts, astray = draw(camera, random), list[Events](), list[int]()
    for t_us, frame in frames(sheet, (begin_us + WINDOWS * span_us) / 1e6, random):
        parts.append(front(source.push(frame, t_us)))
        window = source.tracks.window if isinstance(source, FrameTracker) else front.window
        if not anywhere and not holds_drawing(window, sheet):
            astray.append(t_us)
    events, out = np.concatenate(parts), np.zeros((WINDOWS, *sample_shape(contract)), np.uint8)
    for window in range(WINDOWS):
        start = begin_us + window * span_us
        if not any(start <= t_us < start + span_us for t_us in astray):
            begin, end = np.searchsorted(events["t"], [start, start + span_us])
            out[window] = encoder_for(contract, sensor)(events[begin:end], start)[:, 0]
    return out


def holds_drawing(window: Window | None, sheet: Sheet) -> bool:
    """Return whether the window holds the sheet's drawing, which sways about the middle of the picture."""
    if window is None:
        return False
    height, width = sheet.desk.shape
    off = max(abs(window.left + (window.side - width) / 2), abs(window.top + (window.side - height) / 2))
    usual = sheet.size * INK / SHARE
    return off < NEAR * sheet.size and 0.6 * usual < window.side < 1.5 * usual
