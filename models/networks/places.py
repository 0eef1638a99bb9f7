"""A spiking ResNet's answer at each place of its last map, for views that show more than one thing.

A network of stride CELL that was trained to read one thing in a view of 34 x 34, whose last map is REACH x REACH, reads
a larger view place by place: REACH x REACH cells of its last map are one place.
"""

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.neurons.state import State

CELL = 8  # pixels of the view between two places
REACH = 5  # cells of the last map a place sees
FIRST = CELL * (REACH // 2) + 0.5  # pixels from the view's corner to the middle of the first place


def gives_places(network: nn.Module) -> bool:
    """Return whether a network answers at each place: a spiking ResNet of stride CELL with a linear read-out."""
    if not isinstance(network, SpikingResNet) or network.config.spiking_readout:
        return False
    halved = (network.config.stem == "imagenet") + (network.config.pool != "none") + len(network.config.depths) - 1
    return 2**halved == CELL


def places(network: SpikingResNet, x_seq: Tensor, state: State | None = None) -> tuple[Tensor, State]:
    """Run x_seq [T, N, C, H, W] from a state; return logits [T, N, H / 8 - 4, W / 8 - 4, K] and the new state."""
    after = dict(state or {})
    spikes = network.features(x_seq.to(network.readout.weight.dtype), after)
    pooled = avg_pool2d(spikes.flatten(0, 1), REACH, 1).unflatten(0, spikes.shape[:2])
    return network.readout(pooled.movedim(2, -1)), after


class Places(nn.Module):
    """A network whose logits are those of all places in a row, [T, N, P K]."""

    def __init__(self, network: SpikingResNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_seq: Tensor, state: State) -> tuple[Tensor, State]:
        logits, after = places(self.network, x_seq, state)
        return logits.flatten(2), after
