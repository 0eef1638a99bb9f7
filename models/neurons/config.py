"""The options of a neuron layer, and presets named in the literature."""

import math
from dataclasses import dataclass
from typing import Literal

from spikesight.models.neurons.surrogate import SURROGATES, Surrogate


@dataclass(frozen=True)
class NeuronConfig:
    """The options of one neuron layer. The defaults are the seed paper's LIF with its arctan surrogate."""

    beta: float = 0.5  # share of the membrane potential kept each step, 0 to 1; 1 is the IF neuron
    theta: float = 1.0  # firing threshold, > 0
    reset: Literal["subtract", "zero"] = "subtract"
    delay: bool = True  # the reset of S[t-1] acts in step t
    inclusive: bool = False  # fire at U >= theta
    scale_input: bool = False  # input gain g = 1 - beta
    detach_reset: bool = True  # no gradient through the reset
    learn_beta: bool = False  # PLIF (Fang et al. 2021): beta = 1 - sigmoid(w), one learnt w for each layer
    surrogate: str = "arctan"
    slope: float | None = None  # the surrogate's parameter; None takes its default
    kind: str = "lif"  # a key of NEURONS (models/neurons/layers.py)
    taps: int = 4  # psn: number of inputs that a spike depends on, including the newest

    def __post_init__(self) -> None:
        if not 0 <= self.beta <= 1:
            raise ValueError(f"beta must lie in [0, 1], not {self.beta}")
        if not 0 < self.theta < math.inf:
            raise ValueError(f"theta must be positive, not {self.theta}")
        if self.reset not in ("subtract", "zero"):
            raise ValueError(f"reset must be 'subtract' or 'zero', not {self.reset!r}")
        if self.surrogate not in SURROGATES:
            raise ValueError(f"unknown surrogate {self.surrogate!r}; known: {', '.join(SURROGATES)}")
        if self.slope is not None and not 0 < self.slope < math.inf:
            raise ValueError(f"slope must be positive, not {self.slope}")
        if self.learn_beta and not 0 < self.beta < 1:
            raise ValueError("a learnable beta must start strictly between 0 and 1")
        if self.kind == "clif" and (self.delay or self.reset != "subtract"):
            raise ValueError("CLIF has an immediate subtracting reset: delay=False, reset='subtract'")
        if not 1 <= self.taps <= 64:
            raise ValueError(f"taps must lie in 1 to 64, not {self.taps}")

    def spike_function(self) -> Surrogate:
        """Return the surrogate with its parameter."""
        kind = SURROGATES[self.surrogate]
        return kind() if self.slope is None else kind(self.slope)


PAPER_LIF = NeuronConfig()
IF = NeuronConfig(beta=1.0)
PLIF = NeuronConfig(reset="zero", delay=False, inclusive=True, scale_input=True, learn_beta=True)
CLIF = NeuronConfig(kind="clif", delay=False, detach_reset=False)
SLIDING_PSN = NeuronConfig(kind="psn")
RECTIFIER = NeuronConfig(kind="relu")

PRESETS = {"lif": PAPER_LIF, "if": IF, "plif": PLIF, "clif": CLIF, "psn": SLIDING_PSN, "relu": RECTIFIER}
"""Configurations that `--neuron` names; other kinds of NEURONS use the defaults."""
