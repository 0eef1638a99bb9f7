"""The engine gives the network's answers, whatever the network, the kernel, the company or the thread."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import Literal

import pytest
import torch
from torch import nn

from spikesight.encoders.native.build import library
from spikesight.models.conversion.ann_to_snn import convert
from spikesight.models.engine import plan
from spikesight.models.engine.engine import MEMBRANES, Engine, can_run, engine_status, rounds_weights, why_not
from spikesight.models.engine.plan import has_matrix_unit
from spikesight.models.engine.plan_converted import unplanned
from spikesight.models.networks.ann import CifarResNet, ResNet
from spikesight.models.networks.converted.graph import Node
from spikesight.models.networks.converted.network import ConvertedConfig, ConvertedNetwork
from spikesight.models.networks.converted.neurons import SpikeLayer
from spikesight.models.networks.converted.rules import SpikeRule
from spikesight.models.networks.folding import fold
from spikesight.models.networks.output_cells import CELL_WINDOW, STRIDE
from spikesight.models.networks.resnet import NETWORKS, ResNetConfig, SpikingResNet
from spikesight.models.neurons.config import CLIF, IF, PLIF, RECTIFIER, SLIDING_PSN, NeuronConfig
from spikesight.models.neurons.layers import SlidingNeuron, at_pace
from spikesight.models.neurons.state import State
from tests.support.engines import uses
from tests.support.models import lively, warmed
from tests.support.networks import EVENT, assert_equal_to_network, assert_no_bit_changes, assert_same, inputs
from tests.support.processes import in_fresh_process
from tests.support.refusals import refusal

native = pytest.mark.skipif(library() is None, reason=engine_status())


IMMEDIATE = NeuronConfig(0.75, 0.2, delay=False, inclusive=True, scale_input=True)
BLOCKS = ("plain", "sew", "ms")
NEURONS = [
    IF,
    PLIF,
    CLIF,
    replace(CLIF, beta=0.8, theta=0.7, inclusive=True, scale_input=True),
    SLIDING_PSN,
    replace(SLIDING_PSN, taps=1),
    replace(SLIDING_PSN, taps=2, theta=0.5),
    *(NeuronConfig(0.75, 0.5, *options) for options in product(("subtract", "zero"), *[(False, True)] * 3)),  # type: ignore[arg-type]
]


def small(name: str) -> ResNetConfig:
    """A network of the registry with fewer blocks and channels."""
    config = NETWORKS[name]
    widths = tuple((64 if config.bottleneck else 16) + 16 * stage for stage in range(len(config.widths)))
    return replace(config, depths=(1, 2, 1, 1)[: len(widths)], widths=widths, classes=7)


def all_kinds() -> Iterator[ResNetConfig]:
    """Every stem, pool, shortcut and block; every neuron; every network of the registry."""
    stems = (("none", "small"), ("max", "small"), ("avg", "imagenet"))
    for block, shortcut in product(BLOCKS, ("conv", "pad")):
        for pool, stem in stems:
            yield ResNetConfig(block, (1, 2), (16, 24), stem, pool, shortcut, classes=7)  # type: ignore[arg-type]
        pooled = ResNetConfig(block, (1, 2, 1), (16, 24, 32), shortcut=shortcut, downsample="max")  # type: ignore[arg-type]
        yield from (pooled, replace(pooled, bottleneck=True))
    yield from (replace(EVENT, neuron=neuron) for neuron in NEURONS)
    yield from map(small, NETWORKS)


@native
@pytest.mark.parametrize("config", list(all_kinds()))
def test_equals_the_network(config: ResNetConfig) -> None:
    network = lively(config)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(".w"):
                parameter.fill_(-0.4)  # a leak that was learnt
    assert why_not(network) == ""
    assert_equal_to_network(network, inputs(4, 2, config.in_channels, size=(37, 29) if config.depths[2:] else (17, 13)))
    assert_equal_to_network(network, inputs(1, 2, config.in_channels, size=(17, 13)))


@native
@pytest.mark.parametrize("pool", ["none", "max"])
def test_no_neurons_are_counted_but_the_networks_where_they_fire_at_rest(pool: Literal["none", "max"]) -> None:
    network = lively(replace(EVENT, pool=pool, widths=(10, 20), neuron=SLIDING_PSN))
    for module in network.modules():
        if isinstance(module, SlidingNeuron):
            nn.init.constant_(module.bias, 0.1)
    assert_equal_to_network(network, inputs(4, 2))


@native
@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("neuron", [NeuronConfig(), IMMEDIATE])
@pytest.mark.parametrize("span", [1 / 31, 0.4])
def test_equals_the_network_at_other_paces(block: str, neuron: NeuronConfig, span: float) -> None:
    network = lively(replace(EVENT, block=block, neuron=neuron))  # type: ignore[arg-type]
    x_seq = inputs(12, 3)
    paced = at_pace(network, span)
    assert_equal_to_network(paced, x_seq)
    trained = Engine(network, *x_seq.shape[3:])
    before, ours = trained.run(x_seq), trained.at(span).run(x_seq)
    assert_same(ours, Engine(paced, *x_seq.shape[3:]).run(x_seq))
    assert_same(before, trained.run(x_seq))  # which keeps its own pace
    assert not torch.equal(before.logits, ours.logits)


@native
def test_images_and_counts_go_in_as_they_are() -> None:
    network = lively(replace(EVENT, in_channels=3))
    generator = torch.Generator().manual_seed(3)
    assert_equal_to_network(network, torch.randn(3, 2, 3, 17, 13, generator=generator))
    assert_equal_to_network(network, torch.randint(0, 4, (3, 2, 3, 17, 13), generator=generator).to(torch.uint8))


SEVERAL = [
    EVENT,
    replace(EVENT, block="sew", pool="none"),
    replace(EVENT, block="plain", shortcut="pad"),
    replace(EVENT, neuron=CLIF),
    replace(EVENT, neuron=SLIDING_PSN),
]


@native
@pytest.mark.parametrize("config", SEVERAL)
@pytest.mark.parametrize("density", [0.02, 0.2, 0.6])
def test_each_stream_has_its_own_results_however_many_run_together(config: ResNetConfig, density: float) -> None:
    """By every kernel; on widths that no matrix unit takes, which sums in another order."""
    network, x_seq = lively(replace(config, widths=(80, 48))), inputs(5, 4, density=density)
    engine = Engine(network, 17, 13, rates=2)
    assert_no_bit_changes(engine, x_seq)
    whole = engine.run(x_seq)
    assert int(whole.layer_spikes.sum()) > 0
    for choice in ("events", "dense"):
        assert_same(Engine(network, 17, 13, choice=choice, rates=2).run(x_seq), whole)


VIEW = replace(NETWORKS["event-small"], widths=(16, 24, 40), classes=10, read="places")
"""A network of stride STRIDE."""


@native
@pytest.mark.parametrize("config", [VIEW, replace(VIEW, block="sew"), replace(VIEW, neuron=CLIF, classes=3)])
@pytest.mark.parametrize("size", [(STRIDE * CELL_WINDOW, STRIDE * CELL_WINDOW), (48, 72), (88, 56)])
@pytest.mark.parametrize("density", [0.0, 0.03, 0.5])
def test_the_answers_at_all_places_are_the_networks(
    config: ResNetConfig, size: tuple[int, int], density: float
) -> None:
    network, x_seq = lively(config), inputs(3, 2, density=density, size=size)
    engine = Engine(network, *size)
    assert_no_bit_changes(engine, x_seq)
    with torch.inference_mode():
        expected, _ = network(x_seq)
    assert (
        expected.shape[2]
        == (size[0] // STRIDE - CELL_WINDOW + 1) * (size[1] // STRIDE - CELL_WINDOW + 1) * config.classes
    )
    network.config = replace(config, read="mean")
    made, usual = engine.run(x_seq), Engine(network, *size).run(x_seq)
    assert (made.logits - expected).abs().max() < 1e-4
    assert torch.equal(made.layer_spikes, usual.layer_spikes)
    assert torch.equal(made.state[MEMBRANES], usual.state[MEMBRANES])


@native
@pytest.mark.parametrize("config", [EVENT, replace(EVENT, pool="none"), replace(EVENT, block="sew", pool="none")])
def test_a_still_image_is_convolved_once_with_the_same_bits(config: ResNetConfig) -> None:
    engine = Engine(lively(replace(config, in_channels=3)), 17, 13)
    image = torch.randn(1, 2, 3, 17, 13, generator=torch.Generator().manual_seed(5)).expand(4, -1, -1, -1, -1)
    assert_same(engine.run(image), engine.run(image.contiguous()))


@native
@pytest.mark.parametrize("method", ["rueckauer", "ltb", "bounded"])
def test_converted_networks_run_too(method: str) -> None:
    torch.manual_seed(1)  # weights that leave no potential at a threshold, where rounding decides
    images = torch.randn(8, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    for ann in (CifarResNet(1), ResNet((1, 1, 1, 1), 3, 10, "max")):
        network = convert(warmed(ann, images), [images], method, steps=4)
        assert_equal_to_network(network, images[:2].expand(5, -1, -1, -1, -1))


def rounded(network: SpikingResNet) -> SpikingResNet:
    """Batch norms folded, weights that spikes meet rounded to bfloat16."""
    network = copy.deepcopy(network)
    for name, module in network.named_modules():
        if isinstance(module, nn.Sequential) and isinstance(conv := module[0], nn.Conv2d):
            weight, bias, _ = fold(module)
            currents = name == "stem" or (name.endswith("shortcut") and network.config.block == "ms")
            conv.weight = nn.Parameter(weight if currents else weight.bfloat16().float())
            conv.bias, module[1] = nn.Parameter(bias), nn.Identity()
    return network.eval()


@pytest.mark.skipif(not rounds_weights("bf16"), reason="this CPU does not multiply bfloat16")
@pytest.mark.parametrize("block", ["plain", "sew", "ms"])
@pytest.mark.parametrize("choice", ["auto", "events", "dense"])
def test_bfloat16_rounds_weights_and_nothing_else(block: str, choice: str) -> None:
    network, x_seq = lively(replace(EVENT, block=block)), inputs(4, 3)  # type: ignore[arg-type]
    engine = Engine(network, 17, 13, choice=choice, precision="bf16")
    with torch.inference_mode():
        exact, same = network(x_seq.float())[0], rounded(network)(x_seq.float())[0]
    logits = engine.run(x_seq).logits
    assert (logits - same).abs().max() < 1e-4
    assert (logits - exact).abs().max() > 1e-4


def test_precisions_are_chosen_by_the_environment_and_unknown_ones_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal(lambda: rounds_weights("fp8"), "precision must be one of")
    monkeypatch.setenv("SPIKESIGHT_PRECISION", "fp8")
    assert why_not(lively(EVENT)) != ""
    assert "bfloat16" not in engine_status()
    monkeypatch.setenv("SPIKESIGHT_PRECISION", "bf16")
    assert ("bfloat16" in engine_status()) == rounds_weights() == rounds_weights("bf16")


@native
def test_wrong_shapes_are_refused() -> None:
    engine = Engine(lively(EVENT), 17, 13)
    refusal(lambda: engine.run(inputs(1, 1, size=(13, 17))), "x_seq must be")
    for wrong in (inputs(1, 1)[:0], inputs(1, 1)[:, :0], inputs(1, 1)[0], inputs(1, 1)[0, 0, 0, 0]):
        with pytest.raises(ValueError, match="x_seq must be"):
            engine.run(wrong)
    state: State = {MEMBRANES: torch.zeros(2, 3)}
    refusal(lambda: engine.run(inputs(1, 2), state), "state must be")


STATUS = "from spikesight.models.engine.engine import engine_status; print(engine_status())"
ALONE = """
import torch
from tests.support.models import lively, warmed
from tests.support.networks import EVENT, inputs
from spikesight.models.contract import Card, Contract
from spikesight.models.classifier import Classifier
from spikesight.models.neurons.state import split_state
card = Card(Contract("events", 2, 17, 13, 4, "binary", 34, 26, 10_000), tuple("0123456789"))
classifier = Classifier(lively(EVENT), card)
state, alone = classifier.initial_state(3), split_state(classifier.initial_state(3))
for x in inputs(3, 3):
    step = classifier.step(x, state)
    singles = [classifier.step(x[n : n + 1], one) for n, one in enumerate(alone)]
    state, alone = step.state, [single.state for single in singles]
    assert torch.equal(step.logits, torch.cat([single.logits for single in singles]))
    assert torch.equal(step.synops, torch.cat([single.synops for single in singles]))
