"""Losses: by hand, gradients, and the same loss for one step."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from training.loss import LOSSES, mean_loss, tet_loss

LOGITS = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 4, 2])


def test_mean_loss_is_the_cross_entropy_of_the_mean() -> None:
    torch.testing.assert_close(mean_loss(LOGITS, LABELS), cross_entropy(LOGITS.mean(0), LABELS))


def test_tet_is_the_mean_over_steps_plus_a_pull() -> None:
    by_step = torch.stack([cross_entropy(step, LABELS) for step in LOGITS]).mean()
    pull = ((LOGITS - 1) ** 2).mean()
    torch.testing.assert_close(tet_loss(LOGITS, LABELS, weight=0.05), 0.95 * by_step + 0.05 * pull)


def test_tet_bounds_the_mean_loss() -> None:
    """Jensen: the mean of the steps' losses is at least the loss of the mean logits (Deng et al. 2022, Eq. 10)."""
    assert tet_loss(LOGITS, LABELS, weight=0.0) >= mean_loss(LOGITS, LABELS)


@pytest.mark.parametrize("name", LOSSES)
def test_smoothing_raises_the_loss_of_a_sure_answer_and_gradients_are_finite(name: str) -> None:
    sure = torch.zeros(2, 3, 5)
    sure[:, torch.arange(3), LABELS] = 20.0
    assert LOSSES[name](sure, LABELS, 0.1) > LOSSES[name](sure, LABELS, 0.0)
    leaf = LOGITS.clone().requires_grad_()
    LOSSES[name](leaf, LABELS, 0.0).backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    assert leaf.grad.any()
