"""Losses: by hand, smoothed, weighted, distilled."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from spikesight.training.config import TrainConfig
from spikesight.training.run.loop import learning_rate, make_optimiser, update_average
from spikesight.training.step.losses import (
    LOSSES,
    TEMPERATURE,
    class_weights,
    distillation,
    total_loss,
)

LOGITS = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 4, 2])
EVERY = pytest.mark.parametrize("name", LOSSES)


def loss(
    name: str, values: Tensor = LOGITS, labels: Tensor = LABELS, weights: Tensor | None = None, **s: Any
) -> Tensor:
    """The loss without TET's pull."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("spikesight.training.step.losses.PULL", s.pop("pull", 0.0))
        none = s.pop("none", False)
        return total_loss(values, labels, TrainConfig(**{"loss": name, **s}), weights=weights, none=none)


@pytest.mark.parametrize("name", ["mean", "tet"])
def test_an_outlier_is_none_of_the_classes_whose_logit_is_zero(name: str) -> None:
    labels = torch.tensor([0, 5, 2])
    none = torch.cat([LOGITS, torch.zeros(4, 3, 1)], 2)
    assert torch.allclose(loss(name, labels=labels, none=True), loss(name, none, labels))
    weights = torch.tensor([1.0, 2.0, 3.0, 1.0, 1.0])
    by_hand = loss(name, none, labels, torch.cat([weights, torch.ones(1)]))
    assert torch.allclose(loss(name, labels=labels, weights=weights, none=True), by_hand)


def test_every_loss_by_hand() -> None:
    by_step = torch.stack([cross_entropy(step, LABELS) for step in LOGITS]).mean()
    pull = ((LOGITS - 1) ** 2).mean()
    for found, expected in (
        (loss("mean"), cross_entropy(LOGITS.mean(0), LABELS)),
        (loss("tet", pull=0.05), 0.95 * by_step + 0.05 * pull),
    ):
        torch.testing.assert_close(found, expected)


@EVERY
def test_smoothing_moves_its_share_to_the_other_classes(name: str) -> None:
    sure = torch.zeros(2, 3, 5)
    sure[:, torch.arange(3), LABELS] = 20.0
    assert loss(name, sure, label_smoothing=0.1) > loss(name, sure)
    shares = 0.8 * one_hot(LABELS, 5) + 0.2 / 5
    expected = -(shares * LOGITS[0].log_softmax(1)).sum(1).mean()
    torch.testing.assert_close(loss(name, LOGITS[:1], label_smoothing=0.2), expected)


@EVERY
def test_gradients_are_finite_and_logits_of_less_precision_are_judged_in_float32(name: str) -> None:
    leaf = LOGITS.clone().requires_grad_()
    loss(name, leaf).backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    assert leaf.grad.any()
    config = TrainConfig(loss=name, teacher="x", spike_penalty=1.0)  # type: ignore[arg-type]
    half, others = LOGITS.bfloat16(), (torch.zeros(3, 5), torch.tensor(0.25))
    assert torch.equal(total_loss(half, LABELS, config, *others), total_loss(half.float(), LABELS, config, *others))


def test_the_total_weighs_its_parts() -> None:
    teacher, rate = torch.randn(3, 5, generator=torch.Generator().manual_seed(4)), torch.tensor(0.25)
    config = TrainConfig(loss="mean", teacher="x", spike_penalty=2.0)
    expected = (loss("mean") + distillation(LOGITS, LABELS, teacher)) / 2 + 0.5
    torch.testing.assert_close(total_loss(LOGITS, LABELS, config, teacher, rate), expected)


def test_distillation_is_the_divergence_where_the_teacher_is_right_times_the_square_of_the_temperature() -> None:
    teacher = torch.randn(3, 5, generator=torch.Generator().manual_seed(7))
    targets = teacher.argmax(1)
    theirs, ours = (teacher / TEMPERATURE).softmax(1), (LOGITS.mean(0) / TEMPERATURE).softmax(1)
    divergence = (theirs * (theirs / ours).log()).sum(1)
    torch.testing.assert_close(distillation(LOGITS, targets, teacher), TEMPERATURE**2 * divergence.mean())
    targets[1] = 5  # an outlier
    kept = divergence[[0, 2]].sum() / 3
    torch.testing.assert_close(distillation(LOGITS, targets, teacher), TEMPERATURE**2 * kept)


