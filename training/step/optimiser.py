"""Optimiser, learning-rate schedule and the moving average of weights."""

import math

import torch
from torch import Tensor, nn

from spikesight.training.config import TrainConfig

STEP_EPOCHS = 30  # of the schedule "step", as ImageNet's recipes have it


def make_optimiser(network: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Make the optimiser; weight decay applies to weights, not to biases, batch norms and neuron parameters."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    other = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": other, "weight_decay": 0.0}]
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=0.9)
    return torch.optim.AdamW(groups, lr=config.lr)


def learning_rate(config: TrainConfig, step: int, steps_an_epoch: int) -> float:
    """Return a step's learning rate: linear warm-up, then cosine to 0, times 0.1 each STEP_EPOCHS, or constant."""
    warmup, total = config.warmup_epochs * steps_an_epoch, config.epochs * steps_an_epoch
    if step < warmup:
        return config.lr * (step + 1) / warmup
    if config.schedule == "constant":
        return config.lr
    if config.schedule == "step":
        return config.lr * 0.1 ** (step // (STEP_EPOCHS * steps_an_epoch))
    return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1.0, total - warmup)))


@torch.no_grad()
def update_average(average: dict[str, Tensor], network: nn.Module, decay: float, step: int) -> None:
    """Update the moving average of weights and statistics in place; the decay grows from 0.1 to `decay` at first."""
    decay = min(decay, (1 + step) / (10 + step))
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            average[name].lerp_(tensor, 1 - decay)
        else:
            average[name].copy_(tensor)
