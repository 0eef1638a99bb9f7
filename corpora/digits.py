"""Digits and what is none, in any motion, on any ground, before any event camera: samples made on the fly from seeds.

A sample is a picture (handwriting of MNIST's training part, print, strokes, seven segments; or letters, scribbles,
halves, textures, nothing ...) that moves (`motion`) on a ground before a sensor (`sensor`). Hidden from training are
what the tables below do not name: the motion "circle", the kinds of experiments/near, OpenCV's fonts.
"""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from corpora.motion import Draws, paths, table
from corpora.others import KINDS, Digits, dead_leaves
from corpora.printed import glyph
from corpora.sensor import Sensor, film
from corpora.strokes import digit
from spikesight.encoders.emulator.saccades import NMNIST, Saccades, saccades
from spikesight.encoders.events import NMNIST_SENSOR, Events, make_events
from spikesight.encoders.preprocess.fit import centred
from spikesight.training.data.cache import cached
from spikesight.training.data.images import find_idx, read_idx
from spikesight.training.data.recordings import Read
from spikesight.training.data.sets import Frames

PATHS = {"saccades": 0.3, "jumps": 0.15, "drift": 0.2, "tremor": 0.15, "still": 0.05, "hand": 0.15}
SHOWN = {"handwriting": 0.52, "print": 0.22, "strokes": 0.26}
STRAY = 0.09  # stray light, of white
GROUNDS = (0.3, 0.25)  # shares of samples on a card, and before a texture
CALM = 2  # the higher, the rarer much noise
NOTHING = 0.12  # share of what is no digit that shows only its ground
SIDE = 34  # of the view, pixels
INSTANT_S = 0.011  # longest time between two instants of a film
TEXTURES, TEXTURE_SIDE = 512, 96
FAINT = 0.4  # highest threshold, by the contrast of the object: what no pixel notices is not to be learnt
NEIGHBOURS = 9 * 0.002  # pixels x seconds in which the filter against noise looks for another event
BATCH = 64  # samples filmed at once
VERSION = 4  # of the pictures; raise it when drawing them changes
COLUMNS = 80  # of a table of draws


