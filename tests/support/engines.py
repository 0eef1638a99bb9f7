"""What an engine did since it was last asked: densities and kernels by layer; and its state as the network's."""

from typing import NamedTuple

import numpy as np

from spikesight.models.engine.engine import MEMBRANES, Engine
from spikesight.models.engine.plan import padded
from spikesight.models.neurons.state import State


class LayerUse(NamedTuple):
    """How a convolution was run since statistics were last read."""

    name: str
    density: float  # share of its multiply-adds that met a non-zero input
    event_driven: float  # share of the frames that were event-driven
    seconds: float  # of the whole layer with its shortcut; 0 in the row of the shortcut itself


def uses(engine: Engine) -> list[LayerUse]:
    """Return density and kernel of each convolution since the last call of this function."""
    names = engine.plan.names
    counts = np.zeros((len(names), 2, 5), dtype=np.int64)
    engine.library.engine_statistics(engine._handle, counts.ctypes.data)
    uses: list[LayerUse] = []
    for name, by_input in zip(names, counts):
        for (reached, possible, scattered, frames, spent), suffix in zip(by_input.tolist(), ("", " shortcut")):
            if frames:
                uses.append(LayerUse(name + suffix, reached / possible, scattered / frames, spent / 1e9))
    return uses


def network_state(engine: Engine, state: State) -> State:
    """Return the engine's state as the PyTorch network's: a float32 [N, C, H, W] for each neuron layer."""
    flat, parts = state[MEMBRANES], State()
    for name, (first, channels, height, width) in engine.plan.states.items():
        size = height * width * padded(channels)
        maps = flat[:, first : first + size].unflatten(1, (height, width, padded(channels)))
        unit = engine.plan.scales.get(name, flat.new_ones(1)).view(-1, 1, 1)
        parts[name] = maps[..., :channels].permute(0, 3, 1, 2) * unit
    return parts