"""


def test_it_can_be_switched_off_and_company_still_changes_nothing() -> None:
    assert "SPIKESIGHT_NATIVE=0" in in_fresh_process(ALONE + STATUS, SPIKESIGHT_NATIVE="0")


def test_only_what_the_engine_knows_is_taken() -> None:
    assert not can_run(nn.Linear(2, 2))
    assert why_not(SpikingResNet(replace(EVENT, spiking_readout=True))) != ""
    assert why_not(SpikingResNet(replace(EVENT, neuron=RECTIFIER))) != ""
    assert can_run(lively(EVENT)) == (library() is not None)


needs_it = pytest.mark.skipif(not has_matrix_unit(), reason="this CPU has no matrix unit")
WIDE = replace(NETWORKS["event-medium"], depths=(1, 1, 1), widths=(32, 64, 96))  # all multiples of a block


@needs_it
@pytest.mark.parametrize("block", ["plain", "sew", "ms"])
@pytest.mark.parametrize("size", [(17, 13), (66, 50), (8, 70)])
def test_dense_frames_are_the_networks(block: str, size: tuple[int, int]) -> None:
    config: ResNetConfig = replace(WIDE, block=block)  # type: ignore[arg-type]
    network, x_seq = lively(config), inputs(3, 2, size=size)
    engine = Engine(network, *size, choice="dense")
    with torch.inference_mode():
        logits = network(x_seq.float())[0]
    assert logits.abs().max() > 0
    assert (engine.run(x_seq).logits - logits).abs().max() < 1e-4
    assert not any(use.event_driven for use in uses(engine))


@native
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("density", [0.02, 0.1])
def test_company_and_cutting_change_no_bit_whatever_the_break_even(
    density: float, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a matrix unit too, where there is one."""
    monkeypatch.setattr(plan, "break_even", lambda *_, **__: density)
    engine = Engine(lively(WIDE), 34, 34, precision=precision)
    engine.run(inputs(4, 3, size=(34, 34)))
    assert any(use.event_driven < 1 for use in uses(engine)), "some frames were multiplied"
    assert_no_bit_changes(engine, inputs(4, 3, size=(34, 34)))


