"""Run a NIR graph as a PyTorch network: `read_nir` reads any file whose nodes have one of the LAYERS.

Neurons make forward Euler steps of dt; an edge that closes a cycle carries the value of the step before. Every signal
is zero before the first step. Several edges into a node are summed. The caller keeps the state, as for every network.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikesight.models.export.parity import ExportError, import_extra
from spikesight.models.neurons.state import State

BACK = "back."  # prefix of state keys: the last output of a node that an edge carries back
MAX_DELAY = 1000  # steps


@cache
def max_pool_node() -> type[Any]:
    """Return our own NIR node for a max-pool, with the fields of nir.AvgPool2d and `ceil_mode`."""
    nir = import_extra("nir")

    @dataclass(eq=False)
    class MaxPool2d(nir.NIRNode):
        kernel_size: NDArray[np.int64]  # vertical, horizontal; likewise stride and padding
        stride: NDArray[np.int64]
        padding: NDArray[np.int64]
        ceil_mode: bool

        def __post_init__(self) -> None:
            self.input_type, self.output_type = {"input": None}, {"output": None}

    return MaxPool2d


class Membrane(nn.Module):
    """LI, I, LIF and IF: v <- decay v + drive x + rest; then, above the threshold if there is one, v <- v_reset."""

    decay: Tensor
    drive: Tensor
    rest: Tensor
    threshold: Tensor
    v_reset: Tensor

    def __init__(self, node: Any, dt: float) -> None:
        super().__init__()
        tau = getattr(node, "tau", None)
        share = dt / tau if tau is not None else dt  # step length in time constants, or in seconds
        rest = share * node.v_leak if tau is not None else np.zeros_like(node.r)
        parts = {"decay": 1 - share if tau is not None else np.ones_like(node.r), "drive": share * node.r, "rest": rest}
        self.fires = hasattr(node, "v_threshold")
        if self.fires:
            parts |= {"threshold": node.v_threshold, "v_reset": node.v_reset}
        for name, value in parts.items():
            self.register_buffer(name, compact(value))

    def forward(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
        v = self.drive * x + self.rest if v is None else self.decay * v + self.drive * x + self.rest
        if not self.fires:
            return v, v
        fired = v > self.threshold
        return fired.to(x.dtype), torch.where(fired, self.v_reset, v)


class Delay(nn.Module):
    """The input n steps ago; state [N, n, ...], the newest last."""

    def __init__(self, node: Any, dt: float) -> None:
        super().__init__()
        steps = np.asarray(node.delay) / dt
        self.steps = round(float(steps.max()))
        if steps.min() != steps.max() or abs(self.steps - steps.max()) > 1e-6 or not 1 <= self.steps <= MAX_DELAY:
            raise ExportError(f"a delay must be 1 to {MAX_DELAY} whole steps of dt, the same for all its signals")

    def forward(self, x: Tensor, held: Tensor | None) -> tuple[Tensor, Tensor]:
        held = x.new_zeros(len(x), self.steps, *x.shape[1:]) if held is None else held
        return held[:, 0], torch.cat([held[:, 1:], x[:, None]], 1)


class Elementwise(nn.Module):
    """A function of the input and a parameter: one number, or one for each element."""

    value: Tensor

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], value: Any) -> None:
        super().__init__()
        self.function = function
        self.register_buffer("value", compact(value))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.value)


def above(x: Tensor, threshold: Tensor) -> Tensor:
    """Return 1 above the threshold, else 0."""
    return (x > threshold).to(x.dtype)


def compact(values: Any) -> Tensor:
    """Convert to float32; to a single number if all values are the same."""
    values = np.asarray(values, np.float64)
    same = values.size > 0 and bool((values == values.flat[0]).all())
    return torch.tensor(values.flat[0] if same else values, dtype=torch.float32)


def sizes(value: Any) -> Any:
    """Convert a stored size for torch: a word, or [vertical, horizontal]."""
    if isinstance(value, str):
        return value
    value = np.asarray(value).reshape(-1).tolist()
    return tuple(map(int, value * 2 if len(value) == 1 else value))


def conv(node: Any, _: float) -> nn.Module:
    weight = np.asarray(node.weight)
    layer = nn.Conv2d(
        weight.shape[1] * int(node.groups),
        weight.shape[0],
        weight.shape[2:],  # type: ignore[arg-type]
        sizes(node.stride),
        sizes(node.padding),
        sizes(node.dilation),
        int(node.groups),
    )
    return filled(layer, weight, node.bias)


def affine(node: Any, _: float) -> nn.Module:
    weight = np.asarray(node.weight)
    if weight.ndim != 2:
        raise ExportError("a linear node must have a weight of two dimensions")
    bias = getattr(node, "bias", None)
    return filled(nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None), weight, bias)


def filled(layer: nn.Conv2d | nn.Linear, weight: Any, bias: Any) -> nn.Module:
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.array(weight, np.float32)))
        if layer.bias is not None:
            layer.bias.copy_(torch.from_numpy(np.array(bias, np.float32).reshape(-1)))
    return layer


def pool(node: Any, _: float) -> nn.Module:
    kind, size = type(node).__name__, (sizes(node.kernel_size), sizes(node.stride), sizes(node.padding))
    if kind == "MaxPool2d":
        return nn.MaxPool2d(*size, ceil_mode=bool(node.ceil_mode))
    return nn.AvgPool2d(*size, divisor_override=1 if kind == "SumPool2d" else None)


def flatten(node: Any, _: float) -> nn.Module:
    """Return the Flatten layer of a node; NIR counts dimensions without the batch."""
    start, end = int(node.start_dim), int(node.end_dim)
    return nn.Flatten(start + 1 if start >= 0 else start, end + 1 if end >= 0 else end)


LAYERS: dict[str, Callable[[Any, float], nn.Module]] = {
    "Input": lambda *_: nn.Identity(),
    "Output": lambda *_: nn.Identity(),
    "Conv2d": conv,
    "Affine": affine,
    "Linear": affine,
    "AvgPool2d": pool,
    "SumPool2d": pool,
    "MaxPool2d": pool,
    "Flatten": flatten,
    "Scale": lambda node, _: Elementwise(torch.mul, node.scale),
    "Threshold": lambda node, _: Elementwise(above, node.threshold),
    "Delay": Delay,
    "LI": Membrane,
    "I": Membrane,
    "LIF": Membrane,
    "IF": Membrane,
}
"""Constructors (node, dt) of the layer that runs a node, by NIR's name for its kind."""


