"""What a seed gives stays what it was: models are trained on it, and others must be able to train them again."""

from pathlib import Path

import numpy as np
import pytest

from encoders.emulator import filmed, motions, sheets
from encoders.emulator.corruptions import SUITE
from encoders.emulator.noise import HOT_HZ, with_noise
from encoders.emulator.saccades import MOVEMENTS, Saccades, Smooth, saccade_events, saccades
from encoders.events import EventsError, SensorSize, make_events
from tests.support.inputs.samples import drawing
from tests.support.kept import compare, of_events, of_picture

HERE = Path(__file__).parent
CAMERA, SMALL = SensorSize(96, 64), SensorSize(34, 34)


def test_drawn_motions() -> None:
    made = {
        f"{motion} {seed}": of_events(motions.motion_recording(motion, seed=seed, duration_ms=400))
        for motion in motions.MOTIONS
        for seed in range(8)
    }
    compare(HERE / "motions.json", made)


def test_filmed_motions() -> None:
    made = {
        f"{motion} {seed}": of_events(filmed.filmed_recording(motion, CAMERA, seed=seed, duration_ms=200))
        for motion in motions.MOTIONS
        for seed in range(6)
    }
    compare(HERE / "filmed.json", made)


def test_sheets() -> None:
    made: dict[str, list[float]] = {}
    for seed in range(24):
        random = np.random.default_rng(seed)
        sheet = sheets.draw_sheet(drawing(28, 28, 4, 8), CAMERA, random)
        frames = list(sheets.frames(sheet, 4 / sheets.RATE_HZ, random))
        assert [t_us for t_us, _ in frames] == [33_333, 66_667, 100_000, 133_333]
        made[f"page {seed}"] = [*sheet.page.shape, sheet.size, *of_picture(sheet.page)]
        made[f"frames {seed}"] = of_picture(frames[0][1]) + of_picture(frames[3][1])
    compare(HERE / "sheets.json", made, abs=0.5)


def test_pictures_of_leaves_and_cut_outs() -> None:
    made = {f"leaves {seed}": of_picture(filmed.dead_leaves(60, 80, np.random.default_rng(seed))) for seed in range(8)}
    made |= {f"cut {seed}": of_picture(100 * filmed.cut(64, np.random.default_rng(seed))) for seed in range(16)}
    compare(HERE / "pictures.json", made, abs=0.5)


def test_saccades() -> None:
    digit, wide = drawing(28, 28, 4, 8), drawing(60, 90, 10, 20, scale=2)
    made = {f"{name} {seed}": of_events(saccades(digit, movement=kind(), seed=seed))
            for name, kind in MOVEMENTS.items() for seed in range(2)}  # fmt: skip
    made["wide"] = of_events(saccades(wide, SensorSize(64, 48)))
    made["bright"] = of_events(saccades(digit, movement=Saccades(inverted=False, cutoff_hz=0.0, blur_px=0.0)))
    made["ellipse"] = of_events(saccades(digit, movement=Smooth(radius_px=2, phase=0.25, roundness=-0.5)))
    made["as a digit"] = of_events(saccade_events(wide, SensorSize(40, 68), "digit", seed=2))
    made["plain"] = of_events(saccade_events(wide, SensorSize(40, 68), "plain", seed=2))
    compare(HERE / "saccades.json", made, rel=2e-4, abs=1e-3)


@pytest.mark.parametrize("count", [0, 1])
def test_noise_needs_time_to_come(count: int) -> None:
    events = make_events([7] * count, [3] * count, [4] * count, [1] * count)
    assert len(with_noise(events, SMALL, 5.0, random=np.random.default_rng(0))) == count


def test_noise_has_the_rate_of_every_pixel_and_hot_ones_theirs() -> None:
    quiet = make_events([1_000_000, 2_999_999], [5, 5], [6, 6], [1, 0])
    size = SensorSize(40, 20)
    noise = with_noise(quiet, size, 3.0, random=np.random.default_rng(1))
    assert len(noise) == pytest.approx(2 + 3.0 * 2 * 800, rel=0.05)
    assert (np.diff(noise["t"]) >= 0).all()
    assert (noise["t"].min(), noise["t"].max()) == (1_000_000, 2_999_999)
    assert (noise["x"].max(), noise["y"].max()) == (39, 19)
    assert noise["p"].mean() == pytest.approx(0.5, abs=0.05)
    hot = with_noise(quiet, size, 0.0, 0.005, random=np.random.default_rng(1))
    places, counts = np.unique(hot["y"].astype(int) * 40 + hot["x"], return_counts=True)
    assert len(places) == 1 + round(0.005 * 800)
    assert sorted(counts)[1:] == pytest.approx([2 * HOT_HZ] * 4, rel=0.1)


def test_the_longest_side_of_an_image_decides() -> None:
    tall, wide = np.full((40, 10), 255, np.uint8), np.full((10, 40), 255, np.uint8)
    for image, axis, other in ((tall, "y", "x"), (wide, "x", "y")):
        events = saccades(image, SMALL, movement=Saccades(noise_hz=0))
        assert np.ptp(events[axis]) > 1.5 * np.ptp(events[other])
    for bad in (np.zeros((0, 5), np.uint8), np.zeros((5, 5), np.uint16), np.zeros(5, np.uint8)):
        with pytest.raises(EventsError, match="grey uint8 image"):
            saccades(bad)  # type: ignore[arg-type]


def test_every_fault_of_the_suite() -> None:
    """Robustness is compared between versions."""
    random = np.random.default_rng(0)
    t, x, y = np.sort(random.integers(0, 300_000, 4000)), random.integers(14, 26, 4000), random.integers(8, 20, 4000)
    events = make_events(t + 50, x, y, random.random(4000) < 0.5)
    made = {
        f"{row.name} {row.strength}": of_events(row.fault(events, SensorSize(40, 28), np.random.default_rng(n)))
        for n, row in enumerate(SUITE)
    }
    compare(HERE / "faults.json", made, rel=2e-4, abs=1e-3)