class Pictures(NamedTuple):
    """Pictures to show: images uint8 [M, 28, 28], ink is light; labels int64 [M], 10: no digit."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


class Filmed(NamedTuple):
    """n samples, and where their object is at the end of each bin."""

    frames: Tensor  # uint8 [n, T, 2, 34, 34]
    boxes: Tensor  # [n, T, 3]: x and y of the middle of its box, and the box's side, pixels of the view


class Scene(NamedTuple):
    """What n sensors see at K instants."""

    light: Tensor  # [n, K, side, side], logarithmic
    contrast: Tensor  # [n], of the object, steps of log light
    boxes: Tensor  # [n, K, 3], as in Filmed


@dataclass(frozen=True)
class Corpus:
    """Samples made when they are asked for, uint8 [M, T, 2, 34, 34] of 0 and 1: sample n depends on seed and n alone.

    `chosen` [M]: the row of `pictures` that each sample shows, -1: nothing but its ground.
    """

    pictures: Pictures
    chosen: NDArray[np.int64]
    seed: int
    steps: int = 10
    bin_us: int = 31_000
    motions: Mapping[str, float] = field(default_factory=lambda: PATHS)  # share of each motion
    grounds: tuple[float, float] = GROUNDS
    calm: int = CALM

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self.chosen), self.steps, 2, SIDE, SIDE

    @property
    def labels(self) -> NDArray[np.int64]:
        return np.where(self.chosen < 0, 10, self.pictures.labels[self.chosen])

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, rows: Any) -> NDArray[np.uint8]:
        asked = np.arange(len(self))[rows]
        wanted = np.atleast_1d(asked)
        out = np.empty((len(wanted), *self.shape[1:]), np.uint8)
        for begin in range(0, len(wanted), BATCH):
            part = wanted[begin : begin + BATCH]
            for pool, of in ((2, part % 8 == 0), (1, part % 8 != 0)):  # a larger sensor's pixels, pooled by two
                if of.any():
                    out[begin : begin + BATCH][of] = self.filmed(part[of], pool).frames.numpy()
        return out[0] if np.ndim(asked) == 0 else out

    def events(self, row: int) -> Events:
        """Return a sample as events of a sensor of 34 x 34; within its bin the time of an event is random."""
        bins, p, y, x = np.nonzero(self[row])
        times = (bins + _random(self.seed, row).random(len(bins))) * self.bin_us
        order = np.argsort(times, kind="stable")
        return make_events(*(each[order] for each in (times.astype(np.int64), x, y, p)))

    def filmed(self, rows: NDArray[np.int64], pool: int) -> "Filmed":
        """Return samples `rows` from a sensor of 34 * pool pixels a side, whose pixels are pooled."""
        seen, boxes = self.seen(rows, pool)
        pooled = F.max_pool2d(seen.flatten(1, 2).float(), pool)
        return Filmed(pooled.view(len(rows), self.steps, 2, SIDE, SIDE).byte(), boxes)

    def table(self, rows: NDArray[np.int64]) -> Tensor:
        """Return the uniform numbers that make samples `rows`, [n, COLUMNS]."""
        return table(self.seed, rows, COLUMNS)

    def seen(self, rows: NDArray[np.int64], pool: int) -> tuple[Tensor, Tensor]:
        """Return what a sensor of 34 * pool pixels a side gives of samples `rows`, bool [n, T, 2, R, R], and boxes."""
        side, bins = SIDE * pool, self.steps
        seconds = bins * self.bin_us / 1e6
        k = bins * math.ceil(self.bin_us / 1e6 / INSTANT_S)
        draws = Draws(self.table(rows))
        lag = torch.linspace(0, seconds, k)[None] * draws.log(0.5, 2)[:, None]  # all at another speed
        light, contrast, boxes = scene(self.pictures, self.chosen[rows], draws, lag, side, self.motions, self.grounds)
        draws.seek(COLUMNS - 12)  # so that a sensor stays the same if scenes come to draw more
        sensor = cameras(draws, contrast, seconds / k, calm=self.calm)
        generator = torch.Generator()
        fields = [
            torch.rand(5 + 4 * bins, side, side, generator=generator.manual_seed((self.seed << 32) + int(row)))
            for row in rows
        ]
        return film(light, sensor, torch.stack(fields), seconds, bins), boxes[:, k // bins - 1 :: k // bins]


def cameras(draws: Draws, contrast: Tensor, instant_s: float, *, calm: int = CALM, hot: float = 0.006) -> Sensor:
    """Draw a sensor for each sample, before objects of a `contrast` [n]; the higher `calm`, the rarer much noise;
    `hot`: highest share of hot pixels.
    """
    on = torch.minimum(draws.log(0.08, 0.5), FAINT * contrast)
    noise_hz = 25 * draws.unit() ** calm
    cutoff = torch.where(draws.chance(0.5), draws.log(20, 200), torch.full((len(contrast),), 1e4))
    return Sensor(
        on=on,
        off=on * draws.log(0.75, 1.33),
        mismatch=draws.uniform(0, 0.12),
        alpha=1 - torch.exp(-2 * math.pi * cutoff * instant_s),
        noise_hz=noise_hz * (0.05 + 1 - torch.exp(-NEIGHBOURS * noise_hz)),
        hot=hot * draws.unit() ** 4,
        lost=0.5 * draws.unit() ** 2,
    )


def scene(
    pictures: Pictures,
    chosen: NDArray[np.int64],
    draws: Draws,
    t: Tensor,
    side: int,
    motions: Mapping[str, float],
    grounds: tuple[float, float] = GROUNDS,
) -> Scene:
    """Show the `chosen` pictures [n] moving on a ground to sensors of side x side; `t` [n, K]: instants, seconds."""
    n, k = t.shape
    images = torch.from_numpy(pictures.images[np.maximum(chosen, 0)]).float()[:, None] / 255
    images[torch.from_numpy(chosen < 0)] = 0
    images = inked(images, draws)
    path = paths(draws, t, motions)
    shown = draws.uniform(13, 25)[:, None] / 20 * 14 * path.size  # view pixels that 14 of a picture's take
    turn = path.angle + draws.uniform(-0.3, 0.3)[:, None]
    centre = torch.stack([draws.uniform(-3, 3), draws.uniform(-3, 3)], 1)[:, None]
    place, wide, slant = path.place + centre, draws.log(0.85, 1.18)[:, None], draws.uniform(-0.15, 0.15)[:, None]
    half = SIDE / 2
    at = pixels_on(place, turn, shown, wide, slant, half, side)
    place = place / half
    films = at.view(n * k, side, side, 2)
    ink = F.grid_sample(images.repeat_interleave(k, 0), films, align_corners=False).view(n, k, side, side)

    contrast, light_on_dark = draws.log(0.15, 1), draws.chance(0.5)
    dark = 0.15 * draws.unit() ** 2
    paper = torch.where(light_on_dark, dark, dark + contrast).view(n, 1, 1, 1)
    tone = torch.where(light_on_dark, dark + contrast, dark).view(n, 1, 1, 1)
    ground, on_card = draws.uniform(0, 1).view(n, 1, 1, 1), draws.chance(grounds[0])
    textured, fixed = draws.chance(grounds[1]), draws.chance(0.5)
    rough = torch.where(on_card, draws.uniform(0.5, 1), draws.uniform(0.05, 0.4))
    card = torch.stack([draws.log(0.9, 3), draws.log(0.9, 3)], 1)
    which, scale, way = draws.unit(), draws.log(0.5, 2), draws.log(2, 60)
    heading, offset = draws.uniform(0, 2 * math.pi), torch.stack([draws.uniform(-1, 1), draws.uniform(-1, 1)], 1)
    soft, light_swing = draws.log(3, 14), draws.chance(0.05)

    backs = paper.expand(n, k, side, side).clone()
    if (rows := on_card.nonzero()[:, 0]).numel():
        backs[rows] = ground[rows].expand(-1, k, side, side)
    if (rows := textured.nonzero()[:, 0]).numel():
        way = way * ~fixed  # with the object, as all is when the camera moves; or by itself
        shift = (t * way[:, None])[..., None] * torch.stack([heading.cos(), heading.sin()], 1)[:, None]
        shift = torch.where(fixed[:, None, None], path.place, shift) / half
        view = F.affine_grid(torch.eye(2, 3)[None], [1, 1, side, side], align_corners=False)
        spots = (view - shift[rows, :, None, None] + offset[rows, None, None, None]) * scale[rows].view(-1, 1, 1, 1, 1)
        bank = torch.from_numpy(textures())[(which[rows] * TEXTURES).long()][:, None]
        spots = spots.reshape(len(rows), k * side, side, 2) * (SIDE / TEXTURE_SIDE)
        grain = F.grid_sample(bank, spots, padding_mode="reflection", align_corners=False)
        amount = rough[rows].view(-1, 1, 1, 1)
        backs[rows] += amount * (grain.view(len(rows), k, side, side) - backs[rows])
    if (rows := on_card.nonzero()[:, 0]).numel():
        edge = (card[rows, None, None, None] - at[rows].abs()) * soft[rows].view(-1, 1, 1, 1, 1)
        inside = torch.sigmoid(edge[..., 0]) * torch.sigmoid(edge[..., 1])
        backs[rows] += (paper[rows] - backs[rows]) * inside
    seen = torch.lerp(backs, tone.expand_as(backs), ink)
    light = torch.log(STRAY + seen.clamp(min=0)) + swinging(draws, t, light_swing)
    contrast_seen = torch.log((STRAY + tone) / (STRAY + paper)).abs().view(n)
    return Scene(light, contrast_seen, torch.cat([place * half + half, shown[..., None] * 20 / 14], 2))


def pixels_on(
    place: Tensor, angle: Tensor, shown: Tensor, wide: Tensor, slant: Tensor, half: float, side: int
) -> Tensor:
    """Return where the pixels of a full frame, `half` from its middle to its edge, lie on pictures: [n, K, side, side,
    2], from -1 to 1 across a picture. `place` [n, K, 2] is of its middle, `shown` [n, K] half of its side.
    """
    cos, sin, place = angle.cos() * half / shown, angle.sin() * half / shown, place / half
    grid = (torch.arange(side) * 2 + 1) / side - 1
    x = (grid - place[..., :1])[:, :, None]  # [n, K, 1, side]
    y = (grid - place[..., 1:])[..., None]
    at = torch.empty(*shown.shape, side, side, 2)
    across, down = cos / wide + slant * sin, sin / wide - slant * cos
    torch.add(across[..., None, None] * x, down[..., None, None] * y, out=at[..., 0])
    torch.add(-sin[..., None, None] * x, cos[..., None, None] * y, out=at[..., 1])
    return at


def swinging(draws: Draws, t: Tensor, of: Tensor) -> Tensor:
    """Return by how much the log of the light swings at the instants t [n, K] in the samples `of` [n], [n, K, 1, 1]."""
    swing = torch.where(of, draws.uniform(0, 0.12), torch.zeros(len(t)))[:, None]
    swing = swing * torch.sin(2 * math.pi * (draws.uniform(1, 12)[:, None] * t + draws.unit()[:, None]))
    return swing[..., None, None]


def inked(images: Tensor, draws: Draws) -> Tensor:
    """Return pictures [n, 1, 28, 28] with thicker or thinner strokes, or as they are."""
    width = draws.unit().view(-1, 1, 1, 1)
    fat = F.max_pool2d(images, 3, 1, 1)
    thin = -F.max_pool2d(-F.pad(images, (0, 1, 0, 1)), 2, 1)
    thin = torch.where(thin.amax((1, 2, 3), keepdim=True) > 0.5, thin, images)
    return torch.where(width < 0.2, fat, torch.where(width > 0.9, thin, images))


@cache
def textures() -> NDArray[np.float32]:
    """Return pictures of dead leaves, whose edges and spectrum are a photograph's: [TEXTURES, side, side], 0 to 1."""
    random = np.random.default_rng(5)
    made = [dead_leaves(TEXTURE_SIDE, TEXTURE_SIDE, random) / 255 for _ in range(TEXTURES)]
    return np.stack(made).astype(np.float32)