@EVERY
def test_class_weights_make_a_rare_class_count_as_much(name: str) -> None:
    values = torch.rand(3, 2, 4, generator=torch.Generator().manual_seed(0))

    def repeated(first: int, second: int) -> tuple[Tensor, Tensor]:
        joined = torch.cat([values[:, :1].repeat(1, first, 1), values[:, 1:].repeat(1, second, 1)], 1)
        return joined, torch.tensor([0] * first + [1] * second)

    rare, labels = repeated(6, 2)
    weights = class_weights(labels, 2)
    assert weights is not None
    assert weights.tolist() == pytest.approx([8 / 12, 2.0])
    torch.testing.assert_close(
        loss(name, rare, labels, torch.cat([weights, torch.ones(2)])), loss(name, *repeated(4, 4))
    )
    alike = torch.full((4,), 7.0)
    torch.testing.assert_close(loss(name, rare, labels, alike), loss(name, rare, labels))


def test_classes_of_one_size_need_no_weights_and_a_class_without_samples_makes_no_loss_infinite() -> None:
    assert class_weights(torch.tensor([0, 1, 1, 0]), 2) is None
    labels = torch.tensor([0, 0, 1])
    weights = class_weights(labels, 5)
    assert weights is not None
    assert all(loss(name, LOGITS, labels, weights, label_smoothing=0.1).isfinite() for name in LOSSES)


STEPS = 10  # an epoch


def rates(*steps: int, **options: Any) -> list[float]:
    config = TrainConfig(**{"lr": 0.4, "epochs": 5, "warmup_epochs": 1.0, **options})
    return [learning_rate(config, step, STEPS) for step in steps]


def test_a_warm_up_is_a_line_to_the_peak() -> None:
    assert rates(0, 4, 9, 10) == pytest.approx([0.04, 0.2, 0.4, 0.4])
    assert rates(0, warmup_epochs=0.0) == [0.4]
    assert rates(0, 1, 2, warmup_epochs=0.2, schedule="constant") == pytest.approx([0.2, 0.4, 0.4])


def test_a_cosine_falls_to_nothing_at_the_end() -> None:
    assert rates(30, 50) == pytest.approx([0.2, 0.0], abs=1e-12)
    assert rates(20)[0] == pytest.approx(0.2 * (1 + math.cos(math.pi / 4)))
    assert rates(10, epochs=1, warmup_epochs=1.0) == [0.4], "nothing is left to fall in"


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(4, 3))


def test_weights_decay_and_nothing_else() -> None:
    config = TrainConfig(weight_decay=0.3, lr=0.01)
    made = make_optimiser(network(), config)
    assert isinstance(made, torch.optim.AdamW)
    decayed, other = made.param_groups
    assert (decayed["weight_decay"], other["weight_decay"], decayed["lr"], other["lr"]) == (0.3, 0.0, 0.01, 0.01)
    assert [p.ndim for p in decayed["params"]] == [4, 2]
    assert [p.ndim for p in other["params"]] == [1, 1, 1, 1]
    sgd = make_optimiser(network(), TrainConfig(optimiser="sgd", lr=0.01))
    assert isinstance(sgd, torch.optim.SGD)
    assert [group["momentum"] for group in sgd.param_groups] == [0.9, 0.9]


@pytest.mark.parametrize(("step", "kept"), [(0, 0.1), (1, 2 / 11), (8, 0.5), (80, 0.9), (10_000, 0.9)])
def test_a_moving_average_keeps_more_the_longer_it_goes_on(step: int, kept: float) -> None:
    module = network()
    average = {name: torch.zeros_like(tensor) for name, tensor in module.state_dict().items()}
    module[1].num_batches_tracked.fill_(7)  # type: ignore[union-attr,operator]
    update_average(average, module, 0.9, step)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(average[name], tensor * (1 - kept))
    assert int(average["1.num_batches_tracked"]) == 7
