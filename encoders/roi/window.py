"""The window on a drawing: a square of a sensor or frame that is held until the drawing has clearly left it."""

from dataclasses import dataclass

import numpy as np

from spikesight.encoders.preprocess.drawing import Drawing
from spikesight.encoders.preprocess.values import Values, array, integer, time_us

NEAR, SHRUNK, GROWN = 0.35, 0.6, 1.6  # by the held length: limits of shift and size for the same drawing
PATIENCE = 4  # sightings of another drawing in a row before the window moves
FORGOTTEN_US = 600_000  # time without a matching drawing after which the window is dropped
FURTHEST = 1e6  # largest coordinate of a window, in pixels
SHARE = 20 / 34  # drawing's length by the window's side: as an MNIST digit on N-MNIST's sensor


@dataclass(frozen=True)
class Window:
    """A square in pixels; it may reach beyond the picture."""

    left: float
    top: float
    side: float


def around(drawing: Drawing) -> Window:
    """Return the window centred on a drawing."""
    side = max(drawing.width, drawing.height) / SHARE
    return Window(drawing.left + (drawing.width - side) / 2, drawing.top + (drawing.height - side) / 2, side)


class Hysteresis:
    """Holds the `window` around a drawing; None if there is no drawing. The window stays while drawings are seen near
    its place and size, moves after PATIENCE others in a row, and is dropped FORGOTTEN_US after the last match.
    """

    def __init__(self) -> None:
        self.window: Window | None = None
        self._seen_us = 0
        self._others = 0

    def holds(self, found: Drawing) -> bool:
        """Return whether a drawing matches the place and size of the window."""
        return self.window is not None and _same(around(found), self.window)

    def see(self, found: Drawing, t_us: int) -> bool:
        """Update the window by a drawing seen at `t_us`; return whether the window now holds this drawing."""
        if self.window is not None and not self.holds(found):
            self._others += 1
            if self._others <= PATIENCE:
                return False
        if self.window is None or self._others > PATIENCE:
            self.window = around(found)
        self._others, self._seen_us = 0, t_us
        return True

    def drop_if_silent(self, t_us: int) -> None:
        """Drop the window if its drawing was last seen more than FORGOTTEN_US before `t_us`."""
        if t_us - self._seen_us > FORGOTTEN_US:
            self.window = None

    def state(self) -> Values:
        """Return the state that is carried from sighting to sighting, by name."""
        window = self.window
        square = None if window is None else np.array([window.left, window.top, window.side])
        return {"window": square, "seen_us": self._seen_us, "others": self._others}

    def restore(self, values: Values) -> None:
        """Continue from a state. Raises ValueError if a value is invalid."""
        square = values["window"]
        seen_us, others = time_us(values["seen_us"]), integer(values["others"], 0, PATIENCE)
        if square is not None:
            square = array(square, (3,), np.float64, -FURTHEST, FURTHEST).tolist()
            if square[2] < 1e-3:
                raise ValueError("a window has no side")
        self.window, self._seen_us, self._others = square and Window(*square), seen_us, others


def _same(new: Window, old: Window) -> bool:
    reach = NEAR * SHARE * old.side
    across = new.left + new.side / 2 - old.left - old.side / 2
    down = new.top + new.side / 2 - old.top - old.side / 2
    return max(abs(across), abs(down)) < reach and SHRUNK < new.side / old.side < GROWN
