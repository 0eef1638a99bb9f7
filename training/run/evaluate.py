"""What a network does on a split, every window from zero state."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from spikesight.models.contract import Contract
from spikesight.models.networks.metering import Meter
from spikesight.models.neurons.layers import Neuron
from spikesight.training.data import Frames
from spikesight.training.distributed import Processes
from spikesight.training.step.batches import evaluation_input

EVALUATION_BATCH = 256
SATURATED = 0.98  # of the steps of a split: a channel this busy says nothing


@dataclass(frozen=True)
class LayerActivity:
    """Firing statistics of one neuron layer over a split."""

    rate: float  # mean spikes a neuron a step
    dead: float  # share of channels that never fire
    saturated: float  # share of channels that fire at (nearly) every place and step


@dataclass(frozen=True)
class Evaluation:
    """Accuracy, loss and layer activity of a network on a split, every window from zero state."""

    accuracy: float  # 0 to 1
    loss: float
    count: int
    confusion: np.ndarray  # int64 [K, K], row = truth
    accuracy_by_step: list[float]  # with the mean over the first t steps
    layers: dict[str, LayerActivity]
    synops: float  # a sample

    @property
    def firing_rates(self) -> dict[str, float]:
        """Mean spikes a neuron a step, by layer."""
        return {name: layer.rate for name, layer in self.layers.items()}

    def warnings(self) -> list[str]:
        """A sentence for each kind of layer that is silent, mostly dead or saturated."""
        silent = [name for name, layer in self.layers.items() if layer.rate == 0]
        dead = [name for name, layer in self.layers.items() if 0.5 < layer.dead < 1]
        full = [name for name, layer in self.layers.items() if layer.saturated > 0.5]
        return [
            f"{what}: {', '.join(names)}"
            for what, names in (
                ("silent layers", silent),
                ("layers with more than half of their channels dead", dead),
                ("layers with more than half of their channels saturated", full),
            )
            if names
        ]


class _Channels:
    """Counts spikes by channel of every neuron layer."""

    def __init__(self, network: nn.Module) -> None:
        self.spikes: dict[str, Tensor] = {}
        self.places: dict[str, int] = {}  # neurons of a channel
        self._handles = [
            module.register_forward_hook(self._hook(name))
            for name, module in network.named_modules()
            if isinstance(module, Neuron)
        ]

    def _hook(self, name: str) -> Any:
        def count(_: nn.Module, __: Any, spikes: Tensor) -> None:
            found = spikes.count_nonzero(dim=(0, 1)) if spikes.ndim == 3 else spikes.flatten(3).ne(0).sum((0, 1, 3))
            self.spikes[name] = self.spikes.get(name, 0) + found
            self.places[name] = spikes[0, 0, 0].numel()

        return count

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()


def batches(frames: Frames, size: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
    """(x uint8 [N, T, C, H, W], labels [N]) in order; with several processes, every `world`-th batch."""
    for start in range(rank * size, len(frames), size * world):
        rows = slice(start, start + size)
        yield torch.from_numpy(np.array(frames.frames[rows])), torch.from_numpy(frames.labels[rows])


@torch.inference_mode()
def evaluate(
    network: nn.Module,
    frames: Frames,
    classes: int,
    device: torch.device,
    contract: Contract | None = None,
    processes: Processes | None = None,
) -> Evaluation:
    """Every window from zero state; without a contract, the frames are binned events."""
    processes = processes or Processes(device)
    network.eval()
    meter, channels = Meter(network), _Channels(network)
    steps = frames.frames.shape[1] if contract is None or contract.kind == "events" else contract.steps
    confusion = np.zeros((classes, classes), np.int64)
    loss, synops, by_step = 0.0, 0, torch.zeros(steps, dtype=torch.float64)
    if len(frames) < processes.world:
        raise ValueError(f"{len(frames)} samples to evaluate are fewer than the {processes.world} processes")
    size = min(EVALUATION_BATCH, -(-len(frames) // processes.world))  # so that every process has some
    for stored, labels in batches(frames, size, processes.rank, processes.world):
        stored = stored.to(device)
        x_seq = stored.transpose(0, 1).float() if contract is None else evaluation_input(stored, contract)
        logits, _ = network(x_seq)
        logits = logits.float().cpu()
        running = logits.cumsum(0) / torch.arange(1, len(logits) + 1).view(-1, 1, 1)
        by_step += (running.argmax(2) == labels).sum(1)
        loss += float(nn.functional.cross_entropy(running[-1], labels, reduction="sum"))
        np.add.at(confusion, (labels.numpy(), running[-1].argmax(1).numpy()), 1)
        synops += int(meter.read().synops.sum())
    names = list(meter.layer_names)
    meter.close()
    channels.close()
    totals = processes.sum(torch.tensor([loss, synops, *by_step.tolist()], dtype=torch.float64)).cpu()
    confusion = processes.sum(torch.from_numpy(confusion)).cpu().numpy()
    layers = {
        name: _activity(processes.sum(channels.spikes[name]).cpu(), channels.places[name] * steps * len(frames))
        for name in names
    }
    count = len(frames)
    accuracy = int(np.trace(confusion)) / count
    by_step_shares = (totals[2:] / count).tolist()
    return Evaluation(
        accuracy, float(totals[0]) / count, count, confusion, by_step_shares, layers, float(totals[1]) / count
    )


def _activity(spikes: Tensor, chances: int) -> LayerActivity:
    """From spikes by channel; `chances` is how often each channel could have fired."""
    rates = spikes.double() / chances
    return LayerActivity(
        float(rates.mean()), float((rates == 0).double().mean()), float((rates >= SATURATED).double().mean())
    )
