"""Import SpikingJelly's residual networks: `weights.pth#sew_resnet18?cnf=ADD&neuron=IFNode`.

A state dictionary of its `spiking_resnet` or `sew_resnet` has names and weights of layers, but no strides, pools or
neurons: these come from the named architecture, with neuron options named as in its constructors. IFNode is beta = 1;
LIFNode beta = 1 - 1/tau, ParametricLIFNode beta = 1 - sigmoid(w), both with an input gain of 1 - beta if `decay_input`.
All fire at v >= v_threshold and reset at once, to zero or by subtraction (`v_reset=none`). Batch norms are folded.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

import torch
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from torch import Tensor

from spikesight.models.export.chain import Chain, Tensors, config_of
from spikesight.models.export.parity import ExportError
from spikesight.models.neurons.state import State

DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
BOTTLENECKS = 50  # depth from which on blocks are bottlenecks
KINDS = tuple(f"{kind}_resnet{depth}" for kind in ("spiking", "sew") for depth in DEPTHS)
EPSILON = 1e-5  # of the batch norms
OPTIONS = "neuron=IFNode|LIFNode|ParametricLIFNode, tau, v_threshold, v_reset, decay_input, cnf"


class Architecture(BaseModel):
    """The architecture, which a state dictionary does not tell."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str  # one of KINDS
    neuron: Literal["IFNode", "LIFNode", "ParametricLIFNode"] = "IFNode"
    tau: float = 2.0
    v_threshold: float = 1.0
    v_reset: Annotated[float | None, BeforeValidator(lambda text: None if text.lower() == "none" else text)] = 0.0
    decay_input: bool = True
    cnf: Literal["ADD", "AND", "IAND"] = "ADD"

    @classmethod
    def parsed(cls, text: str) -> "Architecture":
        """Parse NAME?option=value&... Raises ExportError."""
        kind, _, query = text.partition("?")
        if kind not in KINDS:
            raise ExportError(f"not imported: {kind!r} is none of {', '.join(KINDS)}")
        options: dict[str, Any] = dict(parse_qsl(query, keep_blank_values=True))
        try:
            return cls(**options, kind=kind)
        except (ValidationError, TypeError) as error:
            name = str(error.errors()[0]["loc"][0]) if isinstance(error, ValidationError) else "kind"
            raise ExportError(f"not imported: {name}={options[name]} is no option of {kind}: {OPTIONS}") from None

    @property
    def depth(self) -> int:
        return int(self.kind.partition("_resnet")[2])

    @property
    def sew(self) -> bool:
        return self.kind.startswith("sew")