def walk(nodes: list[str], edges: list[tuple[str, str]], start: str) -> tuple[list[str], set[tuple[str, str]]]:
    """Return nodes in topological order, and the edges that lead back (found depth first from `start`)."""
    following: dict[str, list[str]] = {name: [] for name in nodes}
    for source, target in edges:
        following[source].append(target)
    order: list[str] = []
    back: set[tuple[str, str]] = set()
    open_nodes: dict[str, None] = {}
    done: set[str] = set()
    stack = [(start, iter(following[start]))]
    open_nodes[start] = None
    while stack:
        name, targets = stack[-1]
        target = next((t for t in targets if t not in done), None)
        if target is None:
            stack.pop()
            del open_nodes[name]
            done.add(name)
            order.append(name)
        elif target in open_nodes:
            back.add((name, target))
        else:
            open_nodes[target] = None
            stack.append((target, iter(following[target])))
    return order[::-1], back


@contextmanager
def faults_named(name: str) -> Iterator[None]:
    """Convert what PyTorch and NumPy say of a node that is no layer, or fits no other, to an ExportError naming it."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError, IndexError, ArithmeticError) as error:
        if isinstance(error, ExportError):
            raise
        raise ExportError(f"NIR node {name} does not fit: {str(error).splitlines()[0][:200]}") from None


class NirNetwork(nn.Module):
    """A NIR graph that runs x_seq [T, N, C, H, W]: (x_seq, state) to (outputs [T, N, K], state)."""

    def __init__(self, nodes: dict[str, Any], edges: list[tuple[str, str]], dt: float) -> None:
        super().__init__()
        self.dt = dt
        kinds = {name: type(node).__name__ for name, node in nodes.items()}
        for name, kind in kinds.items():
            if kind not in LAYERS:
                raise ExportError(f"NIR node {name} is of the kind {kind}, which is none of our layers")
        for end in ("Input", "Output"):
            if list(kinds.values()).count(end) != 1:
                raise ExportError(f"a NIR graph must have one {end} node")
        if any(name not in kinds for edge in edges for name in edge):
            raise ExportError("an edge of the NIR graph leads to no node")
        (start,), (self.end,) = ([n for n, kind in kinds.items() if kind == end] for end in ("Input", "Output"))
        with faults_named(start):
            self.input_shape = tuple(int(n) for n in np.asarray(nodes[start].input_type["input"]).reshape(-1))
        self.order, back = walk(list(nodes), edges, start)
        if self.end not in self.order:
            raise ExportError("the output of the NIR graph is not reached from its input")
        self.sources = {n: [a for a, b in edges if b == n and (a, b) not in back and a in self.order] for n in nodes}
        self.carried = {n: [a for a, b in back if b == n] for n in nodes}
        self.looped = sorted({a for a, _ in back})
        self.layers = nn.ModuleList()
        for name in self.order:
            with faults_named(name):
                self.layers.append(LAYERS[kinds[name]](nodes[name], dt))
        self.eval().requires_grad_(False)

    def module(self, name: str) -> Any:
        """Return the layer that runs a node; None for an unknown name."""
        return self.layers[self.order.index(name)] if name in self.order else None

    @torch.no_grad()
    def forward(self, x_seq: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run x_seq from a state (None: zeros); return outputs and the state after them."""
        after = dict(state or {})
        outputs = []
        for x in x_seq:
            values: dict[str, Tensor] = {}
            for name, layer in zip(self.order, self.layers):
                total = self._input(name, values, after, x)
                if isinstance(layer, (Membrane, Delay)):
                    values[name], after[name] = layer(total, after.get(name))
                else:
                    values[name] = layer(total)
            after |= {BACK + name: values[name] for name in self.looped}
            outputs.append(values[self.end])
        return torch.stack(outputs), after

    def _input(self, name: str, values: dict[str, Tensor], state: State, x: Tensor) -> Tensor:
        parts = [values[source] for source in self.sources[name]] or [x]
        parts += [state[BACK + source] for source in self.carried[name] if BACK + source in state]
        return sum(parts[1:], parts[0])


