"""Three statistics of a model's training windows, and a check of whether a camera's windows resemble them.

Statistics are of the network's input, after filter, pooling and binning, so they do not depend on the sensor's size. A
deviation that all windows of a stream share is a property of the camera, not of a scene.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

QUIET = 0.05  # share of the median rate; windows below it show a still scene and are skipped
FEWEST = 30  # windows needed to compute a profile
ENOUGH = 3  # moving windows after which a stream is judged
QUANTILES = (0.01, 0.5, 0.99)


class WindowStatistics(NamedTuple):
    """Statistics of one window of network inputs."""

    rate: float  # events per pixel and second; at most one of each polarity in a step counts
    on: float  # share of ON events, 0 to 1
    uneven: float  # standard deviation of the pixels' activity / its mean: noise is spread evenly, so it is low


def measure(x_seq: NDArray, step_us: int) -> WindowStatistics:
    """Return the statistics of a window [T, 2, H, W] whose steps each show `step_us` microseconds of events."""
    seen = x_seq > 0
    count = int(np.count_nonzero(seen))
    if not count:
        return WindowStatistics(0.0, 0.5, 0.0)
    places = seen.any(1).mean(0)  # [H, W], share of the steps in which a pixel has events
    share = np.count_nonzero(seen[:, 1]) / count
    return WindowStatistics(2 * count / seen.size * 1e6 / step_us, share, float(places.std() / places.mean()))


@dataclass(frozen=True)
class Profile:
    """The 1st, 50th and 99th percentile of each statistic over a model's training windows."""

    rate: tuple[float, ...]
    on: tuple[float, ...]
    uneven: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, values in vars(self).items():
            if len(values) != len(QUANTILES) or not 0 <= values[0] <= values[1] <= values[2] < np.inf:
                raise ValueError(f"{name} must be three rising numbers, 0 or more")

    @classmethod
    def of(cls, windows: list[WindowStatistics]) -> "Profile | None":
        """Compute a profile from the windows that show no still scene; None if these are fewer than FEWEST."""
        rate = np.array([window.rate for window in windows])
        kept = rate > QUIET * np.median(rate) if len(rate) else rate > 0
        if np.count_nonzero(kept) < FEWEST:
            return None
        low_to_high = np.quantile(np.array(windows)[kept], QUANTILES, axis=0).T
        return cls(*(tuple(round(float(v), 5) for v in row) for row in low_to_high))

    @property
    def middle(self) -> WindowStatistics:
        """The median of each statistic."""
        return WindowStatistics(self.rate[1], self.on[1], self.uneven[1])

    def far(self, seen: WindowStatistics) -> dict[str, float]:
        """Return by name the factor by which each statistic is outside the profile's 1st to 99th percentile: 1 inside,
        2 at twice the 99th or half the 1st. A large `uneven` counts as inside, since noise only lowers it.
        """
        now = {name: max(value, LEAST) for name, value in seen._asdict().items()}
        less = {name: max(getattr(self, name)[0], LEAST) / value for name, value in now.items()}
        more = {name: now[name] / max(getattr(self, name)[2], LEAST) for name in ("rate", "on")}
        return {name: max(1.0, less[name], more.get(name, 1.0)) for name in now}


LEAST = 0.01  # smaller values are raised to this, so that factors stay finite
LINE = 1.1  # smallest factor that `compare` reports


def typical(windows: list[WindowStatistics]) -> WindowStatistics:
    """Return the median of each statistic."""
    return WindowStatistics(*np.median(windows, axis=0).tolist())


def compare(profile: Profile, seen: WindowStatistics) -> str | None:
    """Return a sentence on the statistic in which a camera differs most from the training data, with a remedy; None
    if every statistic is within a factor of LINE of the profile.
    """
    far = profile.far(seen)
    name = max(far, key=lambda name: far[name])
    if far[name] < LINE:
        return None
    value, middle = getattr(seen, name), getattr(profile.middle, name)
    if name == "rate":
        says = f"this camera gives {_times(value / middle)} the events that this model learnt from"
        helps = f"{'raise' if value > middle else 'lower'} its contrast thresholds (bias.diff_on, bias.diff_off)"
    elif name == "on":
        says = f"{value:.0%} of this camera's events are ON, of those that this model learnt from {middle:.0%}"
        helps = "bring its contrast thresholds (bias.diff_on, bias.diff_off) nearer to each other"
    else:
        says = (
            "this camera's events lie more evenly over the view than those that this model learnt from, as noise does"
        )
        helps = "give more light, filter it (spikesight transcode --filter background)"
    return f"{says}: {helps}, or teach it five examples of each class (spikesight teach)"


def _times(ratio: float) -> str:
    """Return a ratio in words.

    >>> _times(6.8), _times(1.62), _times(0.21), _times(0.6), _times(0.0)
    ('7 times', '1.6 times', 'a 5th of', '60 % of', 'none of')
    """
    if ratio == 0:
        return "none of"
    if ratio >= 1:
        return f"{ratio:.0f} times" if ratio >= 3 else f"{ratio:.1f} times"
    return f"a {1 / ratio:.0f}th of" if ratio < 0.29 else f"{ratio:.0%} of".replace("%", " %")


class ProfileWatch:
    """A check of a stream's first windows against the training data's profile. The result of `compare` is in `says`
    after ENOUGH windows with motion, or at the end of a shorter stream. Without a profile nothing is checked.
    """

    def __init__(self, profile: Profile | None, steps: int, step_us: int) -> None:
        self.profile, self.steps, self.step_us = profile, steps, step_us
        self.says: str | None = None
        self._judged = profile is None
        self._held: list[NDArray] = []
        self._windows: list[WindowStatistics] = []

    def push(self, x: NDArray, anew: bool = False) -> None:
        """Add the next input [2, H, W]; `anew` starts a new window, since time jumped before this input."""
        if self._judged:
            return
        self._held = [x] if anew else [*self._held, x]
        if len(self._held) == self.steps:
            self._close(ENOUGH)

    def end(self) -> None:
        """Judge the stream at its end, by the windows so far and an incomplete last one."""
        if not self._judged:
            self._close(1)

    def _close(self, enough: int) -> None:
        assert self.profile is not None
        if self._held:
            window = measure(np.stack(self._held), self.step_us)
            self._windows += [window] if window.rate > QUIET * self.profile.rate[1] else []
            self._held = []
        if len(self._windows) >= enough:
            self.says, self._judged = compare(self.profile, typical(self._windows)), True
