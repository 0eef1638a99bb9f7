"""A spiking ResNet with a taught head: a linear layer on the firing rates of all layers, averaged over places.

Rates are means over the last `window` steps, divided into `slices` so that order counts; the head gets their square
roots, whose variance is about the same at any rate. The input's own rates, over finer places, may be added: they keep
detail of the picture that the network has lost.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from spikesight.models.networks.resnet import ResNetConfig, SpikingResNet
from spikesight.models.neurons.layers import Neuron, watching
from spikesight.models.neurons.state import State, evaluating

SLICES, STEPS = "memory.slices", "memory.steps"
LEAST_RATE = 1e-3  # added under the square root


@dataclass(frozen=True)
class TaughtConfig:
    """The backbone's shape, and the features of the head."""

    backbone: ResNetConfig = field(default_factory=ResNetConfig)
    classes: int = 2
    window: int = 10  # steps
    slices: int = 1  # equal parts of the window in time
    places: int = 2  # parts per side into which every layer's map is divided
    input_places: int = 0  # parts per side of the input; 0: the head does not read the input
    height: int = 32
    width: int = 32

    def __post_init__(self) -> None:
        if self.classes < 1 or not 1 <= self.slices <= self.window <= 10_000 or self.window % self.slices:
            raise ValueError("classes must be positive, and slices divide the window of at most 10000 steps")
        if not 1 <= self.places <= self.height or not 0 <= self.input_places <= min(self.height, self.width):
            raise ValueError("places must be positive, input_places not negative, and neither more than pixels")
        if max(self.height, self.width) > 2048:
            raise ValueError("height and width up to 2048")


def in_places(maps: Tensor, side: int) -> Tensor:
    """Average maps [..., C, H, W] over `side` x `side` parts: [..., C side side]. Part n of a side of H is rows floor(n
    H / side) to ceil((n + 1) H / side), so neighbouring parts share a row if `side` does not divide H.
    """
    return adaptive_avg_pool2d(maps.flatten(0, -4), side).view(*maps.shape[:-2], side**2).flatten(-2)


class Memory(nn.Module):
    """Sliding means over the last `window` steps of a sequence of values, one mean for each of `slices`.

    State: sums of each slice and of the slice being filled, [N, slices + 1, V], and the steps so far, [N, 1]. While a
    slice is being filled, the older slices are interpolated, so that the window slides smoothly.
    """

    def __init__(self, window: int, slices: int) -> None:
        super().__init__()
        self.window, self.slices, self.span = window, slices, 1.0

    @property
    def length(self) -> int:
        """Steps of a slice."""
        return self.length_at(self.span)

    def length_at(self, span: float) -> int:
        """Return the steps of a slice if a step lasts `span` times the trained one."""
        return max(1, round(self.window / self.slices / span))

    def forward(self, values: Tensor, state: State) -> Tensor:
        """Map values [T, N, V] to means [T, N, slices V], the oldest slice first; slices not yet reached are 0."""
        if SLICES in state:
            sums, steps = state[SLICES], state[STEPS]
        else:
            sums = values.new_zeros(values.shape[1], self.slices + 1, values.shape[2])
            steps = values.new_zeros(values.shape[1], 1)
        means: list[Tensor] = []
        for value in values:
            filling = sums[:, -1:] + value[:, None]
            filled = torch.remainder(steps, self.length) + 1
            steps = steps + 1
            part = (filled / self.length)[:, :, None]
            shown = (1 - part) * sums[:, :-1] + torch.cat([part * sums[:, 1:-1], filling], 1)
            means.append((shown / steps.clamp(max=self.length)[:, :, None]).flatten(1))
            moved = torch.cat([sums[:, 1:-1], filling, torch.zeros_like(filling)], 1)
            sums = torch.where(part == 1, moved, torch.cat([sums[:, :-1], filling], 1))
            steps = torch.where(steps >= 2 * self.length, steps - self.length, steps)
        state[SLICES], state[STEPS] = sums, steps
        return torch.stack(means)


