import copy
import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from spikesight.models.conversion.ann_to_snn import convert
from spikesight.models.engine.engine import (
    MEMBRANES,
    Engine,
    EngineResult,
    can_run,
    engine_status,
    rounds_weights,
    why_not,
)
from spikesight.models.native.build import library
from spikesight.models.networks.ann import CifarResNet, ResNet, SmallCnn
from spikesight.models.networks.converted.network import ConvertedNetwork
from spikesight.models.networks.converted.unit_spikes import unit_spikes
from spikesight.models.networks.folding import fold
from spikesight.models.networks.resnet import NETWORKS, ResNetConfig, SpikingResNet
from spikesight.models.neurons.config import CLIF, IF, PLIF, RECTIFIER, SLIDING_PSN, NeuronConfig
from spikesight.models.neurons.layers import at_pace
from spikesight.models.neurons.state import State
from tests.support.models import lively
from tests.support.networks import EVENT, assert_equal_to_network, inputs
from tests.support.processes import in_fresh_process
from tests.support.threads import together

native = pytest.mark.skipif(library() is None, reason=engine_status())


IMMEDIATE = NeuronConfig(0.75, 0.2, delay=False, inclusive=True, scale_input=True)


def assert_same(a: EngineResult, b: EngineResult) -> None:
    assert torch.equal(a.logits, b.logits)
    assert torch.equal(a.state[MEMBRANES], b.state[MEMBRANES])
    assert torch.equal(a.layer_spikes, b.layer_spikes)
    assert torch.equal(a.synops, b.synops)
    assert torch.equal(a.raster, b.raster)


@native
@pytest.mark.parametrize("block", ["plain", "sew", "ms"])
@pytest.mark.parametrize(("pool", "stem"), [("none", "small"), ("max", "small"), ("avg", "imagenet")])
@pytest.mark.parametrize("shortcut", ["conv", "pad"])
def test_equals_the_network(block: str, pool: str, stem: str, shortcut: str) -> None:
    config = ResNetConfig(block, (1, 2), (16, 24), stem, pool, shortcut, classes=7)  # type: ignore[arg-type]
    assert_equal_to_network(lively(config), inputs(4, 3))


@native
@pytest.mark.parametrize("block", ["plain", "sew", "ms"])
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


def small(name: str) -> ResNetConfig:
    """A network of the registry with fewer blocks and channels."""
    config = NETWORKS[name]
    widths = tuple((64 if config.bottleneck else 16) + 16 * stage for stage in range(len(config.widths)))
    return replace(config, depths=(1, 2, 1, 1)[: len(widths)], widths=widths, classes=7)


@native
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_of_the_registry(name: str) -> None:
    config = small(name)
    network = lively(config)
    assert why_not(network) == ""
    assert_equal_to_network(network, inputs(3, 2, config.in_channels, size=(37, 29)))


@native
@pytest.mark.parametrize("block", ["plain", "sew", "ms"])
@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize("shortcut", ["conv", "pad"])
def test_pools_between_stages(block: str, bottleneck: bool, shortcut: str) -> None:
    config = ResNetConfig(block, (1, 2, 1), (16, 24, 32), shortcut=shortcut, bottleneck=bottleneck, downsample="max")  # type: ignore[arg-type]
    assert_equal_to_network(lively(config), inputs(4, 2))


@native
@pytest.mark.parametrize(
    ("reset", "delay", "inclusive", "scale_input"), list(itertools.product(("subtract", "zero"), *[(False, True)] * 3))
)
def test_neuron_options(reset: str, delay: bool, inclusive: bool, scale_input: bool) -> None:
    neuron = NeuronConfig(0.75, 0.5, reset, delay, inclusive, scale_input)  # type: ignore[arg-type]
    assert_equal_to_network(lively(replace(EVENT, neuron=neuron)), inputs(4, 2))


@native
@pytest.mark.parametrize(
    "neuron",
    [
        IF,
        PLIF,
        CLIF,
        replace(CLIF, beta=0.8, theta=0.7, inclusive=True, scale_input=True),
        SLIDING_PSN,
        replace(SLIDING_PSN, taps=1),
        replace(SLIDING_PSN, taps=2, theta=0.5),
    ],
)
def test_named_neurons(neuron: NeuronConfig) -> None:
    network = lively(replace(EVENT, neuron=neuron))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith(".w"):
                parameter.fill_(-0.4)
    assert_equal_to_network(network, inputs(7, 2))
    assert_equal_to_network(network, inputs(1, 2))


