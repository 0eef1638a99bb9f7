"""Read a trained ANN with torch.fx into a graph of nodes and its weights.

`trace` reads any torch module made of supported operations, modules and functions alike, folds every batch norm, drops
dropout, and moves each max-pool that follows a ReLU in front of it (max(ReLU z) = ReLU(max z), exact). It refuses
anything else and names the layer.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, fx, nn
from torch.fx.proxy import TraceError

from spikesight.models.conversion.operations import Reader, argument, settings
from spikesight.models.networks.converted.graph import ConversionError, Node, check_nodes, users_of
from spikesight.models.neurons.state import evaluating


class Traced(NamedTuple):
    """A graph, with the (weight, bias) of each conv and linear node."""

    nodes: tuple[Node, ...]
    weights: dict[str, tuple[Tensor, Tensor]]


def pools_first(traced: Traced) -> Traced:
    """Move each max-pool that follows a neuron in front of it; a second neuron serves other readers of the neuron."""
    nodes = list(traced.nodes)
    while True:
        by_name, users = {n.name: n for n in nodes}, users_of(tuple(nodes))
        pool = next((n for n in nodes if n.op == "max_pool" and by_name[n.inputs[0]].op == "neuron"), None)
        if pool is None:
            return Traced(tuple(nodes), traced.weights)
        neuron = by_name[pool.inputs[0]]
        before = Node(**{**vars(pool), "name": f"{pool.name}_before", "inputs": neuron.inputs})
        after = Node(**{**vars(neuron), "name": pool.name, "inputs": (before.name,)})
        place = nodes.index(pool)
        nodes[place : place + 1] = [before, after]
        if len(users[neuron.name]) == 1:
            nodes.remove(neuron)


def check_pools(nodes: tuple[Node, ...]) -> None:
    """Raise ConversionError if a max-pool feeds anything but neurons: its output is a current, not spikes."""
    users = users_of(nodes)
    for node in nodes:
        if node.op == "max_pool" and not all(u.op in ("neuron", "max_pool") for u in users[node.name] or [node]):
            raise ConversionError(
                f"max-pool {node.title} is neither behind nor before a ReLU, so its output would not be spikes: put it "
                "next to a ReLU, or use an average pool"
            )


MAX_POOL = {"kernel_size": 1, "stride": None, "padding": 0, "dilation": 1, "ceil_mode": False, "return_indices": False}
AVG_POOL = {
    "kernel_size": 1,
    "stride": None,
    "padding": 0,
    "ceil_mode": False,
    "count_include_pad": True,
    "divisor_override": None,
}

MODULES: dict[type, Callable[[Reader, fx.Node, Any], None]] = {
    nn.Conv2d: Reader.affine,
    nn.Linear: Reader.affine,
    nn.BatchNorm2d: Reader.norm,
    nn.BatchNorm1d: Reader.norm,
    nn.ReLU: lambda r, n, _: r.neuron(n),
    nn.MaxPool2d: Reader.max_pool,
    nn.AvgPool2d: Reader.avg_pool,
    nn.AdaptiveAvgPool2d: lambda r, n, m: r.global_pool(n, m.output_size),
    nn.Flatten: lambda r, n, m: r.flatten(n, m.start_dim, m.end_dim),
    nn.Dropout: lambda r, n, _: r.same(n),
    nn.Dropout2d: lambda r, n, _: r.same(n),
    nn.Identity: lambda r, n, _: r.same(n),
}
OPERATIONS: dict[str, Callable[[Reader, fx.Node], None]] = {
    **dict.fromkeys(("relu", "relu_"), Reader.neuron),
    **dict.fromkeys(("add", "add_", "iadd"), Reader.join),
    "max_pool2d": lambda r, n: r.max_pool(n, settings(n, MAX_POOL)),
    "avg_pool2d": lambda r, n: r.avg_pool(n, settings(n, AVG_POOL)),
    "adaptive_avg_pool2d": lambda r, n: r.global_pool(n, argument(n, 1, "output_size", 1)),
    "flatten": lambda r, n: r.flatten(n, argument(n, 1, "start_dim", 0), argument(n, 2, "end_dim", -1)),
    **dict.fromkeys(("view", "reshape"), Reader.reshape),
    "mean": Reader.mean,
    **dict.fromkeys(("dropout", "dropout2d", "contiguous"), Reader.same),
    "pad": Reader.pad,
    "getitem": Reader.slice,
    **dict.fromkeys(("getattr", "size"), Reader.shape),
}
"""Readers by the name of a function or of a tensor's method."""


def read(reader: Reader, node: fx.Node) -> None:
    """Add one node of the traced graph to the reader. Raise ConversionError if it has no spiking form."""
    if node.op == "placeholder":
        if reader.nodes:
            raise ConversionError(f"the network takes a second input, {node.name}: only one can be converted")
        reader.add(node, "input", ())
    elif node.op == "output":
        if not isinstance(node.args[0], fx.Node):
            raise ConversionError("the network returns more than one value: only one can be converted")
        reader.output = reader.source(node.args[0], node)
    elif node.op == "call_module":
        module = reader.modules[str(node.target)]
        if type(module) not in MODULES:
            raise ConversionError(
                f"layer {node.target} is {type(module).__name__}, which has no spiking form here: "
                "use convolutions, linear layers, batch norms, ReLU, pools, sums and dropout"
            )
        MODULES[type(module)](reader, node, module)
    elif (name := str(getattr(node.target, "__name__", node.target))) in OPERATIONS:
        OPERATIONS[name](reader, node)
    else:
        raise ConversionError(f"{node.name} calls {name}, which has no spiking form here")


def trace(ann: nn.Module) -> Traced:
    """Read an ANN, in evaluation mode, into a graph with folded weights in double precision.

    Raises ConversionError, naming the layer, for an operation without a spiking form, weights that are not finite, a
    max-pool in a place where it cannot work, or no activation at all.
    """
    for name, tensor in ann.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ConversionError(f"{name} has values that are not finite")
    try:
        with evaluating(ann):
            graph = fx.Tracer().trace(ann)
    except (TraceError, TypeError, ValueError, RuntimeError, AttributeError, LookupError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConversionError(f"torch.fx cannot trace the network, its flow depends on its data: {said}") from None
    reader = Reader(ann, graph)
    for node in graph.nodes:
        read(reader, node)
    nodes = trimmed(reader.nodes, reader.output)
    if not any(node.op == "neuron" for node in nodes):
        raise ConversionError("the network has no ReLU: there is nothing to turn into spikes")
    weights = {node.name: reader.weights[node.name] for node in nodes if node.name in reader.weights}
    traced = pools_first(Traced(nodes, weights))
    check_nodes(traced.nodes)
    check_pools(traced.nodes)
    return traced


def left_alone(ann: nn.Module) -> list[str]:
    """Return the layers of an ANN, with their types, that have no part in its graph: dropout, identities, and those
    that the output does not depend on. Batch norms are part of the layer before them. Raises ConversionError.
    """
    used = {node.layer for node in trace(ann).nodes}
    return [
        f"{name} ({type(module).__name__})"
        for name, module in ann.named_modules()
        if name not in used and not any(module.children()) and not isinstance(module, nn.modules.batchnorm._BatchNorm)
    ]


def trimmed(nodes: list[Node], output: str) -> tuple[Node, ...]:
    """Drop the nodes that the output does not depend on."""
    needed = {output}
    for node in reversed(nodes):
        if node.name in needed:
            needed.update(node.inputs)
    return tuple(node for node in nodes if node.name in needed or node.op == "input")
