"""NIR both ways (Pedersen et al., Nature Communications 2024): graphs of neurons in continuous time, run by nirtorch.

The graph of a network is the one that forward Euler with the stated step dt turns into our steps again, g being the
gain of the input:

    tau dv/dt = -v + R i     v[t] = (1 - dt/tau) v[t-1] + dt/tau R i[t]     tau = dt / (1 - beta), R = g / (1 - beta)
    dv/dt = R i              v[t] = v[t-1] + dt R i[t]                      beta = 1: R = g / dt

A reset to zero is NIR's own: LIF or IF with v_reset = 0; whether it acts at once or in the next step, the spikes are
the same. A reset by subtraction is a cycle of NIR nodes: LI or I, a Threshold, and back through a Scale of -theta/g (in
the next step) or -beta theta/g (at once); the edge that closes the cycle carries the value of the step before, as in
Euler's method. Firing at u >= theta is written as firing above the largest float32 below theta.

Any graph of convolutions, linear layers, pools, sums, LIF and IF is imported, as SpikingJelly and snnTorch write it;
what has no exact counterpart, here or in NIR (a max-pool), is refused by its layer's name. Nothing in a file is
executed.
"""

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from graphlib import CycleError, TopologicalSorter
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikesight.models.contract import Card, Contract
from spikesight.models.export.parity import ExportError, Runner, compared, import_extra
from spikesight.models.networks.converted.graph import Node
from spikesight.models.networks.converted.network import ConvertedNetwork
from spikesight.models.networks.converted.neurons import SpikeLayer
from spikesight.models.networks.folding import fold
from spikesight.models.networks.imported import ImportedConfig, ImportedNetwork
from spikesight.models.networks.output_cells import CELL_WINDOW, pool_output_cells
from spikesight.models.networks.resnet import PadShortcut, ResidualBlock, SewBlock, SpikingResNet
from spikesight.models.neurons.config import NeuronConfig
from spikesight.models.neurons.layers import Neuron
from spikesight.models.neurons.state import State

IMAGE_STEP_S = 1e-3  # nominal, since a step of an image model has no length
INTEGRATION = "forward Euler with step dt; an edge that closes a circle carries the value of the step before"
Signal = tuple[str, ...]  # names of nodes; the signal is the sum of their outputs
Number = float | Tensor  # one for all neurons, or one for each channel


# --- writing


class Graph:
    """A NIR graph under construction: nodes, edges, and each node's output shape [C, H, W] or [C]."""

    def __init__(self, shape: tuple[int, ...], dt: float) -> None:
        self.nir, self.dt = import_extra("nir"), dt
        self.nodes: dict[str, Any] = {"input": self.nir.Input(np.array(shape))}
        self.edges: list[tuple[str, str]] = []
        self.shapes = {"input": shape}

    def add(self, name: str, node: Any, signal: Signal, shape: tuple[int, ...] | None = None) -> Signal:
        """Append a node that reads a signal; return its output. None: the output has the signal's shape."""
        self.shapes[name] = shape or self.shapes[signal[0]]
        node.input_type = {"input": np.array(self.shapes[signal[0]])}
        node.output_type = {"output": np.array(self.shapes[name])}
        self.nodes[name] = node
        self.edges += [(source, name) for source in signal]
        return (name,)

    def full(self, value: Number, signal: Signal) -> NDArray[np.float64]:
        """Broadcast a number, or one for each channel, to an array of the signal's shape."""
        shape = self.shapes[signal[0]]
        values = np.asarray(value.double() if isinstance(value, Tensor) else value)
        return np.broadcast_to(values.reshape(-1, *[1] * (len(shape) - 1)), shape).astype(np.float64)

    def conv(self, name: str, signal: Signal, weight: Tensor, bias: Tensor | None, like: nn.Conv2d) -> Signal:
        """Append a convolution with these weights and the stride, padding, dilation and groups of `like`."""
        shape = self.shapes[signal[0]]
        options: Any = like.stride, like.padding, like.dilation, like.groups
        out = nn.functional.conv2d(torch.empty(shape, device="meta"), weight.to("meta"), None, *options)
        bias = weight.new_zeros(len(weight)) if bias is None else bias
        node = self.nir.Conv2d(shape[1:], weight.contiguous().numpy(), *options, bias.numpy())
        return self.add(name, node, signal, tuple(out.shape))

    def pool(self, name: str, signal: Signal, pool: nn.Module) -> Signal:
        """Append an average pool. Raises ExportError if NIR has none like it."""
        if not isinstance(pool, nn.AvgPool2d) or pool.ceil_mode or not (pool.count_include_pad or pool.padding == 0):
            raise ExportError(f"not exported: NIR has no pool like {name} ({type(pool).__name__})")
        sizes = (np.array(pair(size)) for size in (pool.kernel_size, pool.stride, pool.padding))
        out = pool(torch.empty(self.shapes[signal[0]], device="meta"))
        return self.add(name, self.nir.AvgPool2d(*sizes), signal, tuple(out.shape))

    def read_out(self, signal: Signal, layer: nn.Linear, name: str = "readout") -> Signal:
        """Append a linear layer."""
        bias = layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias
        node = self.nir.Affine(layer.weight.detach().numpy(), bias.detach().numpy())
        return self.add(name, node, signal, (layer.out_features,))

    def flatten(self, name: str, signal: Signal) -> Signal:
        """Append a flattening of everything but the batch."""
        shape = self.shapes[signal[0]]
        return self.add(name, self.nir.Flatten({"input": np.array(shape)}, 0, -1), signal, (prod(shape),))

    def scale(self, name: str, signal: Signal, factor: Number) -> Signal:
        """Append a multiplication."""
        return self.add(name, self.nir.Scale(self.full(factor, signal)), signal)


