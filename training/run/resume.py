"""A run's resume state: one safetensors file with tensors and JSON, so that it is whole or absent.

All random numbers of a run depend on its seed, epoch and step. So the state consists of the weights, the optimiser's
moments, the carried membranes and a few counters, and a resumed run is bit-identical.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from spikesight.models.checkpoint import replacing

Groups = dict[str, dict[str, Tensor]]  # tensors by name, of the network, the optimiser and others


@dataclass
class Progress:
    """Progress of a run, in values that JSON can hold."""

    epoch: int = 0
    batch: int = 0  # next batch of the epoch
    step: int = 0  # optimiser steps so far
    best_val: float = -1.0
    best_loss: float = math.inf  # decides between equal accuracies
    best_epoch: int = -1
    loss_sum: float = 0.0
    correct: int = 0
    seen: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    def next_epoch(self) -> None:
        """Begin the next epoch and reset its sums."""
        self.epoch, self.batch, self.loss_sum, self.correct, self.seen = self.epoch + 1, 0, 0.0, 0, 0


def save_progress(
    path: Path, network: nn.Module, optimiser: torch.optim.Optimizer, extra: Groups, counters: dict[str, Any]
) -> None:
    """Write weights, optimiser moments, further named groups of tensors and counters, atomically."""
    groups = {"network": network.state_dict(), "optimiser": _moments(optimiser), **extra}
    tensors = {
        f"{group}/{name}": tensor.detach().cpu().contiguous().clone()
        for group, items in groups.items()
        for name, tensor in items.items()
    }
    with replacing(path) as (partial,):
        save_file(tensors, partial, {"counters": json.dumps(counters)})


def load_progress(path: Path, network: nn.Module, optimiser: torch.optim.Optimizer) -> tuple[Groups, dict[str, Any]]:
    """Restore weights and moments; return the further groups of tensors and the counters."""
    groups: Groups = {}
    with safe_open(path, "pt") as file:
        counters = json.loads(file.metadata()["counters"])
        for key in file.keys():  # noqa: SIM118 - a safetensors handle is not iterable
            group, _, name = key.partition("/")
            groups.setdefault(group, {})[name] = file.get_tensor(key)
    network.load_state_dict(groups.pop("network"))
    _restore_moments(optimiser, groups.pop("optimiser", {}))
    return groups, counters


def _moments(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    state = optimiser.state_dict()["state"]
    return {
        f"{index}/{name}": value
        for index, values in state.items()
        for name, value in values.items()
        if isinstance(value, Tensor)
    }


def _restore_moments(optimiser: torch.optim.Optimizer, moments: dict[str, Tensor]) -> None:
    document = optimiser.state_dict()
    document["state"] = {}
    for key, tensor in moments.items():
        index, _, name = key.partition("/")
        document["state"].setdefault(int(index), {})[name] = tensor
    optimiser.load_state_dict(document)
