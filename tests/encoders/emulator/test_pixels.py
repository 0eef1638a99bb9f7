"""The pixel model against its definition, saccades like the recordings of N-MNIST, a webcam's frames that are moved."""

import gzip
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from spikesight.encoders.emulator.frames import LONGEST_US, PARTS, STEP_US, MovedFrames, moved
from spikesight.encoders.emulator.pixels import CLEAN, Emulator, PixelModel
from spikesight.encoders.emulator.saccades import NMNIST, saccade_events, saccades
from spikesight.encoders.events import Events, EventsError, SensorSize, check_events
from spikesight.encoders.recordings.files import read_recording
from tests.support.inputs.textures import texture

SIZE = SensorSize(24, 18)
EXACT = PixelModel(sigma=0.0, leak_hz=0.0)


def video(n: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(24), np.arange(18))
    phases = rng.uniform(0, 6, 3)
    waves = [
        127 + 60 * np.sin(0.4 * x + phases[0] + 0.3 * k) + 60 * np.cos(0.3 * y + phases[1] - 0.2 * k) for k in range(n)
    ]
    return [wave.clip(0, 255).astype(np.uint8) for wave in waves]


def play(camera: Emulator, frames: list[NDArray[np.uint8]], interval_us: int = 33_333) -> list[Events]:
    return [camera.push(frame, 1_000 + k * interval_us) for k, frame in enumerate(frames)]


def test_a_ramp_gives_one_event_a_threshold() -> None:
    camera = Emulator(SIZE, EXACT)
    camera.push(np.full((18, 24), 50, np.uint8), 0)
    assert camera.now is not None
    camera.now.reference[:] = camera.now.last  # without the random start
    ramp = np.linspace(50, 250, 101)[1:]
    counts = np.zeros((18, 24), int)
    for k, grey in enumerate(ramp):
        events = camera.push(np.full((18, 24), round(grey), np.uint8), (k + 1) * 10_000)
        assert events["p"].all()
        np.add.at(counts, (events["y"], events["x"]), 1)
    assert set(counts.ravel().tolist()) == {math.floor(math.log(250 / 50) / 0.2)}


def test_noise_and_leak_have_the_rates_asked_for() -> None:
    rates = []
    noisy, leaky = PixelModel(leak_hz=0, noise_hz=5), PixelModel(sigma=0, leak_hz=2)
    for grey, pixels in ((0, noisy), (255, noisy), (0, leaky)):
        frames = [np.full((18, 24), grey, np.uint8)] * 601
        events = np.concatenate(play(Emulator(SIZE, pixels), frames, 10_000))
        rates.append((len(events) / (24 * 18 * 6), events["p"].mean()))
    assert rates == [pytest.approx(row, rel=0.1) for row in ((5, 0.5), (1.25, 0.5), (2, 1))]  # bright: a quarter


def test_a_steady_camera_ignores_the_lamp() -> None:
    still = video(1)[0].astype(float) * 0.5 + 60
    flicker = [(still * (1 + 0.3 * math.sin(2.1 * k))).astype(np.uint8) for k in range(20)]
    plain = sum(map(len, play(Emulator(SIZE, CLEAN), flicker)))
    steady = sum(map(len, play(Emulator(SIZE, PixelModel(leak_hz=0, steady=True)), flicker)))
    assert steady < plain / 20
    assert not np.array_equal(Emulator(SIZE, seed=1).on, Emulator(SIZE).on), "a seed is another camera"


def test_a_frame_gives_so_many_events_at_most_and_the_next_ones_what_is_over() -> None:
    frames = [np.full((18, 24), grey, np.uint8) for grey in (50, *[75] * 12)]
    few, all_ = ([*map(len, play(Emulator(SIZE, replace(EXACT, max_events=most)), frames))] for most in (100, 0))
    assert max(few) == 100
    assert sum(few) == all_[1] > 500


@pytest.mark.parametrize(("apart_us", "some"), [(10**7, True), (10**7 + 1, False), (1, True), (0, False), (-5, False)])
def test_frames_ten_seconds_apart_have_nothing_to_do_with_each_other(apart_us: int, some: bool) -> None:
    camera = Emulator(SIZE, CLEAN)
    camera.push(np.zeros((18, 24), np.uint8), 5)
    events = camera.push(np.full((18, 24), 255, np.uint8), 5 + apart_us)
    assert (len(events) > 0) == some
    check_events(events, SIZE)
    assert len(camera.push(np.zeros((18, 24), np.uint8), 10 + apart_us)) > 0, "it goes on from there"
    with pytest.raises(EventsError, match="24x18"):
        camera.push(np.zeros((24, 18), np.uint8), 10**8)