def pair(value: Any) -> tuple[int, int]:
    """Return one size or two as [vertical, horizontal]."""
    values = np.asarray(value).reshape(-1).tolist()
    return int(values[0]), int(values[-1])


def strict(theta: Number, inclusive: bool) -> Tensor:
    """Return the threshold for a comparison u > theta, float32; `inclusive`: the original compares u >= theta."""
    limit = torch.as_tensor(theta, dtype=torch.float32)
    return torch.nextafter(limit, limit.new_tensor(-torch.inf)) if inclusive else limit


def neuron(graph: Graph, layer: Neuron, x: Signal) -> Signal:
    """Append a neuron layer and return its spikes. Raises ExportError if NIR cannot express it."""
    config, name, nir = layer.config, layer.key, graph.nir
    if isinstance(layer, SpikeLayer):
        if layer.rule.bounds is not None:
            raise ExportError("not exported: NIR cannot say neurons whose membrane has bounds")
        beta, gain, theta, start = 1.0, 1.0, layer.theta, layer.rule.v0 * layer.theta
    elif type(layer) is not Neuron:
        raise ExportError(f"not exported: NIR cannot say neurons of the kind {config.kind!r}, such as {name}")
    else:
        beta, theta, start = (
            float(torch.as_tensor(layer.beta()).detach()),
            torch.tensor(config.theta),
            torch.tensor(0.0),
        )
        gain = 1 - beta if config.scale_input else 1.0
    if layer.span != 1 or gain == 0:
        why = "steps at another pace: leave --bin-ms away" if gain else "scales its input by 1 - beta, which is 0"
        raise ExportError(f"not exported: {name} {why}")
    limit = graph.full(strict(theta - start, config.inclusive), x).astype(np.float32)
    shares = (graph.dt / (1 - beta), gain / (1 - beta), 0.0) if beta < 1 else (gain / graph.dt,)
    parts = [graph.full(value, x) for value in shares]
    if config.reset == "zero":
        spikes = graph.add(name, (nir.LIF if beta < 1 else nir.IF)(*parts, limit, graph.full(-start, x)), x)
    else:
        membrane = graph.add(name, (nir.LI if beta < 1 else nir.I)(*parts), x)
        spikes = graph.add(f"{name}.spikes", nir.Threshold(limit), membrane)
        (reset,) = graph.scale(f"{name}.reset", spikes, -theta * (1 if config.delay else beta) / gain)
        graph.edges.append((reset, membrane[0]))
    return graph.scale(f"{name}.size", spikes, layer.amplitude) if isinstance(layer, SpikeLayer) else spikes


