"""Scenes with several objects before an event camera, and which class each place of the view shows.

Made on the fly as the single objects of `digits`: up to five pictures, on cards or not, on a ground, move together or
each by itself. A place is one cell of the network's last map. It shows a digit if one of the size that the network
reads lies in its middle; a digit that is too large or small for it is none there, so that the levels of a pyramid
compete, and so is everything else.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from corpora.digits import STRAY, TEXTURE_SIDE, TEXTURES, Pictures, cameras, inked, pixels_on, swinging, textures
from corpora.motion import Draws, Path, paths
from corpora.sensor import film
from spikesight.encoders.pyramid import LINE, AdaptiveAccumulation
from spikesight.models.classifier.tracker import WINDOW
from spikesight.models.networks.output_cells import CELL_OFFSET, CELL_WINDOW, STRIDE

VIEW = 64  # pixels a side
NEAR, OFF = 4.6, 9.0  # pixels between a place's middle and a digit's, in which it shows the digit; from where not
READ, NEVER = (13.0, 26.0), (11.0, 30.0)  # lengths of digits that are read; outside of these they are none
NONE, OTHER, IGNORED = 10, 11, -100  # targets; OTHER: none of the classes, but something is drawn there
SPAN, VISIBLE = 34, 15  # side of what a place sees; cells of it that must have changed lately, or it tells nothing
MOTIONS = {"saccades": 0.2, "jumps": 0.12, "drift": 0.25, "tremor": 0.15, "still": 0.1, "hand": 0.18}
CAMERA = {"saccades": 0.25, "jumps": 0.15, "drift": 0.15, "tremor": 0.2, "hand": 0.25}  # how a camera moves itself
THINGS = ((0.0, 0.25, 0.7), (0.0, 0.25, 0.7), (0.5, 0.45, 0.15), (0.3, 0.35, 0.2), (0.2, 0.25, 0.2))
"""From back to front: how often there is a digit, something else, and how many of these are plain surfaces."""
COLUMNS = 320  # of a table of draws


class Things(NamedTuple):
    """Rows of `pictures` that n scenes show, and where: the first is behind the others."""

    of: Tensor  # bool [n], whether there is one
    label: Tensor  # int64 [n]
    place: Tensor  # [n, K, 2], from the middle of the view, pixels
    length: Tensor  # [n, K], of the longer side of a digit's box, pixels


@dataclass(frozen=True)
class Scenes:
    """Batches of scenes: what `batch(number)` gives depends on seed and number alone."""

    digits: Pictures
    others: Pictures
    seed: int
    steps: int = 8
    bin_us: int = 31_000
    view: int = VIEW  # pixels a side; all lengths grow with it
    photographs: NDArray[np.float32] | None = None  # [M, TEXTURE_SIDE, TEXTURE_SIDE], 0 to 1, beside the textures
    held: bool = False  # whether cells stay lit until enough around them are, as before an event camera
    calm: tuple[float, float] | None = None  # of how far objects move, where they hardly do

    def batch(self, number: int, n: int) -> tuple[Tensor, Tensor]:
        """Return events x_seq uint8 [T, n, 2, VIEW, VIEW] and targets int64 [T, n, P, P] of P x P places. A finer
        `view`, a multiple of VIEW, is pooled as the levels of a pyramid are.
        """
        fine, things, moves = self.filmed(number, n)
        k = self.view // VIEW
        seen, moved = pooled(fine, k, max(1, round(LINE * k))), pooled(moves, k, 1)
        if self.held:
            hold = AdaptiveAccumulation((n, 2, VIEW, VIEW))
            seen = torch.from_numpy(np.stack([hold.push(x) for x in seen.numpy()]))
        things = [one._replace(place=one.place / k, length=one.length / k) for one in things]
        shown = targets(things, self.steps)
        count = F.avg_pool2d(moved.float(), SPAN, STRIDE, divisor_override=1)[..., : shown.shape[2], : shown.shape[3]]
        lasts = self.steps if self.held else WINDOW
        lately = torch.stack([count[:, max(0, t - lasts + 1) : t + 1].sum(1) for t in range(self.steps)])
        shown[(shown < NONE) & (lately < VISIBLE)] = IGNORED
        return seen, shown

    def filmed(self, number: int, n: int) -> tuple[Tensor, list["Things"], Tensor]:
        """Return events x_seq uint8 [T, n, 2, view, view]; the objects, the first behind the others; and which pixels
        became lighter or darker by a threshold in each bin, bool [n, T, view, view].
        """
        generator = torch.Generator().manual_seed((self.seed << 32) + number)
        k, seconds = 3 * self.steps, self.steps * self.bin_us / 1e6
        draws = Draws(torch.rand(n, COLUMNS, generator=generator))
        lag = torch.linspace(0, seconds, k)[None] * draws.log(0.5, 2)[:, None]
        light, contrast, things = self._scene(draws, lag)
        draws.seek(COLUMNS - 16)
        sensor = cameras(draws, contrast, seconds / k, calm=14, hot=0.004)
        fields = torch.rand(n, 5 + 4 * self.steps, self.view, self.view, generator=generator)
        grain = torch.where(draws.chance(0.5), draws.log(0.006, 0.1), 0.0).view(n, 1, 1, 1)
        trembling = (
            torch.randn(light.shape, generator=generator) * grain / light.exp()
        )  # of log light: most in the dark
        seen = film(light + trembling.clamp(-1, 1), sensor, fields, seconds, self.steps)
        change = light[:, ::3].diff(dim=1, append=light[:, -1:]).abs()
        return seen.transpose(0, 1).byte().contiguous(), things, change > sensor.on.view(n, 1, 1, 1)

    def _bank(self, which: Tensor) -> Tensor:
        """Return textures or photographs [m, 1, side, side] for numbers in [0, 1)."""
        rows, photographed = which.numpy() * 2 % 1, which.numpy() < 0.5
        found = textures()[(rows * TEXTURES).astype(int)]
        if self.photographs is not None:
            found[photographed] = self.photographs[(rows[photographed] * len(self.photographs)).astype(int)]
        return torch.from_numpy(found)[:, None]

    def _pictures(self, draws: Draws, digits: float, others: float, plain: float) -> tuple[Tensor, Tensor, Tensor]:
        """Draw for each scene whether it has an object, its picture [n, 1, 28, 28] and its label; some are plain."""
        which, row = draws.unit(), draws.unit().double()
        digit = which < digits
        a, b = ((row * len(p.labels)).long() for p in (self.digits, self.others))
        images = torch.from_numpy(self.others.images[b.numpy()]).clone()
        images[digit] = torch.from_numpy(self.digits.images[a[digit].numpy()])
        label = torch.where(digit, torch.from_numpy(self.digits.labels[a.numpy()]), OTHER)
        blank = ~digit & draws.chance(plain)
        images[blank] = 0
        return which < digits + others, images[:, None].float() / 255, label

    def _scene(self, draws: Draws, t: Tensor) -> tuple[Tensor, Tensor, list[Things]]:
        """Return log light [n, K, VIEW, VIEW], contrast [n] of the first objects, and the things."""
        n, k = t.shape
        camera, unit = paths(draws, t, CAMERA), self.view / VIEW
        moves = draws.chance(0.4).float()
        amount = torch.ones(n, 1, 1) if self.calm is None else draws.log(*self.calm).view(n, 1, 1)
        own = Path(unit * camera.place * amount * moves.view(-1, 1, 1), camera.size * 0 + 1, camera.angle * 0)
        light, level = self._ground(draws, t, own)
        turned, found, contrast = draws.uniform(-0.3, 0.3), list[Things](), torch.ones(n)
        cards, dark_ink = draws.chance(0.75), draws.chance(0.5)
        rigid = draws.chance(0.1)  # only the camera moves
        before: Things | None = None
        for shares in THINGS:
            of, images, label = self._pictures(draws, *shares)
            images = inked(images, draws)
            path = paths(draws, t, MOTIONS)
            far = draws.chance(0.25)
            length = torch.where(far, draws.log(7, 56), draws.log(13, 26))
            middle = torch.stack([draws.uniform(-20, 13), draws.uniform(-20, 13)], 1)
            beside, gap, down = draws.chance(0.5), draws.uniform(0.9, 2.2), draws.uniform(-0.3, 0.3)
            left, blank = draws.chance(0.5), images.amax((1, 2, 3)) == 0
            calm = Path(amount * path.place, path.size ** amount[..., 0], amount[..., 0] * path.angle)
            path = calm._replace(place=torch.where(rigid.view(-1, 1, 1), 0.0, calm.place))
            place = own.place + unit * (path.place + middle[:, None])
            size = unit * length[:, None] * path.size
            if before is not None:  # as on a sheet: beside the last object, of its size, moving with it
                together = beside & before.of
                way = torch.where(left, -gap, gap)
                shift = torch.stack([way, down], 1) * before.length.mean(1, keepdim=True)
                place = torch.where(together.view(-1, 1, 1), before.place + shift[:, None], place)
                size = torch.where(together[:, None], before.length, size)
            alone = torch.stack([draws.log(0.5, 4), draws.log(0.5, 4)], 1)
            card = torch.stack([draws.log(0.95, 3), draws.log(0.95, 3)], 1)
            on_card, soft, rounded = cards | blank, draws.log(6, 80), draws.chance(0.35)
            rich, which, scale = draws.chance(0.5) & ~(label < NONE), draws.unit(), draws.log(0.5, 3)
            difference, swap = draws.log(0.2, 0.95), draws.chance(0.2) ^ dark_ink
            base = torch.where(on_card, draws.uniform(0, 1), level)
            up = torch.where(base + difference > 1, False, torch.where(base < difference, True, swap))
            tone = torch.where(up, base + difference, base - difference).clamp(0, 1.2)
            rows = of.nonzero()[:, 0]
            view = Path(place[rows], size[rows], path.angle[rows] + turned[rows, None])
            wide, slant = draws.log(0.85, 1.18)[rows, None], draws.uniform(-0.15, 0.15)[rows, None]
            half = view.size * 0.7  # of a picture, 14 of its pixels; a digit's box has 20
            at = pixels_on(view.place, view.angle, half, wide, slant, self.view / 2, self.view)
            ink = F.grid_sample(images[rows].repeat_interleave(k, 0), at.flatten(0, 1), align_corners=False)
            ink = ink.view(len(rows), k, self.view, self.view)
            inside = _card(at, torch.where(blank[:, None], alone, card)[rows], soft[rows], rounded[rows])
            inside = inside * on_card[rows].view(-1, 1, 1, 1)
            paper, line = base[rows].view(-1, 1, 1, 1).repeat(1, k, self.view, self.view), tone[rows].view(-1, 1, 1, 1)
            filled = rich[rows].nonzero()[:, 0]
            if filled.numel():
                spots = at[filled] * scale[rows][filled].view(-1, 1, 1, 1, 1) / 2
                grain = F.grid_sample(
                    self._bank(which[rows][filled]), spots.flatten(1, 2), padding_mode="reflection", align_corners=False
                )
                paper[filled] = grain.view(len(filled), k, self.view, self.view)
            seen = light[rows]
            seen += (paper - seen) * inside
            seen += (line - seen) * ink
            light[rows] = seen
            change = torch.log((STRAY + tone) / (STRAY + base)).abs()
            contrast = torch.where(of & ~blank, torch.minimum(contrast, change), contrast)
            before = Things(of, torch.where(blank, NONE, label), place, size)
            found.append(before)
        light = torch.log(STRAY + light.clamp(min=0)) + swinging(draws, t, draws.chance(0.05))
        return light, contrast.clamp(min=0.1), found

    def _ground(self, draws: Draws, t: Tensor, camera: Path) -> tuple[Tensor, Tensor]:
        """Return the grounds [n, K, VIEW, VIEW] and their mean brightness [n]."""
        n, k = t.shape
        level, textured, amount = draws.unit() ** 2, draws.chance(0.5), draws.uniform(0.05, 0.9)
        which, scale, way = draws.unit(), draws.log(0.4, 5), draws.log(2, 60) * draws.chance(0.4)
        heading, offset = draws.uniform(0, 2 * math.pi), torch.stack([draws.uniform(-1, 1), draws.uniform(-1, 1)], 1)
        light = level.view(n, 1, 1, 1).repeat(1, k, self.view, self.view)
        rows = textured.nonzero()[:, 0]
        if rows.numel():
            drift = (t * way[:, None])[..., None] * torch.stack([heading.cos(), heading.sin()], 1)[:, None]
            shift = (camera.place + drift * (self.view / VIEW)) / (self.view / 2)
            view = F.affine_grid(torch.eye(2, 3)[None], [1, 1, self.view, self.view], align_corners=False)
            spots = view - shift[rows, :, None, None] + offset[rows, None, None, None]
            spots = spots * scale[rows].view(-1, 1, 1, 1, 1) * (VIEW / TEXTURE_SIDE)
            bank = self._bank(which[rows])
            spots = spots.reshape(len(rows), k * self.view, self.view, 2)
            grain = F.grid_sample(bank, spots, padding_mode="reflection", align_corners=False)
            light[rows] += amount[rows].view(-1, 1, 1, 1) * (
                grain.view(len(rows), k, self.view, self.view) - light[rows]
            )
        return light, light.mean((1, 2, 3))


def _card(at: Tensor, halves: Tensor, soft: Tensor, rounded: Tensor) -> Tensor:
    """Return how much of each pixel is inside rectangles, or ellipses, of half widths and heights [m, 2]."""
    edge = (halves[:, None, None, None] - at.abs()) * soft.view(-1, 1, 1, 1, 1)
    inside = torch.sigmoid(edge[..., 0]) * torch.sigmoid(edge[..., 1])
    rows = rounded.nonzero()[:, 0]
    if rows.numel():
        out = (at[rows] / halves[rows, None, None, None]).square().sum(-1).sqrt()
        least = halves[rows].amin(1) * soft[rows]
        inside[rows] = torch.sigmoid((1 - out) * least.view(-1, 1, 1, 1))
    return inside


def pooled(cells: Tensor, k: int, least: int) -> Tensor:
    """Return which k x k cells of [A, B, ..., H, W] hold at least so many that are lit, likewise."""
    flat = cells.flatten(0, 1)
    lit = F.avg_pool2d(flat.float(), k, divisor_override=1) >= least
    return lit.unflatten(0, cells.shape[:2]).byte()


def targets(things: list[Things], steps: int) -> Tensor:
    """Return which class each place shows in each bin, int64 [T, n, P, P]: a digit, NONE or IGNORED."""
    n, k = things[0].length.shape
    count = (VIEW // STRIDE) - CELL_WINDOW + 1
    middles = CELL_OFFSET + STRIDE * torch.arange(count) - VIEW / 2
    found = torch.full((steps, n, count, count), NONE)
    for number, one in enumerate(things):
        for t in range(steps):
            at = (2 * t + 1) * k // (2 * steps)
            place, length = one.place[:, at], one.length[:, at]
            away = torch.maximum(
                (middles[None] - place[:, 1:]).abs()[:, :, None], (middles[None] - place[:, :1]).abs()[:, None]
            )
            hidden = torch.zeros(n, dtype=torch.bool)
            for later in things[number + 1 :]:
                apart = (later.place[:, at] - place).abs().amax(1)
                hidden |= later.of & (apart < 0.45 * (length + later.length[:, at]))
            digit, other = (one.label < NONE) & one.of, (one.label == OTHER) & one.of
            fits = (length >= READ[0]) & (length <= READ[1]) & ~hidden
            maybe = (length >= NEVER[0]) & (length <= NEVER[1])
            shows = (digit & fits)[:, None, None] & (away <= NEAR)
            unclear = (digit & maybe)[:, None, None] & (away <= OFF) & ~shows
            found[t] = torch.where(unclear & (found[t] == NONE), IGNORED, found[t])
            drawn = (other & fits)[:, None, None] & (away <= NEAR)
            found[t] = torch.where(drawn & (found[t] == NONE), OTHER, found[t])
            found[t] = torch.where(shows, one.label[:, None, None].expand_as(found[t]), found[t])
    return found