ASIDE = range(40_000, 42_000)  # images of MNIST's training part that no training shows: they calibrate prediction sets
CHOOSING = range(42_000, 44_000)  # the same, for the validation samples
SAMPLES, CHOSEN_BY = 1_000_000, 1_200  # training samples, of which a run sees some; made validation samples
PRINTED, STROKED, OTHERS = 12_000, 24_000, 28_000  # pictures to draw samples from
REAL_EVERY = 8  # of so many training samples one is a real recording
PHOTOGRAPHED = 0.4  # share of the images
HARD = {"letters": 2, "two digits": 3, "half digits": 2, "mirrored digits": 2, "scribbles": 2, "hands": 2}
"""Kinds of no digit that are shown more often."""


@dataclass(frozen=True)
class Mixed:
    """Samples of a corpus, of which each REAL_EVERY-th is a recording, uint8 [M, T, 2, H, W]."""

    real: Any  # frames of the recordings, in turn
    made: Corpus

    def __getitem__(self, rows: Any) -> NDArray[np.uint8]:
        asked = np.arange(len(self.made))[rows]
        out = self.made[asked]
        numbers, of = np.divmod(asked, REAL_EVERY)
        if np.ndim(asked) == 0:
            return out if of else self.real[int(numbers) % len(self.real)]
        out[of == 0] = self.real[numbers[of == 0] % len(self.real)]
        return out


