"""Neuron layers against their equations, other libraries and other paces; surrogate gradients."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from spikesight.models.networks.converted.neurons import SpikeLayer
from spikesight.models.networks.converted.rules import SpikeRule
from spikesight.models.networks.resnet import NETWORKS, SpikingResNet
from spikesight.models.neurons.config import CLIF, IF, PAPER_LIF, PLIF, SLIDING_PSN, NeuronConfig
from spikesight.models.neurons.layers import Neuron, at_pace, make_neuron
from spikesight.models.neurons.pace import pace, paced_step
from spikesight.models.neurons.surrogate import SURROGATES, spike
from tests.support.refusals import refusal

NOW = replace(PAPER_LIF, delay=False)
ZERO = replace(NOW, reset="zero")
INCLUSIVE = {"delay": replace(PAPER_LIF, inclusive=True), "now": replace(NOW, inclusive=True)}
SPIKINGJELLY = replace(ZERO, inclusive=True, scale_input=True)

CONSTANT = [  # beta, X, steps, then: paper, delay >=, now >, now >=, zero >, zero >=, zero >= with g = 1 - beta
    (0.5, 0.75, "010010010010", "010010010010", *["010101010101"] * 4, "0" * 12),
    (0.5, 0.8, "0100101001", "0101001010", *["0101010101"] * 4, "0" * 10),
    (0.75, 0.5, "001001001001", "001001001001", *["001001001010"] * 2, *["001001001001"] * 2, "0" * 12),
    (0.75, 1.25, *["1" * 12] * 6, "000001000001"),
    (1, 0.5, "00101010", "01010101", "00101010", "01010101", "00100100", "01010101", "0" * 8),
    (1, 0.375, *["001001001010", "001001010010"] * 2, *["001001001001"] * 2, "0" * 12),
]
CONFIGS = [PAPER_LIF, INCLUSIVE["delay"], NOW, INCLUSIVE["now"], ZERO, replace(ZERO, inclusive=True), SPIKINGJELLY]


def train(config: NeuronConfig, currents: list[float]) -> str:
    """The spike train of one neuron as a string of 0 and 1."""
    spikes = Neuron(config)(torch.tensor(currents).view(-1, 1), {})
    return "".join(str(int(s)) for s in spikes)


@pytest.mark.parametrize("row", CONSTANT, ids=lambda r: f"beta={r[0]}-X={r[1]}")
def test_golden_constant_input(row: tuple[Any, ...]) -> None:
    beta, x, *trains = row
    for config, expected in zip(CONFIGS, trains):
        assert train(replace(config, beta=float(beta)), [x] * len(expected)) == expected, config


@pytest.mark.parametrize("beta", [0.5, 0.75, 0.9])
@pytest.mark.parametrize("case", ["delayed", "now", "zero"])
def test_equals_snntorch(beta: float, case: str) -> None:
    snntorch = pytest.importorskip("snntorch")
    options = {"delayed": {}, "now": {"reset_delay": False}, "zero": {"reset_mechanism": "zero"}}[case]
    config = replace({"delayed": PAPER_LIF, "now": NOW, "zero": ZERO}[case], beta=beta)
    leaky = snntorch.Leaky(beta=beta, **options)
    x = torch.randn(100, 128, generator=torch.Generator().manual_seed(1)) * 0.7 + 0.4
    if case == "now":  # snnTorch resets a second time where U > 2 theta
        x = x.clamp_max(0.95)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    membrane, expected = torch.zeros(128), []
    for current in theirs:
        spikes, membrane = leaky(current, membrane)
        expected.append(spikes)
    got = Neuron(config)(mine, {})
    assert torch.equal(got, torch.stack(expected))
    if case == "delayed":
        weight = torch.randn(100, 128, generator=torch.Generator().manual_seed(2))
        gradients = torch.autograd.grad((got * weight).sum(), mine)
        torch.testing.assert_close(gradients, torch.autograd.grad((torch.stack(expected) * weight).sum(), theirs))


@pytest.mark.parametrize("beta", [0.5, 0.75, 0.9])
@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize("v_reset", [0.0, None])
def test_equals_spikingjelly(beta: float, decay_input: bool, v_reset: float | None) -> None:
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    node = neuron.LIFNode(tau=1 / (1 - beta), decay_input=decay_input, v_reset=v_reset, step_mode="m")
    config = NeuronConfig(
        beta, reset="subtract" if v_reset is None else "zero", delay=False, inclusive=True, scale_input=decay_input,
        detach_reset=False, surrogate="sigmoid", slope=4,
    )  # fmt: skip
    x = torch.randn(100, 128, generator=torch.Generator().manual_seed(3)) * (2 if decay_input else 0.7) + 0.4
    assert torch.equal(Neuron(config)(x, {}), node(x))


KINDS = [PAPER_LIF, IF, PLIF, ZERO, SPIKINGJELLY, CLIF, SLIDING_PSN, replace(SLIDING_PSN, taps=1)]


@pytest.mark.parametrize("config", KINDS, ids=str)
def test_any_chunking_gives_the_same_spikes(config: NeuronConfig) -> None:
    x = torch.randn(20, 3, 5, generator=torch.Generator().manual_seed(4)) + 0.3
    layer, whole_state = make_neuron(config), dict[str, Tensor]()
    whole = layer(x, whole_state)
    for sizes in ([1, 4, 7, 8], [1] * 20):
        state = dict[str, Tensor]()
        assert torch.equal(torch.cat([layer(chunk, state) for chunk in x.split(sizes)]), whole)
        assert state.keys() == whole_state.keys()
        assert all(torch.equal(state[key], whole_state[key]) for key in state)


@pytest.mark.parametrize("config", KINDS, ids=str)
def test_every_kind_spikes_learns_and_keeps_its_input(config: NeuronConfig) -> None:
    x = (torch.randn(9, 4, 6, generator=torch.Generator().manual_seed(6)) + 0.4).requires_grad_()
    before, layer, state = x.detach().clone(), make_neuron(config), {}
    spikes = layer(x, state)
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    assert all(v.shape == (4, 6) for v in state.values())
    gradient, *_ = torch.autograd.grad(spikes.sum(), [x, *layer.parameters()])
    assert gradient.isfinite().all()
    assert gradient.any()
    assert torch.equal(x.detach(), before)


def test_clif_by_hand() -> None:
    """Equations of the paper, written once more in plain numbers."""
    v = m = 0.0
    expected, currents = [], [0.75, 1.5, 0.2, 1.3, 1.9, 0.1, 2.5, 0.4]
    for x in currents:
        u = 0.5 * v + x
        s = float(u > 1)
        m = m / (1 + math.exp(-0.5 * u)) + s
        v = u - s * (1 + 1 / (1 + math.exp(-m)))
        expected.append(s)
    assert make_neuron(CLIF)(torch.tensor(currents).view(-1, 1), {}).flatten().tolist() == expected
    assert 0 < sum(expected) < len(expected)


def test_equals_spikingjelly_sliding_psn() -> None:
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    node = neuron.SlidingPSN(k=4, step_mode="m")
    layer = make_neuron(SLIDING_PSN)
    with torch.no_grad():  # theirs holds the oldest tap first
        layer.get_parameter("weight").copy_(node.weight.flatten().flip(0))
        layer.get_parameter("bias").copy_(node.bias.flatten()[0])
    x = torch.randn(30, 20, generator=torch.Generator().manual_seed(3))
    assert torch.equal(layer(x, {}), node(x))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"beta": -0.001}, "beta must lie"),
        ({"beta": 1.001}, "beta must lie"),
        ({"theta": 0.0}, "theta must be positive"),
        ({"reset": "soft"}, "reset must be"),
        ({"surrogate": "step"}, "unknown surrogate"),
        ({"learn_beta": True, "beta": 0.0}, "strictly between"),
        ({"learn_beta": True, "beta": 1.0}, "strictly between"),
        ({"kind": "clif"}, "immediate subtracting reset"),
        ({"kind": "clif", "delay": False, "reset": "zero"}, "immediate subtracting reset"),
        ({"taps": 0}, "taps must lie"),
        ({"taps": 65}, "taps must lie"),
        ({"kind": "gru"}, "unknown kind of neuron"),
        ({"slope": -1.0}, "slope must be positive"),
    ],
)
def test_what_is_no_neuron_is_refused(wrong: dict[str, Any], says: str) -> None:
    refusal(lambda: make_neuron(NeuronConfig(**wrong)), says)
    assert NeuronConfig(surrogate="sigmoid", slope=3.0).spike_function() == SURROGATES["sigmoid"](3.0)


IMMEDIATE = NeuronConfig(beta=0.75, theta=0.75, delay=False)


def paced(current: Tensor, steps: int, config: NeuronConfig, span: float) -> tuple[Tensor, Tensor]:
    """Share of steps with a spike, and the mean membrane, in a current that stays."""
    own = pace(config.beta, config.theta, span, delay=config.delay)
    w, spikes, membranes = torch.zeros_like(current), list[Tensor](), list[Tensor]()
    for _ in range(steps):
        membranes.append(w + current)
        s, w = paced_step(current, w, config, own)
        spikes.append(s)
    return torch.stack(spikes).mean(0), torch.stack(membranes).mean(0)


@pytest.mark.parametrize("config", [PAPER_LIF, IMMEDIATE])
@pytest.mark.parametrize("span", [1.0, 0.5, 1 / 31])
def test_current_membrane_and_rate_belong_together_at_every_pace(config: NeuronConfig, span: float) -> None:
    currents = torch.linspace(-0.5, 1.2, 50, dtype=torch.float64)
    rate, membrane = paced(currents, round(500 / span), config, span)
    taken = config.theta * (1.0 if config.delay else config.beta)  # from the membrane of the step after
    assert float(((1 - config.beta) * membrane - (currents - taken * rate)).abs().max()) < 0.01
    assert float(rate[0]) == 0
    assert float(rate[-1]) > 0.5


def test_the_twin_has_the_same_weights_and_watches_for_nobody() -> None:
    network = SpikingResNet(NETWORKS["event-small"])
    seen: list[object] = []

    def look(_: nn.Module, __: object, out: object = None) -> None:
        seen.append(out)

    network.stem.register_forward_hook(look)
    network.stem.register_forward_pre_hook(look)
    twin = at_pace(network, 0.1)
    twin(torch.ones(2, 1, 2, 16, 16))
    assert not seen
    ours, theirs = dict(network.named_parameters()), dict(twin.named_parameters())
    assert all(theirs[name] is tensor for name, tensor in ours.items())
    network(torch.ones(1, 1, 2, 16, 16))
    assert len(seen) == 2


@pytest.mark.parametrize("layer", [make_neuron(PLIF), make_neuron(SLIDING_PSN), SpikeLayer(SpikeRule(), 1)])
def test_neurons_without_another_pace_say_why(layer: Neuron) -> None:
    refusal(lambda: at_pace(layer, 0.5), r"reset to zero|no memory")


AREAS = {"fast_sigmoid": lambda slope: 2 / slope}  # of the others it is 1
ALL = pytest.mark.parametrize("name", SURROGATES)


@ALL
@pytest.mark.parametrize("slope", [1.0, 3.0])
def test_area(name: str, slope: float) -> None:
    x = torch.cat([torch.zeros(1), torch.logspace(-5, math.log10(2000), 50_000, dtype=torch.float64)])
    surrogate = SURROGATES[name](slope)
    area = 2 * float(torch.trapezoid(surrogate.derivative(x), x))  # it is even
    assert math.isclose(area, AREAS.get(name, lambda _: 1)(slope), rel_tol=2e-3)


@ALL
@pytest.mark.parametrize("inclusive", [False, True])
def test_forward_is_the_step_and_backward_the_derivative(name: str, inclusive: bool) -> None:
    surrogate = SURROGATES[name]()
    x = torch.tensor([-1.0, -1e-7, 0.0, 1e-7, 1.0], requires_grad=True)
    s = spike(x, surrogate, inclusive=inclusive)
    assert s.tolist() == [0, 0, float(inclusive), 1, 1]
    (gradient,) = torch.autograd.grad(s.sum(), x)
    torch.testing.assert_close(gradient, surrogate.derivative(x.detach()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_membranes_are_at_least_float32_where_inputs_are_half_as_precise(dtype: torch.dtype) -> None:
    state: dict[str, Tensor] = {}
    spikes = make_neuron(PAPER_LIF)(torch.ones(3, 2, 5, dtype=dtype), state)
    assert spikes.dtype == dtype
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
