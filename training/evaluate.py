"""What a network does on a split, every window from zero state."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from models.energy import Meter
from training.data import Frames

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Evaluation:
    """What a network does on a split: windowed, every window from zero state."""

    accuracy: float  # 0 to 1
    loss: float
    count: int
    confusion: np.ndarray  # int64 [K, K], row = truth
    accuracy_by_step: list[float]  # with the mean over the first t steps
    firing_rates: dict[str, float]  # mean spikes a neuron a step, by layer
    synops: float  # a sample


def batches(frames: Frames, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(x uint8 [N, T, C, H, W], labels [N]) in order."""
    for start in range(0, len(frames), size):
        stop = start + size
        yield torch.from_numpy(np.array(frames.frames[start:stop])), torch.from_numpy(frames.labels[start:stop])


@torch.inference_mode()
def evaluate(network: nn.Module, frames: Frames, classes: int, device: torch.device) -> Evaluation:
    """Every window from zero state."""
    network.eval()
    meter = Meter(network)
    confusion = np.zeros((classes, classes), np.int64)
    loss, by_step, synops = 0.0, torch.zeros(frames.frames.shape[1]), 0
    spikes = torch.zeros(len(meter.layer_names), dtype=torch.int64)
    neurons: dict[str, int] = {}
    for x, labels in batches(frames, EVALUATION_BATCH):
        logits, state = network(x.transpose(0, 1).to(device).float())
        logits = logits.float().cpu()
        counts = meter.read()
        running = logits.cumsum(0) / torch.arange(1, len(logits) + 1).view(-1, 1, 1)
        by_step += (running.argmax(2) == labels).sum(1)
        loss += float(nn.functional.cross_entropy(running[-1], labels, reduction="sum"))
        np.add.at(confusion, (labels.numpy(), running[-1].argmax(1).numpy()), 1)
        spikes += counts.layer_spikes.sum(0).cpu()
        synops += int(counts.synops.sum())
        neurons = {name: state[name][0].numel() for name in meter.layer_names}
    meter.close()
    steps, count = frames.frames.shape[1], len(frames)
    rates = {n: int(s) / (neurons[n] * steps * count) for n, s in zip(meter.layer_names, spikes)}
    accuracy = int(np.trace(confusion)) / count
    return Evaluation(accuracy, loss / count, count, confusion, (by_step / count).tolist(), rates, synops / count)