def training_samples(
    root: Path, cache: Path, real: Frames, left_out: frozenset[int], seed: int
) -> tuple[Frames, Frames]:
    """Return (digits, with the recordings `real` among them; what is no digit), as frames uint8 [M, T, 2, 34, 34].

    `left_out`: numbers of MNIST's images that are not shown. Raises DataError without MNIST's training images.
    """
    images, labels = mnist_digits(root)
    free = np.setdiff1d(np.arange(len(labels)), [*left_out, *ASIDE, *CHOOSING])
    handwriting = Pictures(images[free], labels[free])
    digits = _corpus(handwriting, cache, PRINTED, STROKED, SAMPLES, seed)
    known = digits.labels
    known[::REAL_EVERY] = real.labels[np.arange(len(known[::REAL_EVERY])) % len(real)]
    others = Corpus(
        _others(handwriting, cache),
        np.where(_random(seed, 2).random(SAMPLES) < NOTHING, -1, _random(seed, 3).integers(0, OTHERS, SAMPLES)),
        _number(seed, 4),
    )
    return Frames(Mixed(real.frames, digits), known), Frames(others, np.full(SAMPLES, 10))


def training_images(written: Frames, cache: Path, seed: int) -> tuple[Frames, Frames]:
    """Return (digits, written, printed and drawn; what is no digit), as frames uint8 [M, 1, 1, 28, 28].

    PHOTOGRAPHED of each are as they look when a camera's picture of paper has been fitted to the input.
    """
    parts = [_drawn(cache, "printed", PRINTED, seed), _drawn(cache, "stroked", STROKED, seed)]
    digits = Pictures(written.frames[:, 0, 0], written.labels)
    others = _others(digits, cache)
    digits = Pictures(*(np.concatenate(each) for each in zip(digits, *parts)))
    frames = []
    for number, (images, labels) in enumerate((digits, others)):
        random = _random(seed, 8, number)
        seen = np.stack([photographed(one, random) if random.random() < PHOTOGRAPHED else one for one in images])
        frames.append(Frames(seen[:, None, None], labels))
    return frames[0], frames[1]


