"""Spiking ResNets, their ANN twins, records; and a taught head on a frozen network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import spikesight
from spikesight.encoders.events import make_events
from spikesight.encoders.native.build import library
from spikesight.models.contract import CheckpointError
from spikesight.models.engine.engine import Engine, engine_status
from spikesight.models.networks.ann import CifarResNet, as_ann, build_for, fits, guess_name, read_state
from spikesight.models.networks.converted.neurons import SpikeLayer
from spikesight.models.networks.converted.rules import SpikeRule
from spikesight.models.networks.resnet import NETWORKS, ResNetConfig, SpikingResNet
from spikesight.models.networks.taught import LEAST_RATE, SLICES, STEPS, Memory, TaughtConfig, TaughtNetwork, in_places
from spikesight.models.neurons.config import CLIF, IF, PLIF, RECTIFIER, SLIDING_PSN
from spikesight.models.neurons.layers import Neuron, at_pace
from spikesight.models.neurons.probe import threshold_of
from spikesight.models.neurons.state import State, zero_state
from tests.support.models import lively, tiny
from tests.support.networks import assert_no_bit_changes, inputs
from tests.support.refusals import refusal

TINY = ResNetConfig("ms", (1, 1), (4, 8), pool="max", in_channels=2, classes=3)
BLOCKS = pytest.mark.parametrize("block", ["plain", "sew", "ms"])


def small_resnet(block: str = "ms", **options: object) -> SpikingResNet:
    return lively(replace(TINY, block=block, **options))  # type: ignore[arg-type]


def events(steps: int = 6, batch: int = 2, height: int = 12, width: int = 15) -> Tensor:
    return (torch.rand(steps, batch, 2, height, width, generator=torch.Generator().manual_seed(7)) < 0.3).float()


@pytest.mark.parametrize(
    ("name", "millions", "neurons"),
    [
        ("resnet18", 11.69, 17), ("resnet34", 21.80, 33), ("sew-resnet18", 11.69, 20), ("ms-resnet18", 11.69, 17),
        ("cifar-resnet18", 11.17, 20), ("cifar-resnet20", 0.27, 19), ("cifar-resnet32", 0.46, 31),
        ("cifar-resnet44", 0.66, 43), ("cifar-resnet56", 0.85, 55), ("resnet50", 25.56, 49),
        ("sew-resnet50", 25.56, 53), ("ms-resnet50", 25.56, 49), ("max-resnet18", 11.17, 17),
        ("cifar-resnet19", 12.57, 17),
    ],
)  # fmt: skip
def test_parameters_and_neuron_layers(name: str, millions: float, neurons: int) -> None:
    with torch.device("meta"):
        network = SpikingResNet(NETWORKS[name])
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.006)
    assert sum(isinstance(m, Neuron) for m in network.modules()) == neurons


OPTIONS: list[dict[str, object]] = [
    *({"pool": pool, "stem": stem} for pool in ("max", "avg", "none") for stem in ("imagenet", "small")),
    {"bottleneck": True},
    {"downsample": "max"},
    {"tdbn": True},
    *({"neuron": neuron} for neuron in (CLIF, SLIDING_PSN, PLIF)),
]


@BLOCKS
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_steps_with_carried_state_equal_the_whole_sequence(block: str, options: dict[str, object]) -> None:
    network, x, parts = small_resnet(block, **options), events(height=17, width=22), []
    state: State | None = None
    with torch.no_grad():
        whole, whole_state = network(x)
        for chunk in x.split([1, 2, 3]):
            logits, state = network(chunk, state)
            parts.append(logits)
    assert whole.shape == (6, 2, 3)
    torch.testing.assert_close(torch.cat(parts), whole)
    assert state is not None
    for key, tensor in whole_state.items():
        torch.testing.assert_close(state[key], tensor)
    zeros = zero_state(network, 2, 17, 22, batch=2)
    assert {key: value.shape for key, value in zeros.items()} == {key: v.shape for key, v in whole_state.items()}
    assert not any(value.any() for value in zeros.values())
    parameters = dict(network.named_parameters())
    gradients = torch.autograd.grad(network.train()(x)[0].sum(), [*parameters.values()])  # all are reached
    assert dict(zip(parameters, gradients))["stem.0.weight"].any()


def test_the_network_keeps_no_state() -> None:
    network, x = small_resnet(), events()
    with torch.no_grad():
        first, state = network(x)
        before = {k: v.clone() for k, v in state.items()}
        again, _ = network(x)
        network(x, state)
    assert torch.equal(first, again)
    assert all(torch.equal(before[k], state[k]) for k in state)


def test_input_of_the_wrong_shape_is_refused() -> None:
    refusal(lambda: small_resnet()(torch.zeros(1, 3, 8, 8)), "x_seq must be")


def test_an_ann_of_blocks_is_its_twin_step_by_step() -> None:
    torch.manual_seed(0)
    config = ResNetConfig("plain", (2, 1), (4, 8), pool="max", in_channels=3, classes=5, neuron=RECTIFIER)
    for options in ({}, {"bottleneck": True}, {"downsample": "max"}, {"shortcut": "pad"}):
        network = SpikingResNet(replace(config, **options)).eval()
        x = torch.randn(2, 3, 17, 20)
        with torch.no_grad():
            torch.testing.assert_close(as_ann(network)(x), network(x[None])[0][0])
    for other, says in ((replace(config, neuron=IF), "only an ANN"), (replace(config, block="sew"), "sew blocks")):
        with pytest.raises(CheckpointError, match=says):
            as_ann(SpikingResNet(other))
    refusal(lambda: as_ann(nn.Linear(2, 2)), "only an ANN", CheckpointError)


@pytest.mark.parametrize("name", ["a.th", "a.safetensors"])
def test_files_that_are_no_weights(tmp_path: Path, name: str) -> None:
    refusal(lambda: read_state(tmp_path / name), f"no file {name}", CheckpointError)
    (tmp_path / name).write_bytes(b"garbage")
    refusal(lambda: read_state(tmp_path / name), r"not a state dictionary|is not read", CheckpointError)
    for held in ({}, {"a": 1}, [torch.zeros(1)], {"state_dict": {"a": "b"}}):
        torch.save(held, tmp_path / "b.pt")
        with pytest.raises(CheckpointError, match="not a state dictionary of tensors"):
            read_state(tmp_path / "b.pt")
    torch.save(nn.Linear(1, 1), tmp_path / "b.pt")  # a whole module: needs its classes to be run
    refusal(lambda: read_state(tmp_path / "b.pt"), "more than tensors", CheckpointError)


def test_weights_are_read_by_either_file(tmp_path: Path) -> None:
    tensors = {"module.conv.weight": torch.rand(2, 3, 1, 1), "fc.bias": torch.rand(4)}
    save_file(tensors, tmp_path / "a.safetensors")
    torch.save({"model": tensors}, tmp_path / "a.pt")
    torch.save(tensors, tmp_path / "b.pt")
    assert set(read_state(tmp_path / "a.safetensors")) == set(tensors)
    for file in ("a.pt", "b.pt"):
        assert set(read_state(tmp_path / file)) == {"conv.weight", "fc.bias"}


def test_weights_of_another_network_are_refused() -> None:
    state = CifarResNet(1).state_dict()
    refusal(lambda: build_for("small-cnn", state), "not a small-cnn", CheckpointError)
    refusal(lambda: build_for("cifar-resnet20", state), "do not fit cifar-resnet20", CheckpointError)
    counters = {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}
    assert fits(CifarResNet(1), counters)
    assert not fits(CifarResNet(1, 1), state)


def test_names_are_found_by_shapes(tmp_path: Path) -> None:
    network = CifarResNet(1, 1, 7)
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "a.th")
    state = read_state(tmp_path / "a.th")
    assert guess_name(state) == "cifar-resnet8"
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(build_for("cifar-resnet8", state)(x), network.eval()(x))
    refusal(lambda: guess_name({"w": torch.zeros(1)}), "fit none", CheckpointError)


SIZE = (24, 32)
EVENTS = make_events(np.arange(0, 60_000, 40), np.arange(1500) % 24, np.arange(1500) // 7 % 32, np.arange(1500) % 2)


def test_spikes_are_those_that_predictions_count_and_membranes_those_between_steps() -> None:
    network = spikesight.Model(tiny())
    steps, trace = network.steps(EVENTS, SIZE), network.trace(EVENTS, SIZE)
    assert [step.logits for step in network.steps(EVENTS, SIZE)] == [step.logits for step in steps], "as before"
    assert len(steps) > 2
    fired = sum(np.count_nonzero(layer.spikes.reshape(len(steps), -1), 1) for layer in trace.layers.values())
    assert np.array_equal(fired, [step.spikes for step in steps])
    assert np.allclose(trace.probabilities, [step.probabilities for step in steps])
    assert trace.inputs.shape == (len(steps), *network.classifier.contract.shape)
    assert all(layer.membranes.shape == layer.spikes.shape for layer in trace.layers.values())
    assert list(trace.layers) == list(network.classifier.layer_names)


def test_a_converted_neuron_fires_at_its_threshold_in_the_unit_of_its_membranes() -> None:
    for rule in (SpikeRule(v0=0.5), SpikeRule(v0=0.0)):
        layer = SpikeLayer(rule, 2)
        layer.theta.copy_(torch.tensor([1.0, 4.0]))
        at = torch.from_numpy(threshold_of(layer))[None, None]
        assert [layer(share * at, {}).count_nonzero() for share in (0.99, 1.01)] == [0, 2]


BACKBONE = ResNetConfig("ms", (1, 1), (4, 8), pool="max")
CONFIG = TaughtConfig(BACKBONE, 3, window=6, slices=3, places=2, input_places=4, height=16, width=16)


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
    return inputs(steps, streams, density=0.2, size=(16, 16))


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
