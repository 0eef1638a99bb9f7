"""Losses over logits [T, N, K] and target classes [N], with optional class weights [K]."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax, pad

from spikesight.training.config import TrainConfig

PULL = 1e-3
"""Weight of TET's pull of all logits towards 1."""
TEMPERATURE, TEACHER_WEIGHT = 2.0, 0.5
"""Temperature of both softmaxes of a distillation, and its weight in the loss."""


def mean_loss(logits: Tensor, targets: Tensor, config: TrainConfig, weights: Tensor | None) -> Tensor:
    """Cross-entropy of the logits' mean over time."""
    return cross_entropy(logits.mean(0), targets, weights, label_smoothing=config.label_smoothing)


def tet_loss(logits: Tensor, targets: Tensor, config: TrainConfig, weights: Tensor | None) -> Tensor:
    """Temporal efficient training (Deng et al. 2022): cross-entropy of every step, plus the mean square of (logit - 1).

    It makes the read-out valid at every step, which a stream needs.
    """
    repeated, pull = targets.repeat(len(logits)), PULL
    every_step = cross_entropy(logits.flatten(0, 1), repeated, weights, label_smoothing=config.label_smoothing)
    return (1 - pull) * every_step + pull * (logits - 1).square().mean()


LOSSES: dict[str, Callable[[Tensor, Tensor, TrainConfig, Tensor | None], Tensor]] = {"mean": mean_loss, "tet": tet_loss}


def class_weights(labels: Tensor, classes: int) -> Tensor | None:
    """Return weights [K], inverse to the classes' sample counts, with mean 1 over samples; None if counts are equal."""
    counts = torch.bincount(labels, minlength=classes).float()
    return None if bool((counts == counts[0]).all()) else len(labels) / classes / counts.clamp(min=1)


def distillation(logits: Tensor, targets: Tensor, teacher_logits: Tensor) -> Tensor:
    """KL divergence from the teacher's softmax [N, K] to that of the mean logits, both at TEMPERATURE, times its square
    (Hinton et al. 2015). Only samples that the teacher classifies correctly count, so outliers never do.
    """
    right = teacher_logits.argmax(1) == targets
    ours = log_softmax(logits.mean(0)[right] / TEMPERATURE, 1)
    theirs = log_softmax(teacher_logits[right] / TEMPERATURE, 1)
    return kl_div(ours, theirs, log_target=True, reduction="sum") / len(targets) * TEMPERATURE**2


def total_loss(
    logits: Tensor, targets: Tensor, config: TrainConfig, teacher_logits: Tensor | None = None,
    firing_rate: Tensor | None = None, weights: Tensor | None = None, *, none: bool = False,
) -> Tensor:  # fmt: skip
    """Return the scalar loss: the chosen loss (class `weights` [K]), the distillation term and the spike penalty.

    With `none`, outliers have the target K, "none of the classes", whose logit is always 0. So the energy of the other
    logits, which the novelty detector reads, is the log odds of "none".
    """
    logits = logits.float()
    with_none = logits
    if none:
        with_none, weights = pad(logits, (0, 1)), weights if weights is None else pad(weights, (0, 1), value=1.0)
    loss = LOSSES[config.loss](with_none, targets, config, weights)
    if teacher_logits is not None:
        loss = (1 - TEACHER_WEIGHT) * loss + TEACHER_WEIGHT * distillation(logits, targets, teacher_logits)
    if firing_rate is not None and config.spike_penalty:
        loss = loss + config.spike_penalty * firing_rate.float()
    return loss