def test_a_slow_photoreceptor_follows_as_a_low_pass_does() -> None:
    camera = Emulator(SIZE, PixelModel(leak_hz=0, cutoff_hz=10.0))
    camera.push(np.full((18, 24), 50, np.uint8), 0)
    camera.push(np.full((18, 24), 200, np.uint8), 10_000)
    assert camera.now is not None
    low, high = math.log(50), math.log(200)
    assert float(camera.now.last[0, 0]) == pytest.approx(high - (high - low) * math.exp(-2 * math.pi * 0.1), rel=1e-5)


def frames_of(events: Events) -> NDArray[np.float64]:
    out = np.zeros((32, 2, 34, 34))
    np.add.at(out, (np.minimum(events["t"] // 10_000, 31), events["p"].astype(int), events["y"], events["x"]), 1)
    return out


def test_a_more_sensitive_camera_sends_more_from_everywhere() -> None:
    image = np.random.default_rng(0).integers(0, 256, (28, 28)).astype(np.uint8)
    assert not np.array_equal(saccades(image), saccades(image, seed=1)), "a seed is another camera"
    rows = [
        np.bincount(saccades(image, movement=replace(NMNIST, threshold_on=at, threshold_off=at))["y"], minlength=34)
        for at in (0.2, 0.1, 0.05)
    ]
    assert all((more > fewer).all() for fewer, more in pairwise(row[4:30] for row in rows))


def test_saccades_resemble_the_recordings(shared_data: Callable[[str], Path]) -> None:
    files = sorted(shared_data("nmnist/Train").glob("*/*.bin"))[::40]
    raw = gzip.decompress(shared_data("mnist/train-images-idx3-ubyte.gz").read_bytes())
    images = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 28, 28)
    ratios, maps, films = [], [], []
    for path in files:
        real = read_recording(path).events
        made = saccades(images[int(path.stem) - 1], seed=int(path.stem))
        ratios.append(len(made) / len(real))
        first, second = frames_of(real), frames_of(made)
        maps.append(np.corrcoef(first.sum((0, 1)).ravel(), second.sum((0, 1)).ravel())[0, 1])
        films.append(np.corrcoef(first.ravel(), second.ravel())[0, 1])
        assert abs(float(real["p"].mean()) - float(made["p"].mean())) < 0.06
    assert np.mean(ratios) == pytest.approx(1, abs=0.06)
    assert np.std(ratios) < 0.1
    assert np.mean(maps) > 0.93
    assert np.mean(films) > 0.5


def test_light_on_dark_is_seen_as_ink_on_paper_and_a_photograph_as_it_is() -> None:
    drawn, photograph = np.full((64, 64), 240, np.uint8), texture((64, 64), np.random.default_rng(3))
    drawn[20:44, 30:36] = 10
    ink, light = (saccade_events(picture, SensorSize(64, 64), "plain") for picture in (drawn, 255 - drawn))
    assert len(ink) == len(light)
    assert (ink["x"] == light["x"]).mean() > 0.99, "but for the rounding of real numbers"
    seen = saccade_events(photograph, SensorSize(64, 64), "plain")
    assert np.array_equal(seen, saccades(photograph, SensorSize(64, 64), movement=replace(NMNIST, inverted=False)))


FRAME = np.random.default_rng(0).integers(0, 256, (21, 34)).astype(np.uint8)


@given(st.integers(-40, 40), st.integers(-40, 40))
def test_a_frame_moved_by_whole_pixels_is_itself(x: int, y: int) -> None:
    rows, columns = (np.clip(np.arange(n) - way, 0, n - 1) for n, way in zip(FRAME.shape, (y, x)))
    assert np.array_equal(moved(FRAME, PARTS * x, PARTS * y), FRAME[rows[:, None], columns])


@given(st.integers(-300, 300), st.integers(-300, 300))
def test_between_pixels_it_is_opencv_s(x: int, y: int) -> None:
    way = np.array([[1, 0, x / PARTS], [0, 1, y / PARTS]], np.float32)
    theirs = cv2.warpAffine(FRAME, way, FRAME.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    assert np.abs(moved(FRAME, x, y).astype(int) - theirs).max() <= 1, "a grey value's rounding"


@pytest.mark.parametrize("pause", [LONGEST_US + 1, -1_000_000])
def test_what_holds_still_gives_events_and_none_of_a_pause(pause: int) -> None:
    eye = MovedFrames(SensorSize(64, 48))
    frame = np.full((96, 128), 200, np.uint8)
    frame[20:70, 40:50] = 30
    seen = [eye.push(frame, 1_000_000 + n * 33_000) for n in range(12)]
    assert sum(map(len, seen)) > 1000
    assert all(one["t"].min() >= 1_000_000 for one in seen[1:])
    later = 1_000_000 + 11 * 33_000 + pause
    assert not len(eye.push(frame, later))
    assert eye.begins(later + 1) == later
    assert eye.begins(later + LONGEST_US + 1) == later + LONGEST_US + 1 - STEP_US
