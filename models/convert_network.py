"""The spiking network that conversion gives: a graph of convolutions, sums and neurons that walks x_seq through time.

x_seq [T, N, C, H, W] goes in, logits [T, N, K] come out; their mean over T is the answer. Neurons emit multiples of
their amplitude: theta (weights as in the ANN, sums of branches exact), or 1 once `unit_spikes` has folded theta into
the readers' weights. Bias currents flow every step. All state lies in the caller's dictionary; zeros are its start.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.convert_graph import Node, check_nodes
from models.convert_rules import SpikeRule, differential_step, few_spikes, rule_step
from models.neurons import Neuron, NeuronConfig, State, name_states

try:
    from models import convert_kernels as _kernels

    kernels: Any = _kernels
except ImportError:  # no numba: the same equations in torch
    kernels = None

AGE = "age"  # state key: steps done, [N]


@dataclass(frozen=True)
class ConvertedConfig:
    """The shape of a converted network. Numbers (weights, biases, thresholds) are its tensors."""

    nodes: tuple[Node, ...]
    rule: SpikeRule
    input_shape: tuple[int, ...]  # [C, H, W]
    classes: int

    def __post_init__(self) -> None:
        check_nodes(self.nodes)
        if len(self.input_shape) not in (1, 3) or any(not 1 <= s <= 4096 for s in self.input_shape):
            raise ValueError("input_shape must be [C, H, W] or [features]")
        if not 1 <= self.classes <= 1_000_000:
            raise ValueError("classes must be positive")


def merged(x_seq: Tensor) -> Tensor:
    """[T, N, ...] as one batch [T N, ...]."""
    return x_seq.flatten(0, 1)


class SpikeLayer(Neuron):
    """Neurons of one node: currents [T or 1, N, C, ...] to spikes [T, N, C, ...]."""

    def __init__(self, rule: SpikeRule, channels: int) -> None:
        super().__init__(NeuronConfig(beta=1.0, delay=False, inclusive=rule.inclusive, reset=rule.reset))
        self.rule = rule
        self.theta: Tensor
        self.amplitude: Tensor
        self.register_buffer("theta", torch.ones(channels))
        self.register_buffer("amplitude", torch.ones(channels))

    def slots(self) -> list[str]:
        """State keys, in the order of the rule's arguments."""
        names = ["", ".sent"] if self.rule.remembers else [""]
        names += [".rate_in", ".rate_out"] if self.rule.differential else []
        return [self.key + name for name in names]

    def forward(self, x_seq: Tensor, state: State, steps: int | None = None, bias: Tensor | None = None) -> Tensor:
        """`steps` > 1 with x_seq [1, ...] repeats that current; `bias` is the current at rest (differential coding)."""
        steps = x_seq.shape[0] if steps is None else steps
        if self.rule.kind == "few":
            return self._window(x_seq, steps)
        before = [state.get(slot) for slot in self.slots()]
        held = [torch.zeros_like(x_seq[0]) if v is None else v for v in before]
        if any(v.shape != x_seq.shape[1:] for v in held):
            raise ValueError(f"state of {self.key} is {tuple(held[0].shape)}, input needs {tuple(x_seq.shape[1:])}")
        fast = kernels is not None and x_seq.dtype == torch.float32 and x_seq.device.type == "cpu"
        run = (
            self._compiled if fast and self.rule.kind != "cascade" and self.rule.reset == "subtract" else self._stepped
        )
        ages = state[AGE] if self.rule.differential else torch.zeros(x_seq.shape[1])
        spikes, after = run(x_seq, held, steps, bias, ages)
        state.update(zip(self.slots(), after))
        return spikes

    def row(self, values: Tensor, x: Tensor) -> Tensor:
        """[C] as a view that broadcasts over x [N, C, ...]."""
        return values.view(1, -1, *[1] * (x.ndim - 2)).to(x.dtype)

    def _window(self, x_seq: Tensor, steps: int) -> Tensor:
        if steps != self.rule.levels:
            raise ValueError(f"few-spikes neurons need their whole window of {self.rule.levels} steps, not {steps}")
        theta = self.row(self.theta, x_seq[0])
        return few_spikes(x_seq.mean(0), theta, self.rule) * self.row(self.amplitude, x_seq[0])

    def _stepped(
        self, x_seq: Tensor, held: list[Tensor], steps: int, bias: Tensor | None, ages: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """The equations in torch: any dtype, any device."""
        theta, amplitude = self.row(self.theta, x_seq[0]), self.row(self.amplitude, x_seq[0])
        v, sent, spikes = held[0], held[-1], []
        rates = tuple(held)
        for t in range(steps):
            x = x_seq[min(t, x_seq.shape[0] - 1)]
            if self.rule.differential:
                assert bias is not None
                age = (ages + (t + 1)).view(-1, *[1] * (x.ndim - 1)).to(x.dtype)
                q, rates = differential_step(x, rates, age, bias, theta, self.rule)  # type: ignore[arg-type]
            else:
                q, v, sent = rule_step(x, v, sent, theta, self.rule)
            spikes.append(q * amplitude)
        after = list(rates) if self.rule.differential else [v, sent][: len(held)]
        return torch.stack(spikes), after

    def _compiled(
        self, x_seq: Tensor, held: list[Tensor], steps: int, bias: Tensor | None, ages: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """The same in one compiled pass over memory; keeps the layout (channels last or first) of the currents."""
        assert kernels is not None
        last = x_seq.ndim == 5 and not x_seq[0].is_contiguous()
        layout = torch.channels_last if last else torch.contiguous_format
        shape = x_seq.shape[1:]

        def flat(x: Tensor) -> np.ndarray:  # [..., C, H, W] in memory order as [rows, R]
            x = x.contiguous(memory_format=layout)
            return (x.permute(0, 2, 3, 1) if last else x).reshape(x.shape[0], -1).numpy()

        def row(values: Tensor) -> np.ndarray:
            return flat(self.row(values, x_seq[0]).expand(1, *shape[1:]))[0]

        x = flat(merged(x_seq)).reshape(x_seq.shape[0], shape[0], -1)
        out = torch.empty((steps * shape[0], *shape[1:]), dtype=torch.float32, memory_format=layout)
        spikes = (out.permute(0, 2, 3, 1) if last else out).reshape(steps, shape[0], -1).numpy()
        after = [v.clone(memory_format=layout) for v in held]
        states = [flat(v) for v in after]
        theta, amplitude = row(self.theta), row(self.amplitude)
        start = np.float32(self.rule.start) * theta
        if self.rule.differential:
            assert bias is not None
            rest = flat(bias.expand(1, *shape[1:]))[0]
            count = ages.to(torch.float32).numpy()
            kernels.fire_differential(x, *states, count, rest, theta, self.rule.levels, amplitude, spikes)
        elif self.rule.kind == "multi":
            kernels.fire_multi(x, *states, start, theta, self.rule.levels, amplitude, spikes)
        else:
            limit = theta - start
            limit = limit if self.rule.inclusive else np.nextafter(limit, np.float32(np.inf))
            if self.rule.kind == "signed":
                kernels.fire_signed(x, *states, theta, limit, -start, amplitude, spikes)
            else:
                kernels.fire_if(x, *states, theta, limit, amplitude, spikes)
        return out.unflatten(0, (steps, shape[0])), after


class Scale(nn.Module):
    """A factor for each channel: what an identity branch needs once its spikes are units."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factor: Tensor
        self.register_buffer("factor", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor.view(1, -1, *[1] * (x.ndim - 2))


class Slice(nn.Module):
    """Every n-th row and column."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.stride = node.stride

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.stride[0], :: self.stride[1]]


class Pad(nn.Module):
    """Zeros around [C, H, W]; sizes as torch.nn.functional.pad takes them."""

    def __init__(self, node: Node) -> None:
        super().__init__()
        self.sizes = node.padding

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self.sizes)


