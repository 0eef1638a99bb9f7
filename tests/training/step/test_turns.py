"""Quarter turns and mirror images: pictures and names turn together."""

import pytest
import torch

from spikesight.encoders.emulator.motions import MOTIONS
from spikesight.training.step.augment import turn, turned_classes

LABELS = tuple(sorted(MOTIONS))


def moving(direction: str) -> torch.Tensor:
    """One lit cell that goes the way its name says, in eight steps: [T, C, H, W]."""
    frames = torch.zeros(8, 2, 8, 8)
    for t in range(8):
        x, y = {"left": (7 - t, 3), "right": (t, 3), "up": (3, 7 - t), "down": (3, t)}[direction]
        frames[t, 1, y, x] = 1
    return frames


def direction_of(frames: torch.Tensor) -> str:
    """Where the lit cell went, by its first and its last place."""
    (y0, x0), (y1, x1) = (frames[t, 1].nonzero()[0].tolist() for t in (0, -1))
    if abs(x1 - x0) > abs(y1 - y0):
        return "right" if x1 > x0 else "left"
    return "down" if y1 > y0 else "up"


@pytest.mark.parametrize("direction", ["left", "right", "up", "down"])
def test_what_is_seen_moves_as_its_new_name_says(direction: str) -> None:
    frames = moving(direction).repeat(64, 1, 1, 1, 1)
    targets = torch.full((64,), LABELS.index(direction))
    seen, named = turn(frames, targets, LABELS, torch.Generator().manual_seed(0))
    assert [direction_of(f) for f in seen] == [LABELS[k] for k in named]
    assert len(set(named.tolist())) == 4
    assert torch.equal(frames[0], moving(direction)), "the caller's frames stay as they are"


def test_turning_keeps_the_sense_of_rotation_and_a_mirror_changes_it() -> None:
    clockwise, other = LABELS.index("clockwise"), LABELS.index("counter-clockwise")
    for quarters in range(4):
        assert turned_classes(LABELS, quarters, False)[clockwise] == clockwise
        assert turned_classes(LABELS, quarters, True)[clockwise] == other
    still = [LABELS.index(name) for name in ("push", "pull", "still")]
    assert turned_classes(LABELS, 3, True)[still].tolist() == still
