"""The compiled memory and head of taught networks against the modules that they stand in for."""

import numpy as np
import pytest
import torch

from spikesight.models.engine import taught
from spikesight.models.engine.taught import TaughtHead
from spikesight.models.networks.resnet import ResNetConfig
from spikesight.models.networks.taught import SLICES, STEPS, Memory, TaughtConfig, TaughtNetwork
from spikesight.models.neurons.state import State

BACKBONE = ResNetConfig("sew", (1,), (4,), in_channels=2, classes=3)


@pytest.mark.parametrize(("window", "slices"), [(4, 1), (6, 2), (6, 3), (3, 3)])
def test_the_memory_slides_as_the_modules(window: int, slices: int) -> None:
    """Over more than two windows: first while slices fill, then while the oldest is left behind."""
    memory = Memory(window, slices)
    values = torch.rand(2 * window + 3, 1, 5, generator=torch.Generator().manual_seed(window))
    state = State()
    wanted = memory(values, state)
    sums, steps = np.zeros((slices + 1, 5), np.float32), np.float32(0)
    means = np.full((slices, 5), np.nan, np.float32)
    for t, value in enumerate(values.numpy()[:, 0]):
        sums[-1] += value
        steps = taught.remember(sums, steps, memory.length, means)
        np.testing.assert_allclose(means.ravel(), wanted[t, 0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(sums, state[SLICES][0], rtol=1e-5, atol=1e-6)
    assert float(steps) == float(state[STEPS])


@pytest.fixture(scope="module")
def network() -> TaughtNetwork:
    torch.manual_seed(0)
    config = TaughtConfig(BACKBONE, 3, window=6, slices=3, places=2, input_places=4, height=16, width=8)
    return TaughtNetwork(config).eval()


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_the_head_answers_as_the_network_in_pieces_too(layers: int, network: TaughtNetwork) -> None:
    head, generator = TaughtHead.of(network, layers), torch.Generator().manual_seed(1)
    x = (torch.rand(15, 2, 2, 16, 8, generator=generator) < 0.3).to(torch.uint8)
    rates = torch.rand(15, 2, sum(network.channels) * 4, generator=generator)
    state = State()
    with torch.no_grad():
        features = network.features(x, rates, state)
        logits, watched = network.head(features), network.watched(features, layers)
    whole = head.run(x.numpy(), rates.numpy(), State())
    torch.testing.assert_close(whole.logits, logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(whole.rates, watched, rtol=1e-4, atol=1e-5)
    assert whole.rates.shape[2] == sum(network.channels[:layers])
    first = head.run(x[:7].numpy(), rates[:7].numpy(), State())
    kept = first.state[SLICES].clone()
    second = head.run(x[7:].numpy(), rates[7:].numpy(), first.state)
    assert torch.equal(torch.cat([first.logits, second.logits]), whole.logits)
    assert torch.equal(first.state[SLICES], kept), "a state is a value"
    for key in (SLICES, STEPS):
        torch.testing.assert_close(second.state[key], state[key], rtol=1e-5, atol=1e-5)


def test_an_input_that_stays_may_be_given_once(network: TaughtNetwork) -> None:
    head, generator = TaughtHead.of(network, 1), torch.Generator().manual_seed(2)
    x = (torch.rand(1, 2, 2, 16, 8, generator=generator) < 0.3).to(torch.uint8)
    rates = torch.rand(5, 2, sum(network.channels) * 4, generator=generator).numpy()
    once, each = head.run(x.numpy(), rates, State()), head.run(x.expand(5, -1, -1, -1, -1).numpy(), rates, State())
    assert torch.equal(once.logits, each.logits)


def test_at_another_pace_a_slice_has_other_steps(network: TaughtNetwork) -> None:
    head = TaughtHead.of(network, 1)
    assert head.length == 2
    assert [head.at(span).length for span in (1.0, 0.5, 0.1, 50.0)] == [2, 4, 20, 1]
    fresh = head.state(3)
    assert (fresh[SLICES].shape, fresh[STEPS].shape) == ((3, 4, sum(network.channels) * 4 + 32), (3, 1))
    assert not fresh[SLICES].any()
