"""Losses: by hand, gradients, and the same loss for one step."""

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from spikesight.training.config import Objective
from spikesight.training.step.losses import (
    LOSSES,
    ce_count_loss,
    class_weights,
    distillation,
    mean_loss,
    mse_count_loss,
    mse_rate_loss,
    smooth,
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


def test_smoothing_moves_its_share_of_every_loss_to_the_other_classes() -> None:
    for name in ("mean", "tet"):
        logits = LOGITS.mean(0, keepdim=True)
        shares = 0.8 * one_hot(LABELS, logits.shape[2]) + 0.2 / logits.shape[2]
        expected = -(shares * logits[0].log_softmax(1)).sum(1).mean()
        objective = Objective(loss=name, label_smoothing=0.2, tet_weight=0.0)  # type: ignore[arg-type]
        torch.testing.assert_close(total_loss(logits, LABELS, objective), expected)
    smoothed = smooth(torch.tensor([1]), 4, 0.2)
    torch.testing.assert_close(smoothed, torch.tensor([[0.05, 0.85, 0.05, 0.05]]))


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
def test_distillation_is_the_divergence_times_the_square_of_the_temperature(temperature: float) -> None:
    teacher = torch.randn(3, 5, generator=torch.Generator().manual_seed(7))
    theirs, ours = (teacher / temperature).softmax(1), (LOGITS.mean(0) / temperature).softmax(1)
    divergence = (theirs * (theirs / ours).log()).sum(1).mean()
    torch.testing.assert_close(distillation(LOGITS, teacher, temperature), temperature**2 * divergence)


@pytest.mark.parametrize("name", LOSSES)
def test_class_weights_make_a_rare_class_count_as_much(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(3, 2, 4, generator=generator)
    rare = torch.cat([values[:, :1].repeat(1, 6, 1), values[:, 1:].repeat(1, 2, 1)], 1)
    even = torch.cat([values[:, :1].repeat(1, 4, 1), values[:, 1:].repeat(1, 4, 1)], 1)
    labels = torch.tensor([0] * 6 + [1] * 2)
    weights = class_weights(labels, 2)
    assert weights is not None
    assert weights.tolist() == pytest.approx([8 / 12, 2.0])
    padded = torch.cat([weights, torch.ones(2)])
    weighted = total_loss(rare, labels, Objective(loss=name, tet_weight=0.0), weights=padded)  # type: ignore[arg-type]
    balanced = total_loss(even, torch.tensor([0] * 4 + [1] * 4), Objective(loss=name, tet_weight=0.0))  # type: ignore[arg-type]
    assert float(weighted) == pytest.approx(float(balanced), rel=1e-5)


def test_classes_of_one_size_need_no_weights() -> None:
    assert class_weights(torch.tensor([0, 1, 1, 0]), 2) is None


def test_a_class_without_samples_makes_no_loss_infinite() -> None:
    weights = class_weights(torch.tensor([0, 0, 1]), 5)
    assert weights is not None
    assert weights.isfinite().all()
    for name in LOSSES:
        objective = Objective(loss=name, label_smoothing=0.1)  # type: ignore[arg-type]
        assert total_loss(LOGITS, torch.tensor([0, 0, 1]), objective, weights=weights).isfinite()


@pytest.mark.parametrize("name", LOSSES)
def test_class_weights_say_only_what_counts_more(name: str) -> None:
    weights = torch.tensor([0.5, 1.0, 4.0, 1.0, 2.0])
    objective = Objective(loss=name)  # type: ignore[arg-type]
    once, thrice = (total_loss(LOGITS, LABELS, objective, weights=factor * weights) for factor in (1, 3))
    torch.testing.assert_close(once, thrice)
    alike = total_loss(LOGITS, LABELS, objective, weights=torch.full((5,), 7.0))
    torch.testing.assert_close(alike, total_loss(LOGITS, LABELS, objective))


@pytest.mark.parametrize("name", LOSSES)
def test_logits_of_less_precision_are_judged_in_float32(name: str) -> None:
    objective = Objective(loss=name, teacher="x", teacher_weight=0.5, spike_penalty=1.0)  # type: ignore[arg-type]
    half, teacher, rate = LOGITS.bfloat16(), torch.zeros(3, 5), torch.tensor(0.25)
    loss = total_loss(half, LABELS, objective, teacher, rate)
    assert torch.equal(loss, total_loss(half.float(), LABELS, objective, teacher, rate))
