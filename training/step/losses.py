"""Losses over logits [T, N, K] and targets: class numbers [N], or shares of the classes [N, K]."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, one_hot

from spikesight.training.config import Objective


def mean_loss(logits: Tensor, targets: Tensor, smoothing: float = 0.0, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of the logits' mean over time."""
    return cross_entropy(logits.mean(0), targets, weights, label_smoothing=smoothing)


def tet_loss(
    logits: Tensor, targets: Tensor, smoothing: float = 0.0, weights: Tensor | None = None, weight: float = 1e-3
) -> Tensor:
    """Temporal efficient training (Deng et al. 2022): cross-entropy of every step, and a pull of all logits towards 1.

    It makes the read-out valid at every step, which a stream needs.
    """
    repeated = targets.repeat(len(logits), *[1] * (targets.ndim - 1))
    every_step = cross_entropy(logits.flatten(0, 1), repeated, weights, label_smoothing=smoothing)
    return (1 - weight) * every_step + weight * (logits - 1).square().mean()


def mse_rate_loss(spikes: Tensor, targets: Tensor, smoothing: float = 0.0, weights: Tensor | None = None) -> Tensor:
    """Mean square of (firing rate - target): rate 1 for the right class, 0 for the others."""
    return _mean((spikes.mean(0) - smooth(targets, spikes.shape[2], smoothing)).square(), targets, weights)


def ce_count_loss(spikes: Tensor, targets: Tensor, smoothing: float = 0.0, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy of the spike counts."""
    return cross_entropy(spikes.sum(0), targets, weights, label_smoothing=smoothing)


def mse_count_loss(
    spikes: Tensor,
    targets: Tensor,
    smoothing: float = 0.0,
    weights: Tensor | None = None,
    right: float = 0.8,
    wrong: float = 0.2,
) -> Tensor:
    """(1 / T) mean((count - T target)^2) with target rates 0.8 for the right class and 0.2 for the others."""
    shares = smooth(targets, spikes.shape[2], smoothing)
    wanted = wrong + (right - wrong) * shares
    steps = len(spikes)
    return _mean((spikes.sum(0) - steps * wanted).square(), targets, weights) / steps


def _mean(values: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
    """The mean of values [N, K]; samples count as their class's weight [K]."""
    if weights is None:
        return values.mean()
    return (values.mean(1) * weights[targets]).sum() / weights[targets].sum()


def smooth(targets: Tensor, classes: int, smoothing: float) -> Tensor:
    """Shares of the classes [N, K], `smoothing` of them spread evenly."""
    shares = one_hot(targets, classes).float() if targets.ndim == 1 else targets
    return shares * (1 - smoothing) + smoothing / classes


def class_weights(labels: Tensor, classes: int) -> Tensor | None:
    """[K]: 1 by the number of samples of a class, 1 on average over the samples; None where all have as many."""
    counts = torch.bincount(labels, minlength=classes).float()
    return None if bool((counts == counts[0]).all()) else len(labels) / classes / counts.clamp(min=1)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "mean": mean_loss,
    "tet": tet_loss,
    "mse_rate": mse_rate_loss,
    "ce_count": ce_count_loss,
    "mse_count": mse_count_loss,
}


TEMPERATURE = 2.0
"""Softens both answers of a distillation."""


def distillation(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """KL divergence from the teacher's softened answer [N, K] to the mean logits', times T^2 (Hinton et al. 2015)."""
    ours = log_softmax(logits.mean(0) / temperature, 1)
    theirs = log_softmax(teacher_logits / temperature, 1)
    return kl_div(ours, theirs, log_target=True, reduction="batchmean") * temperature**2


def total_loss(
    logits: Tensor, targets: Tensor, objective: Objective, teacher_logits: Tensor | None = None,
    firing_rate: Tensor | None = None, weights: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The scalar loss of a run: its own (class `weights` [K]), the distillation term and the spike penalty."""
    logits = logits.float()
    if objective.loss == "tet":
        loss = tet_loss(logits, targets, objective.label_smoothing, weights, objective.tet_weight)
    else:
        loss = LOSSES[objective.loss](logits, targets, objective.label_smoothing, weights)
    if teacher_logits is not None:
        weight = objective.teacher_weight
        loss = (1 - weight) * loss + weight * distillation(logits, teacher_logits, TEMPERATURE)
    if firing_rate is not None and objective.spike_penalty:
        loss = loss + objective.spike_penalty * firing_rate.to(torch.float32)
    return loss