def widened(graph: Graph, name: str, x: Signal, stride: int, before: int, behind: int) -> Signal:
    """Append an identity with stride and zero channels, as a 1x1 convolution with ones on the diagonal."""
    channels = graph.shapes[x[0]][0]
    weight = nn.functional.pad(torch.eye(channels), (0, 0, before, behind))[..., None, None]
    return graph.conv(name, x, weight, None, nn.Conv2d(1, 1, 1, stride))


def block(graph: Graph, name: str, layer: ResidualBlock, kind: str, x: Signal) -> Signal:
    """Append one residual block; sums are edges into the same node."""
    if layer.pool is not None:
        x = graph.pool(f"{name}.pool", x, layer.pool)
    skip, h = x, x
    if isinstance(layer.shortcut, PadShortcut):
        skip = widened(graph, f"{name}.shortcut", x, layer.shortcut.stride, *layer.shortcut.channels)
    elif isinstance(layer.shortcut, nn.Sequential):
        skip = graph.conv(f"{name}.shortcut", x, *fold(layer.shortcut))
    convs = [layer.conv1, layer.conv2, *([layer.conv3] if layer.conv3 is not None else [])]
    neurons = [n for n in (layer.neuron1, layer.neuron2, layer.neuron3) if n is not None]
    for number, conv in enumerate(convs, 1):
        if kind == "ms" or number > 1:
            h = neuron(graph, neurons[number - 1 if kind == "ms" else number - 2], h)
        h = graph.conv(f"{name}.conv{number}", h, *fold(conv))
    if kind == "ms":
        return (*h, *skip)
    if not isinstance(layer, SewBlock):
        return neuron(graph, layer.last_neuron(), (*h, *skip))  # type: ignore[operator]
    extra = layer.neuron3 if layer.conv3 is None else layer.neuron4
    skip = skip if extra is None else neuron(graph, extra, skip)
    return (*neuron(graph, layer.last_neuron(), h), *skip)


def at_one_place(readout: nn.Linear) -> nn.Linear:
    """Return the read-out of a place as that of its pixels, channel by channel."""
    pixels = CELL_WINDOW**2
    each = pool_output_cells(torch.eye(pixels).view(1, pixels, 1, CELL_WINDOW, CELL_WINDOW)).flatten()
    whole = nn.Linear(readout.in_features * pixels, readout.out_features, readout.bias is not None)
    with torch.no_grad():
        whole.weight.copy_((readout.weight[:, :, None] * each).flatten(1))
        if readout.bias is not None:
            whole.bias.copy_(readout.bias)
    return whole


def spiking_resnet(graph: Graph, network: SpikingResNet) -> Signal:
    """Append a spiking ResNet; return its logits."""
    h = graph.conv("stem", ("input",), *fold(network.stem))
    if not isinstance(network.pool, nn.Identity):
        h = graph.pool("pool", h, network.pool)
    if network.neuron is not None:
        h = neuron(graph, network.neuron, h)
    for number, layer in enumerate(network.blocks):
        assert isinstance(layer, ResidualBlock)
        h = block(graph, f"blocks.{number}", layer, network.config.block, h)
    if network.last_neuron is not None:
        h = neuron(graph, network.last_neuron, h)
    readout = network.readout
    if network.reach:
        readout = at_one_place(readout)
    else:
        h = graph.pool("mean", h, nn.AvgPool2d(graph.shapes[h[0]][1:]))  # type: ignore[arg-type]
    h = graph.read_out(graph.flatten("flatten", h), readout)
    return h if network.readout_neuron is None else neuron(graph, network.readout_neuron, h)


def of_nodes(graph: Graph, network: ConvertedNetwork | ImportedNetwork) -> Signal:
    """Append a converted or imported network; return its logits."""
    signals: dict[str, Signal] = {}
    for node in network.config.nodes:
        read = [signals[name] for name in node.inputs]
        signals[node.name] = of_node(graph, node, dict(network.layers.items()).get(node.name), read)
    return signals[network.config.nodes[-1].name]


