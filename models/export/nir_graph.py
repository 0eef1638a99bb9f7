"""Build a NIR graph from the parts of a network, keeping track of shapes."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikesight.models.export.nir_network import max_pool_node
from spikesight.models.export.parity import ExportError, import_extra

Signal = tuple[str, ...]  # names of nodes; the signal is the sum of their outputs
Shape = tuple[int, ...]


class Graph:
    """A NIR graph under construction: nodes, edges, and each node's output shape [C, H, W] or [C]."""

    def __init__(self, shape: Shape, dt: float) -> None:
        self.nir, self.dt = import_extra("nir"), dt
        self.nodes: dict[str, Any] = {"input": self.nir.Input(np.array(shape))}
        self.edges: list[tuple[str, str]] = []
        self.shapes: dict[str, Shape] = {"input": shape}

    def shape(self, signal: Signal) -> Shape:
        return self.shapes[signal[0]]

    def add(self, name: str, node: Any, signal: Signal, shape: Shape | None = None) -> Signal:
        """Append a node that reads a signal; return its output. None: the output has the signal's shape."""
        shape = self.shape(signal) if shape is None else shape
        node.input_type, node.output_type = {"input": np.array(self.shape(signal))}, {"output": np.array(shape)}
        self.nodes[name], self.shapes[name] = node, shape
        self.edges += [(source, name) for source in signal]
        return (name,)

    def full(self, value: float | Tensor, signal: Signal, dtype: type = np.float64) -> NDArray[Any]:
        """Broadcast a number, or one for each channel, to an array of the signal's shape."""
        shape = self.shape(signal)
        values = np.asarray(value.double() if isinstance(value, Tensor) else value)
        return np.broadcast_to(values.reshape(-1, *[1] * (len(shape) - 1)), shape).astype(dtype)

    def conv(self, name: str, signal: Signal, weight: Tensor, bias: Tensor, like: nn.Conv2d) -> Signal:
        """Append a convolution with these weights and the stride, padding, dilation and groups of `like`."""
        shape = self.shape(signal)
        stride, padding, dilation = like.stride, like.padding, like.dilation
        assert isinstance(padding, tuple)
        out = nn.functional.conv2d(
            torch.empty(shape, device="meta"), weight.to("meta"), None, stride, padding, dilation, like.groups
        )
        node = self.nir.Conv2d(
            shape[1:], weight.numpy(), tuple(stride), tuple(padding), tuple(dilation), like.groups, bias.numpy()
        )
        return self.add(name, node, signal, tuple(out.shape))

    def pool(self, name: str, signal: Signal, pool: nn.Module) -> Signal:
        """Append an average pool or max-pool. Raises ExportError if NIR has none like it."""
        if isinstance(pool, nn.AvgPool2d):
            if (pool.padding not in (0, (0, 0)) and not pool.count_include_pad) or pool.ceil_mode:
                raise ExportError(f"not exported: NIR has no average pool like that of {name}")
            node = self.nir.AvgPool2d(*(pair(v) for v in (pool.kernel_size, pool.stride, pool.padding)))
        else:
            assert isinstance(pool, nn.MaxPool2d)
            if pair(pool.dilation).tolist() != [1, 1]:
                raise ExportError(f"not exported: the max-pool {name} is dilated")
            sizes = (pair(v) for v in (pool.kernel_size, pool.stride, pool.padding))
            node = max_pool_node()(*sizes, bool(pool.ceil_mode))
        out = pool(torch.empty(self.shape(signal), device="meta"))
        return self.add(name, node, signal, tuple(out.shape))

    def global_pool(self, name: str, signal: Signal) -> Signal:
        """Append a mean over height and width."""
        return self.pool(name, signal, nn.AvgPool2d(self.shape(signal)[1:]))  # type: ignore[arg-type]

    def flatten(self, name: str, signal: Signal) -> Signal:
        shape = self.shape(signal)
        node = self.nir.Flatten({"input": np.array(shape)}, 0, -1)
        return self.add(name, node, signal, (int(np.prod(shape)),))

    def affine(self, name: str, signal: Signal, layer: nn.Linear) -> Signal:
        bias = torch.zeros(layer.out_features) if layer.bias is None else layer.bias.detach()
        return self.add(
            name, self.nir.Affine(layer.weight.detach().numpy(), bias.numpy()), signal, (layer.out_features,)
        )

    def scale(self, name: str, signal: Signal, factor: float | Tensor) -> Signal:
        return self.add(name, self.nir.Scale(self.full(factor, signal)), signal)

    def hold(self, name: str, signal: Signal) -> Signal:
        """Append a delay of one step."""
        return self.add(name, self.nir.Delay(self.full(self.dt, signal)), signal)

    def integrate(self, name: str, signal: Signal, beta: float, gain: float) -> Signal:
        """Append a membrane that never fires."""
        if beta == 1:
            return self.add(name, self.nir.I(self.full(gain / self.dt, signal)), signal)
        tau, r = self.full(self.dt / (1 - beta), signal), self.full(gain / (1 - beta), signal)
        return self.add(name, self.nir.LI(tau, r, np.zeros_like(tau)), signal)

    def fire(self, name: str, membrane: Signal, theta: float | Tensor, back: float | Tensor) -> Signal:
        """Append spikes of a membrane above theta; each spike adds `back` to the membrane's input in the next step."""
        threshold = self.nir.Threshold(self.full(theta, membrane, np.float32))
        spikes = self.add(f"{name}.spikes", threshold, membrane)
        (reset,) = self.scale(f"{name}.reset", spikes, back)
        self.edges.append((reset, membrane[0]))
        return spikes

    def reset_to(
        self, name: str, signal: Signal, theta: float | Tensor, v: float | Tensor, beta: float, gain: float
    ) -> Signal:
        """Append NIR's own neuron: above theta it fires and sets the membrane to v."""
        limits = self.full(theta, signal, np.float32), self.full(v, signal, np.float32)
        if beta == 1:
            return self.add(name, self.nir.IF(self.full(gain / self.dt, signal), *limits), signal)
        tau, r = self.full(self.dt / (1 - beta), signal), self.full(gain / (1 - beta), signal)
        return self.add(name, self.nir.LIF(tau, r, np.zeros_like(tau), *limits), signal)

    def finish(self, signal: Signal, metadata: dict[str, Any]) -> Any:
        """Append the output and return the NIRGraph; NIR checks the shapes along every edge."""
        self.add("output", self.nir.Output(None), signal)
        return self.nir.NIRGraph(self.nodes, self.edges, metadata)


def pair(value: Any) -> NDArray[np.int64]:
    """Return one size or two as [vertical, horizontal]."""
    return np.array([value, value] if isinstance(value, int) else value, np.int64)


def strict(theta: float | Tensor, inclusive: bool) -> Tensor:
    """Return the threshold for a comparison u > theta, float32; `inclusive`: the original compares u >= theta."""
    limit = torch.as_tensor(theta, dtype=torch.float32)
    return torch.nextafter(limit, limit.new_tensor(-torch.inf)) if inclusive else limit
