"""Draw docs/pictures/trace.png, all neuron layers of the motion model on a moving circle, and record it in shown.json.

python docs/make/draw_trace.py
"""

import hashlib
import json
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import spikesight
from spikesight.encoders.sources.samples import events_of
from spikesight.models.networks.trace import LayerTrace, Trace

COLUMNS, LEADERS = 10, 4  # most steps shown, and most classes whose probability is drawn


def drawn(trace: Trace) -> Figure:
    """Return a figure: a row of spike maps for each layer (channels summed), a membrane, probabilities.

    Columns are steps, evenly spaced if there are too many.
    """
    steps = np.unique(np.linspace(0, len(trace.inputs) - 1, COLUMNS).round().astype(int))
    rows = {"input": trace.inputs}
    rows |= {f"{one.title},\n{one.spikes.shape[1]} channels": one.spikes for one in trace.layers.values()}
    figure = Figure(figsize=(1.1 * len(steps) + 2, 0.9 * len(rows) + 3.6), layout="constrained")
    upper, lower = figure.add_gridspec(2, 1, height_ratios=(len(rows), 3.5))
    maps, curves = figure.add_subfigure(upper), figure.add_subfigure(lower)
    grid = maps.subplots(len(rows), len(steps), squeeze=False)
    for row, (title, values) in zip(grid, rows.items()):
        shown = values.sum(1)
        for axes, n in zip(row, steps):
            axes.imshow(shown[n], cmap="magma", vmin=0, vmax=max(1.0, float(shown.max())), aspect="auto")
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(title, rotation=0, ha="right", va="center", fontsize=8)
    for axes, n in zip(grid[0], steps):
        axes.set_title(f"{(n + 1) * trace.step_us / 1000:g} ms", fontsize=8)
    membrane, evidence = curves.subplots(2, 1, sharex=True)
    draw_membrane(membrane, list(trace.layers.values())[-1])
    for k in np.argsort(-trace.probabilities[-1])[:LEADERS]:
        evidence.plot(np.arange(1, len(trace.inputs) + 1), trace.probabilities[:, k], label=trace.labels[k])
    evidence.set(xlabel="step", ylabel="probability", ylim=(0, 1.02))
    evidence.legend(fontsize=7, loc="center left")
    return figure


def draw_membrane(axes: Axes, layer: LayerTrace) -> None:
    """Draw the membrane of the layer's neuron that fires in about half of the steps; its threshold is dashed."""
    shape = layer.spikes.shape[1:]
    place = np.unravel_index(np.abs((layer.spikes > 0).mean(0) - 0.5).argmin(), shape)
    potential = layer.membranes[:, *place]
    axes.plot(np.arange(1, len(potential) + 1), potential, color="tab:purple")
    axes.axhline(float(np.broadcast_to(layer.threshold, shape[:1])[place[0]]), linestyle="--", color="grey")
    axes.set_ylabel(f"membrane,\n{layer.title}", fontsize=8)


if __name__ == "__main__":
    pictures = Path(__file__).resolve().parents[1] / "pictures"
    events = events_of("circle")
    window, model = events[events["t"] < events["t"][0] + 330_000], spikesight.load("motions")
    drawn(model.trace(window, (128, 128))).savefig(pictures / "trace.png", dpi=72)
    shown = json.loads((pictures / "shown.json").read_text())
    digest = hashlib.sha256((pictures / "trace.png").read_bytes()).hexdigest()
    shown["trace.png"] = {"says": model.predict(window, (128, 128)).label, "sha256": digest, "source": "circle"}
    (pictures / "shown.json").write_text(json.dumps(shown, indent=1, sort_keys=True) + "\n")
