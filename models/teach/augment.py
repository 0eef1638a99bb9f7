"""Copies of an example as another showing of the same thing might have been: what few examples cannot teach."""

import numpy as np

from spikesight.encoders.events import Events

TURN, SIZE = 0.1, 0.1  # standard deviations: radians, of the size's logarithm
PLACE = 0.04  # of the picture's side
PACE = 0.2  # of the logarithm of the exponent by which its beginning or its end is hurried
DROP = 0.4  # at most this share of its events is lost


def varied(events: Events, size: tuple[int, int], length_us: int, random: np.random.Generator) -> Events:
    """An aligned example, turned, resized, moved, hurried here and slowed there, and thinned; sorted.

    `size` (height, width) and `length_us` are what `events` were aligned to; what leaves the picture is lost.
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
