"""Record what every neuron of a network does, spikes and membranes at each step, as arrays."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikesight.models.neurons.layers import Neuron
from spikesight.models.neurons.probe import threshold_of
from spikesight.models.neurons.state import State


class LayerTrace(NamedTuple):
    """One neuron layer over T steps; C, H, W are channels, rows and columns of its neurons."""

    title: str  # "layer 1", counted from the input
    spikes: NDArray[np.float32]  # [T, C, H, W]: 0 or 1; a sum if a block adds spikes
    membranes: NDArray[np.float32]  # [T, C, H, W], after each step, in units of the input current
    threshold: NDArray[np.float32]  # [C], or [] if all channels share one


@dataclass(frozen=True)
class Trace:
    """The recording of T steps of one stream through a network."""

    labels: tuple[str, ...]
    step_us: int
    inputs: NDArray[np.float32]  # [T, C, H, W], the network's input
    layers: dict[str, LayerTrace]  # by the layer's name in the network, in its order
    probabilities: NDArray[np.float32]  # [T, K], of the classes after each step


@torch.inference_mode()
def trace_layers(network: nn.Module, steps: Iterable[tuple[Tensor, bool]]) -> dict[str, LayerTrace]:
    """Run `network` on `steps`, (x [C, H, W], whether to start from zero state), and record every neuron layer.

    PyTorch runs a copy that shares the weights, so others may use the network meanwhile. Spikes and membranes are kept
    for every step: 8 bytes per neuron and step. Returns {} for an ANN.
    """
    twin = copy.deepcopy(network, {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())})
    found: dict[str, tuple[list[Tensor], list[Tensor]]] = {}
    names = {module: name for name, module in twin.named_modules() if isinstance(module, Neuron)}

    def keep(module: nn.Module, given: tuple[Tensor, State], spikes: Tensor) -> None:
        if isinstance(module, Neuron) and module.key in given[1]:
            fired, potentials = found.setdefault(names[module], ([], []))
            fired.append(spikes[0, 0].float())
            potentials.append(given[1][module.key][0].float())

    for module in names:
        module._forward_hooks.clear()
        module.register_forward_hook(keep)  # pyright: ignore[reportArgumentType]
    state: State | None = None
    for x, rests in steps:
        _, state = twin(x[None, None].float(), None if rests else state)
    return {
        name: LayerTrace(
            f"layer {number}",
            *(torch.stack(values).numpy() for values in found[name]),  # pyright: ignore[reportCallIssue]
            threshold=threshold_of(module),
        )
        for number, (module, name) in enumerate(((m, n) for m, n in names.items() if n in found), 1)
    }