@native
def test_who_fired_is_noted_of_the_streams_that_are_probed_alone() -> None:
    engine, x_seq = Engine(lively(EVENT), 17, 13), inputs(3, 2)
    apart = engine.run(x_seq, probe=[False, True])
    both = engine.run(x_seq, probe=[True, True])
    assert both.fired.any(2).all()
    assert torch.equal(apart.fired[:, 1], both.fired[:, 1])
    assert not apart.fired[:, 0].any()
    assert engine.run(x_seq).fired.numel() == 0
    refusal(lambda: engine.run(x_seq, probe=[True]), "probe must have 2 entries, not 1")


RULE = SpikeRule()


def conv(name: str, source: str, out: int = 6, inner: int = 6, kernel: int = 3, **changes: object) -> Node:
    fields = {"stride": (1, 1), "padding": (kernel // 2, kernel // 2), **changes}
    return Node(name, "conv", (source,), shape=(out, inner, kernel, kernel), **fields)  # type: ignore[arg-type]


def neuron(name: str, source: str, channels: int = 6) -> Node:
    return Node(name, "neuron", (source,), shape=(channels,))


def pool(name: str, source: str, **changes: object) -> Node:
    fields: dict = {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 1), **changes}
    return Node(name, "max_pool", (source,), **fields)


STEM = conv("stem", "x", 6, 3), neuron("n0", "stem")


def graph(*body: Node, last: str = "n1", channels: int = 6, rule: SpikeRule = RULE) -> ConvertedNetwork:
    """The input, some nodes, and a read-out of the last one's mean."""
    end = (
        Node("g", "global_pool", (last,), kernel=(1, 1)),
        Node("f", "flatten", ("g",)),
        Node("l", "linear", ("f",), shape=(5, channels)),
    )
    return made((Node("x", "input"), *body, *end), rule)


def made(nodes: tuple[Node, ...], rule: SpikeRule = RULE, shape: tuple[int, ...] = (3, 11, 11)) -> ConvertedNetwork:
    """Numbers that make neurons fire and channels differ."""
    generator = torch.Generator().manual_seed(3)
    network = ConvertedNetwork(ConvertedConfig(nodes, rule, shape, 5))
    for module in network.layers.values():
        for tensor in module.parameters():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) / max(1, tensor[0].numel()) ** 0.5)
        if isinstance(module, SpikeLayer):
            module.theta.copy_(torch.rand(module.theta.shape, generator=generator) + 0.5)
            module.amplitude.copy_(module.theta)
    return network


