"""What a model was shown while it learnt, in three numbers a window, and whether a camera shows it the like.

A window is measured as the network is fed it, behind filter, pooling and bins: so a sensor's size does not count, and
what counts is what the network has not seen. What every scene of a camera shares tells the camera.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

QUIET = 0.05  # of the middle rate: a window below is a still scene, of which nothing follows
FEWEST = 30  # windows that tell how much a camera's differ
ENOUGH = 3  # windows by which a stream is judged
QUANTILES = (0.01, 0.5, 0.99)


class Window(NamedTuple):
    """One window of inputs in numbers."""

    rate: float  # events of an input's pixel a second, at most one of a polarity a step
    on: float  # share of ON among them
    uneven: float  # how they lie over the view, noise evenly: standard deviation of the pixels' events by their mean


def measure(x_seq: NDArray, step_us: int) -> Window:
    """The numbers of a window of inputs, [T, 2, H, W] of steps that show `step_us`."""
    seen = x_seq > 0
    count = int(np.count_nonzero(seen))
    if not count:
        return Window(0.0, 0.5, 0.0)
    places = seen.any(1).mean(0)  # share of the steps in which each pixel has events
    share = np.count_nonzero(seen[:, 1]) / count
    return Window(2 * count / seen.size * 1e6 / step_us, share, float(places.std() / places.mean()))


@dataclass(frozen=True)
class Profile:
    """Of the windows that a model learnt from: the 1st, 50th and 99th percentile of each number."""

    rate: tuple[float, ...]
    on: tuple[float, ...]
    uneven: tuple[float, ...]

    def __post_init__(self) -> None:
        for name, values in vars(self).items():
            if len(values) != len(QUANTILES) or not 0 <= values[0] <= values[1] <= values[2] < np.inf:
                raise ValueError(f"{name} must be three rising numbers, 0 or more")

    @classmethod
    def of(cls, windows: list[Window]) -> "Profile | None":
        """Of all windows that are no still scene; None of fewer than FEWEST."""
        rate = np.array([window.rate for window in windows])
        kept = rate > QUIET * np.median(rate) if len(rate) else rate > 0
        if np.count_nonzero(kept) < FEWEST:
            return None
        low_to_high = np.quantile(np.array(windows)[kept], QUANTILES, axis=0).T
        return cls(*(tuple(round(float(v), 5) for v in row) for row in low_to_high))

    @property
    def middle(self) -> Window:
        """The middle of each number."""
        return Window(self.rate[1], self.on[1], self.uneven[1])

    def far(self, seen: Window) -> dict[str, float]:
        """How far each number is beyond those learnt from, as a factor: 1 within, 2 for twice the most or half the
        least. Of what lies less evenly than ever there is no more noise.
        """
        now = {name: max(value, LEAST) for name, value in seen._asdict().items()}
        less = {name: max(getattr(self, name)[0], LEAST) / value for name, value in now.items()}
        more = {name: now[name] / max(getattr(self, name)[2], LEAST) for name in ("rate", "on")}
        return {name: max(1.0, less[name], more.get(name, 1.0)) for name in now}


LEAST = 0.01  # below it all is the same
LINE = 1.1  # the factor that is told


def typical(windows: list[Window]) -> Window:
    """The middle of each number."""
    return Window(*np.median(windows, axis=0).tolist())


def compare(profile: Profile, seen: Window) -> str | None:
    """What a camera does otherwise than those that a model learnt from, and what helps, in a sentence; None where
    nothing does.
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
    """In words.

    >>> _times(6.8), _times(1.62), _times(0.21), _times(0.6)
    ('7 times', '1.6 times', 'a 5th of', '60 % of')
    """
    if ratio >= 1:
        return f"{ratio:.0f} times" if ratio >= 3 else f"{ratio:.1f} times"
    return f"a {1 / ratio:.0f}th of" if ratio < 0.29 else f"{ratio:.0%} of".replace("%", " %")


class Watch:
    """Looks at the first windows of a stream's inputs; `says` what its camera does otherwise, once it is judged: by
    ENOUGH windows in which something moves, or by fewer where the stream ends before.
    """

    def __init__(self, profile: Profile | None, steps: int, step_us: int) -> None:
        self.profile, self.steps, self.step_us = profile, steps, step_us
        self.says: str | None = None
        self._judged = profile is None
        self._held: list[NDArray] = []
        self._windows: list[Window] = []

    def push(self, x: NDArray, anew: bool = False) -> None:
        """The next input [2, H, W]; `anew` where time jumped before it."""
        if self._judged:
            return
        self._held = [x] if anew else [*self._held, x]
        if len(self._held) == self.steps:
            self._close(ENOUGH)

    def end(self) -> None:
        """There are no more inputs: what there is must do."""
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
