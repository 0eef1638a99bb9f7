"""Translate each operation of an ANN traced by torch.fx into nodes of the graph, one method an operation."""

from typing import Any

from torch import Tensor, fx, nn

from spikesight.models.networks.converted.graph import ConversionError, Node
from spikesight.models.networks.folding import folded, norm_line, weight_and_bias


class Reader:
    """Builds the node list of one traced ANN: each fx node becomes a node, an alias of another node, or an error."""

    def __init__(self, ann: nn.Module, graph: fx.Graph) -> None:
        self.modules = dict(ann.named_modules())
        self.nodes: list[Node] = []
        self.weights: dict[str, tuple[Tensor, Tensor]] = {}
        self.alias: dict[fx.Node, str] = {}  # the node that holds an fx node's value
        self.uses = {node: len(node.users) for node in graph.nodes}
        self.output = ""

    def add(self, fx_node: fx.Node, op: str, sources: tuple[fx.Node, ...] | None = None, **fields: Any) -> None:
        """Append a node with inputs `sources`, or the operation's only input if None."""
        sources = (only(fx_node),) if sources is None else sources
        inputs = tuple(self.source(s, fx_node) for s in sources)
        layer = str(fx_node.target) if fx_node.op == "call_module" else fx_node.name
        try:
            self.nodes.append(Node(fx_node.name, op, inputs, layer, **fields))
        except ValueError as error:
            raise ConversionError(f"layer {layer} cannot be converted: {error}") from None
        self.alias[fx_node] = fx_node.name

    def source(self, node: Any, reader: fx.Node) -> str:
        if not isinstance(node, fx.Node) or node not in self.alias:
            raise ConversionError(f"{reader.name} reads {node}, which is no value of the network's data path")
        return self.alias[node]

    def affine(self, fx_node: fx.Node, module: nn.Conv2d | nn.Linear) -> None:
        weight, bias = weight_and_bias(module)
        if isinstance(module, nn.Linear):
            self.add(fx_node, "linear", shape=tuple(weight.shape))
        else:
            if module.padding_mode != "zeros":
                raise ConversionError(f"{fx_node.target} pads with {module.padding_mode}: only zeros can be converted")
            padding = module.padding
            if isinstance(padding, str):
                same = tuple(d * (k - 1) for d, k in zip(module.dilation, module.kernel_size))
                if padding == "same" and any(s % 2 for s in same):
                    raise ConversionError(f"{fx_node.target} pads unevenly: give its padding as numbers")
                padding = tuple(s // 2 for s in same) if padding == "same" else (0, 0)
            self.add(
                fx_node,
                "conv",
                shape=tuple(weight.shape),
                stride=pair(module.stride),
                padding=pair(padding),
                dilation=pair(module.dilation),
                groups=module.groups,
            )
        self.weights[fx_node.name] = (weight, bias)

    def norm(self, fx_node: fx.Node, module: nn.modules.batchnorm._BatchNorm) -> None:
        try:
            gain, shift = norm_line(module)
        except ValueError as error:
            raise ConversionError(str(error)) from None
        before = only(fx_node)
        name = self.source(before, fx_node)
        if name in self.weights and self.uses[before] == 1:
            self.weights[name] = folded(*self.weights[name], module)
            self.alias[fx_node] = name
            return
        if isinstance(module, nn.BatchNorm1d):
            raise ConversionError(f"batch norm {fx_node.target} follows no linear layer that it could be folded into")
        shape = (len(gain), 1, 1, 1)
        self.add(fx_node, "conv", (before,), shape=shape, stride=(1, 1), padding=(0, 0), groups=len(gain))
        self.weights[fx_node.name] = (gain.view(shape), shift)

    def neuron(self, fx_node: fx.Node) -> None:
        self.add(fx_node, "neuron", shape=(1,))  # the channel count is measured on a sample later

    def max_pool(self, fx_node: fx.Node, module: Any) -> None:
        if module.return_indices:
            raise ConversionError(f"max-pool {fx_node.name} returns indices")
        self.add(fx_node, "max_pool", dilation=pair(module.dilation), **_window(module))

    def avg_pool(self, fx_node: fx.Node, module: Any) -> None:
        if isinstance(module.kernel_size, fx.Node) or any(isinstance(k, fx.Node) for k in as_tuple(module.kernel_size)):
            self.add(fx_node, "global_pool", kernel=(1, 1))  # the kernel was computed from the feature map's size
            return
        if module.divisor_override:
            raise ConversionError(f"average pool {fx_node.name} overrides its divisor")
        self.add(fx_node, "avg_pool", count_padding=bool(module.count_include_pad), **_window(module))

    def global_pool(self, fx_node: fx.Node, size: Any) -> None:
        if any(s is None for s in as_tuple(size)):
            raise ConversionError(f"adaptive pool {fx_node.name} keeps a dimension: give its output size as numbers")
        self.add(fx_node, "global_pool", kernel=pair(size))

    def mean(self, fx_node: fx.Node) -> None:
        dims = argument(fx_node, 1, "dim", None)
        if sorted(d % 4 for d in as_tuple(dims) if isinstance(d, int)) != [2, 3] or argument(
            fx_node, 2, "keepdim", False
        ):
            raise ConversionError(
                f"{fx_node.name} takes a mean over {dims}: only the mean over height and width is known"
            )
        name = self.source(only(fx_node), fx_node)
        pooled = f"{fx_node.name}_pool"
        self.nodes.append(Node(pooled, "global_pool", (name,), fx_node.name, kernel=(1, 1)))
        self.nodes.append(Node(fx_node.name, "flatten", (pooled,), fx_node.name))
        self.alias[fx_node] = fx_node.name

    def flatten(self, fx_node: fx.Node, start: Any, end: Any) -> None:
        if (start, end) != (1, -1):
            raise ConversionError(f"{fx_node.name} must flatten everything but the batch")
        self.add(fx_node, "flatten")

    def reshape(self, fx_node: fx.Node) -> None:
        sizes = fx_node.args[1:]
        sizes = sizes[0] if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
        if not isinstance(sizes, (tuple, list)) or len(sizes) != 2:
            raise ConversionError(f"{fx_node.name} reshapes to {sizes}: only [batch, features] is known")
        self.add(fx_node, "flatten")

    def slice(self, fx_node: fx.Node) -> None:
        source, index = fx_node.args[0], fx_node.args[1]
        if source not in self.alias:  # size()[n] and the like, which only feed pools and reshapes
            return
        index = index if isinstance(index, tuple) else (index,)
        plain = all(isinstance(i, slice) and i.start in (None, 0) and i.stop is None for i in index)
        steps = [i.step or 1 for i in index if isinstance(i, slice)] + [1] * (4 - len(index))
        if not plain or steps[:2] != [1, 1] or len(steps) != 4:
            raise ConversionError(f"{fx_node.name} picks {index}: only every n-th row and column is known")
        self.add(fx_node, "slice", stride=(steps[2], steps[3]))

    def pad(self, fx_node: fx.Node) -> None:
        sizes = tuple(argument(fx_node, 1, "pad", ()))
        if argument(fx_node, 2, "mode", "constant") != "constant" or argument(fx_node, 3, "value", 0) not in (0, None):
            raise ConversionError(f"{fx_node.name} pads with something other than zeros")
        self.add(fx_node, "pad", padding=(*sizes, *[0] * (6 - len(sizes))))

    def join(self, fx_node: fx.Node) -> None:
        if fx_node.kwargs.get("alpha", 1) != 1 or len(fx_node.args) != 2:
            raise ConversionError(f"{fx_node.name} is a weighted sum: only a plain sum of two branches is known")
        first, second = fx_node.args
        if not isinstance(first, fx.Node) or not isinstance(second, fx.Node):
            raise ConversionError(f"{fx_node.name} adds a constant: put it into a bias")
        self.add(fx_node, "add", (first, second))

    def same(self, fx_node: fx.Node) -> None:
        self.alias[fx_node] = self.source(only(fx_node), fx_node)

    def shape(self, _: fx.Node) -> None:
        """Add nothing: a size is not a value of the data path."""


def pair(value: Any) -> tuple[int, int]:
    """Return an int or a pair as a pair of ints."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    return int(values[0]), int(values[-1])


def _window(module: Any) -> dict[str, Any]:
    """Return what the two kinds of pools with a window have in common."""
    return {
        "kernel": pair(module.kernel_size),
        "stride": pair(module.stride if module.stride is not None else module.kernel_size),
        "padding": pair(module.padding),
        "ceil": bool(module.ceil_mode),
    }


def only(fx_node: fx.Node) -> Any:
    """Return the first input of an operation."""
    return fx_node.args[0] if fx_node.args else fx_node.kwargs.get("input")


def as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def argument(fx_node: fx.Node, place: int, name: str, default: Any) -> Any:
    """Return an argument passed by position or by name."""
    return fx_node.args[place] if len(fx_node.args) > place else fx_node.kwargs.get(name, default)


def settings(fx_node: fx.Node, names: dict[str, Any]) -> Any:
    """Return the arguments of a functional pool as attributes named like those of the module."""
    values = {name: argument(fx_node, place + 1, name, default) for place, (name, default) in enumerate(names.items())}
    return type("Settings", (), values)