def build(node: Node, rule: SpikeRule) -> nn.Module | None:
    """The module of a node; None for the input and for sums."""
    if node.op == "conv":
        out, inner, *kernel = node.shape
        return nn.Conv2d(
            inner * node.groups,
            out,
            (kernel[0], kernel[1]),
            node.stride,  # type: ignore[arg-type]
            node.padding,  # type: ignore[arg-type]
            node.dilation,  # type: ignore[arg-type]
            node.groups,
        )
    if node.op == "linear":
        return nn.Linear(node.shape[1], node.shape[0])
    if node.op == "neuron":
        return SpikeLayer(rule, node.shape[0])
    if node.op == "max_pool":
        return nn.MaxPool2d(node.kernel, node.stride, node.padding, node.dilation, ceil_mode=node.ceil)  # type: ignore[arg-type]
    if node.op == "avg_pool":
        return nn.AvgPool2d(node.kernel, node.stride, node.padding, node.ceil, node.count_padding)  # type: ignore[arg-type]
    if node.op == "global_pool":
        return nn.AdaptiveAvgPool2d(node.kernel)  # type: ignore[arg-type]
    if node.op == "flatten":
        return nn.Flatten()
    simple = {"slice": lambda: Slice(node), "pad": lambda: Pad(node), "scale": lambda: Scale(node.shape[0])}
    return simple[node.op]() if node.op in simple else None