@native
@pytest.mark.parametrize("neuron", [CLIF, SLIDING_PSN])
def test_states_of_several_parts_carry_over(neuron: NeuronConfig) -> None:
    network, x_seq = lively(replace(EVENT, neuron=neuron)), inputs(8, 2)
    engine = Engine(network, 17, 13)
    whole, first = engine.run(x_seq), engine.run(x_seq[:3])
    rest = engine.run(x_seq[3:], first.state)
    assert torch.equal(torch.cat([first.logits, rest.logits]), whole.logits)


@native
def test_images_and_counts_go_in_as_they_are() -> None:
    network = lively(replace(EVENT, in_channels=3))
    generator = torch.Generator().manual_seed(3)
    assert_equal_to_network(network, torch.randn(3, 2, 3, 17, 13, generator=generator))
    assert_equal_to_network(network, torch.randint(0, 4, (3, 2, 3, 17, 13), generator=generator).to(torch.uint8))


@native
@pytest.mark.parametrize("config", [EVENT, replace(EVENT, block="sew"), replace(EVENT, block="plain", shortcut="pad")])
def test_every_kernel_and_company_gives_the_same_bits(config: ResNetConfig) -> None:
    network = lively(replace(config, widths=(16, 48)))  # which no matrix unit takes: it sums in another order
    x_seq = inputs(5, 4, density=0.2)
    whole = Engine(network, 17, 13).run(x_seq)
    assert_same(whole, Engine(network, 17, 13, choice="events").run(x_seq))
    assert_same(whole, Engine(network, 17, 13, choice="dense").run(x_seq))
    engine = Engine(network, 17, 13)
    for stream in range(4):
        state, logits = engine.initial_state(), []
        for x in x_seq:
            result = engine.run(x[None, stream : stream + 1].float(), state)
            state = result.state
            logits.append(result.logits)
        assert torch.equal(torch.cat(logits)[:, 0], whole.logits[:, stream])
        assert torch.equal(state[MEMBRANES][0], whole.state[MEMBRANES][stream])


@native
@pytest.mark.parametrize("streams", [1, 2, 7])
def test_each_stream_has_its_own_results_however_many_run_together(streams: int) -> None:
    engine = Engine(lively(EVENT), 17, 13, rates=2, places=1)
    x_seq = inputs(3, streams, density=0.3)
    whole = engine.run(x_seq)
    for stream in range(streams):
        mine = slice(stream, stream + 1)
        alone = engine.run(x_seq[:, mine])
        assert torch.equal(alone.logits, whole.logits[:, mine])
        assert torch.equal(alone.rates, whole.rates[:, mine])
        assert torch.equal(alone.state[MEMBRANES], whole.state[MEMBRANES][mine])
        for one, all_ in (
            (alone.layer_spikes, whole.layer_spikes),
            (alone.synops, whole.synops),
            (alone.raster, whole.raster),
        ):
            assert torch.equal(one, all_[mine])


@native
@pytest.mark.parametrize("density", [0.02, 0.6])
def test_channels_are_listed_by_the_vector_with_the_same_bits(density: float) -> None:
    network = lively(replace(EVENT, widths=(80, 80)))  # 64 and 16 more, which no matrix unit takes
    x_seq = inputs(3, 2, density=density)
    events, dense = (Engine(network, 17, 13, choice=choice).run(x_seq) for choice in ("events", "dense"))
    assert_same(events, dense)
    assert int(events.layer_spikes.sum()) > 0


@native
@pytest.mark.parametrize("neuron", [NeuronConfig(), CLIF, SLIDING_PSN])
def test_without_a_state_membranes_begin_at_rest(neuron: NeuronConfig) -> None:
    engine, x_seq = Engine(lively(replace(EVENT, neuron=neuron)), 17, 13), inputs(3, 2)
    assert_same(engine.run(x_seq), engine.run(x_seq, engine.initial_state(2)))


@native
@pytest.mark.parametrize("config", [EVENT, replace(EVENT, pool="none"), replace(EVENT, block="sew", pool="none")])
def test_a_still_image_is_convolved_once_with_the_same_bits(config: ResNetConfig) -> None:
    engine = Engine(lively(replace(config, in_channels=3)), 17, 13)
    image = torch.randn(1, 2, 3, 17, 13, generator=torch.Generator().manual_seed(5)).expand(4, -1, -1, -1, -1)
    assert_same(engine.run(image), engine.run(image.contiguous()))


def converted(ann: nn.Module, images: Tensor, method: str) -> ConvertedNetwork:
    """The ANN with batch norms that know the images, converted."""
    ann.train()
    with torch.no_grad():
        for module in ann.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
        ann(images)
    return convert(ann.eval(), [images], method, steps=4)


