"""Check layer by layer whether a converted network computes its ANN, and name the layers that do not."""

from dataclasses import dataclass

import torch
from torch import Tensor

from spikesight.models.conversion.simulate import BUDGET
from spikesight.models.conversion.thresholds import by_channel, run_as_ann
from spikesight.models.networks.converted.graph import ConversionError, Node
from spikesight.models.networks.converted.network import ConvertedNetwork
from spikesight.models.networks.converted.neurons import SpikeLayer
from spikesight.models.neurons.layers import watching
from spikesight.models.neurons.state import State

SATURATED = 0.5  # share of a layer's active neurons that fire all the time
DIFFERS = 0.5  # relative error of a layer's rates above which it is reported


@dataclass(frozen=True)
class AuditRow:
    """The audit of one layer of neurons over all images."""

    layer: str
    error: float  # |phi - a| / |a|, phi the mean output over T, a the ANN's activation
    bias: float  # mean over channels of |mean phi - mean a|, relative to mean a
    rate: float  # spikes a neuron and step
    dead: float  # share of neurons that never fire although the ANN's are active
    saturated: float  # share of active neurons that emit theta or more a step on average
    silent: bool  # no spike at all, but an active ANN layer


@dataclass(frozen=True)
class Audit:
    """The result of an audit: one row a layer; `problems` are sentences about layers that are wrong."""

    rows: tuple[AuditRow, ...]
    steps: int

    @property
    def problems(self) -> list[str]:
        found = []
        for row in self.rows:
            if row.silent:
                found.append(f"{row.layer}: its neurons are silent, its thresholds too high")
            elif row.saturated > SATURATED:
                found.append(
                    f"{row.layer}: {row.saturated:.0%} of its active neurons are saturated, its thresholds too low"
                )
            elif row.error > DIFFERS:
                found.append(
                    f"{row.layer}: its rates differ from the ANN's activations by {row.error:.0%} at T = {self.steps}"
                )
        return found

    def raise_if_bad(self) -> None:
        """Raise ConversionError for the first wrong layer; errors of later layers may follow from it."""
        if self.problems:
            raise ConversionError(f"the converted network does not compute its ANN: {self.problems[0]}")

    def table(self) -> str:
        """Return the rows as a markdown table."""
        lines = ["| layer | error | bias | rate | dead | saturated |", "|---|---|---|---|---|---|"]
        lines += [
            f"| {r.layer} | {r.error:.1%} | {r.bias:.1%} | {r.rate:.3f} | {r.dead:.1%} | {r.saturated:.1%} |"
            for r in self.rows
        ]
        return "\n".join(lines)


@torch.no_grad()
def mean_outputs(network: ConvertedNetwork, images: Tensor, steps: int) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return each neuron layer's mean output [N, C, ...], and its spikes per neuron and step.

    The mean is over the steps that count for the network's answer at T = steps.
    """
    first = network.config.first_step(steps)
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    done = 0

    def add(path: str, _: SpikeLayer, __: Tensor, spikes: Tensor) -> None:
        name = path.removeprefix("layers.")
        ages = torch.arange(done + 1, done + len(spikes) + 1, dtype=spikes.dtype)
        share = (ages > first) / (steps - first)
        part = (spikes * share.view(-1, *[1] * (spikes.ndim - 1))).sum(0)
        sums[name] = sums[name] + part if name in sums else part
        counts[name] = counts.get(name, 0) + int(spikes.count_nonzero())

    state: State | None = None
    chunk = max(1, BUDGET // len(images))
    with watching(network, SpikeLayer, add):
        for start in range(0, steps, chunk):
            _, state = network(images[None], state, min(chunk, steps - start))
            done += min(chunk, steps - start)
    return sums, {name: counts[name] / (steps * sums[name].numel()) for name in sums}


@torch.no_grad()
def audit(
    network: ConvertedNetwork, images: Tensor, steps: int = 64, reference: ConvertedNetwork | None = None
) -> Audit:
    """Compare spike rates with the ANN's activations for images [N, C, H, W].

    The ANN is the graph itself, or the graph of `reference`: the network before its weights were repaired.
    """
    activations: dict[str, Tensor] = {}

    def keep(node: Node, z: Tensor) -> Tensor:
        activations[node.name] = z.relu()
        return activations[node.name]

    run_as_ann(reference or network, images, keep)
    means, rates = mean_outputs(network, images, steps)
    rows = []
    for node in network.neuron_nodes():
        layer = network.neurons()[node.name]
        a, phi = activations[node.name], means[node.name]
        active = a > 0
        size = float(a.norm().clamp_min(1e-12))
        drift = (by_channel(phi).mean(1) - by_channel(a).mean(1)).abs().mean() / a.mean().clamp_min(1e-12)
        theta = layer.row(layer.theta, a)
        rows.append(
            AuditRow(
                node.title,
                float((phi - a).norm()) / size,
                float(drift),
                rates[node.name],
                share((phi == 0).all(0) & active.any(0), active.any(0)),
                share((phi >= theta * (1 - 0.5 / steps)) & active, active),
                bool(active.any()) and rates[node.name] == 0,
            )
        )
    return Audit(tuple(rows), steps)


def share(some: Tensor, of: Tensor) -> float:
    """Return the share of the true elements of `of` that are true in `some`."""
    return float((some & of).sum()) / max(1, int(of.sum()))
