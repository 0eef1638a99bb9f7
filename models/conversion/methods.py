"""The methods of conversion, published and our own, each described by one record."""

from dataclasses import dataclass, replace
from typing import Literal

from spikesight.models.networks.converted.rules import SpikeRule


@dataclass(frozen=True)
class Method:
    """A method of conversion: how thresholds are chosen, neurons fire, and weights and biases are corrected."""

    rule: SpikeRule
    threshold: Literal["percentile", "ltb", "mmse", "gauss", "spike-norm", "qcfs"]
    source: str
    percent: float = 99.9  # percentile: 100 is the maximum
    channelwise: bool = True
    passes: int = 40  # ltb: passes over the calibration data
    repair: bool = False  # weights are fitted to the spikes that really arrive at the target T
    search: bool = False  # thresholds are searched on real spikes at the target T
    light: bool = False  # bias calibration at the target T
    warmup: float = 0.0  # share of the steps that the answer and the calibration leave out
    streams: bool = True  # can run step by step, as the service needs


IF_NEAREST = SpikeRule("if", v0=0.5)
IF_FLOOR = SpikeRule("if", v0=0.0, inclusive=True)

METHODS: dict[str, Method] = {
    "rueckauer-max": Method(IF_FLOOR, "percentile", "Rueckauer et al. 2017, max-norm", 100.0, False),
    "rueckauer": Method(IF_FLOOR, "percentile", "Rueckauer et al. 2017, 99.9 percentile", 99.9, False),
    "hard-reset": Method(
        replace(IF_FLOOR, reset="zero"), "percentile", "as rueckauer, reset to zero: shown to fail", 99.9, False
    ),
    "sengupta": Method(IF_FLOOR, "spike-norm", "Sengupta et al. 2019, spike-norm", channelwise=False),
    "half": Method(IF_NEAREST, "percentile", "as rueckauer, with v(0) = theta/2", 99.9, False),
    "ltb": Method(IF_NEAREST, "ltb", "Bu et al., CVPR 2025"),
    "mmse": Method(IF_NEAREST, "mmse", "Li et al., ICML 2021, thresholds"),
    "mmse-light": Method(IF_NEAREST, "mmse", "Li et al., ICML 2021, thresholds and light bias calibration", light=True),
    "searched": Method(IF_NEAREST, "percentile", "channel-wise thresholds searched behind real spikes", search=True),
    "ours": Method(
        IF_NEAREST,
        "percentile",
        "percentile of a channel; weights repaired, thresholds searched and biases calibrated behind real spikes",
        repair=True,
        search=True,
        light=True,
    ),
    "settled": Method(
        IF_NEAREST,
        "percentile",
        "percentile of a channel, light bias calibration; the first half of the steps is not counted",
        light=True,
        warmup=0.5,
    ),
    "bounded": Method(
        replace(IF_NEAREST, bounds=(-0.5, 1.0)),
        "percentile",
        "as settled, weights repaired, every membrane kept between -theta/2 and theta",
        repair=True,
        light=True,
        warmup=0.5,
    ),
    "signed": Method(replace(IF_NEAREST, kind="signed"), "mmse", "SNM, IJCAI 2022, on MMSE thresholds"),
    "multi": Method(
        SpikeRule("multi", 4, v0=0.0), "percentile", "DCGS, ICML 2025, 4 signed levels; 99.9 percentile of a channel"
    ),
    "multi8": Method(SpikeRule("multi", 8, v0=0.0), "percentile", "as multi, 8 levels"),
    "multi-diff": Method(
        SpikeRule("multi", 4, v0=0.0, differential=True), "percentile", "multi with differential coding"
    ),
    "multi-repaired": Method(
        SpikeRule("multi", 4, v0=0.0, differential=True),
        "percentile",
        "multi-diff with weights repaired and biases calibrated behind real spikes",
        repair=True,
        light=True,
    ),
    "multi8-diff": Method(
        SpikeRule("multi", 8, v0=0.0, differential=True), "percentile", "multi8 with differential coding"
    ),
    "dcgs": Method(SpikeRule("multi", 4, v0=0.0), "gauss", "DCGS, ICML 2025, with its Gaussian thresholds"),
    "cascade": Method(SpikeRule("cascade", 4, v0=0.5), "percentile", "H-MT, AAAI 2026, 4 levels, no pair exchange"),
    "qcfs": Method(SpikeRule("if", v0=0.5, inclusive=True), "qcfs", "Bu et al., ICLR 2022; needs its training"),
    "few-spikes": Method(
        SpikeRule("few", 10, v0=0.0), "percentile", "Stöckl & Maass 2021, K = 10", 100.0, False, streams=False
    ),
}
"""Methods by name. Signed and multi-threshold spikes are not binary: report their results separately."""

PATIENT = 32  # fewest steps at which leaving out the first half improves the answer


def usual(steps: int) -> str:
    """Return the default method for T = steps: of those with binary spikes, the most accurate on held-out images."""
    return "bounded" if steps >= PATIENT else "ours"
