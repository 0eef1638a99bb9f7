"""The label that is shown: smoothed probabilities, and a lead a new label needs before it takes over."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Steady:
    """Smoothing and hysteresis of a stream's label; a value.

    m <- a m + (1 - a) p with the smoothing a in [0, 1); the shown class changes to the best one only when
    m[best] - m[shown] > margin.
    """

    smoothing: float = 0.0
    margin: float = 0.0
    mean: NDArray[np.float64] | None = None  # [K]
    index: int | None = None

    def push(self, probabilities: NDArray[np.float64]) -> "Steady":
        """The value after one more step's probabilities [K]."""
        if self.mean is None or not self.smoothing:
            mean = probabilities
        else:
            mean = self.smoothing * self.mean + (1 - self.smoothing) * probabilities
        best = int(mean.argmax())
        keep = self.index is not None and mean[best] - mean[self.index] <= self.margin
        return Steady(self.smoothing, self.margin, mean, self.index if keep else best)

    def cleared(self) -> "Steady":
        """The same settings, nothing seen."""
        return Steady(self.smoothing, self.margin)
