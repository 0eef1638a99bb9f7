"""A test for distribution shift: an alarm when a stream's windows stop resembling the calibration's streams.

Each window of T steps has a p-value, (1 + number of the n calibration windows whose `in_distribution` is at most this
window's) / (n + 1) (models/novelty/conformal.py). Its level is a cumulative sum (CUSUM, Page 1954) of how strange
windows are,

    level = max(0, level + (1 - p) - SLACK),

and the alarm is raised when it exceeds a threshold, until it is back at 0. No window adds more than 1 - SLACK, so that
one strange object, which is in view for several windows, sets nothing off; a stream whose objects are strange does.

Windows that follow each other show the same object, so they are not exchangeable, and no bound for independent ones
holds. The threshold is therefore measured: at most 1 in 100 streams of 1,000 windows, drawn from the calibration's,
exceed it (training/run/conformal.py). In ever longer streams of what was calibrated the alarm comes some day, and ends.
"""

from collections.abc import Iterable
from dataclasses import dataclass

SLACK = 0.65  # strangeness of a window that changes nothing; 0.5 is the mean of the calibration's
ABOVE = 1.0  # a level stops rising so far above its threshold, so that an alarm ends some windows after its cause


@dataclass(frozen=True)
class Alarm:
    """The state of the test after some windows. Immutable."""

    level: float = 0.0
    on: bool = False  # whether the alarm is raised

    def push(self, p: float, threshold: float) -> "Alarm":
        """Return the state after one more window, with p-value `p` in (0, 1]; above `threshold` the alarm is raised."""
        level = min(max(0.0, self.level + 1 - p - SLACK), threshold + ABOVE)
        return Alarm(level, level > threshold or (self.on and level > 0))


def highest(p_values: Iterable[float]) -> float:
    """Return the highest level that a stream of windows with these p-values reaches."""
    level = most = 0.0
    for p in p_values:
        level = max(0.0, level + 1 - p - SLACK)
        most = max(most, level)
    return most