class TaughtNetwork(nn.Module):
    """Backbone, memory of its rates, and head. The network takes and returns its state and stores none."""

    def __init__(self, config: TaughtConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = SpikingResNet(config.backbone)
        self.neurons = [module for module in self.backbone.modules() if isinstance(module, Neuron)]
        self.memory = Memory(config.window, config.slices)
        self.channels = self._count_channels()
        observed = sum(self.channels) * config.places**2 + config.backbone.in_channels * config.input_places**2
        self.head = nn.Linear(observed * config.slices, config.classes)

    @property
    def of_input(self) -> Tensor:
        """Mask of the features that come from the input rather than from layers, bool [F]."""
        part = torch.arange(self.head.in_features // self.config.slices) >= sum(self.channels) * self.config.places**2
        return part.repeat(self.config.slices)

    def _count_channels(self) -> list[int]:
        """Return the channels of each neuron layer."""
        config, state = self.config, State()
        x = torch.zeros(1, 1, config.backbone.in_channels, config.height, config.width)
        with torch.no_grad(), evaluating(self.backbone):
            self.backbone.features(x, state)
        return [state[neuron.key].shape[1] for neuron in self.neurons]

    def observed(self, x_seq: Tensor, rates: Tensor) -> Tensor:
        """Return each step's values for the memory, [T, N, V]: the rates [T, N, R], and the input's if configured."""
        side = self.config.input_places
        return torch.cat([rates, in_places((x_seq != 0).to(rates.dtype), side)], 2) if side else rates

    def features(self, x_seq: Tensor, rates: Tensor, state: State) -> Tensor:
        """Return the head's features after each step, [T, N, F]; `state` gets the new memory."""
        return torch.sqrt(self.memory(self.observed(x_seq, rates), state) + LEAST_RATE)

    def window_features(self, x_seq: Tensor, rates: Tensor) -> Tensor:
        """Return the features [N, F] after a window of T steps that started from zero state."""
        slices = self.observed(x_seq, rates).unflatten(0, (self.config.slices, -1)).mean(1)
        return torch.sqrt(slices.transpose(0, 1).flatten(1) + LEAST_RATE)

    def watched(self, features: Tensor, layers: int) -> Tensor:
        """Return the channel rates [T, N, S] of the first `layers` neuron layers, from features [T, N, F]."""
        config, count = self.config, sum(self.channels[:layers])
        means = (features**2 - LEAST_RATE).unflatten(2, (config.slices, -1)).mean(2)
        return means[..., : count * config.places**2].unflatten(2, (count, config.places**2)).mean(3).clamp(min=0)

    def rates(self, x_seq: Tensor, state: State) -> Tensor:
        """Run the backbone; return its rates averaged over places, [T, N, R]. `state` gets the new membranes."""
        rates: list[Tensor] = []

        def keep(_: str, __: nn.Module, ___: Tensor, spikes: Tensor) -> None:
            rates.append(in_places(spikes, self.config.places))

        with watching(self.backbone, Neuron, keep):
            self.backbone.features(x_seq.to(self.backbone.readout.weight.dtype), state)
        return torch.cat(rates, 2)

    def after_window(self, x_seq: Tensor, state: State) -> tuple[Tensor, State]:
        """Run a window x_seq [T, N, C, H, W] from membranes; return logits [1, N, K] at its end, and membranes."""
        after = dict(state)
        return self.head(self.window_features(x_seq, self.rates(x_seq, after)))[None], after

    def forward(self, x_seq: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run x_seq [T, N, C, H, W] from a state (None: zeros); return logits [T, N, K] and the new state."""
        channels = self.config.backbone.in_channels
        if x_seq.ndim != 5 or x_seq.shape[2] != channels:
            raise ValueError(f"x_seq must be [T, N, {channels}, H, W], not {tuple(x_seq.shape)}")
        after = dict(state or {})
        return self.head(self.features(x_seq, self.rates(x_seq, after), after)), after


class RateWatch:
    """Records the channel rates by which `in_distribution` is judged, for a taught network that runs in PyTorch."""

    def __init__(self, network: TaughtNetwork, layers: int) -> None:
        self._network, self._layers, self._features = network, layers, torch.zeros(0)
        network.head.register_forward_pre_hook(self._note)

    def _note(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._features = inputs[0]

    def read(self) -> Tensor:
        """Return the channel rates over the window after each step of the last pass, float32 [T, N, S]."""
        return self._network.watched(self._features, self._layers)