class Reader:
    """Translates a state dictionary layer by layer into a chain."""

    def __init__(self, state: Tensors, like: Architecture, shape: tuple[int, ...]) -> None:
        self.like, self.chain = like, Chain(shape)
        self._left = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}

    def take(self, name: str, *shape: int) -> Tensor:
        """Remove and return a tensor. Raise ExportError unless it has this shape (0: any size)."""
        if name not in self._left:
            raise ExportError(f"not imported: layer {name.rpartition('.')[0]} has no {name.rpartition('.')[2]}")
        tensor = self._left.pop(name)
        if len(shape) != tensor.ndim or any(want not in (0, have) for want, have in zip(shape, tensor.shape)):
            raise ExportError(f"not imported: {name} is {tuple(tensor.shape)}, which {self.like.kind} has not")
        return tensor.double()

    def conv(self, name: str, norm: str, source: str, size: int, stride: int = 1) -> str:
        """Append a convolution with its batch norm folded in."""
        weight = self.take(f"{name}.weight", 0, 0, size, size)
        gamma, beta, mean, variance = (
            self.take(f"{norm}.{part}", len(weight)) for part in ("weight", "bias", "running_mean", "running_var")
        )
        gain = gamma / (variance + EPSILON).sqrt()
        tensors = {"weight": weight * gain[:, None, None, None], "bias": beta - mean * gain}
        sizes = {"stride": (stride, stride), "padding": (size // 2, size // 2)}
        return self.chain.add("conv", name, (source,), tensors, **sizes)

    def neuron(self, name: str, source: str) -> str:
        like = self.like
        beta = {"IFNode": 1.0, "LIFNode": 1 - 1 / like.tau}.get(like.neuron)
        if beta is None:
            beta = 1 - float(self.take(f"{name}.w").sigmoid())
        if like.v_reset:
            raise ExportError(f"not imported: layer {name}: its v_reset is not 0")
        config = config_of(
            name, beta, like.v_threshold, reset="subtract" if like.v_reset is None else "zero", delay=False,
            inclusive=True, scale_input=like.decay_input and like.neuron != "IFNode",
        )  # fmt: skip
        nodes = {node.name: node for node in self.chain.nodes}
        node = nodes[source]
        while not node.shape:  # a sum has its inputs' channels
            node = nodes[node.inputs[0]]
        return self.chain.neuron(name, source, node.shape[0], config)

    def block(self, name: str, source: str, stride: int) -> str:
        """Append a basic or a bottleneck block."""
        sizes = (1, 3, 1) if self.like.depth >= BOTTLENECKS else (3, 3)
        x, strided = source, len(sizes) - 2  # the 3x3 convolution that has the stride
        for n, size in enumerate(sizes):
            x = self.conv(f"{name}.conv{n + 1}", f"{name}.bn{n + 1}", x, size, stride if n == strided else 1)
            if n < len(sizes) - 1 or self.like.sew:
                x = self.neuron(f"{name}.sn{n + 1}", x)
        if f"{name}.downsample.0.weight" in self._left:
            source = self.conv(f"{name}.downsample.0", f"{name}.downsample.1", source, 1, stride)
            if self.like.sew:
                source = self.neuron(f"{name}.downsample_sn", source)
        x = self.chain.add("add", name, (x, source))
        return x if self.like.sew else self.neuron(f"{name}.sn{len(sizes)}", x)

    def network(self) -> int:
        """Append the whole network; return the number of classes."""
        add = self.chain.add
        x = self.neuron("sn1", self.conv("conv1", "bn1", add("input", "input", ()), 7, 2))
        x = add("max_pool", "maxpool", (x,), kernel=(3, 3), stride=(2, 2), padding=(1, 1))
        for stage, blocks in enumerate(DEPTHS[self.like.depth], 1):
            for n in range(blocks):
                x = self.block(f"layer{stage}.{n}", x, 2 if stage > 1 and n == 0 else 1)
        x = add("flatten", "flatten", (add("global_pool", "avgpool", (x,), kernel=(1, 1)),))
        weight = self.take("fc.weight", 0, 0)
        add("linear", "fc", (x,), {"weight": weight, "bias": self.take("fc.bias", len(weight))})
        if self._left:
            name = next(iter(self._left)).rpartition(".")[0]
            raise ExportError(f"not imported: layer {name} has no place in a {self.like.kind} of {self.like.neuron}")
        return len(weight)


def of_jelly(state: Tensors, like: Architecture, shape: tuple[int, ...]) -> tuple[Chain, int]:
    """Translate a state dictionary for inputs of this shape; return chain and class count. Raises ExportError."""
    if like.sew and like.cnf != "ADD":
        raise ExportError(f"not imported: layer layer1.0 multiplies spikes ({like.cnf}), which has no counterpart")
    if like.tau < 1:
        raise ExportError(f"not imported: layer sn1: its tau of {like.tau:g} is below 1")
    reader = Reader(state, like, shape)
    return reader.chain, reader.network()


def jelly_runner(state: Tensors, like: Architecture, shape: tuple[int, ...], classes: int) -> Callable[..., Any]:
    """Return a Runner of SpikingJelly's own network with these weights; state by neuron. Raises ExportError."""
    try:
        jelly = import_module("spikingjelly.activation_based")
        models = import_module(f"spikingjelly.activation_based.model.{like.kind.partition('_resnet')[0]}_resnet")
    except ImportError:
        raise ExportError(
            "spikingjelly is missing, with which its networks are compared: pip install spikingjelly"
        ) from None
    options: dict[str, Any] = {"v_threshold": like.v_threshold, "v_reset": like.v_reset}
    if like.neuron != "IFNode":
        options["decay_input"] = like.decay_input
    if like.neuron == "LIFNode":
        options["tau"] = like.tau
    if like.sew:
        options["cnf"] = like.cnf
    neuron = getattr(jelly.neuron, like.neuron)
    network = getattr(models, like.kind)(spiking_neuron=neuron, num_classes=classes, **options)
    if shape[0] != network.conv1.in_channels:
        network.conv1 = jelly.layer.Conv2d(shape[0], 64, kernel_size=7, stride=2, padding=3, bias=False)
    network.load_state_dict(state)
    neurons = {name: module for name, module in network.eval().named_modules() if isinstance(module, neuron)}

    def run(x_seq: Tensor, before: State) -> tuple[Tensor, State]:
        for name, module in neurons.items():
            module.v = before[name].clone()
        logits = torch.stack([network(x) for x in x_seq])
        return logits, {name: module.v for name, module in neurons.items()}

    return run
