"""Confirmation of drawings over several searches: a drawing keeps its form as it moves; other objects do not."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.preprocess.drawing import Drawing, Floats
from spikesight.encoders.preprocess.fit import DIGIT_SIZE, centred
from spikesight.encoders.preprocess.values import Values, array, integer, real

CONFIRMING = 3  # searches in a row that find the same form confirm it
ALIKE = 0.6  # correlation above which two forms are the same
MISSES = 8  # searches without a match, despite movement, after which a drawing is lost


def form_of(drawing: Drawing) -> Floats:
    """Return a drawing's form, float32 [28, 28] from 0 to 255, which does not depend on its position and size."""
    return blurred(centred(drawing.ink * 255))


def blurred(ink: NDArray[Any]) -> Floats:
    """Return ink [28, 28] blurred to a form, so that forms are compared without single-pixel detail."""
    return cv2.GaussianBlur(ink, (0, 0), 1.0).astype(np.float32)


def alike(one: Floats, other: Floats) -> float:
    """Return the correlation of two forms if it is above ALIKE, else 0."""
    correlation = float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
    return correlation if correlation > ALIKE else 0.0


class FormConfirmation:
    """Compares the form that each search finds with the form before; `confirmed` if the last CONFIRMING are alike. A
    drawing is `lost` after MISSES searches without a match. A miss counts only if the map held more than half as many
    events as at the last match: a still drawing fires no events, and is not lost.
    """

    def __init__(self) -> None:
        self._form: Floats | None = None
        self._again = 0  # searches in a row whose form matched that of the search before
        self._misses = 0
        self._moved = 0.0  # events in the map at the last match

    @property
    def confirmed(self) -> bool:
        """Whether the last CONFIRMING searches found the same form."""
        return self._again >= CONFIRMING - 1

    @property
    def lost(self) -> bool:
        """Whether MISSES searches have found no matching form although something moved."""
        return self._misses >= MISSES

    def add(self, form: Floats | None, moving: float) -> None:
        """Add the form that a search found, None if it found none; `moving`: events in the map that was searched."""
        same = form is not None and self._form is not None and alike(form, self._form) > 0
        self._form, self._again = form, self._again + 1 if same else 0
        if same:
            self._misses, self._moved = 0, moving
        elif moving > self._moved / 2:
            self._misses += 1

    def state(self) -> Values:
        """Return the state that is carried from search to search, by name."""
        form = None if self._form is None else self._form.copy()
        return {"before": form, "alike": self._again, "misses": self._misses, "moved": self._moved}

    def restore(self, values: Values) -> None:
        """Continue from a state. Raises ValueError if a value is invalid."""
        form = values["before"]
        self._form = None if form is None else array(form, (DIGIT_SIZE, DIGIT_SIZE), np.float32, 0, 255)
        self._again, self._misses = integer(values["alike"]), integer(values["misses"])
        self._moved = real(values["moved"], 0, 1e15)
