"""Runs of a converted network, what is read off them, and audits: against what they are by their words."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from spikesight.models.conversion.ann_to_snn import build_network, convert
from spikesight.models.conversion.audit import audit
from spikesight.models.conversion.methods import METHODS
from spikesight.models.conversion.simulate import chunks, curve, predictions
from spikesight.models.networks.converted.graph import ConversionError, Node
from spikesight.models.networks.converted.network import ConvertedConfig, ConvertedNetwork
from spikesight.models.networks.converted.rules import SpikeRule

STEPS = 11


@pytest.mark.parametrize("chunk", [1, 4, None])
def test_every_image_stops_at_its_first_sure_step(
    chunk: int | None, one_layer: nn.Module, small_images: Tensor
) -> None:
    network = convert(one_layer, [small_images], "rueckauer", steps=8)
    labels = torch.arange(len(small_images)) % 3
    answers = torch.cat([torch.cat(list(chunks(network, part, STEPS, chunk)), 0) for part in small_images.split(9)], 1)
    sure, right = answers.softmax(2).amax(2), answers.argmax(2) == labels
    confidences = [float(sure.quantile(q)) for q in (0.1, 0.5, 0.9)]
    found = curve(network, small_images, labels, STEPS, batch=9, chunk=chunk, confidences=confidences)
    assert found.correct.tolist() == right.sum(1).tolist()
    assert found.images == 24
    assert found.accuracy(STEPS) == pytest.approx(100 * int(right[-1].sum()) / 24)
    later = 0
    for confidence in confidences:
        first = [next((t for t in range(STEPS) if sure[t, n] > confidence), STEPS - 1) for n in range(24)]
        assert found.exit_steps[confidence].tolist() == [t + 1 for t in first]
        assert found.exit_right[confidence].tolist() == [bool(right[t, n]) for n, t in enumerate(first)]
        later += sum(first)
    assert 0 < later < 3 * 24 * (STEPS - 1)


@pytest.mark.parametrize("chunk", [None, 1, 5])
@pytest.mark.parametrize("name", ["ours", "bounded"])
def test_an_answer_is_the_mean_of_the_steps_that_count(
    name: str, chunk: int | None, resnet: nn.Module, images: Tensor
) -> None:
    """By the engine where it takes the network."""
    network = convert(resnet, [images], name, steps=8)
    logits = network(images[None], None, 12)[0].double()
    parts = list(chunks(network, images, 12, chunk))
    assert all(len(part) <= (chunk or 12) for part in parts)
    found = torch.cat(parts)
    for t in range(1, 13):
        expected = logits[(t // 2 if name == "bounded" else 0) : t].mean(0)
        assert int(((found[t - 1] - expected).abs().amax(1) > 1e-3).sum()) <= 4  # rounding at a threshold
    torch.testing.assert_close(found[-1], predictions(network, images, 12))


def in_a_row() -> ConvertedNetwork:
    """Four neurons that are fed four numbers."""
    nodes = (Node("x", "input"), Node("l", "linear", ("x",), shape=(4, 4)), Node("n", "neuron", ("l",), "four", (4,)))
    network = ConvertedNetwork(ConvertedConfig(nodes, SpikeRule(v0=0.0, inclusive=True), (4,), 4))
    network.layers["l"].weight.copy_(torch.eye(4))  # type: ignore[operator, union-attr]
    network.layers["l"].bias.zero_()  # type: ignore[operator, union-attr]
    return network


def test_an_audit_counts_the_dead_the_saturated_and_the_silent() -> None:
    network = in_a_row()
    x = torch.tensor([[0.5, 1.0, 0.05, -1.0], [0.05, 2.0, -1.0, -1.0]])  # for 8 steps: 4, 8, 0, 0; 0, 8, 0, 0 spikes
    found = audit(network, x, 8)
    (row,) = found.rows
    assert row.layer == "four"
    assert row.error == pytest.approx(
        float((x.relu() - torch.tensor([[0.5, 1, 0, 0], [0, 1, 0, 0]])).norm()) / float(x.relu().norm())
    )
    assert row.bias == pytest.approx((0.5 + 0.025 + 0.025) / 4 / float(x.relu().mean()))
    assert row.rate == pytest.approx((4 + 8 + 8) / (8 * 8))
    assert (row.dead, row.saturated) == (pytest.approx(1 / 3), pytest.approx(2 / 5))
    assert not row.silent
    assert "| four | " in found.table()
    (row,) = audit(network, -x.abs(), 8).rows
    assert (row.dead, row.saturated, row.silent) == (0, 0, False)
    (row,) = audit(network, torch.tensor([[7 / 8, 7 / 8, 7 / 8, 0.0]]), 8).rows
    assert row.saturated == 0, "each of them pauses once"
    for inputs, words in (
        (x / 1000, "silent"),
        (x * 9, "saturated"),
        (torch.tensor([[0.08, 0.08, 0.08, 0.1]]), "differ"),
    ):
        with pytest.raises(ConversionError, match=f"four: .*{words}"):
            audit(network, inputs, 12).raise_if_bad()


def test_calibrated_biases_bring_the_means_together(resnet: nn.Module, images: Tensor) -> None:
    def gap(light: bool) -> float:
        network = convert(resnet, [images], replace(METHODS["ours"], repair=False, search=False, light=light), steps=8)
        reference = build_network(resnet, images, network.config.rule)
        return sum(row.bias for row in audit(network, images, 8, reference).rows)

    assert gap(light=True) < gap(light=False) / 2
