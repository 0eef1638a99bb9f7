"""Simulated runs: every step of one run, chunks, the engine, early exit."""

import pytest
import torch
from torch import Tensor, nn

from spikesight.models.conversion.ann_to_snn import convert
from spikesight.models.conversion.simulate import chunks, curve, predictions


def test_curve_reads_every_step_of_one_run(resnet: nn.Module, images: Tensor) -> None:
    network = convert(resnet, [images], "ours", steps=8)
    labels = resnet(images).argmax(1)
    found = curve(network, images, labels, 24, batch=7, chunk=5, confidences=(0.2, 2.0))
    for steps in (1, 8, 24):
        right = predictions(network, images, steps).argmax(1) == labels
        assert abs(found.correct[steps - 1] - int(right.sum())) <= 1
    assert found.accuracy(24) > 80
    assert (found.exit_steps[2.0] == 24).all()
    assert (found.exit_steps[0.2] <= 24).all()
    assert found.exit_right[2.0].sum() == found.correct[-1]


@pytest.mark.parametrize("name", ["ours", "multi"])
def test_simulation_by_the_engine_equals_the_network(name: str, resnet: nn.Module, images: Tensor) -> None:
    network = convert(resnet, [images], name, steps=8)
    plain = network(images[None], None, 12)[0].double().cumsum(0) / torch.arange(1, 13).view(-1, 1, 1)
    for chunk in (None, 5):
        found = torch.cat(list(chunks(network, images, 12, chunk)))
        apart = (found - plain).abs().amax((0, 2)) > 1e-3  # a potential lay at a threshold, but for rounding
        assert int(apart.sum()) <= 4


@pytest.mark.parametrize("chunk", [None, 1, 5])
def test_a_network_that_settles_answers_with_its_last_steps(
    chunk: int | None, resnet: nn.Module, images: Tensor
) -> None:
    network = convert(resnet, [images], "settled", steps=8)
    logits = network(images[None], None, 12)[0].double()
    found = torch.cat(list(chunks(network, images, 12, chunk)))
    for t in (1, 2, 3, 8, 12):
        expected = logits[t // 2 : t].mean(0)
        assert int(((found[t - 1] - expected).abs().amax(1) > 1e-3).sum()) <= 4  # rounding at a threshold
    expected = predictions(network, images, 12)
    torch.testing.assert_close(found[-1], expected)
