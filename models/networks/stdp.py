"""STDP: the biological road, a shallow baseline. Rules as pure functions, one layer that learns without labels.

    pair      p <- p - p/tau + s_pre, q <- q - q/tau + s_post, then dw = f+(w) s_post p - f-(w) s_pre q
    triplet   Pfister & Gerstner 2006: two traces a side, the slow ones scale the change
    reward    MSTDP: dw = eta r e, e = P+ s_post + s_pre P-; MSTDPET low-passes e
    simple    dw = a (w - low) (high - w), the sign by the spikes' order alone (SpykeTorch)

Traces are updated before they are used, so a coincident pair adds both terms. The layers add winner-take-all and
homeostasis (adaptive thresholds); neurons are named after training by the labels they answer to.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from spikesight.encoders.kernels.loop import loop


@loop
def show(
    rates, weights, threshold, counts, seed, learn, steps, peak, membrane, trace_decay, a_plus, a_minus, total,
    theta, theta_plus, theta_keep,
):  # fmt: skip
    """Show pictures one after another. weights [inputs, neurons], threshold [neurons] and seed [1] change in place.

    Each step: pixels spike by chance, membranes leak and integrate, and the neuron furthest above its threshold, if
    any, spikes and silences all others.
    """
    inputs, neurons = weights.shape
    v, p, q = np.zeros(neurons), np.zeros(inputs), np.zeros(neurons)
    active, fired = np.zeros(inputs, np.int64), np.zeros(inputs, np.int64)
    state = np.uint32(seed[0] | np.uint32(1))
    for n in range(len(rates)):
        size = 0
        for i in range(inputs):
            p[i] = 0.0
            if rates[n, i] > 0:
                active[size] = i
                size += 1
        v[:] = 0.0
        q[:] = 0.0
        for _ in range(steps):
            spikes = 0
            for k in range(size):
                i = active[k]
                state ^= np.uint32(state << np.uint32(13))
                state ^= np.uint32(state >> np.uint32(17))
                state ^= np.uint32(state << np.uint32(5))
                p[i] *= trace_decay
                if state * 2.3283064365386963e-10 < peak * rates[n, i]:
                    p[i] += 1.0
                    fired[spikes] = i
                    spikes += 1
            for j in range(neurons):
                v[j] *= membrane
                q[j] *= trace_decay
            for k in range(spikes):
                row = weights[fired[k]]
                for j in range(neurons):
                    v[j] += row[j]
            winner, most = -1, 0.0
            for j in range(neurons):
                above = v[j] - theta - threshold[j]
                if above > most:
                    winner, most = j, above
            if learn:
                for j in range(neurons):
                    threshold[j] *= theta_keep
            if winner >= 0:
                counts[n, winner] += 1
                v[:] = 0.0
                q[winner] += 1.0
                if learn:
                    threshold[winner] += theta_plus
                    for k in range(size):
                        i = active[k]
                        weights[i, winner] = min(1.0, weights[i, winner] + a_plus * p[i] * (1.0 - weights[i, winner]))
            if learn:
                for k in range(spikes):
                    i = fired[k]
                    for j in range(neurons):
                        if q[j] > 0:
                            weights[i, j] = max(0.0, weights[i, j] - a_minus * q[j] * weights[i, j])
        if learn:
            for j in range(neurons):
                if q[j] > 0:
                    whole = 0.0
                    for i in range(inputs):
                        whole += weights[i, j]
                    scale = total / whole
                    for i in range(inputs):
                        weights[i, j] *= scale
    seed[0] = state


class PairTraces(NamedTuple):
    """Traces of the inputs p [N_pre] and of the outputs q [N_post]."""

    p: Tensor
    q: Tensor


def pair_step(traces: PairTraces, s_pre: Tensor, s_post: Tensor, tau: float) -> PairTraces:
    """p <- p - p/tau + s_pre and q likewise; tau in steps, >= 1.

    >>> float(pair_step(PairTraces(torch.ones(1), torch.ones(1)), torch.zeros(1), torch.ones(1), 2.0).q)
    1.5
    """
    return PairTraces(traces.p - traces.p / tau + s_pre, traces.q - traces.q / tau + s_post)


def pair_change(
    traces: PairTraces, s_pre: Tensor, s_post: Tensor, f_post: Tensor | float = 1.0, f_pre: Tensor | float = 1.0
) -> Tensor:
    """dw [N_post, N_pre] = f_post s_post p - f_pre s_pre q, after `pair_step`; f: functions of w, already taken."""
    return f_post * s_post[:, None] * traces.p[None] - f_pre * s_pre[None] * traces.q[:, None]


@dataclass(frozen=True)
class Triplet:
    """Parameters of the triplet rule, as fitted to hippocampal data (Pfister & Gerstner 2006, minimal set)."""

    tau_plus: float = 16.8  # steps of 1 ms: fast trace of the inputs
    tau_minus: float = 33.7  # fast trace of the outputs
    tau_x: float = 101.0  # slow trace of the inputs
    tau_y: float = 125.0  # slow trace of the outputs
    a2_plus: float = 5e-3
    a3_plus: float = 6e-3
    a2_minus: float = 7e-3
    a3_minus: float = 0.0


class TripletTraces(NamedTuple):
    """r1, r2 of the inputs and o1, o2 of the outputs."""

    r1: Tensor
    r2: Tensor
    o1: Tensor
    o2: Tensor


def triplet_step(traces: TripletTraces, s_pre: Tensor, s_post: Tensor, rule: Triplet) -> tuple[TripletTraces, Tensor]:
    """One step: (traces, dw [N_post, N_pre]). Slow traces act as they were before this step's spikes (t - epsilon).

    On an input spike w -= o1 (A2- + A3- r2); on an output spike w += r1 (A2+ + A3+ o2).
    """
    decay = [np.exp(-1 / tau) for tau in (rule.tau_plus, rule.tau_x, rule.tau_minus, rule.tau_y)]
    r1, r2, o1, o2 = (trace * float(d) for trace, d in zip(traces, decay))
    up = s_post[:, None] * (r1 + s_pre)[None] * (rule.a2_plus + rule.a3_plus * o2[:, None])
    down = s_pre[None] * (o1 + s_post)[:, None] * (rule.a2_minus + rule.a3_minus * r2[None])
    return TripletTraces(r1 + s_pre, r2 + s_pre, o1 + s_post, o2 + s_post), up - down


class Eligibility(NamedTuple):
    """Traces P+ [N_pre], P- [N_post] and what they made eligible, e [N_post, N_pre]."""

    plus: Tensor
    minus: Tensor
    e: Tensor


def reward_step(
    traces: Eligibility, s_pre: Tensor, s_post: Tensor, *, tau: float = 20.0, tau_e: float | None = None
) -> Eligibility:
    """e = P+ s_post + s_pre P- with a+ = 1, a- = -1 (MSTDP); with `tau_e`, e is low-passed (MSTDPET)."""
    decay = float(np.exp(-1 / tau))
    plus, minus = traces.plus * decay + s_pre, traces.minus * decay - s_post
    now = plus[None] * s_post[:, None] + s_pre[None] * minus[:, None]
    if tau_e is None:
        return Eligibility(plus, minus, now)
    kept = float(np.exp(-1 / tau_e))
    return Eligibility(plus, minus, traces.e * kept + now / tau_e)


def reward_change(eligibility: Eligibility, reward: float, eta: float) -> Tensor:
    """dw = eta r e."""
    return eta * reward * eligibility.e


def simple_change(w: Tensor, earlier: Tensor, a_plus: float = 4e-3, a_minus: float = -3e-3) -> Tensor:
    """dw = a (w - 0) (1 - w); a+ where the input came no later than the output (`earlier`), a- elsewhere."""
    return torch.where(earlier, a_plus, a_minus) * w * (1 - w)


@dataclass(frozen=True)
class StdpConfig:
    """A fully connected layer with winner-take-all, after Diehl & Cook 2015, in steps of 1 ms."""

    inputs: int = 784
    neurons: int = 100
    steps: int = 60  # an image is shown for
    peak: float = 0.35  # spikes a step of the brightest pixel
    tau_membrane: float = 100.0  # steps
    tau_trace: float = 20.0
    a_plus: float = 1.2e-3  # potentiation by the input trace at an output spike
    a_minus: float = 6e-5  # depression by the output trace at an input spike
    total: float = 78.4  # incoming weights of a neuron are kept at this sum (BindsNET's value for 784 inputs)
    theta: float = 9.0  # threshold at rest
    theta_plus: float = 0.12  # an output spike raises its neuron's threshold by this
    theta_decay: float = 2e-5  # share that is lost a step

    def __post_init__(self) -> None:
        if min(self.inputs, self.neurons, self.steps) < 1 or not 0 < self.peak <= 1:
            raise ValueError("inputs, neurons and steps must be positive, peak in (0, 1]")


def rates_of(pixels: np.ndarray) -> np.ndarray:
    """float32 [N, inputs] in [0, 1] of uint8 pictures [N, ...]."""
    return pixels.reshape(len(pixels), -1).astype(np.float32) / 255


class StdpLayer:
    """Learns prototypes from unlabelled pictures by pair STDP; `name` then ties neurons to classes."""

    def __init__(self, config: StdpConfig, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.config, self.seed = config, np.array([2 * seed + 12345], np.uint32)
        self.weights = random.uniform(0.2, 0.5, (config.inputs, config.neurons)).astype(np.float32)
        self.weights *= config.total / self.weights.sum(0)
        self.threshold = np.zeros(config.neurons, np.float32)  # above rest
        self.classes = np.zeros(config.neurons, np.int64)
        self.named = False

    def _show(self, rates: np.ndarray, *, learn: bool) -> np.ndarray:
        """Spikes of each neuron for each picture, int32 [N, neurons]."""
        c = self.config
        if rates.ndim != 2 or rates.shape[1] != c.inputs:
            raise ValueError(f"rates must be [N, {c.inputs}], not {rates.shape}")
        counts = np.zeros((len(rates), c.neurons), np.int32)
        show(
            np.ascontiguousarray(rates, np.float32), self.weights, self.threshold, counts, self.seed, learn,
            c.steps, c.peak, 1 - 1 / c.tau_membrane, 1 - 1 / c.tau_trace, c.a_plus, c.a_minus, c.total,
            c.theta, c.theta_plus, 1 - c.theta_decay,
        )  # fmt: skip
        return counts

    def learn(self, rates: np.ndarray) -> None:
        """One pass over pictures [N, inputs], in their order, without labels."""
        self._show(rates, learn=True)

    def name(self, rates: np.ndarray, labels: np.ndarray, classes: int) -> None:
        """Each neuron gets the class for which it spikes most on average: the only use of labels."""
        counts = self._show(rates, learn=False)
        means = np.stack(
            [counts[labels == k].mean(0) if (labels == k).any() else counts[0] * 0 for k in range(classes)]
        )
        self.classes, self.named = means.argmax(0), True
        self._count = classes

    def predict(self, rates: np.ndarray) -> np.ndarray:
        """Classes int64 [N]: the class whose neurons spike most on average."""
        if not self.named:
            raise ValueError("the neurons have no names yet: call name() with labelled pictures")
        counts = self._show(rates, learn=False)
        members = np.eye(self._count)[self.classes]  # [neurons, classes]
        return ((counts @ members) / members.sum(0).clip(1)).argmax(1)


class ConvStdpLayer:
    """A convolutional layer of the simple rule on latency-coded inputs, with winner-take-all (SpykeTorch)."""

    def __init__(self, inputs: int, features: int, kernel: int, threshold: float, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.weights = (0.8 + 0.05 * torch.randn(features, inputs, kernel, kernel, generator=generator)).clamp(
            0.05, 0.95
        )
        self.threshold, self.kernel = threshold, kernel

    def times(self, x_seq: Tensor) -> tuple[Tensor, Tensor]:
        """(step of the first spike, T where none; potential there), both [F, H, W], for spikes [T, C, H, W]."""
        potential = F.conv2d(x_seq, self.weights).cumsum(0)
        fired = potential >= self.threshold
        steps = torch.where(fired.any(0), fired.to(torch.uint8).argmax(0), len(x_seq))
        index = steps.clamp_max(len(x_seq) - 1)[None]
        return steps, potential.gather(0, index)[0]

    def learn(self, x_seq: Tensor, winners: int = 3) -> list[int]:
        """One picture: the earliest (then strongest) neurons win, inhibit their feature and place, and learn.

        Returns the features that won.
        """
        steps, potential = self.times(x_seq)
        first = torch.where(x_seq.bool().any(0), x_seq.to(torch.uint8).argmax(0), len(x_seq))
        score = torch.where(steps < len(x_seq), (len(x_seq) - steps) * 1e4 + potential, -torch.inf)
        won = []
        for _ in range(winners):
            best = int(score.argmax())
            feature, row, column = np.unravel_index(best, tuple(score.shape))
            if not score[feature, row, column] > -torch.inf:
                break
            patch = first[:, row : row + self.kernel, column : column + self.kernel]
            w = self.weights[feature]
            self.weights[feature] = (w + simple_change(w, patch <= steps[feature, row, column])).clamp(0, 1)
            won.append(int(feature))
            score[feature] = -torch.inf
            near = (
                slice(max(0, row - self.kernel + 1), row + self.kernel),
                slice(max(0, column - self.kernel + 1), column + self.kernel),
            )
            score[:, near[0], near[1]] = -torch.inf
        return won
