"""A test for distribution shift: an alarm when a stream's windows stop resembling the calibration windows.

Each window of T steps has a p-value, (1 + number of the n calibration windows whose `known` is at most this window's)
/ (n + 1). While the window is exchangeable with the calibration windows (models/novelty/conformal.py), P(p <= u) <= u.
The alarm bets against that hypothesis. A stake of 1 becomes the e-value

    e(p) = (1 - p + p ln p) / (p ln^2 p),

the mean of k p^(k - 1) over k in (0, 1); under the hypothesis the expected e-value is at most 1 (Vovk and Wang 2021,
"E-values: calibration, combination and applications"). Of an initial wealth of 1, the share 1 / (j (j + 1)) is staked
on the j-th window, and its returns on every later window. Under the hypothesis, the wealth ever reaches 1 / a with
probability at most a (a conformal test martingale; Ville's inequality). Late shifts are found, too, as a part of the
wealth is always unstaked. A raised alarm ends, and the test restarts, once the staked wealth falls below 1.

All windows share one calibration, so the bound holds given a calibration for which the mean e-value is at most 1. On
average it is 0.75, 0.82 and 0.87 for n = 20, 121 and 1,221, as ranks are discrete, and at most 0.3 % of 2,000 simulated
calibrations each gave more than 1.
"""

from dataclasses import dataclass
from math import log

RATE = 0.01  # greatest share of streams like the calibration data, of any length, that raise a false alarm


def bet(p: float) -> float:
    """Return the e-value of a p-value in (0, 1]: what a stake of 1 becomes."""
    return (1 - p + p * log(p)) / (p * log(p) ** 2) if p < 1 else 0.5


@dataclass(frozen=True)
class Alarm:
    """The state of the test after some windows. Immutable."""

    windows: int = 0  # tested since the test began
    won: float = 0.0  # what the shares staked so far have become, at most 1 / RATE
    on: bool = False  # whether the alarm is raised

    def push(self, p: float) -> "Alarm":
        """Return the state after one more window, with p-value `p` in (0, 1]."""
        windows = self.windows + 1
        won = min((self.won + 1 / (windows * (windows + 1))) * bet(p), 1 / RATE)
        if self.on and won < 1:
            return Alarm()
        return Alarm(windows, won, self.on or won + 1 / (windows + 1) >= 1 / RATE)
