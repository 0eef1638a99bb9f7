"""Losses: by hand, gradients, and the same loss for one step."""

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from training.config import Objective
from training.step.losses import (
    LOSSES,
    ce_count_loss,
    distillation,
    mean_loss,
    mse_count_loss,
    mse_rate_loss,
    tet_loss,
    total_loss,
)

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


SPIKES = (torch.rand(5, 3, 4, generator=torch.Generator().manual_seed(1)) < 0.4).float()
TRUTH = torch.tensor([1, 3, 0])


def test_rate_and_count_losses_by_hand() -> None:
    rates, counts = SPIKES.mean(0), SPIKES.sum(0)
    wanted = one_hot(TRUTH, 4).float()
    torch.testing.assert_close(mse_rate_loss(SPIKES, TRUTH), ((rates - wanted) ** 2).mean())
    torch.testing.assert_close(ce_count_loss(SPIKES, TRUTH), cross_entropy(counts, TRUTH))
    target = 5 * (0.2 + 0.6 * wanted)
    torch.testing.assert_close(mse_count_loss(SPIKES, TRUTH), ((counts - target) ** 2).mean() / 5)


def test_equals_snntorch_mse_count() -> None:
    functional = pytest.importorskip("snntorch.functional")
    theirs = functional.mse_count_loss(correct_rate=0.8, incorrect_rate=0.2)(SPIKES, TRUTH)
    torch.testing.assert_close(mse_count_loss(SPIKES, TRUTH), theirs)


@pytest.mark.parametrize("name", LOSSES)
def test_shares_of_classes_generalise_class_numbers(name: str) -> None:
    logits, labels = (LOGITS, LABELS) if name in ("mean", "tet") else (SPIKES, TRUTH)
    shares = one_hot(labels, logits.shape[2]).float()
    torch.testing.assert_close(LOSSES[name](logits, labels, 0.1), LOSSES[name](logits, shares, 0.1))


def test_distillation_is_zero_at_the_teacher_and_grows_away_from_it() -> None:
    teacher = LOGITS.mean(0)
    assert distillation(LOGITS, teacher, 2.0) == pytest.approx(0, abs=1e-6)
    assert distillation(LOGITS, -teacher, 2.0) > 0.1


def test_the_total_weighs_its_parts() -> None:
    teacher, rate = torch.randn(3, 5, generator=torch.Generator().manual_seed(4)), torch.tensor(0.25)
    config = Objective(loss="mean", teacher="x", teacher_weight=0.25, spike_penalty=2.0)
    expected = 0.75 * mean_loss(LOGITS, LABELS) + 0.25 * distillation(LOGITS, teacher, 2.0) + 0.5
    torch.testing.assert_close(total_loss(LOGITS, LABELS, config, teacher, rate), expected)
    tet = Objective(tet_weight=0.05)
    torch.testing.assert_close(total_loss(LOGITS, LABELS, tet), tet_loss(LOGITS, LABELS, weight=0.05))
