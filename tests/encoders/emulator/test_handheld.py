"""Rooms as a camera films them: still but for noise, or swaying in a hand."""

from dataclasses import replace

import numpy as np
import pytest

from spikesight.encoders.emulator.handheld import draw_room, frames
from spikesight.encoders.events import SensorSize


@pytest.mark.parametrize("seed", range(6))
def test_a_room_fills_the_view_and_moves_only_if_it_is_held(seed: int) -> None:
    random = np.random.default_rng(seed)
    room = replace(draw_room(SensorSize(160, 120), random), noise=0, flicker=0)
    film = np.stack([frame for _, frame in frames(room, 0.5, random)])
    assert (film[0] != film[-1]).any() == (room.shake > 0)
    sides = film[0][:, :4], film[0][:, -4:], film[0][:4], film[0][-4:]
    assert min(side.std() for side in sides) > 2, "texture up to the borders"