def of_node(graph: Graph, node: Node, layer: Any, read: list[Signal]) -> Signal:
    """Append one node; return its output. Raises ExportError for one that NIR cannot express."""
    name = f"layers.{node.name}"
    if node.op == "input":
        return ("input",)
    x = read[0]
    if node.op == "add":  # a node in both counts twice
        return (*x, *(graph.scale(name, read[1], 1.0) if {*x} & {*read[1]} else read[1]))
    if isinstance(layer, Neuron):
        return neuron(graph, layer, x)
    if node.op == "conv":
        return graph.conv(name, x, layer.weight.detach(), layer.bias.detach(), layer)
    if node.op == "linear":
        return graph.read_out(x, layer, name)
    if node.op == "flatten":
        return graph.flatten(name, x)
    if node.op == "scale":
        return graph.scale(name, x, layer.factor)
    if node.op == "global_pool" and node.kernel == (1, 1):
        return graph.pool(name, x, nn.AvgPool2d(graph.shapes[x[0]][1:]))  # type: ignore[arg-type]
    if node.op == "slice" and node.stride[0] == node.stride[1]:
        return widened(graph, name, x, node.stride[0], 0, 0)
    if node.op == "pad" and not any(node.padding[:4]):
        return widened(graph, name, x, 1, *node.padding[4:])
    if node.op in ("avg_pool", "max_pool"):
        return graph.pool(name, x, layer)
    raise ExportError(f"not exported: NIR has nothing like the {node.op} {node.title}")


def write_nir(network: nn.Module, card: Card, path: Path) -> str:
    """Write a network to a .nir file (HDF5) with event contract, labels and dt as metadata; return how it compares.

    Raises ExportError for what NIR cannot express, or if the file that is read again does not compute the same.
    """
    contract = card.contract
    graph = Graph(contract.shape, contract.bin_us * 1e-6 if contract.kind == "events" else IMAGE_STEP_S)
    if isinstance(network, SpikingResNet):
        logits = spiking_resnet(graph, network)
    elif isinstance(network, ConvertedNetwork | ImportedNetwork):
        logits = of_nodes(graph, network)
    else:
        raise ExportError(f"not exported: {type(network).__name__} has no NIR form")
    graph.add("output", graph.nir.Output(None), logits)
    ours = {"spikesight_contract": json.dumps(asdict(contract)), "spikesight_labels": json.dumps(card.labels)}
    facts = {"dt": graph.dt, "integration": INTEGRATION, **ours}
    graph.nir.write(path, graph.nir.NIRGraph(graph.nodes, graph.edges, facts))
    return compared(network, runner(*read_nir(path)), contract)


# --- running


class Membrane(nn.Module):
    """LI, I, LIF and IF: v <- decay v + drive x + rest; then, above the threshold if there is one, v <- v_reset."""

    decay: Tensor
    drive: Tensor
    rest: Tensor
    threshold: Tensor
    v_reset: Tensor

    def __init__(self, node: Any, dt: float) -> None:
        super().__init__()
        leaks = hasattr(node, "tau")
        share = dt / node.tau if leaks else dt * np.ones_like(node.r)  # step length in time constants, or in seconds
        parts = {"decay": 1 - share * leaks, "drive": share * node.r, "rest": share * (node.v_leak if leaks else 0)}
        self.fires = hasattr(node, "v_threshold")
        parts |= {"threshold": node.v_threshold, "v_reset": node.v_reset} if self.fires else {"threshold": np.inf}
        for name, value in parts.items():
            self.register_buffer(name, torch.as_tensor(np.asarray(value, np.float64)).float())

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        v = self.drive * x + self.rest + (0 if state is None else self.decay * state)
        if not self.fires:
            return v, v
        fired = v > self.threshold
        return fired.to(x.dtype), torch.where(fired, self.v_reset, v)


class Elementwise(nn.Module):
    """Scale and Threshold: a function of the input and a number for each element."""

    value: Tensor

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], value: Any) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("value", torch.as_tensor(np.array(value)).float())

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.value)


def above(x: Tensor, threshold: Tensor) -> Tensor:
    """Return 1 above the threshold, else 0."""
    return (x > threshold).to(x.dtype)


def conv(node: Any) -> nn.Module:
    """Return the convolution of a node."""
    out, inner, *kernel = node.weight.shape
    sizes = (value if isinstance(value, str) else pair(value) for value in (node.stride, node.padding, node.dilation))
    return filled(nn.Conv2d(inner * int(node.groups), out, kernel, *sizes, int(node.groups)), node)  # type: ignore[arg-type]


