"""Losses over logits [T, N, K]."""

from collections.abc import Callable

from torch import Tensor
from torch.nn.functional import cross_entropy


def mean_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of the logits' mean over time."""
    return cross_entropy(logits.mean(0), labels, label_smoothing=smoothing)


def tet_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0, weight: float = 1e-3) -> Tensor:
    """Temporal efficient training (Deng et al. 2022): cross-entropy of every step, and a pull of all logits towards 1.

    It makes the read-out valid at every step, which a stream needs.
    """
    every_step = cross_entropy(logits.flatten(0, 1), labels.repeat(logits.shape[0]), label_smoothing=smoothing)
    return (1 - weight) * every_step + weight * (logits - 1).square().mean()


LOSSES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {"mean": mean_loss, "tet": tet_loss}