def still_nodes(nodes: tuple[Node, ...]) -> set[str]:
    """Names of the nodes that no spike reaches: constant for a still image, so computed once."""
    still: set[str] = set()
    for node in nodes:
        if node.op == "input" or (node.op != "neuron" and all(i in still for i in node.inputs)):
            still.add(node.name)
    return still


class ConvertedNetwork(nn.Module):
    """A converted network. It keeps no state: it takes and returns it."""

    def __init__(self, config: ConvertedConfig) -> None:
        super().__init__()
        self.config = config
        modules = {node.name: build(node, config.rule) for node in config.nodes}
        self.layers = nn.ModuleDict({name: m for name, m in modules.items() if m is not None})
        self.still = still_nodes(config.nodes)
        self._last_use = {name: node.name for node in config.nodes for name in node.inputs}
        self._rest: dict[tuple[int, ...], dict[str, Tensor]] = {}  # bias currents by input shape and weight versions
        name_states(self)
        self.eval().requires_grad_(False)
        for module in self.layers.values():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def layer(self, name: str) -> nn.Module | None:
        """The module of a node; None for the input and for sums."""
        return self.layers[name] if name in self.layers else None  # noqa: SIM401 - a ModuleDict has no get

    def neuron_nodes(self) -> list[Node]:
        """The nodes that spike, in order."""
        return [node for node in self.config.nodes if node.op == "neuron"]

    def neurons(self) -> dict[str, SpikeLayer]:
        """The spiking layers by node name."""
        return {n.name: self.layers[n.name] for n in self.neuron_nodes()}  # type: ignore[misc]

    @torch.no_grad()
    def forward(self, x_seq: Tensor, state: State | None = None, steps: int | None = None) -> tuple[Tensor, State]:
        """x_seq [T, N, ...] and the state before it to (logits [T, N, K], the state after it).

        x_seq [1, N, ...] with `steps` is the same input for that many steps: what it alone decides is computed once.
        """
        if tuple(x_seq.shape[2:]) != self.config.input_shape or (steps and steps > 1 and x_seq.shape[0] != 1):
            raise ValueError(f"x_seq must be [T, N, {', '.join(map(str, self.config.input_shape))}]")
        steps = steps or x_seq.shape[0]
        after = dict(state or {})
        x_seq = x_seq.to(next(self.parameters()).dtype)
        if self.config.rule.differential:
            return self._differential(x_seq, after, steps)
        values: dict[str, Tensor] = {}
        for node in self.config.nodes:
            values[node.name] = self._value(node, values, x_seq, after, steps)
            for name in node.inputs:
                if self._last_use[name] == node.name:
                    values.pop(name, None)
        logits = values[self.config.nodes[-1].name]
        return logits.expand(steps, *logits.shape[1:]), after

    def _value(self, node: Node, values: dict[str, Tensor], x_seq: Tensor, state: State, steps: int) -> Tensor:
        if node.op == "input":
            return x_seq
        inputs = [values[name] for name in node.inputs]
        if node.op == "add":
            return inputs[0] + inputs[1]
        module = self.layers[node.name]
        if isinstance(module, SpikeLayer):
            return module(inputs[0], state, steps)
        if node.op == "max_pool" and node.name not in self.still:
            return accumulated_pool(module, inputs[0], state, f"layers.{node.name}")
        return module(merged(inputs[0])).unflatten(0, inputs[0].shape[:2])

    # --- differential coding: values between nodes are corrections, without their bias ---

    def rest(self, shape: tuple[int, ...]) -> dict[str, Tensor]:
        """The value of every node, [1, ...], on a zero input of `shape` while no neuron fires."""
        key = (*shape, *(p._version for p in self.parameters()))
        if key not in self._rest:
            values: dict[str, Tensor] = {}
            parameter = next(self.parameters())
            for node in self.config.nodes:
                inputs = [values[name] for name in node.inputs]
                if node.op == "input":
                    values[node.name] = torch.zeros(1, *shape, dtype=parameter.dtype, device=parameter.device)
                elif node.op == "add":
                    values[node.name] = inputs[0] + inputs[1]
                elif node.op == "neuron":
                    values[node.name] = torch.zeros_like(inputs[0])
                else:
                    values[node.name] = unhooked(self.layers[node.name], inputs[0])
            self._rest = {key: values}
        return self._rest[key]

    def _differential(self, x_seq: Tensor, state: State, steps: int) -> tuple[Tensor, State]:
        if x_seq.shape[0] != steps:
            x_seq = x_seq.expand(steps, *x_seq.shape[1:])
        rest = self.rest(tuple(x_seq.shape[2:]))
        state.setdefault(AGE, torch.zeros(x_seq.shape[1], dtype=x_seq.dtype, device=x_seq.device))
        values: dict[str, Tensor] = {}
        for node in self.config.nodes:
            inputs = [values[name] for name in node.inputs]
            module = self.layer(node.name)
            if node.op == "input":
                values[node.name] = corrections(x_seq, state, "input")
            elif isinstance(module, SpikeLayer):
                values[node.name] = module(inputs[0], state, steps, rest[node.inputs[0]])
            elif node.op == "max_pool":
                assert module is not None
                values[node.name] = self._pool_corrections(node, module, inputs[0], state, rest[node.inputs[0]])
            elif node.op == "add":
                values[node.name] = inputs[0] + inputs[1]
            else:
                assert module is not None
                values[node.name] = without_bias(module, merged(inputs[0])).unflatten(0, inputs[0].shape[:2])
            for name in node.inputs:
                if self._last_use[name] == node.name:
                    values.pop(name, None)
        last = self.config.nodes[-1].name
        logits = currents(values[last], state, "output") + rest[last]
        state[AGE] = state[AGE] + steps
        return logits, state

    def _pool_corrections(self, node: Node, pool: nn.Module, x_seq: Tensor, state: State, rest: Tensor) -> Tensor:
        """Corrections of the pooled rate from corrections of the rate."""
        pooled = pool(merged(currents(x_seq, state, f"layers.{node.name}", mean=True) + rest))
        pooled = pooled.unflatten(0, x_seq.shape[:2]) - pool(rest)
        return rate_corrections(pooled, state, f"layers.{node.name}")


