"""Whether searches find one thing: the form of a drawing stays, wherever it moves; that of anything else changes."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from spikesight.encoders.preprocess.drawing import Drawing, Floats
from spikesight.encoders.preprocess.fit import DIGIT_SIZE, centred
from spikesight.encoders.preprocess.values import Values, array, integer, real

CONFIRMING = 3  # searches in a row that find the same form confirm it
ALIKE = 0.6  # correlation of two forms that are the same
MISSES = 8  # searches in a row that do not find it again, though as much moves, lose it


def form_of(drawing: Drawing) -> Floats:
    """A drawing's form, float32 [28, 28] of 0 to 255, wherever it is and whatever its size."""
    return blurred(centred(drawing.ink * 255))


def blurred(ink: NDArray[Any]) -> Floats:
    """Ink [28, 28] as a form that shows no single pixel."""
    return cv2.GaussianBlur(ink, (0, 0), 1.0).astype(np.float32)


def alike(one: Floats, other: Floats) -> float:
    """How much two forms are the same, up to 1; 0 where they are not."""
    correlation = float(np.corrcoef(one.ravel(), other.ravel())[0, 1])
    return correlation if correlation > ALIKE else 0.0


class FormConfirmation:
    """Compares the form that each search finds with the one before: the same one is `confirmed` after CONFIRMING
    searches. One is `lost` after MISSES others, of which only those count in which things moved (at least half as
    many events as when a form was last found again): a still drawing fires no events, and is not lost.
    """

    def __init__(self) -> None:
        self._form: Floats | None = None
        self._again = 0  # searches in a row that found the form before
        self._misses = 0
        self._moved = 0.0  # events when a form was last found again

    @property
    def confirmed(self) -> bool:
        """Whether so many searches in a row have found the same form."""
        return self._again >= CONFIRMING - 1

    @property
    def lost(self) -> bool:
        """Whether no form has been found again for long, though things moved."""
        return self._misses >= MISSES

    def add(self, form: Floats | None, moving: float) -> None:
        """Take the form that a search found, None for none; `moving`: events in the map that it searched."""
        same = form is not None and self._form is not None and alike(form, self._form) > 0
        self._form, self._again = form, self._again + 1 if same else 0
        if same:
            self._misses, self._moved = 0, moving
        elif moving > self._moved / 2:
            self._misses += 1

    def state(self) -> Values:
        """The state that is carried on, by name."""
        form = None if self._form is None else self._form.copy()
        return {"before": form, "alike": self._again, "misses": self._misses, "moved": self._moved}

    def restore(self, values: Values) -> None:
        """Go on from a state. Raises ValueError."""
        form = values["before"]
        self._form = None if form is None else array(form, (DIGIT_SIZE, DIGIT_SIZE), np.float32, 0, 255)
        self._again, self._misses = integer(values["alike"]), integer(values["misses"])
        self._moved = real(values["moved"], 0, 1e15)
