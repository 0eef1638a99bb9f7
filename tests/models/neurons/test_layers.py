"""Neurons: golden spike trains, parity with snnTorch and SpikingJelly, state as a value."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from spikesight.models.neurons.config import CLIF, IF, PAPER_LIF, PLIF, RECTIFIER, SLIDING_PSN, NeuronConfig
from spikesight.models.neurons.layers import Neuron, make_neuron
from spikesight.models.neurons.surrogate import SURROGATES

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
        (got * weight).sum().backward()
        (torch.stack(expected) * weight).sum().backward()
        assert mine.grad is not None
        torch.testing.assert_close(mine.grad, theirs.grad)


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
    layer, state, parts = make_neuron(config), {}, []
    whole_state: dict[str, torch.Tensor] = {}
    whole = layer(x, whole_state)
    for chunk in x.split([1, 4, 7, 8]):
        parts.append(layer(chunk, state))
    assert torch.equal(torch.cat(parts), whole)
    assert set(state) == set(whole_state)
    assert all(torch.equal(state[key], whole_state[key]) for key in state)
    single, steps = {}, []
    for chunk in x.split(1):
        steps.append(layer(chunk, single))
    assert torch.equal(torch.cat(steps), whole)


@pytest.mark.parametrize("config", KINDS, ids=str)
def test_every_kind_spikes_learns_and_keeps_its_input(config: NeuronConfig) -> None:
    x = (torch.randn(9, 4, 6, generator=torch.Generator().manual_seed(6)) + 0.4).requires_grad_()
    before, layer, state = x.detach().clone(), make_neuron(config), {}
    spikes = layer(x, state)
    assert set(spikes.unique().tolist()) == {0.0, 1.0}
    assert all(v.shape == (4, 6) for v in state.values())
    spikes.sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad.any()
    assert all(p.grad is not None for p in layer.parameters())
    assert torch.equal(x.detach(), before)


@pytest.mark.parametrize("config", [PAPER_LIF, CLIF, SLIDING_PSN], ids=["lif", "clif", "psn"])
def test_bfloat16_currents_keep_float32_membranes(config: NeuronConfig) -> None:
    x, state = torch.rand(5, 2, 8, generator=torch.Generator().manual_seed(8)) * 2, {}
    x = x.bfloat16()
    spikes = make_neuron(config)(x, state)
    assert spikes.dtype == torch.bfloat16
    if config.kind != "psn":
        assert all(v.dtype == torch.float32 for v in state.values())
    assert torch.equal(spikes.float(), make_neuron(config)(x.float(), {}))


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


def test_the_rectifier_keeps_no_state() -> None:
    state: dict[str, torch.Tensor] = {}
    x = torch.tensor([[[-1.0, 0.5]], [[2.0, 0.0]]])
    assert torch.equal(make_neuron(RECTIFIER)(x, state), torch.tensor([[[0.0, 0.5]], [[2.0, 0.0]]]))
    assert not state


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
    with pytest.raises(ValueError, match=says):
        make_neuron(NeuronConfig(**wrong))
    assert NeuronConfig(surrogate="sigmoid", slope=3.0).spike_function() == SURROGATES["sigmoid"](3.0)