def filled(layer: nn.Conv2d | nn.Linear, node: Any) -> nn.Module:
    """Return the layer with a node's weight, and its bias or zeros."""
    with torch.no_grad():
        for name in ("weight", "bias"):
            value = np.asarray(getattr(node, name, 0), np.float32)
            getattr(layer, name).copy_(torch.from_numpy(value.reshape(-1) if name == "bias" else value))
    return layer


def layers(dt: float) -> dict[type, Callable[[Any], nn.Module]]:
    """Return the constructor of the layer that runs a node, by NIR's class of its kind."""
    nir = import_extra("nir")

    def flatten(node: Any) -> nn.Module:  # NIR counts dimensions without the batch
        return nn.Flatten(*(int(d) + 1 if d >= 0 else int(d) for d in (node.start_dim, node.end_dim)))

    return {
        **dict.fromkeys((nir.Input, nir.Output), lambda _: nn.Identity()),
        **dict.fromkeys((nir.LI, nir.I, nir.LIF, nir.IF), lambda node: Membrane(node, dt)),
        **dict.fromkeys((nir.Affine, nir.Linear), lambda node: filled(nn.Linear(*node.weight.shape[::-1]), node)),
        nir.AvgPool2d: lambda node: nn.AvgPool2d(pair(node.kernel_size), pair(node.stride), pair(node.padding)),
        nir.Conv2d: conv,
        nir.Flatten: flatten,
        nir.Scale: lambda node: Elementwise(torch.mul, node.scale),
        nir.Threshold: lambda node: Elementwise(above, node.threshold),
    }


def read_nir(path: Path, dt: float | None = None) -> tuple[Any, float]:
    """Return a file's NIRGraph, and seconds a step: `dt`, needed if the file does not say it. Raises ExportError."""
    nir = import_extra("nir")
    try:
        graph = nir.read(path, type_check=False)
        dt = float(graph.metadata.get("dt", 0)) if dt is None else dt
    except (OSError, LookupError, TypeError, ValueError, AssertionError, AttributeError, ArithmeticError) as error:
        raise ExportError(f"{path.name} is not a NIR graph that can be read: {error}") from None
    if not dt > 0:
        raise ExportError(f"{path.name} does not say how long a step is: give dt, in seconds")
    return graph, dt


def runner(graph: Any, dt: float) -> Runner:
    """Return a function that runs a graph by nirtorch, x_seq [T, N, ...] to outputs. Raises ExportError."""
    try:
        module = import_extra("nirtorch").nir_to_torch(graph, layers(dt)).eval().requires_grad_(False)
    except (ValueError, TypeError, RuntimeError, NotImplementedError) as error:
        raise ExportError(f"the NIR graph is not one that nirtorch runs: {str(error).splitlines()[0][:200]}") from None

    def run(x_seq: Tensor, state: State) -> tuple[Tensor, State]:
        held: Any = dict(state) or None
        outputs = []
        for x in x_seq:
            y, held = module(x, held)
            outputs.append(y)
        return torch.stack(outputs), held

    return run


# --- reading


def import_network(path: Path, contract: Contract, dt: float | None = None) -> tuple[ImportedNetwork, str]:
    """Import a NIR file and compare it with its graph as nirtorch runs it; return the network and the comparison.

    `contract`: what the network will be fed; `dt`: seconds a step, for a file that does not say it. Raises ExportError,
    in a sentence that names the layer.
    """
    graph, dt = read_nir(path, dt)
    network = of_graph(graph, dt)
    shape = network.config.input_shape
    if prod(shape) != prod(contract.shape) or (len(shape) == 3 and shape != contract.shape):
        raise ExportError(f"not imported: it takes inputs of {shape}, the contract gives {contract.shape}")
    return network, compared(network, runner(graph, dt), contract, shape)