@native
@pytest.mark.parametrize("method", ["half", "ltb", "bounded", "signed", "multi"])
def test_converted_networks_run_too(method: str) -> None:
    torch.manual_seed(0)
    images = torch.randn(8, 3, 24, 24, generator=torch.Generator().manual_seed(1))
    for ann in (CifarResNet(1), ResNet((1, 1, 1, 1), 3, 10, "max")):
        network = converted(ann, images, method)
        assert_equal_to_network(network, images[:2].expand(5, -1, -1, -1, -1))
        assert_equal_to_network(unit_spikes(network), images[:2].expand(5, -1, -1, -1, -1))


@native
def test_converted_networks_it_does_not_know_are_left_alone() -> None:
    images = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    for method in ("multi-diff", "multi8", "cascade", "hard-reset", "few-spikes"):
        assert why_not(converted(CifarResNet(1), images, method)) != ""
    assert "max_pool" in why_not(converted(SmallCnn(3), torch.randn(4, 3, 28, 28), "half"))


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


def test_unknown_precisions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="precision must be one of"):
        rounds_weights("fp8")
    monkeypatch.setenv("SPIKESIGHT_PRECISION", "fp8")
    assert why_not(lively(EVENT)) != ""
    assert "bfloat16" not in engine_status()


@pytest.mark.skipif(not rounds_weights("bf16"), reason="this CPU does not multiply bfloat16")
def test_the_environment_chooses_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    network, x_seq = lively(EVENT), inputs(4, 3)
    monkeypatch.setenv("SPIKESIGHT_PRECISION", "bf16")
    assert "bfloat16" in engine_status()
    by_environment, by_argument = Engine(network, 17, 13), Engine(network, 17, 13, precision="bf16")
    assert torch.equal(by_environment.run(x_seq).logits, by_argument.run(x_seq).logits)


@native
def test_state_is_a_value_and_converts() -> None:
    network, x_seq = lively(EVENT), inputs(3, 2)
    engine = Engine(network, 17, 13)
    state = engine.run(x_seq).state
    kept = state[MEMBRANES].clone()
    engine.run(x_seq, state)
    assert torch.equal(state[MEMBRANES], kept)
    with torch.inference_mode():
        logits, _ = network(x_seq.float(), engine.to_network_state(state))
    assert (engine.run(x_seq, state).logits - logits).abs().max() < 1e-4


@native
def test_uses_tell_density_and_kernel() -> None:
    engine = Engine(lively(EVENT), 17, 13)
    engine.run(inputs(2, 2))
    by_name = {use.name: use for use in engine.uses()}
    assert 0 < by_name["stem"].density < 0.2
    assert by_name["stem"].event_driven == 1
    assert by_name["blocks.1.conv2 shortcut"].event_driven == 0  # currents: nearly all non-zero
    assert engine.uses() == []


@native
def test_what_many_threads_use_is_counted_once_and_whole() -> None:
    engine = Engine(lively(EVENT), 17, 13)
    shown = [inputs(2, 2, seed=seed) for seed in range(8)]
    for x_seq in shown:
        engine.run(x_seq)
    alone = [use._replace(seconds=0) for use in engine.uses()]
    together([lambda x_seq=x_seq: [engine.run(x_seq) for _ in range(20)] for x_seq in shown])
    assert [use._replace(seconds=0) for use in engine.uses()] == alone
    assert engine.uses() == []


@native
def test_wrong_shapes_are_refused() -> None:
    engine = Engine(lively(EVENT), 17, 13)
    with pytest.raises(ValueError, match="x_seq must be"):
        engine.run(inputs(1, 1, size=(13, 17)))
    for wrong in (inputs(1, 1)[:0], inputs(1, 1)[:, :0], inputs(1, 1)[0], inputs(1, 1)[0, 0, 0, 0]):
        with pytest.raises(ValueError, match="x_seq must be"):
            engine.run(wrong)
    state: State = {MEMBRANES: torch.zeros(2, 3)}
    with pytest.raises(ValueError, match="state must be"):
        engine.run(inputs(1, 2), state)


STATUS = "from spikesight.models.engine.engine import engine_status; print(engine_status())"
ALONE = """
import torch
from tests.support.models import lively
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


def test_no_compiler_is_one_clear_line(tmp_path: object) -> None:
    line = in_fresh_process(STATUS, SPIKESIGHT_NATIVE="1", CXX="no-such-compiler", SPIKESIGHT_CACHE=str(tmp_path))
    assert "no C++ compiler" in line
    assert "\n" not in line


def test_only_what_the_engine_knows_is_taken() -> None:
    assert not can_run(nn.Linear(2, 2))
    assert why_not(SpikingResNet(replace(EVENT, spiking_readout=True))) != ""
    assert why_not(SpikingResNet(replace(EVENT, neuron=RECTIFIER))) != ""
    assert can_run(lively(EVENT)) == (library() is not None)