def photographed(image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Return a drawing, uint8 [28, 28], seen on paper by a camera and fitted again."""
    side = int(random.integers(40, 120))
    big = cv2.resize(image.astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * side
    moved = corners + random.normal(0, 0.05, (4, 2)) * side
    big = cv2.warpPerspective(big, cv2.getPerspectiveTransform(corners, moved.astype(np.float32)), (side, side))
    big = cv2.GaussianBlur(big, (0, 0), side / 28 * random.uniform(0.2, 0.9))
    big += random.normal(0, random.uniform(0, 15), big.shape)
    low, steep = random.uniform(60, 160), random.uniform(0.03, 0.1)
    ink, none = 1 / (1 + np.exp(-steep * (big - low))), 1 / (1 + np.exp(steep * low))
    ink = 255 * ((ink - none) / (1 - none)).clip(0)
    rows, columns = np.nonzero(ink > 128)
    if not len(rows):
        return image
    return centred(ink[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.float32))


def validation_samples(root: Path, cache: Path, seed: int) -> Corpus:
    """Return the samples that, beside recordings, choose and calibrate a model: of other images than the training's."""
    images, labels = mnist_digits(root)
    of = np.array(CHOOSING)[np.array(CHOOSING) < len(labels)]
    return _corpus(Pictures(images[of], labels[of]), cache, 600, 600, CHOSEN_BY, seed + 1_000_000)


def _corpus(handwriting: Pictures, cache: Path, prints: int, lines: int, count: int, seed: int) -> Corpus:
    """Return `count` samples of digits written, printed and drawn, in the shares of SHOWN."""
    parts = [handwriting, _drawn(cache, "printed", prints, seed), _drawn(cache, "stroked", lines, seed)]
    begins = np.cumsum([0, *(len(part.labels) for part in parts)])
    kind = _random(seed, 0).choice(3, count, p=list(SHOWN.values()))
    within = (_random(seed, 1).random(count) * np.diff(begins)[kind]).astype(np.int64)
    pictures = Pictures(np.concatenate([p.images for p in parts]), np.concatenate([p.labels for p in parts]))
    return Corpus(pictures, begins[kind] + within, _number(seed, 5))


def _drawn(cache: Path, how: str, count: int, seed: int) -> Pictures:
    """Return digits of fonts ("printed") or of strokes ("stroked")."""
    random = _random(seed, 6)
    labels = random.integers(10, size=count)
    draw = (lambda label: centred(glyph(str(label), random))) if how == "printed" else partial(digit, random=random)
    samples = (draw(label) for label in labels.tolist())
    key = {"digits": how, "seed": seed, "count": count, "version": VERSION}
    return Pictures(cached(cache, key, count, (28, 28), samples, f"drawing {how} digits"), labels)


def _others(handwriting: Pictures, cache: Path) -> Pictures:
    """Return pictures of what is no digit, more of the kinds in HARD."""
    kinds = [draw for name, draw in KINDS.items() for _ in range(HARD.get(name, 1))]
    random, digits = _random(7, len(handwriting.labels)), Digits(*handwriting)
    samples = (kinds[n % len(kinds)](digits, random) for n in range(OTHERS))
    shown = hashlib.sha256(handwriting.images.tobytes()).hexdigest()  # halves and pairs are made of these alone
    key = {"no digits": shown, "count": OTHERS, "version": VERSION}
    return Pictures(cached(cache, key, OTHERS, (28, 28), samples, "drawing what is no digit"), np.full(OTHERS, 10))


OTHER = {
    "threshold_on": (0.85, 1.15), "threshold_off": (0.85, 1.15), "sigma": (0.5, 2.0), "blur_px": (0.8, 1.2),
    "cutoff_hz": (0.8, 1.5), "refractory_us": (0.7, 1.4), "noise_hz": (0.25, 2.0),
}  # fmt: skip
"""Ranges of another camera's settings, as multiples of N-MNIST's."""


def other_digits(root: Path, left_out: frozenset[int], count: int) -> list[tuple[Callable[[], Read], int]]:
    """Return (a function that emulates it, label) of `count` images of each digit from ASIDE, without `left_out`.

    Each image has a camera of N-MNIST's size with random pixel settings, lens and path, and true times.
    """
    images, labels = mnist_digits(root)
    free = [index for index in ASIDE if index < len(images) and index not in left_out]
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


def mnist_digits(root: Path, part: str = "train") -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read a part of MNIST, "train" or "t10k": images uint8 [M, 28, 28] and labels [M]. Raises MissingDataError."""
    images, labels = (read_idx(find_idx(root, "mnist", f"{part}-{of}-ubyte")) for of in ("images-idx3", "labels-idx1"))
    return images, labels.astype(np.int64)


def _random(*numbers: int) -> np.random.Generator:
    return np.random.default_rng(numbers)


def _number(*numbers: int) -> int:
    return int(_random(*numbers).integers(1 << 30))