def of_graph(graph: Any, dt: float) -> ImportedNetwork:
    """Translate a NIR graph. Raises ExportError, which names a layer without a counterpart."""
    sources = {name: [a for a, b in graph.edges if b == name] for name in graph.nodes}
    translation, name = Translation(), ""
    try:
        for name in TopologicalSorter(sources).static_order():
            node = graph.nodes[name]
            translation.append(name, layers(dt)[type(node)](node), sources[name], node)
        return translation.network()
    except CycleError as error:
        raise ExportError(f"not imported: layer {error.args[1][0]} leads back: there are no circles here") from None
    except (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        if isinstance(error, ExportError):
            raise
        raise ExportError(f"NIR node {name} does not fit: {str(error).splitlines()[-1].strip()[:200]}") from None


class Translation:
    """A NIR graph as our nodes, in order: by its names, the node that gives each value, and an example of the value."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.neurons: list[NeuronConfig] = []
        self.tensors: State = {}
        self.found: dict[str, str] = {}
        self.values: State = {}

    def add(self, op: str, theirs: str, read: tuple[str, ...], held: State | None = None, **options: Any) -> str:
        """Append a node for their layer `theirs` with these tensors; return its name."""
        name = f"n{len(self.nodes)}_{re.sub(r'[^A-Za-z0-9]', '_', theirs)[:40]}"
        for key, value in (held or {}).items():
            self.tensors[f"layers.{name}.{key}"] = value.detach()
            options.setdefault("shape", tuple(value.shape))
        self.nodes.append(Node(name, op, read, layer=theirs, **options))
        return name

    def append(self, name: str, layer: nn.Module, sources: list[str], node: Any) -> None:
        """Append the counterpart of a layer that reads the sum of `sources`. Raises ExportError."""
        if not sources:
            shape = tuple(int(n) for n in np.asarray(node.input_type["input"]).reshape(-1))
            self.found[name], self.values[name] = self.add("input", name, ()), torch.zeros(1, *shape)
            return
        read, x = self.found[sources[0]], self.values[sources[0]]
        for number, other in enumerate(sources[1:]):
            read, x = self.add("add", f"{name}.sum{number}", (read, self.found[other])), x + self.values[other]
        self.found[name] = self.counterpart(name, layer, read, int(x.shape[1]))
        self.values[name] = layer(x)[0] if isinstance(layer, Membrane) else layer(x)

    def counterpart(self, name: str, layer: nn.Module, read: str, channels: int) -> str:
        """Append the node of a layer that reads the node `read`; return its name. Raises ExportError."""
        if isinstance(layer, nn.Identity):
            return read
        if isinstance(layer, nn.Linear):
            return self.add("linear", name, (read,), layer.state_dict())
        if isinstance(layer, nn.Conv2d):
            options: Any = {key: getattr(layer, key) for key in ("stride", "padding", "dilation", "groups")}
            return self.add("conv", name, (read,), layer.state_dict(), **options)
        if isinstance(layer, nn.AvgPool2d):
            sizes: Any = {"kernel": layer.kernel_size, "stride": layer.stride, "padding": layer.padding}
            return self.add("avg_pool", name, (read,), **sizes)
        if isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) == (1, -1):
            return self.add("flatten", name, (read,))
        if not isinstance(layer, Membrane) or not layer.fires:
            raise ExportError(f"not imported: layer {name} ({type(layer).__name__}) has no counterpart")
        numbers = {key: float(value.flatten()[0]) for key, value in layer.named_buffers()}
        for key, value in layer.named_buffers():
            if (value != numbers[key]).any():
                raise ExportError(f"not imported: layer {name}: its neurons differ in {key}")
            if key in ("rest", "v_reset") and numbers[key]:
                raise ExportError(f"not imported: layer {name}: its {key} is not 0")
        beta, gain = numbers["decay"], numbers["drive"]
        scaled = abs(gain - (1 - beta)) < 1e-7
        if not scaled and gain != 1:
            read = self.add("scale", f"{name}.gain", (read,), {"factor": torch.full((channels,), gain)})
        self.neurons.append(NeuronConfig(beta, numbers["threshold"], scale_input=scaled, reset="zero", delay=False))
        return self.add("neuron", name, (read,), shape=(channels,))

    def network(self) -> ImportedNetwork:
        """Return the network. Raises ExportError for an output that is not one number a class, ValueError."""
        first, last = next(iter(self.values.values())), list(self.values.values())[-1]
        if last.ndim != 2 or list(self.found.values())[-1] != self.nodes[-1].name:
            raise ExportError(f"not imported: its output is {tuple(last.shape[1:])}, not one number a class")
        config = ImportedConfig(tuple(self.nodes), tuple(self.neurons), tuple(first.shape[1:]), last.shape[1])
        made = ImportedNetwork(config)
        made.load_state_dict(self.tensors)
        return made.eval().requires_grad_(False)
