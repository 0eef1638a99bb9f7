"""An alarm that takes the guarantee back: a test of whether a running stream is like what was calibrated.

At the end of each window of T steps, p = (1 + calibration's windows with at most this one's `known`) / (n + 1) is at
most u with a chance of at most u, as long as the window is exchangeable with those (models/novelty/conformal.py). The
alarm bets against that. What a bet of 1 becomes,

    e(p) = (1 - p + p ln p) / (p ln^2 p),

is the mean over all powers k p^(k - 1), k in (0, 1), and 1 in the mean at most (Vovk and Wang 2021, "E-values:
calibration, combination and applications"). Of a wealth of 1, the share 1 / (j (j + 1)) is laid on the j-th window,
and all that it brings on every window after it. However long a stream is, its wealth then reaches 1 / a with a chance
of at most a (a conformal test martingale; Ville's inequality), and whenever what comes begins to differ, enough has
not been bet yet. The alarm ends, and all begins anew, once what was won has been lost again.
"""

from dataclasses import dataclass
from math import log

RATE = 0.01  # of streams, however long, that are what was calibrated and set it off all the same


def bet(p: float) -> float:
    """What a bet of 1 against this p-value in (0, 1] becomes."""
    return (1 - p + p * log(p)) / (p * log(p) ** 2) if p < 1 else 0.5


@dataclass(frozen=True)
class Alarm:
    """The state of the test after some windows. A value."""

    windows: int = 0
    won: float = 0.0  # what the shares that were laid on windows have become
    on: bool = False

    def push(self, p: float) -> "Alarm":
        """After one more window of this p-value."""
        windows = self.windows + 1
        won = min((self.won + 1 / (windows * (windows + 1))) * bet(p), 1 / RATE)
        if self.on and won < 1:
            return Alarm()
        return Alarm(windows, won, self.on or won + 1 / (windows + 1) >= 1 / RATE)