def read_nir(path: Path | str, dt: float | None = None) -> NirNetwork:
    """Read the network of a NIR file; `dt`: seconds a step, needed if the file does not say it. Raises ExportError."""
    nir, h5py = import_extra("nir"), import_extra("h5py")
    try:
        with h5py.File(path, "r") as file:
            data = nir.serialization.hdf2dict(file["node"])
        edges = [(text(a), text(b)) for a, b in data["edges"]]
        nodes = {name: node_of(nir, name, fields) for name, fields in data["nodes"].items()}
        dt = float(data.get("metadata", {}).get("dt", 0)) if dt is None else dt
    except (OSError, KeyError, TypeError, ValueError, AssertionError, AttributeError, ArithmeticError) as error:
        if isinstance(error, ExportError):
            raise
        raise ExportError(f"{Path(path).name} is not a NIR graph that can be read: {error}") from None
    if not dt > 0:
        raise ExportError(f"{Path(path).name} does not say how long a step is: give dt, in seconds")
    return NirNetwork(nodes, edges, dt)


def node_of(nir: Any, name: str, fields: dict[str, Any]) -> Any:
    """Return the NIR node of these fields. Raises ExportError for a kind without a layer."""
    kind = fields.get("type")
    if kind == "MaxPool2d":
        return max_pool_node()(**{key: fields[key] for key in ("kernel_size", "stride", "padding", "ceil_mode")})
    if kind not in LAYERS:
        raise ExportError(f"NIR node {name} is of the kind {kind}, which is none of our layers")
    return nir.dict2NIRNode(fields)


def text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
