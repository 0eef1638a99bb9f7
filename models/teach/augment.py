"""Augmentation: vary an example as if the thing had been shown again in another way."""

import numpy as np

from spikesight.encoders.events import Events

TURN, SIZE = 0.1, 0.1  # standard deviations of the rotation in radians, and of the size's logarithm
PLACE = 0.04  # standard deviation of the shift, as a share of the side
PACE = 0.2  # standard deviation of the logarithm of the exponent that warps time
DROP = 0.4  # largest share of events dropped


def augmented(events: Events, size: tuple[int, int], length_us: int, random: np.random.Generator) -> Events:
    """Return a random variation of an aligned example: rotated, scaled, shifted, warped in time and thinned; sorted.

    `size` (height, width) and `length_us`: what `events` were aligned to. Events that leave the picture are dropped.
    """
    height, width = size
    kept = events[random.random(len(events)) >= random.uniform(0, DROP)].copy()
    turn, scale = random.normal(0, TURN), np.exp(random.normal(0, SIZE))
    x = (kept["x"] + random.random(len(kept))) / width - 0.5
    y = (kept["y"] + random.random(len(kept))) / height - 0.5
    cos, sin = scale * np.cos(turn), scale * np.sin(turn)
    dx, dy = random.normal(0.5, PLACE, 2)
    columns, rows = np.floor((cos * x - sin * y + dx) * width), np.floor((sin * x + cos * y + dy) * height)
    share, exponent = (kept["t"] + 0.5) / length_us, np.exp(random.normal(0, PACE))
    share = share**exponent if random.random() < 0.5 else 1 - (1 - share) ** exponent
    kept["t"] = np.minimum(share * length_us, length_us - 1)
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    kept["x"], kept["y"] = columns.clip(0, width - 1), rows.clip(0, height - 1)
    return kept[inside]
