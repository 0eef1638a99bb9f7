"""Early exits and audits, step by step against what they are by their words."""

import pytest
import torch
from torch import Tensor, nn

from spikesight.models.conversion.ann_to_snn import convert, graph_of
from spikesight.models.conversion.audit import audit, mean_outputs
from spikesight.models.conversion.simulate import chunks, curve, runner
from spikesight.models.conversion.thresholds import by_channel, walk
from spikesight.models.networks.converted.graph import Node
from spikesight.models.networks.converted.network import ConvertedConfig, ConvertedNetwork
from spikesight.models.networks.converted.rules import SpikeRule

STEPS = 11


@pytest.mark.parametrize("chunk", [1, 4, None])
def test_every_image_stops_at_its_first_sure_step(
    chunk: int | None, one_layer: nn.Module, small_images: Tensor
) -> None:
    network = convert(one_layer, [small_images], "half", steps=8)
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


def test_chunks_are_as_long_as_asked_and_share_one_run(one_layer: nn.Module, small_images: Tensor) -> None:
    network = convert(one_layer, [small_images], "half", steps=8)
    calls: list[int] = []
    run = runner(network)

    def counted(images: Tensor, state: dict[str, Tensor] | None, steps: int) -> tuple[Tensor, dict[str, Tensor]]:
        assert (state is None) == (not calls)
        calls.append(steps)
        return run(images, state, steps)

    assert sum(map(len, chunks(network, small_images, STEPS, 4, counted))) == STEPS
    assert calls == [4, 4, 3]


def in_a_row(rule: SpikeRule) -> ConvertedNetwork:
    """Four neurons that are fed four numbers."""
    nodes = (Node("x", "input"), Node("l", "linear", ("x",), shape=(4, 4)), Node("n", "neuron", ("l",), "four", (4,)))
    network = ConvertedNetwork(ConvertedConfig(nodes, rule, (4,), 4))
    network.layers["l"].weight.copy_(torch.eye(4))  # type: ignore[operator, union-attr]
    network.layers["l"].bias.zero_()  # type: ignore[operator, union-attr]
    return network


def test_an_audit_counts_the_dead_the_saturated_and_the_silent() -> None:
    network = in_a_row(SpikeRule("if", v0=0.0, inclusive=True))
    x = torch.tensor([[0.5, 1.0, 0.05, -1.0], [0.25, 2.0, 0.05, -1.0]])  # for 8 steps: 4, 8, 0, 0; 2, 8, 0, 0 spikes
    (row,) = audit(network, x, 8).rows
    assert row.layer == "four"
    assert row.error == pytest.approx(
        float((x.relu() - torch.tensor([[0.5, 1, 0, 0], [0.25, 1, 0, 0]])).norm()) / float(x.relu().norm())
    )
    assert row.bias == pytest.approx((0.5 + 0.05) / 4 / float(x.relu().mean()))
    assert row.rate == pytest.approx((4 + 8 + 2 + 8) / (8 * 8))
    assert row.dead == pytest.approx(1 / 3)
    assert row.saturated == pytest.approx(2 / 6)
    assert not row.silent
    (row,) = audit(network, x / 1000, 8).rows
    assert row.silent
    assert row.dead == 1
    (row,) = audit(network, -x.abs(), 8).rows
    assert not row.silent
    assert (row.dead, row.saturated) == (0, 0)


@pytest.mark.parametrize("name", ["settled", "multi-diff", "few-spikes", "half"])
def test_mean_outputs_are_those_that_the_answer_counts(name: str, one_layer: nn.Module, small_images: Tensor) -> None:
    network = convert(one_layer, [small_images], name, steps=8)
    steps = 10
    trains: list[Tensor] = []
    (layer,) = network.neurons().values()
    handle = layer.register_forward_hook(lambda _, __, out, into=trains: into.append(out))
    network(small_images[None], None, steps)
    handle.remove()
    (train,) = trains
    first = network.config.first_step(steps)
    if layer.rule.differential:
        expected = (train / torch.arange(1, steps + 1).view(-1, 1, 1, 1, 1)).sum(0)
    else:
        expected = train[first:].mean(0)
    means, rates = mean_outputs(network, small_images, steps)
    (mean,), (rate,) = means.values(), rates.values()
    torch.testing.assert_close(mean, expected)
    assert rate == pytest.approx(float((train != 0).float().mean()))
    a = walk(graph_of(one_layer, small_images), small_images, lambda _, z: z.relu())
    assert a.shape == (24, 3)
    assert by_channel(mean).shape == (4, 24 * 64)


def test_neurons_that_pause_once_are_not_saturated() -> None:
    network = in_a_row(SpikeRule("if", v0=0.0, inclusive=True))
    (row,) = audit(network, torch.tensor([[7 / 8, 7 / 8, 7 / 8, 0.0]]), 8).rows
    assert row.saturated == 0
    (row,) = audit(network, torch.tensor([[1.0, 0.0, 0.0, 0.0]]), 8).rows
    assert row.saturated == 1
    found = audit(network, torch.tensor([[1.0, 0.5, 0.0, 0.0]]))
    assert found.steps == 64
