"""The schedule at every turn, the groups of the optimiser, and the moving average by hand."""

import math
from typing import Any

import pytest
import torch
from torch import nn

from spikesight.training.config import TrainConfig
from spikesight.training.step.optimiser import learning_rate, make_optimiser, update_average

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
