"""Compiled loops: the emulator's give what plain Python gives, to the bit; and where nothing can be written to."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spikesight.encoders.emulator.pixels import log_levels
from spikesight.encoders.kernels import emulator as loops

HEIGHT, WIDTH = 6, 7
Float = np.float32


def crossings(before: Float, level: Float, reference: Float, on: Float, off: Float) -> Iterator[tuple[int, Any, Any]]:
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


def plain_frame(
    grey, levels, shots, on, off, reference, last, free_us, t0, dt, alpha, leak, refractory_us, seed, draw, limit, *_
) -> tuple[list[tuple[int, int]], int]:  # fmt: skip
    """Offsets and words of the events of one interval, pixel by pixel, and how many pixels wait; see frame_events."""
    events, waiting = [], 0
    for (y, x), value in np.ndenumerate(grey):
        before, level, quiet, word = last[y, x], levels[value], True, x << 17 | y << 1
        if alpha < 1:
            level = before + alpha * (level - before)
        last[y, x] = level
        reference[y, x] -= leak * on[y, x]
        for polarity, share, moved in crossings(before, level, reference[y, x], on[y, x], off[y, x]):
            quiet = False
            if not limit:
                waiting += 1
                break
            limit, reference[y, x] = limit - 1, moved
            t = t0 + int(share * dt)
            if not refractory_us or t >= free_us[y, x]:
                free_us[y, x] = t + refractory_us if refractory_us else free_us[y, x]
                events.append((t - t0, word | polarity))
        pixel = np.uint32(y * WIDTH + x)
        if quiet and (drawn := loops.uniform(seed, draw, pixel)) < shots[value]:
            part = loops.uniform(seed, np.uint32(draw + np.uint32(1)), pixel)
            events.append((int(part * dt), word | int(drawn < shots[value] * Float(0.5))))
            reference[y, x] = level
    return events, waiting


def frame(seed: int, changes: dict[str, Any]) -> dict[str, Any]:
    """What frame_events takes, by name and in order: pixels near their thresholds, some of them behind by many."""
    random = np.random.default_rng(seed)
    grey = random.integers(0, 256, (HEIGHT, WIDTH)).astype(np.uint8)
    levels = log_levels(20.0)
    last = levels[np.where(random.random(grey.shape) < 0.5, grey, random.integers(0, 256, grey.shape))]
    on, off = random.uniform(0.1, 0.5, (2, *grey.shape)).astype(np.float32)
    given = {
        "grey": grey, "levels": levels, "shots": np.zeros(256, np.float32), "on": on, "off": off,
        "reference": (last + random.uniform(-0.9, 0.9, grey.shape)).astype(np.float32), "last": last.copy(),
        "free_us": random.integers(0, 9_000, grey.shape), "t0": 5_000, "dt": Float(4_000), "alpha": Float(1),
        "leak": Float(0), "refractory_us": 0, "seed": np.uint32(seed), "draw": np.uint32(7), "limit": 4_000,
        "offsets": np.zeros(5_000, np.uint32), "words": np.zeros(5_000, np.uint32),
    }  # fmt: skip
    return given | changes


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"shots": np.linspace(0.7, 0.2, 256, dtype=np.float32), "draw": np.uint32(2**31)},
        {"leak": Float(0.4)},
        {"alpha": Float(0.3)},
        {"refractory_us": 900},
        {"limit": 3},
        {"limit": 0},
        {"shots": np.full(256, 0.9, np.float32), "leak": Float(0.2), "alpha": Float(0.6),
         "refractory_us": 300, "limit": 40},
    ],
)  # fmt: skip
def test_a_frame(changes: dict[str, Any]) -> None:
    total = 0
    for seed in range(4):
        ours, theirs = frame(seed, changes), frame(seed, changes)
        n, waiting = loops.frame_events(*ours.values())
        assert (list(zip(ours["offsets"][:n], ours["words"][:n])), waiting) == plain_frame(*theirs.values())
        for name in ("reference", "last", "free_us"):
            assert np.array_equal(ours[name], theirs[name]), name
        total += n
        assert (waiting > 0) == (changes.get("limit", 4_000) <= 40)
    assert (total > 0) == (changes.get("limit") != 0)


READ_ONLY = """
import numba.core.caching as caching
from numba.core.caching import CacheImpl
user = caching.UserProvidedCacheLocator
CacheImpl._locator_classes = [user]  # no other folder can be written to
from spikesight.encoders.kernels.loop import loop
import numpy as np
@loop
def total(values):
    return values.sum()
total(np.arange(4.0))
print(sum(total.stats.cache_hits.values()), total.stats.cache_path)
"""


def test_where_nothing_else_can_be_written_to_all_processes_share_what_one_has_compiled(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(READ_ONLY)
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)
    said = [
        subprocess.run(
            [sys.executable, tmp_path / "program.py"], env=environment, capture_output=True, text=True
        ).stdout
        for _ in range(2)
    ]
    assert [line.split()[0] for line in said] == ["0", "1"]
    assert all(Path(line.split()[1]).is_relative_to(tmp_path) for line in said)
