"""How an object moves before a camera: paths of its middle, its size and its angle, for many samples at once.

All randomness comes as `Draws`: a table of uniform numbers, one row a sample, so that a sample depends on its own row
alone, whichever batch it is in.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from spikesight.encoders.emulator.saccades import NMNIST


class Draws:
    """Uniform numbers [n, C] that are used up column by column; each method returns one value a sample, [n]."""

    def __init__(self, table: Tensor) -> None:
        self.table, self._next = table, 0

    def unit(self) -> Tensor:
        """Return numbers in [0, 1). Raises IndexError when all columns are used."""
        self._next += 1
        return self.table[:, self._next - 1]

    def seek(self, column: int) -> None:
        """Go on at a column, whatever was used before it."""
        self._next = column

    def branch(self, rows: Tensor, columns: int) -> "Draws":
        """Return the next `columns` of the samples `rows`, as draws of their own; `skip` them for the others."""
        return Draws(self.table[rows][:, self._next : self._next + columns])

    def skip(self, columns: int) -> None:
        self._next += columns

    def uniform(self, low: float, high: float) -> Tensor:
        return low + (high - low) * self.unit()

    def log(self, low: float, high: float) -> Tensor:
        """Return numbers whose logarithms are uniform between those of `low` and `high`."""
        return (math.log(low) + math.log(high / low) * self.unit()).exp()

    def chance(self, share: float) -> Tensor:
        """Return True in a `share` of the samples."""
        return self.unit() < share

    def choice(self, shares: Mapping[str, float]) -> Tensor:
        """Return the index of one of the names, as likely as their shares, which need not sum to 1."""
        edges = torch.tensor(list(shares.values()), dtype=torch.float64).cumsum(0)
        return torch.bucketize(self.unit().double() * edges[-1], edges[:-1], right=True)


class Path(NamedTuple):
    """Where an object is at each of K instants. Lengths are pixels of a full frame of 34 x 34."""

    place: Tensor  # [n, K, 2], x and y of its middle from that of the view
    size: Tensor  # [n, K], factor on its size
    angle: Tensor  # [n, K], radians


def _wave(draws: Draws, t: Tensor, hertz: tuple[float, float], size: tuple[float, float]) -> Tensor:
    """Return two sines of random frequency and phase, [n, K, 2]; `size`: range of the amplitude, pixels."""
    amplitude = draws.log(*size)[:, None]
    waves = []
    for _ in range(2):
        turns = draws.uniform(*hertz)[:, None] * t
        waves.append(amplitude * torch.sin(2 * math.pi * (turns + draws.unit()[:, None])))
    return torch.stack(waves, 2)


def _drift(draws: Draws, t: Tensor) -> Tensor:
    """Move straight on in any direction, 5 to 150 pixels a second, through about the middle of the view."""
    angle, speed = draws.uniform(0, 2 * math.pi), draws.log(5, 150)
    way = (t - t.mean()) * speed[:, None]
    way = way.clamp(-17, 17)  # what has left the view shows nothing more
    return way[..., None] * torch.stack([angle.cos(), angle.sin()], 1)[:, None]


def _corners(corners: Tensor, t: Tensor) -> Tensor:
    """Move from corner to corner [n, C, 2], each way as long, slow at both ends."""
    at = (t / t[:, -1:].clamp(min=1e-9) * (corners.shape[1] - 1)).clamp(0, corners.shape[1] - 1 - 1e-4)
    first = at.floor().long()
    part = at - first
    part = part - torch.sin(2 * math.pi * part) / (2 * math.pi)
    begin, end = (corners.gather(1, (first + n)[..., None].expand(-1, -1, 2)) for n in (0, 1))
    return begin + (end - begin) * part[..., None]


def _jumps(draws: Draws, t: Tensor) -> Tensor:
    """Jump to one to four random places."""
    places = torch.stack([torch.stack([draws.uniform(-4, 4), draws.uniform(-4, 4)], 1) for _ in range(5)], 1)
    stays = draws.choice(dict.fromkeys("1234", 1.0))[:, None]  # so many of the places are used
    used = torch.minimum(torch.arange(5)[None], 1 + stays)[..., None].expand(-1, -1, 2)
    return _corners(places.gather(1, used), t)


def _saccades(draws: Draws, t: Tensor) -> Tensor:
    """Move as before N-MNIST's camera: three saccades along a triangle, each corner off by up to a pixel."""
    path = torch.tensor(NMNIST.path_px, dtype=torch.float32)
    path = path + torch.tensor([28 / 2 - 34 / 2, 28 / 2 - 34 / 2])  # of the image's corner, to that of its middle
    off = torch.stack([torch.stack([draws.uniform(-0.7, 0.7), draws.uniform(-0.7, 0.7)], 1) for _ in range(4)], 1)
    return _corners(path + off, t)


def _tremor(draws: Draws, t: Tensor) -> Tensor:
    return _wave(draws, t, (2, 9), (0.4, 2.4))


def _still(draws: Draws, t: Tensor) -> Tensor:
    """Tremble by less than a pixel, as what lies on a table before a camera that a hand holds."""
    return _wave(draws, t, (3, 12), (0.25, 0.8))


def _hand(draws: Draws, t: Tensor) -> Tensor:
    """Sway slowly and tremble a little, as paper in a hand."""
    return _wave(draws, t, (0.4, 1.1), (1, 5)) + _wave(draws, t, (2.5, 4), (0.1, 1.2))


def _circle(draws: Draws, t: Tensor) -> Tensor:
    angle = 2 * math.pi * (draws.uniform(1, 5)[:, None] * t + draws.unit()[:, None])
    return draws.uniform(1, 4)[:, None, None] * torch.stack([angle.cos(), angle.sin()], 2)


PATHS: dict[str, Callable[[Draws, Tensor], Tensor]] = {
    "saccades": _saccades,
    "jumps": _jumps,
    "drift": _drift,
    "tremor": _tremor,
    "still": _still,
    "hand": _hand,
    "circle": _circle,
}
"""Each function maps (draws, times in seconds [n, K]) to places [n, K, 2]."""


def paths(draws: Draws, t: Tensor, shares: Mapping[str, float]) -> Path:
    """Draw how samples move. `t`: the instants [n, K], seconds, from 0 on; `shares`: of each name in PATHS.

    Some samples also come nearer or go away, and some turn.
    """
    kind, place = draws.choice(shares), torch.zeros(*t.shape, 2)
    for number, name in enumerate(shares):
        rows = kind == number
        if rows.any():
            place[rows] = PATHS[name](draws.branch(rows, MOST_USED), t[rows])
    draws.skip(MOST_USED)
    middle = t - t.mean(1, keepdim=True)
    approach = torch.where(draws.chance(0.12), draws.uniform(-1.2, 1.2), torch.zeros(len(t)))
    turn = torch.where(draws.chance(0.2), draws.uniform(-1.2, 1.2), torch.zeros(len(t)))  # radians a second
    size = (approach[:, None] * middle).exp()
    return Path(place, size, turn[:, None] * middle)


MOST_USED = 12
"""Columns of a table of draws that one path uses at most."""


def table(seed: int, rows: np.ndarray, columns: int) -> Tensor:
    """Return uniform numbers [n, columns] of samples `rows`, each row from its own number and the seed."""
    made = [np.random.Generator(np.random.Philox(key=[seed, int(row)])).random(columns, np.float32) for row in rows]
    return torch.from_numpy(np.stack(made))
