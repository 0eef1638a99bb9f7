"""Record what every neuron of a network does, spikes and membranes at each step, as arrays and as a figure."""

import copy
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikesight.models.neurons.layers import Neuron
from spikesight.models.neurons.probe import threshold_of
from spikesight.models.neurons.state import State

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS, LEADERS = 10, 4  # most steps shown in a figure, and most classes whose probability is drawn


class Layer(NamedTuple):
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
    layers: dict[str, Layer]  # by the layer's name in the network, in its order
    probabilities: NDArray[np.float32]  # [T, K], of the classes after each step

    def figure(self) -> "Figure":
        """Return a matplotlib figure: a row of spike maps for each layer (channels summed), a membrane, probabilities.

        Columns are steps, evenly spaced if there are too many. The membrane belongs to the neuron of the last layer
        that fires in about half of the steps; the threshold is dashed.
        """
        from matplotlib.figure import Figure  # takes long to load

        steps = np.unique(np.linspace(0, len(self.inputs) - 1, COLUMNS).round().astype(int))
        rows = {"input": self.inputs} | {layer.title: layer.spikes for layer in self.layers.values()}
        figure = Figure(figsize=(1.1 * len(steps) + 2, 0.9 * len(rows) + 3.6), layout="constrained")
        upper, lower = figure.add_gridspec(2, 1, height_ratios=(len(rows), 3.5))
        maps, curves = figure.add_subfigure(upper), figure.add_subfigure(lower)
        grid = maps.subplots(len(rows), len(steps), squeeze=False)
        for axes, (title, values) in zip(grid, rows.items()):
            self._maps(list(axes), title, values.sum(1), steps)
        for axes, n in zip(grid[0], steps):
            axes.set_title(f"{(n + 1) * self.step_us / 1000:g} ms" if self.step_us > 1 else f"step {n + 1}", fontsize=8)
        membrane, evidence = curves.subplots(2, 1, sharex=True)
        self._membrane(membrane)
        for k in np.argsort(-self.probabilities[-1])[:LEADERS]:
            evidence.plot(np.arange(1, len(self.inputs) + 1), self.probabilities[:, k], label=self.labels[k])
        evidence.set(xlabel="step", ylabel="probability", ylim=(0, 1.02))
        evidence.legend(fontsize=7, loc="center left")
        return figure

    def _repr_png_(self) -> bytes:
        """Return the figure as PNG, for notebooks."""
        picture = io.BytesIO()
        self.figure().savefig(picture, dpi=72)
        return picture.getvalue()

    def _maps(self, row: "list[Axes]", title: str, maps: NDArray[np.float32], steps: NDArray[np.int_]) -> None:
        """Draw one layer's maps with the same colour scale in every step, the title before the first."""
        for axes, n in zip(row, steps):
            axes.imshow(maps[n], cmap="magma", vmin=0, vmax=max(1.0, float(maps.max())), aspect="auto")
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(title, rotation=0, ha="right", va="center", fontsize=8)

    def _membrane(self, axes: "Axes") -> None:
        if not self.layers:  # an ANN has no membranes
            return
        layer = list(self.layers.values())[-1]
        shape = layer.spikes.shape[1:]
        place = np.unravel_index(np.abs((layer.spikes > 0).mean(0) - 0.5).argmin(), shape)
        potential = layer.membranes[:, *place]
        axes.plot(np.arange(1, len(potential) + 1), potential, color="tab:purple")
        axes.axhline(float(np.broadcast_to(layer.threshold, shape[:1])[place[0]]), linestyle="--", color="grey")
        axes.set_ylabel(f"membrane,\n{layer.title}", fontsize=8)


@torch.inference_mode()
def trace_layers(network: nn.Module, steps: Iterable[tuple[Tensor, bool]]) -> dict[str, Layer]:
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
        name: Layer(
            f"layer {number}",
            *(torch.stack(values).numpy() for values in found[name]),  # pyright: ignore[reportCallIssue]
            threshold=threshold_of(module),
        )
        for number, (module, name) in enumerate(((m, n) for m, n in names.items() if n in found), 1)
    }