ADD = Node("s", "add", ("c1", "n0"))
KNOWN: dict[str, ConvertedNetwork] = {
    "a stem": graph(*STEM, last="n0"),
    "strides": graph(*STEM, conv("c1", "n0", stride=(2, 2)), neuron("n1", "c1")),
    "a kernel of one": graph(*STEM, conv("c1", "n0", kernel=1), neuron("n1", "c1")),
    "a pooled stem": graph(conv("stem", "x", 6, 3), pool("m", "stem"), neuron("n1", "m")),
    "an identity": graph(*STEM, conv("c1", "n0"), ADD, neuron("n1", "s")),
    "an identity first": graph(*STEM, conv("c1", "n0"), replace(ADD, inputs=("n0", "c1")), neuron("n1", "s")),
    "a strided and padded identity": graph(
        *STEM, conv("c1", "n0", 10, stride=(2, 2)), Node("t", "slice", ("n0",), stride=(2, 2)),
        Node("p", "pad", ("t",), padding=(0, 0, 0, 0, 3, 1)), replace(ADD, inputs=("c1", "p")), neuron("n1", "s", 10),
        channels=10,
    ),
    "two convolutions": graph(
        *STEM, conv("c1", "n0", stride=(2, 2)), conv("c2", "n0", kernel=1, stride=(2, 2)),
        replace(ADD, inputs=("c2", "c1")), neuron("n1", "s"),
    ),
    "inclusive": graph(*STEM, conv("c1", "n0"), ADD, neuron("n1", "s"), rule=SpikeRule(0.0, inclusive=True)),
    "bounded": graph(*STEM, conv("c1", "n0"), ADD, neuron("n1", "s"), rule=replace(RULE, bounds=(-0.5, 1.0))),
}  # fmt: skip


