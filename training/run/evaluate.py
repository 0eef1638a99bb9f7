"""Evaluate a network on a split, every window from zero state."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from spikesight.encoders.words import counted
from spikesight.models.contract import Contract
from spikesight.models.networks.metering import Meter
from spikesight.models.neurons.layers import Neuron, watching
from spikesight.training.data import Frames
from spikesight.training.distributed import ProcessGroup
from spikesight.training.step.batches import evaluation_input

EVALUATION_BATCH = 256
SATURATED = 0.98  # firing rate from which a channel counts as saturated


@dataclass(frozen=True)
class LayerActivity:
    """Firing statistics of one neuron layer over a split."""

    rate: float  # mean spikes a neuron a step
    dead: float  # share of channels that never fire
    saturated: float  # share of channels that fire at (nearly) every position and step


@dataclass(frozen=True)
class Evaluation:
    """Accuracy, loss and layer activity of a network on a split, every window from zero state."""

    accuracy: float  # 0 to 1
    loss: float
    count: int
    confusion: np.ndarray  # int64 [K, K], row = truth
    accuracy_by_step: list[float]  # by the mean logits after each step t, over at most the contract's horizon
    layers: dict[str, LayerActivity]
    synops: float  # a sample
    chosen: np.ndarray  # int64 [M], the class of each window of this process

    @property
    def firing_rates(self) -> dict[str, float]:
        """Mean spikes a neuron a step, by layer."""
        return {name: layer.rate for name, layer in self.layers.items()}

    def warnings(self) -> list[str]:
        """Return sentences that name silent, mostly dead and mostly saturated layers."""
        signs: dict[str, Callable[[LayerActivity], bool]] = {
            "silent layers": lambda layer: layer.rate == 0,
            "layers with more than half of their channels dead": lambda layer: 0.5 < layer.dead < 1,
            "layers with more than half of their channels saturated": lambda layer: layer.saturated > 0.5,
        }
        found = {what: [name for name, layer in self.layers.items() if shows(layer)] for what, shows in signs.items()}
        return [f"{what}: {', '.join(names)}" for what, names in found.items() if names]


def batches(frames: Frames, size: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (x uint8 [N, T, C, H, W], labels [N]) in order; with several processes, every `world`-th batch."""
    for start in range(rank * size, len(frames), size * world):
        rows = slice(start, start + size)
        yield torch.from_numpy(np.array(frames.frames[rows])), torch.from_numpy(frames.labels[rows])


def sliding_mean(logits: Tensor, horizon: int) -> Tensor:
    """Return for each step the mean of the last `horizon` logits so far; logits [T, N, K], result likewise."""
    sums = nn.functional.pad(logits.cumsum(0), (0, 0, 0, 0, horizon, 0))
    return (sums[horizon:] - sums[:-horizon]) / torch.arange(1, len(logits) + 1).clamp(max=horizon).view(-1, 1, 1)


@torch.inference_mode()
def evaluate(
    network: nn.Module,
    frames: Frames,
    classes: int,
    device: torch.device,
    contract: Contract | None = None,
    processes: ProcessGroup | None = None,
) -> Evaluation:
    """Evaluate every window from zero state; without a contract, frames are binned events. Raises ValueError."""
    processes, count = processes or ProcessGroup(device), len(frames)
    if count < processes.world:
        raise ValueError(f"{counted(count, 'sample')} to evaluate cannot be shared by {processes.world} processes")
    size = min(EVALUATION_BATCH, -(-count // processes.world))  # every process gets at least one sample
    steps = frames.frames.shape[1] if contract is None or contract.kind == "events" else contract.steps
    confusion, totals = torch.zeros(classes, classes, dtype=torch.int64), torch.zeros(2 + steps, dtype=torch.float64)
    meter, chosen = Meter(network.eval()), list[Tensor]()
    channels: dict[str, Tensor] = {}  # by neuron layer: firing rate [C], summed over steps and samples

    def add(name: str, _: nn.Module, __: Tensor, spikes: Tensor) -> None:
        fired = spikes.ne(0).reshape(*spikes.shape[:3], -1).mean(3, dtype=torch.float64)
        channels[name] = channels.get(name, 0) + fired.sum((0, 1))

    with watching(network, Neuron, add):
        for stored, labels in batches(frames, size, processes.rank, processes.world):
            stored = stored.to(device)
            x_seq = stored.transpose(0, 1).float() if contract is None else evaluation_input(stored, contract)
            logits = network(x_seq)[0].float().cpu()
            running = sliding_mean(logits, steps if contract is None else contract.horizon)
            totals[0] += nn.functional.cross_entropy(running[-1], labels, reduction="sum")
            totals[1] += meter.read().synops.sum().cpu()
            totals[2:] += (running.argmax(2) == labels).sum(1)
            chosen.append(running[-1].argmax(1))
            confusion.index_put_((labels, chosen[-1]), torch.ones_like(labels), accumulate=True)
    meter.close()
    loss, synops, *by_step = (processes.sum(totals).cpu() / count).tolist()
    confusion = processes.sum(confusion).cpu().numpy()
    layers = {name: _activity(processes.sum(channels[name]).cpu() / (steps * count)) for name in meter.layer_names}
    accuracy, answers = int(np.trace(confusion)) / count, torch.cat(chosen).numpy()
    return Evaluation(accuracy, loss, count, confusion, by_step, layers, synops, answers)


def _activity(rates: Tensor) -> LayerActivity:
    """Summarise the firing rates [C] of a layer's channels."""
    return LayerActivity(
        float(rates.mean()), float((rates == 0).double().mean()), float((rates >= SATURATED).double().mean())
    )
