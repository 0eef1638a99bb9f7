"""A frozen spiking ResNet with a taught head: a linear layer on the firing rates of all layers in places.

The rates are those of the last `window` steps, cut into `slices` so that order counts, and their square roots, whose
variance is about the same at any rate. The input's own rates, in finer places, may stand beside them: they are what is
left of the picture without a network.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from spikesight.models.networks.resnet import ResNetConfig, SpikingResNet
from spikesight.models.neurons.layers import Neuron, watching
from spikesight.models.neurons.state import State

SLICES, STEPS = "memory.slices", "memory.steps"
LEAST_RATE = 1e-3  # added under the square root


@dataclass(frozen=True)
class TaughtConfig:
    """The backbone's shape, and what the head looks at."""

    backbone: ResNetConfig = field(default_factory=ResNetConfig)
    classes: int = 2
    window: int = 10  # steps
    slices: int = 1  # of equal length
    places: int = 2  # a side, of every layer's map
    input_places: int = 0  # a side, of the input; 0: the head does not look at it
    height: int = 32
    width: int = 32

    def __post_init__(self) -> None:
        if self.classes < 1 or not 1 <= self.slices <= self.window <= 10_000 or self.window % self.slices:
            raise ValueError("classes must be positive, and slices divide the window of at most 10000 steps")
        if not 1 <= self.places <= self.height or not 0 <= self.input_places <= min(self.height, self.width):
            raise ValueError("places must be positive, input_places not negative, and neither more than pixels")


def in_places(maps: Tensor, side: int) -> Tensor:
    """Means over `side` x `side` parts of maps [..., C, H, W]: [..., C side side]. Part n of a side of H is rows
    floor(n H / side) to ceil((n + 1) H / side), so that neighbours share a row where they do not divide it.
    """
    return adaptive_avg_pool2d(maps.flatten(0, -4), side).view(*maps.shape[:-2], side**2).flatten(-2)


class Memory(nn.Module):
    """The last `window` steps of whatever is fed to it, as `slices` means a value.

    State: sums of each slice and of the one that is being filled, [N, slices + 1, V], and the steps so far, [N, 1].
    While a slice is being filled, the older ones are interpolated, so that the window slides smoothly.
    """

    def __init__(self, window: int, slices: int) -> None:
        super().__init__()
        self.window, self.slices, self.span = window, slices, 1.0

    @property
    def length(self) -> int:
        """Steps of a slice."""
        return self.length_at(self.span)

    def length_at(self, span: float) -> int:
        """Steps of a slice where a step lasts the share `span` of the trained one."""
        return max(1, round(self.window / self.slices / span))

    def forward(self, values: Tensor, state: State) -> Tensor:
        """Values [T, N, V] to means [T, N, slices V], the oldest slice first; a slice not yet reached is 0."""
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
    """The backbone, the memory of its rates, the head. The network keeps no state: it takes and returns it."""

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
        """Which of the features are of the input and not of the layers, bool [F]."""
        part = torch.arange(self.head.in_features // self.config.slices) >= sum(self.channels) * self.config.places**2
        return part.repeat(self.config.slices)

    def _count_channels(self) -> list[int]:
        """The rates of each neuron layer."""
        config, state = self.config, State()
        x = torch.zeros(1, 1, config.backbone.in_channels, config.height, config.width)
        with torch.no_grad():
            was_training = self.backbone.training
            self.backbone.eval().features(x, state)
            self.backbone.train(was_training)
        return [state[neuron.key].shape[1] for neuron in self.neurons]

    def observed(self, x_seq: Tensor, rates: Tensor) -> Tensor:
        """What is kept of each step, [T, N, V]: the layers' rates [T, N, R] and, if wanted, the input's."""
        side = self.config.input_places
        return torch.cat([rates, in_places((x_seq != 0).to(rates.dtype), side)], 2) if side else rates

    def features(self, x_seq: Tensor, rates: Tensor, state: State) -> Tensor:
        """What the head looks at after each step, [T, N, F]; `state` gets the memory after them."""
        return torch.sqrt(self.memory(self.observed(x_seq, rates), state) + LEAST_RATE)

    def whole(self, x_seq: Tensor, rates: Tensor) -> Tensor:
        """The features after the last step of a window of T steps from zero state: [N, F]."""
        slices = self.observed(x_seq, rates).unflatten(0, (self.config.slices, -1)).mean(1)
        return torch.sqrt(slices.transpose(0, 1).flatten(1) + LEAST_RATE)

    def watched(self, features: Tensor, layers: int) -> Tensor:
        """Rates by channel of the first `layers` neuron layers over the window, of features [T, N, F]: [T, N, S]."""
        config, count = self.config, sum(self.channels[:layers])
        means = (features**2 - LEAST_RATE).unflatten(2, (config.slices, -1)).mean(2)
        return means[..., : count * config.places**2].unflatten(2, (count, config.places**2)).mean(3).clamp(min=0)

    def rates(self, x_seq: Tensor, state: State) -> Tensor:
        """The backbone's rates in places, [T, N, R]; `state` gets its membranes after the steps."""
        rates: list[Tensor] = []

        def keep(_: str, __: nn.Module, ___: Tensor, spikes: Tensor) -> None:
            rates.append(in_places((spikes != 0).to(spikes.dtype), self.config.places))

        with watching(self.backbone, Neuron, keep):
            self.backbone.features(x_seq.to(self.backbone.readout.weight.dtype), state)
        return torch.cat(rates, 2)

    def forward(self, x_seq: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """x_seq [T, N, C, H, W] and the state before it to (logits [T, N, K], the state after it)."""
        channels = self.config.backbone.in_channels
        if x_seq.ndim != 5 or x_seq.shape[2] != channels:
            raise ValueError(f"x_seq must be [T, N, {channels}, H, W], not {tuple(x_seq.shape)}")
        after = dict(state or {})
        return self.head(self.features(x_seq, self.rates(x_seq, after), after)), after


class Watch:
    """What `known` is judged by of a network that runs in PyTorch: `read` gives float32 [T, N, S] of the last pass."""

    def __init__(self, network: TaughtNetwork, layers: int) -> None:
        self._network, self._layers, self._features = network, layers, torch.zeros(0)
        network.head.register_forward_pre_hook(self._note)

    def _note(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._features = inputs[0]

    def read(self) -> Tensor:
        """Rates by channel over the window."""
        return self._network.watched(self._features, self._layers)
