"""Clips for the motion model: what moves goes as the clip's kind says, and a shaken camera goes nowhere."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.real_input.motions import Clip, clips, truth_of


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    random = np.random.default_rng(0)
    paths = [tmp_path / f"{n}.png" for n in range(3)]
    for path in paths:
        coarse = random.integers(40, 220, (12, 12), np.uint8)
        cv2.imwrite(str(path), cv2.resize(coarse, (256, 256), interpolation=cv2.INTER_CUBIC))
    return paths


def cover(clip: Clip, last: bool) -> np.ndarray:
    """Where a white cut-out lies before black in the first frame or the last: [H, W]."""
    blank = Clip(
        clip.kind, np.zeros_like(clip.background), np.full_like(clip.cutout, 250), clip.mask, clip.start, clip.size,
        clip.speed, clip.on_circle, clip.seed,
    )  # fmt: skip
    return list(blank.frames())[-1 if last else 0][..., 0] > 125


@pytest.mark.parametrize(("kind", "axis", "sign"), [("left", 1, -1), ("right", 1, 1), ("up", 0, -1), ("down", 0, 1)])
def test_cut_outs_go_where_the_kind_says(photos: list[Path], kind: str, axis: int, sign: int) -> None:
    clip = next(clips(photos, kind, 1, seed=3))
    before, after = (np.argwhere(cover(clip, last)).mean(0) for last in (False, True))
    assert (after - before)[axis] * sign > 40


def test_push_grows_pull_shrinks_and_still_stays(photos: list[Path]) -> None:
    ratios = {}
    for kind in ("push", "pull", "still"):
        clip = next(clips(photos, kind, 1, seed=3))
        ratios[kind] = cover(clip, True).sum() / cover(clip, False).sum()
    assert ratios["push"] > 1.3
    assert ratios["pull"] < 1 / 1.3
    assert ratios["still"] == pytest.approx(1, abs=0.02)


def test_nothing_moves_where_the_truth_is_still(photos: list[Path]) -> None:
    assert truth_of("shaken camera") == truth_of("empty noisy room") == "still"
    frames = list(next(clips(photos, "empty noisy room", 1, seed=3)).frames())
    assert frames[0].shape == (480, 640, 3)
    assert 1 < np.std(frames[0].astype(float) - frames[-1]) < 6  # the sensor's noise alone
