"""Event by event: after every event the bits of a step on the bin so far, and at its end those of the bin."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spikesight.encoders.binning import cells_of, grid_for
from spikesight.encoders.dvs import DvsEncoder, StreamBinner
from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.models.contract import Contract
from spikesight.models.engine.engine import MEMBRANES, Engine, engine_status
from spikesight.models.engine.events import EventEngine, Moment
from spikesight.models.native.build import library
from spikesight.models.networks.resnet import ResNetConfig
from spikesight.models.neurons.config import NeuronConfig
from tests.support.models import lively

pytestmark = pytest.mark.skipif(library() is None, reason=engine_status())

SENSOR, BIN_US, BINS = SensorSize(17, 13), 2000, 12
CONTRACT = Contract("events", 2, 13, 17, 4, "binary", 17, 13, 10_000, shortest_bin_us=1000).at(BIN_US / 1000)
GRID = grid_for(SENSOR, (13, 17))
CONFIGS = [
    ResNetConfig("ms", (1, 1), (16, 32), "small", "max", classes=7),
    ResNetConfig("ms", (2, 1), (8, 16), "small", "none", shortcut="pad", downsample="max", classes=3),
    ResNetConfig("plain", (1, 1), (16, 24), "imagenet", "none", classes=5),
    ResNetConfig("ms", (1, 1), (16, 16), neuron=NeuronConfig(beta=0.9, inclusive=True), bottleneck=True, classes=4),
]


def recording(seed: int = 0, count: int = 200) -> Events:
    random = np.random.default_rng(seed)
    t = np.sort(random.integers(0, BINS * BIN_US, count))
    t[0] = 0
    return make_events(t, random.integers(0, 17, count), random.integers(0, 13, count), random.random(count) < 0.5)


def engine_of(config: ResNetConfig) -> Engine:
    """At the contract's bin; whatever the density, a scatter."""
    return Engine(lively(config), 13, 17, choice="events").at(CONTRACT.bin_us / CONTRACT.trained_us)


def bins_of(events: Events) -> list[Events]:
    return np.split(events, np.searchsorted(events["t"], np.arange(BIN_US, BINS * BIN_US, BIN_US)))


def shown(events: Events) -> torch.Tensor:
    """What a binned stream shows the network, uint8 [T, 1, 2, H, W]."""
    binner = StreamBinner(DvsEncoder(SENSOR, (13, 17), BIN_US, 4), shown=CONTRACT.shown_bins)
    bins = binner.push(events) + binner.flush()
    return torch.from_numpy(np.stack([b.x for b in bins]))[:, None]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.block} {c.pool} {c.shortcut} {c.downsample}")
def test_every_moment_is_a_step_on_the_bin_so_far(config: ResNetConfig) -> None:
    engine, events = engine_of(config), recording()
    live, state, lit = EventEngine(engine, CONTRACT.shown_bins), engine.initial_state(), 0
    fired = 0
    for number, part in enumerate(bins_of(events)):
        begin = events[: np.searchsorted(events["t"], number * BIN_US)]
        for n in range(len(part)):
            logits = live.push(cells_of(part[n : n + 1], GRID))
            so_far = shown(np.concatenate([begin, part[: n + 1]]))
            expected = engine.run(so_far[number : number + 1], state).logits[0, 0]
            np.testing.assert_array_equal(logits, expected.numpy())
            lit += int(expected.abs().sum() > 0)
        done = engine.run(shown(events)[number : number + 1], state)
        np.testing.assert_array_equal(live.step(), done.logits[0, 0].numpy())
        np.testing.assert_array_equal(live.save().membranes, done.state[MEMBRANES][0].numpy())
        state, fired = done.state, int(done.layer_spikes.sum())
    assert fired > 0
    assert lit


@given(cuts=st.lists(st.integers(0, 200), max_size=8), at=st.integers(0, BINS - 1))
@settings(max_examples=10, deadline=None)
def test_packets_of_any_size_and_a_moment_taken_elsewhere_change_no_bit(cuts: list[int], at: int) -> None:
    engine, events = engine_of(CONFIGS[0]), recording(1)
    live, other = (EventEngine(engine, CONTRACT.shown_bins) for _ in range(2))
    expected = engine.run(shown(events)).logits[:, 0].numpy()
    for number, part in enumerate(bins_of(events)):
        for piece in np.split(part, sorted(min(cut, len(part)) for cut in cuts)):
            live.push(cells_of(piece, GRID))
            if number == at:
                other.load(live.save())
                np.testing.assert_array_equal(other.read(), live.read())
                live, other = other, live
        np.testing.assert_array_equal(live.step(), expected[number])


def test_networks_that_are_not_stepped_so_and_foreign_moments_are_refused() -> None:
    trained = Engine(lively(CONFIGS[0]), 13, 17)
    with pytest.raises(ValueError, match="at a shorter bin"):
        EventEngine(trained, 1)
    for config in (replace(CONFIGS[0], block="sew"), replace(CONFIGS[0], pool="avg")):
        with pytest.raises(ValueError, match="MS and plain blocks"):
            EventEngine(engine_of(config), 5)
    live = EventEngine(engine_of(CONFIGS[0]), CONTRACT.shown_bins)
    for cells in ([-1], [0, 2 * 13 * 17]):
        with pytest.raises(ValueError, match="cells must lie in 0 to 441"):
            live.push(np.array(cells, np.int32))
    moment = live.save()
    for wrong in (
        moment._replace(membranes=moment.membranes[1:]),
        moment._replace(since=moment.since.astype(np.int64)),
        Moment(moment.membranes, moment.since, moment.open[:, 1:]),
    ):
        with pytest.raises(ValueError, match="of another network"):
            live.load(wrong)
