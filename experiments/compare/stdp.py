"""STDP: a shallow layer that learns without labels, the biological baseline for trained and converted networks.

Pair rule: p <- p - p/tau + s_pre, q <- q - q/tau + s_post, then dw = a+ s_post p (1 - w) - a- s_pre q w. Traces are
updated before they are used. The layer adds winner-take-all and homeostasis (adaptive thresholds); after training, each
neuron is assigned to the class that it responds to.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class StdpConfig:
    """A fully connected layer with winner-take-all, after Diehl & Cook 2015, in steps of 1 ms."""

    inputs: int = 784
    neurons: int = 100
    steps: int = 60  # for which an image is shown
    peak: float = 0.35  # spikes a step of the brightest pixel
    tau_membrane: float = 100.0  # steps
    tau_trace: float = 20.0
    a_plus: float = 1.2e-3  # potentiation by the input trace at an output spike
    a_minus: float = 6e-5  # depression by the output trace at an input spike
    total: float = 78.4  # sum of a neuron's incoming weights, kept constant (BindsNET's value for 784 inputs)
    theta: float = 9.0  # threshold at rest
    theta_plus: float = 0.12  # an output spike raises its neuron's threshold by this
    theta_decay: float = 2e-5  # share of the raised threshold that is lost each step

    def __post_init__(self) -> None:
        if min(self.inputs, self.neurons, self.steps) < 1 or not 0 < self.peak <= 1:
            raise ValueError("inputs, neurons and steps must be positive, peak in (0, 1]")


def rates_of(pixels: np.ndarray) -> np.ndarray:
    """Convert uint8 images [N, ...] to rates, float32 [N, inputs] in [0, 1]."""
    return pixels.reshape(len(pixels), -1).astype(np.float32) / 255


class StdpLayer:
    """Learns prototypes from unlabelled images by pair STDP; `name` then assigns neurons to classes."""

    def __init__(self, config: StdpConfig, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.config, self.random = config, random
        self.weights = random.uniform(0.2, 0.5, (config.inputs, config.neurons)).astype(np.float32)
        self.weights *= config.total / self.weights.sum(0)
        self.threshold = np.zeros(config.neurons, np.float32)  # adaptive part, above `theta`
        self.classes = np.zeros(config.neurons, np.int64)
        self.named = False

    def _show(self, rates: np.ndarray, *, learn: bool) -> np.ndarray:
        """Return the spike counts of each neuron for each image, int32 [N, neurons]."""
        c = self.config
        if rates.ndim != 2 or rates.shape[1] != c.inputs:
            raise ValueError(f"rates must be [N, {c.inputs}], not {rates.shape}")
        counts = np.zeros((len(rates), c.neurons), np.int32)
        for image, fired in zip(rates, counts):
            self._show_one(image, fired, learn)
        return counts

    def _show_one(self, image: np.ndarray, fired: np.ndarray, learn: bool) -> None:
        """Add an image's spikes to `fired` [neurons], step by step: pixels spike at random, membranes leak and
        integrate, and the neuron furthest above its threshold, if any, spikes and silences all others.
        """
        c, active = self.config, np.flatnonzero(image)
        weights, keep = self.weights[active], 1 - 1 / c.tau_trace
        v, q, p = np.zeros(c.neurons), np.zeros(c.neurons), np.zeros(len(active))
        for spikes in self.random.random((c.steps, len(active)), np.float32) < c.peak * image[active]:
            p, q = p * keep + spikes, q * keep
            v = v * (1 - 1 / c.tau_membrane) + weights[spikes].sum(0)
            above = v - c.theta - self.threshold
            winner = int(above.argmax())
            if learn:
                self.threshold *= 1 - c.theta_decay
            if above[winner] > 0:
                fired[winner] += 1
                v[:] = 0
                q[winner] += 1
                if learn:
                    self.threshold[winner] += c.theta_plus
                    own = weights[:, winner]
                    weights[:, winner] = np.minimum(1, own + c.a_plus * p * (1 - own))
            if learn and q.any():
                weights[spikes] *= (1 - c.a_minus * q).clip(0)
        if learn:
            self.weights[active] = weights
            wins = q > 0
            self.weights[:, wins] *= c.total / self.weights[:, wins].sum(0)

    def learn(self, rates: np.ndarray) -> None:
        """Learn in one pass over images [N, inputs] in order, without labels."""
        self._show(rates, learn=True)

    def name(self, rates: np.ndarray, labels: np.ndarray, classes: int) -> None:
        """Assign each neuron to the class for which it spikes most on average. Labels are used nowhere else."""
        counts = self._show(rates, learn=False)
        means = np.stack(
            [counts[labels == k].mean(0) if (labels == k).any() else counts[0] * 0 for k in range(classes)]
        )
        self.classes, self.named = means.argmax(0), True
        self._count = classes

    def predict(self, rates: np.ndarray) -> np.ndarray:
        """Return classes int64 [N]: the class whose neurons spike most on average. Raises ValueError before `name`."""
        if not self.named:
            raise ValueError("the neurons have no names yet: call name() with labelled pictures")
        counts = self._show(rates, learn=False)
        members = np.eye(self._count)[self.classes]  # [neurons, classes]
        return ((counts @ members) / members.sum(0).clip(1)).argmax(1)