def unhooked(module: nn.Module, x: Tensor) -> Tensor:
    """The module's output without its hooks: not a part of any measured pass."""
    return module.forward(x)


def without_bias(module: nn.Module, x: Tensor) -> Tensor:
    """An affine module's product alone. Called through the module, so that meters see it."""
    if not isinstance(module, (nn.Conv2d, nn.Linear)) or module.bias is None:
        return module(x)
    bias = module._parameters["bias"]
    module._parameters["bias"] = None
    try:
        return module(x)
    finally:
        module._parameters["bias"] = bias


def accumulated_pool(pool: nn.Module, x_seq: Tensor, state: State, key: str) -> Tensor:
    """Max-pool of the currents summed so far, as the current of each step: its mean is the pool of the mean current."""
    before = state.get(key)
    total = torch.cat([x_seq[:1] * 0 if before is None else before[None], x_seq]).cumsum(0)
    state[key] = total[-1]
    pooled = pool(merged(total)).unflatten(0, total.shape[:2])
    return pooled[1:] - pooled[:-1]


def by_age(state: State, steps: int, like: Tensor) -> Tensor:
    """The number of each step, [T, N, 1, ...], counted from 1 at the stream's start."""
    age = state[AGE][None] + torch.arange(1, steps + 1, device=like.device)[:, None]
    return age.to(like.dtype).view(*age.shape, *[1] * (like.ndim - 2))


def currents(x_seq: Tensor, state: State, key: str, *, mean: bool = False) -> Tensor:
    """Corrections to the values that a rate code would carry (or to their running mean). State: the running mean."""
    age = by_age(state, x_seq.shape[0], x_seq)
    rate = state.get(f"{key}.rate")
    values = []
    for t, x in enumerate(x_seq):
        rate = torch.zeros_like(x) if rate is None else rate
        values.append(rate + x)
        rate = rate + x / age[t]
        if mean:
            values[-1] = rate
    assert rate is not None
    state[f"{key}.rate"] = rate
    return torch.stack(values)


def corrections(x_seq: Tensor, state: State, key: str) -> Tensor:
    """Values of a rate code to corrections of their running mean: exactly zero while the input stays the same."""
    age = by_age(state, x_seq.shape[0], x_seq)
    rate = state.get(f"{key}.rate")
    values = []
    for t, x in enumerate(x_seq):
        rate = torch.zeros_like(x) if rate is None else rate
        values.append(x - rate)
        rate = rate + values[-1] / age[t]
    assert rate is not None
    state[f"{key}.rate"] = rate
    return torch.stack(values)


def rate_corrections(rates: Tensor, state: State, key: str) -> Tensor:
    """Running means at each step to their corrections t (r(t) - r(t-1)). State: the last mean."""
    age = by_age(state, rates.shape[0], rates)
    before = state.get(f"{key}.pooled")
    before = torch.zeros_like(rates[0]) if before is None else before
    state[f"{key}.pooled"] = rates[-1]
    return age * (rates - torch.cat([before[None], rates[:-1]]))
