"""Convert states between a network and its NIR graph, for their comparison."""

import torch
from torch import Tensor, nn

from spikesight.models.export.nir_graph import strict
from spikesight.models.export.nir_network import BACK
from spikesight.models.export.parity import potentials
from spikesight.models.networks.converted.network import ConvertedNetwork
from spikesight.models.networks.converted.neurons import SpikeLayer
from spikesight.models.neurons.layers import Neuron, SlidingNeuron
from spikesight.models.neurons.state import State


def leak(layer: Neuron) -> float:
    """Return the leak of a layer, learnt or configured."""
    return float(torch.as_tensor(layer.beta()).detach())


def limits(layer: Neuron, u: Tensor) -> tuple[float | Tensor, Tensor]:
    """Return what a spike subtracts from a membrane u [N, ...], and what u must exceed to fire."""
    if not isinstance(layer, SpikeLayer):
        return layer.config.theta, strict(layer.config.theta, layer.config.inclusive)
    theta = layer.row(layer.theta, u)
    return theta, strict(theta - layer.rule.start * theta, layer.rule.inclusive)


def nir_view(network: nn.Module, state: State) -> State:
    """Convert a NIR graph's state to the network's names: membranes after their reset, and held inputs."""
    shown = {name: state[name] for name, _ in accumulated_pools(network)}
    for layer in network.modules():
        if not isinstance(layer, Neuron) or layer.key not in state:
            continue
        name, value = layer.key, state[layer.key]
        if isinstance(layer, SlidingNeuron):
            shown |= {key: state[key][:, -1] for key in held_inputs(layer)}
        elif layer.config.reset == "zero":
            shown[name] = value
        else:
            theta, limit = limits(layer, value)
            back = state[f"{BACK}{name}.reset"]  # non-zero where the graph spiked; always 0 if beta is 0
            silent = not layer.config.delay and leak(layer) == 0
            shown[name] = value - theta * (value > limit if silent else back != 0)
    return shown


def nir_state(network: nn.Module, state: State) -> State:
    """Convert the network's state to that of its NIR graph."""
    shown, graph = potentials(network, state), {}
    for layer in network.modules():
        if not isinstance(layer, Neuron) or layer.key not in state:
            continue
        name, config = layer.key, layer.config
        if isinstance(layer, SlidingNeuron):
            graph |= {key: state[key][:, None] for key in held_inputs(layer)}
        elif config.reset == "zero":
            graph[name] = shown[name]
        elif not config.delay:
            graph |= {name: state[name], f"{BACK}{name}.reset": torch.zeros_like(state[name])}  # includes the reset
        else:
            gain = 1 - leak(layer) if config.scale_input else 1.0
            graph |= {name: state[name], f"{BACK}{name}.reset": (shown[name] - state[name]) / gain}
    for name, pool in accumulated_pools(network):
        graph |= {name: state[name], f"{name}.held": pool(state[name])[:, None]}
    return graph


def held_inputs(layer: SlidingNeuron) -> list[str]:
    """Return the state keys of a sliding PSN, the newest input first."""
    return [layer.key if i == 1 else f"{layer.key}.{i}" for i in range(1, max(2, layer.config.taps))]


def accumulated_pools(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return names and layers of a converted network's max-pools of accumulated currents."""
    if not isinstance(network, ConvertedNetwork):
        return []
    nodes = [n for n in network.config.nodes if n.op == "max_pool" and n.name not in network.still]
    return [(f"layers.{node.name}", network.layers[node.name]) for node in nodes]
