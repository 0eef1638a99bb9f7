"""A taught head on a frozen network: what its memory holds, the engine beside it, its checkpoint and exports."""

from dataclasses import replace

import pytest
import torch

from spikesight.models.contract import Contract
from spikesight.models.engine.engine import Engine, engine_status
from spikesight.models.native.build import library
from spikesight.models.networks.resnet import ResNetConfig
from spikesight.models.networks.taught import LEAST_RATE, SLICES, STEPS, Memory, TaughtConfig, TaughtNetwork, in_places
from spikesight.models.neurons.layers import at_pace
from spikesight.models.neurons.state import State
from tests.support.models import lively
from tests.support.networks import assert_no_bit_changes

BACKBONE = ResNetConfig("ms", (1, 1), (4, 8), pool="max")
CONFIG = TaughtConfig(BACKBONE, 3, window=6, slices=3, places=2, input_places=4, height=16, width=16)
CONTRACT = Contract("events", 2, 16, 16, 6, "binary", 64, 48, 10_000, frame="object", readout=1)


def made(config: TaughtConfig) -> TaughtNetwork:
    network = TaughtNetwork(config).eval()
    network.backbone.load_state_dict(lively(BACKBONE).state_dict())
    with torch.no_grad():
        network.head.weight.normal_(generator=torch.Generator().manual_seed(1))
    return network


@pytest.fixture(scope="module")
def network() -> TaughtNetwork:
    return made(CONFIG)


def spikes(steps: int, streams: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(steps, streams, 2, 16, 16, generator=generator) < 0.2).to(torch.uint8)


@torch.no_grad()
def test_after_a_window_the_features_are_roots_of_the_slices_means(network: TaughtNetwork) -> None:
    x = spikes(6)
    rates = network.rates(x, {})
    assert rates.any()
    observed = torch.cat([rates, in_places(x.float(), 4)], 2)
    slices = torch.stack([part.mean(0) for part in observed.split(2)], 1).flatten(1)
    features = network.features(x, rates, {})
    assert features.shape == (6, 2, network.head.in_features)
    assert torch.allclose(features[-1], torch.sqrt(slices + LEAST_RATE), atol=1e-5)
    assert torch.allclose(features[-1], network.window_features(x, rates), atol=1e-5)


def test_places_are_means_over_parts_and_neighbours_share_a_row_where_they_do_not_divide_a_map() -> None:
    maps = torch.arange(20.0).view(1, 1, 1, 5, 4)
    whole, quarters = (in_places(maps, side)[0, 0] for side in (1, 2))
    assert whole.tolist() == [9.5]
    parts = [
        maps[0, 0, 0, rows, columns] for rows in (slice(0, 3), slice(2, 5)) for columns in (slice(0, 2), slice(2, 4))
    ]
    assert quarters.tolist() == [float(part.mean()) for part in parts]


def test_the_memory_slides_without_a_step() -> None:
    memory, values = Memory(4, 2), torch.ones(11, 1, 1)
    means = memory(values, {})[:, 0]
    assert torch.allclose(means[3:], torch.ones(8, 2))
    assert torch.allclose(means[:2, 1], torch.ones(2))  # the newest slice is the mean of what there is
    ramp = memory(torch.arange(12.0).view(-1, 1, 1), {})[:, 0]
    assert torch.allclose(ramp[[3, 5, 7]], torch.tensor([[0.5, 2.5], [2.5, 4.5], [4.5, 6.5]]))
    assert (ramp[4:].diff(dim=0) > 0).all()


@torch.no_grad()
def test_the_state_carries_everything(network: TaughtNetwork) -> None:
    x = spikes(14).float()
    whole, _ = network(x)
    state, parts = None, []
    for part in x.split([1, 5, 2, 6]):
        logits, state = network(part, state)
        parts.append(logits)
    assert torch.allclose(whole, torch.cat(parts), atol=1e-5)


@torch.inference_mode()
@pytest.mark.skipif(library() is None, reason=engine_status())
@pytest.mark.parametrize("span", [1.0, 0.5, 0.16])
@pytest.mark.parametrize(
    ("slices", "places", "input_places", "rates"), [(3, 2, 4, 2), (1, 2, 0, 0), (2, 3, 5, 1), (6, 5, 2, 5)]
)
def test_the_engine_gives_the_same_and_company_changes_no_bit(
    slices: int, places: int, input_places: int, rates: int, span: float
) -> None:
    """Over more than two windows: first while slices fill, then while the oldest is left behind."""
    network = made(replace(CONFIG, slices=slices, places=places, input_places=input_places))
    twin, x = at_pace(network, span), spikes(round(15 / span), 3)
    assert isinstance(twin, TaughtNetwork)
    engine = Engine(network, 16, 16, rates=rates).at(span)
    result, state = engine.run(x), State()
    features = twin.features(x, twin.rates(x, state), state)
    assert torch.allclose(result.logits, twin.head(features), atol=1e-4)
    assert torch.allclose(result.rates, twin.watched(features, rates), atol=1e-5)
    assert result.rates.shape[2] == sum(network.channels[:rates])
    assert all(torch.allclose(result.state[key], state[key], atol=1e-4) for key in (SLICES, STEPS))
    assert_no_bit_changes(engine, x)
    still = x[:1].expand(5, -1, -1, -1, -1)
    assert torch.equal(engine.run(still).logits, engine.run(still.contiguous()).logits)
