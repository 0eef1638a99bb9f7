"""The pixel model's kernel gives what plain Python gives, to the bit."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from spikesight.encoders.emulator.pixels import Emulator, PixelModel, PixelState, log_levels
from spikesight.encoders.events import SensorSize

HEIGHT, WIDTH = 6, 7
Float = np.float32


def uniform(seed: int, draw: int, pixel: int) -> Float:
    """In [0, 1): the top 24 bits of Wellons' lowbias32 hash of the three."""
    h = (seed ^ draw * 0x9E3779B9 ^ pixel * 0x85EBCA6B) & 0xFFFFFFFF
    h = (h ^ h >> 16) * 0x7FEB352D & 0xFFFFFFFF
    h = (h ^ h >> 15) * 0x846CA68B & 0xFFFFFFFF
    return Float((h ^ h >> 16) >> 8) * Float(1 / 16777216)


def crossings(before: Any, level: Any, reference: Any, on: Any, off: Any) -> Iterator[tuple[int, Any, Any]]:
    """Polarity, share of the interval and new reference of every threshold between reference and level."""
    while True:
        if level >= reference + on:
            reference, polarity = reference + on, 1
        elif level <= reference - off:
            reference, polarity = reference - off, 0
        else:
            return
        share = (reference - before) / (level - before) if level != before else Float(1)
        yield polarity, min(max(share, Float(0)), Float(1)), reference


def plain_frame(grey: Any, camera: Emulator, state: PixelState, dt: int) -> list[tuple[int, int, int, bool]]:
    """The events of a frame `dt` us after the last, in order of time; the state changes with it."""
    events, params, seconds = [], camera.params, dt * 1e-6
    levels, limit = log_levels(params.linear_below), params.max_events or 4 * grey.size
    alpha = Float(1 - math.exp(-2 * math.pi * params.cutoff_hz * seconds))
    shots = (params.noise_hz * seconds * (1 - 0.75 * np.arange(256) / 255)).astype(Float)
    for (y, x), value in np.ndenumerate(grey):
        before, level, quiet, on, off = state.last[y, x], levels[value], True, camera.on[y, x], camera.off[y, x]
        level = before + alpha * (level - before) if params.cutoff_hz else level
        state.last[y, x] = level
        state.reference[y, x] -= Float(params.leak_hz * seconds) * on
        for polarity, share, moved in crossings(before, level, state.reference[y, x], on, off):
            quiet = False
            if not limit:
                break
            limit, state.reference[y, x] = limit - 1, moved
            t = state.t_us + int(share * Float(dt))
            if not params.refractory_us or t >= state.free_us[y, x]:
                state.free_us[y, x] = t + params.refractory_us if params.refractory_us else state.free_us[y, x]
                events.append((t, x, y, bool(polarity)))
        drawn, part = (uniform(camera.seed, state.draw + n, y * WIDTH + x) for n in range(2))
        if quiet and drawn < shots[value]:
            events.append((state.t_us + int(part * Float(dt)), x, y, bool(drawn < shots[value] * Float(0.5))))
            state.reference[y, x] = level
    return sorted(events, key=lambda event: event[0])


def camera(seed: int, params: PixelModel) -> tuple[Emulator, Any]:
    """An emulator and a frame for it: pixels near their thresholds, some of them behind by many."""
    random = np.random.default_rng(seed)
    grey, before = random.integers(0, 256, (2, HEIGHT, WIDTH)).astype(np.uint8)
    made = Emulator(SensorSize(WIDTH, HEIGHT), params, seed)
    made.push(np.where(random.random(grey.shape) < 0.5, grey, before), 5_000)
    made.on, made.off = random.uniform(0.1, 0.5, (2, *grey.shape)).astype(np.float32)
    assert made.now is not None
    made.now.reference += random.uniform(-0.9, 0.9, grey.shape).astype(np.float32)
    made.now.free_us = random.integers(0, 9_000, grey.shape)
    made.now.draw = seed << 30
    return made, grey


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"noise_hz": 170.0},
        {"leak_hz": 100.0},
        {"cutoff_hz": 14.0},
        {"refractory_us": 900},
        {"max_events": 3},
        {"noise_hz": 200.0, "leak_hz": 50.0, "cutoff_hz": 36.0, "refractory_us": 300, "max_events": 40},
    ],
)
def test_a_frame_is_what_plain_python_makes_of_it_to_the_bit(changes: dict[str, Any]) -> None:
    params, total = PixelModel(**{"leak_hz": 0.0, **changes}), 0
    for seed in range(4):
        (ours, grey), (theirs, _) = camera(seed, params), camera(seed, params)
        assert ours.now is not None
        assert theirs.now is not None
        expected = plain_frame(grey, theirs, theirs.now, 4_000)
        events = ours.push(grey, 9_000)
        assert [(t, x, y, p) for t, x, y, p in events.tolist()] == expected
        for name in ("reference", "last", "free_us"):
            assert np.array_equal(getattr(ours.now, name), getattr(theirs.now, name)), name
        total += len(events)
    assert total > 0
