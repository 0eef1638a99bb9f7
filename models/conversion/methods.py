"""The methods of conversion, published and our own, each described by one record."""

from dataclasses import dataclass, replace
from typing import Literal

from spikesight.models.networks.converted.rules import SpikeRule


@dataclass(frozen=True)
class Method:
    """A method of conversion: how thresholds are chosen, neurons fire, and weights and biases are corrected."""

    rule: SpikeRule
    threshold: Literal["percentile", "ltb", "spike-norm"]
    source: str
    percent: float = 99.9  # percentile: 100 is the maximum
    channelwise: bool = True
    passes: int = 40  # ltb: passes over the calibration data
    repair: bool = False  # weights are fitted to the spikes that really arrive at the target T
    search: bool = False  # thresholds are searched on real spikes at the target T
    light: bool = False  # bias calibration at the target T
    warmup: float = 0.0  # share of the steps that the answer and the calibration leave out


IF_NEAREST = SpikeRule(v0=0.5)
IF_FLOOR = SpikeRule(v0=0.0, inclusive=True)

METHODS: dict[str, Method] = {
    "rueckauer-max": Method(IF_FLOOR, "percentile", "Rueckauer et al. 2017, max-norm", 100.0, False),
    "rueckauer": Method(IF_FLOOR, "percentile", "Rueckauer et al. 2017, 99.9 percentile", 99.9, False),
    "hard-reset": Method(
        replace(IF_FLOOR, reset="zero"), "percentile", "as rueckauer, reset to zero: shown to fail", 99.9, False
    ),
    "sengupta": Method(IF_FLOOR, "spike-norm", "Sengupta et al. 2019, spike-norm", channelwise=False),
    "ltb": Method(IF_NEAREST, "ltb", "Bu et al., CVPR 2025"),
    "ours": Method(
        IF_NEAREST,
        "percentile",
        "percentile of a channel; weights repaired, thresholds searched and biases calibrated behind real spikes",
        repair=True,
        search=True,
        light=True,
    ),
    "bounded": Method(
        replace(IF_NEAREST, bounds=(-0.5, 1.0)),
        "percentile",
        "percentile of a channel; weights repaired and biases calibrated behind real spikes, every membrane kept "
        "between -theta/2 and theta; the first half of the steps is not counted",
        repair=True,
        light=True,
        warmup=0.5,
    ),
}
"""Methods by name; all spikes are binary."""

PATIENT = 32  # fewest steps at which leaving out the first half improves the answer


def usual(steps: int) -> str:
    """Return the default method for T = steps, the most accurate on held-out images."""
    return "bounded" if steps >= PATIENT else "ours"