@native
@pytest.mark.parametrize("name", KNOWN)
def test_what_is_planned_equals_the_network(name: str) -> None:
    network = KNOWN[name]
    assert unplanned(network) == ""
    x = torch.randn(1, 2, 3, 11, 11, generator=torch.Generator().manual_seed(1)).expand(6, -1, -1, -1, -1)
    assert_equal_to_network(network, x)


def behind(*body: Node, last: str = "n1", **named: object) -> ConvertedNetwork:
    return graph(*STEM, *body, last=last, **named)  # type: ignore[arg-type]


ODD = Node("w", "conv", ("n0",), shape=(6, 6, 3, 1), stride=(1, 1), padding=(1, 0))
UNKNOWN: dict[str, ConvertedNetwork] = {
    "reset to zero": graph(*STEM, last="n0", rule=SpikeRule(reset="zero")),
    "inputs that are no images": made(
        (Node("x", "input"), Node("c", "linear", ("x",), shape=(6, 4)), neuron("n0", "c"),
         Node("l", "linear", ("n0",), shape=(5, 6))), shape=(4,),
    ),
    "the engine's read-out": made((Node("x", "input"), *STEM)),
    "n1: neuron": behind(neuron("n1", "n0")),
    "w: conv": behind(ODD, neuron("n1", "w")),
    "c: conv": behind(conv("c", "n0", padding=(2, 2), dilation=(2, 2)), neuron("n1", "c")),
    "e: conv": behind(conv("c1", "n0"), conv("e", "c1"), neuron("n1", "e")),
    "h: conv": behind(Node("t", "slice", ("n0",), stride=(2, 2)), conv("h", "t"), neuron("n1", "h")),
    "m1: max_pool": behind(pool("m1", "n0"), conv("c1", "m1"), neuron("n1", "c1")),
    "m2: max_pool": behind(conv("c1", "n0"), pool("m2", "c1"), neuron("n1", "m2")),
    "g: global_pool": behind(Node("t", "slice", ("n0",), stride=(2, 2)), last="t"),
    "v: avg_pool": behind(
        Node("v", "avg_pool", ("n0",), kernel=(2, 2), stride=(2, 2), padding=(0, 0)), conv("c1", "v"),
        neuron("n1", "c1"),
    ),
    "s3: add": behind(conv("c1", "n0"), ADD, Node("s3", "add", ("s", "n0")), neuron("n1", "s3")),
    "s4: add": behind(Node("s4", "add", ("n0", "n0")), neuron("n1", "s4")),
}  # fmt: skip


@pytest.mark.parametrize("words", UNKNOWN)
def test_what_is_not_planned_is_named(words: str) -> None:
    assert words in unplanned(UNKNOWN[words])
