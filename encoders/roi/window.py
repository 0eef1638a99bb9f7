"""The part of a sensor or a frame that is looked at: a square that is held until the drawing has clearly left it."""

from dataclasses import dataclass

import numpy as np

from spikesight.encoders.preprocess.drawing import Drawing
from spikesight.encoders.preprocess.values import Values, array, integer, time_us

NEAR, SHRUNK, GROWN = 0.35, 0.6, 1.6  # by the held drawing's length: what is taken for the same drawing
PATIENCE = 4  # looks that find another drawing before it is looked at
FORGOTTEN_US = 600_000  # without any drawing
FURTHEST = 1e6  # pixels, from a picture's corner to any window
SHARE = 20 / 34  # of the window's side that a drawing takes, as a digit of MNIST of N-MNIST's sensor


@dataclass(frozen=True)
class Window:
    """A square in pixels; it may reach beyond the picture."""

    left: float
    top: float
    side: float


def around(drawing: Drawing) -> Window:
    """The window with a drawing in its middle."""
    side = max(drawing.width, drawing.height) / SHARE
    return Window(drawing.left + (drawing.width - side) / 2, drawing.top + (drawing.height - side) / 2, side)


class Hold:
    """Hysteresis: `see` what each look found; `window` is what is looked at, None where nothing is.

    The window stays while the drawing is near its place and size, goes after `PATIENCE` looks that found another one,
    and is forgotten after FORGOTTEN_US without any. A drawing that is not held counts from a likeness of `least` on.
    """

    def __init__(self) -> None:
        self.window: Window | None = None
        self._seen_us = 0
        self._others = 0

    def holds(self, found: Drawing) -> bool:
        """Whether this is the drawing that is looked at."""
        return self.window is not None and self._same(around(found), self.window)

    def see(self, found: Drawing | None, t_us: int, least: float = 0.0) -> bool:
        """After one look; whether what was found is what is looked at now."""
        held = found is not None and self.holds(found)
        if found is None or not (held or found.likeness >= least):
            if self.window is not None and t_us - self._seen_us > FORGOTTEN_US:
                self.window = None
            return False
        new, old = around(found), self.window
        if old is not None and not held:
            self._others += 1
            if self._others <= PATIENCE:
                return False
        if old is None or self._others > PATIENCE:
            self.window = new
        self._others, self._seen_us = 0, t_us
        return True

    def state(self) -> Values:
        """What is carried from look to look."""
        window = self.window
        place = None if window is None else np.array([window.left, window.top, window.side])
        return {"window": place, "seen_us": self._seen_us, "others": self._others}

    def restore(self, values: Values) -> None:
        """Go on from a state. Raises ValueError."""
        place = values["window"]
        seen_us, others = time_us(values["seen_us"]), integer(values["others"], 0, PATIENCE)
        if place is not None:
            place = array(place, (3,), np.float64, -FURTHEST, FURTHEST).tolist()
            if place[2] < 1e-3:
                raise ValueError("a window has no side")
        self.window, self._seen_us, self._others = place and Window(*place), seen_us, others

    @staticmethod
    def _same(new: Window, old: Window) -> bool:
        reach = NEAR * SHARE * old.side
        across = new.left + new.side / 2 - old.left - old.side / 2
        down = new.top + new.side / 2 - old.top - old.side / 2
        return max(abs(across), abs(down)) < reach and SHRUNK < new.side / old.side < GROWN
