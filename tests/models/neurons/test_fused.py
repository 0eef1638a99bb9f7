import itertools

import pytest
import torch
from torch import Tensor

from spikesight.encoders.native.build import library
from spikesight.models.engine.engine import engine_status
from spikesight.models.neurons.config import PAPER_LIF, NeuronConfig
from spikesight.models.neurons.fused import SURROGATES as FUSED
from spikesight.models.neurons.fused import can_fuse, fused_steps
from spikesight.models.neurons.layers import make_neuron
from spikesight.models.neurons.surrogate import SURROGATES
from tests.support.networks import leaves, plain_passes, plain_steps

pytestmark = pytest.mark.skipif(library() is None, reason=engine_status())


OPTIONS = list(itertools.product(("subtract", "zero"), *[(False, True)] * 4))


def assert_same(config: NeuronConfig, steps: int = 6, shape: tuple[int, ...] = (3, 5, 7)) -> None:
    plain = plain_passes(config, steps, shape)
    x_seq, before, beta = plain.given
    out = fused_steps(x_seq, before, config, beta)
    given = [one for one in plain.given if one is not None]
    plain.expect(out, torch.autograd.grad(out, given, plain.behind))


@pytest.mark.parametrize("surrogate", FUSED)
@pytest.mark.parametrize("options", OPTIONS)
def test_equals_the_plain_loop(surrogate: str, options: tuple[str, bool, bool, bool, bool]) -> None:
    """Options of reset, delay, inclusive, scale_input, detach_reset."""
    for learn_beta in (False, True):
        assert_same(NeuronConfig(0.75, 0.75, *options, learn_beta, surrogate))  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(1,), (15,), (16,), (17,), (1023,), (2, 1025)])
def test_any_number_of_neurons(shape: tuple[int, ...]) -> None:
    assert_same(NeuronConfig(theta=0.75), 3, (*shape, 3))


def test_threads_change_nothing() -> None:
    config = NeuronConfig(reset="zero", delay=False, learn_beta=True)
    x_seq = torch.randn(4, 8, 1 << 16)
    x_seq.requires_grad_()
    threads, outcomes = torch.get_num_threads(), []
    for count in (1, 3):
        torch.set_num_threads(count)
        for big in (x_seq, torch.cat([x_seq] * 5, 1)):
            beta = torch.tensor(0.5, requires_grad=True)
            spikes, after = fused_steps(big, None, config, beta)
            gradients = torch.autograd.grad((spikes * big.detach()).sum(), [x_seq, beta])
            outcomes.append((spikes[:, :8], after[:8], *gradients))
    torch.set_num_threads(threads)
    once, many, again, many_again = outcomes
    assert all(torch.equal(a, b) for a, b in zip(once, again))
    assert all(torch.equal(a, b) for a, b in zip(many, many_again))
    assert torch.equal(once[0], many[0])
    assert torch.allclose(once[2] * 5, many[2], rtol=1e-5)


def test_no_state_is_zeros_and_memory_order_stays() -> None:
    x_seq, _ = leaves(4, (2, 6, 5, 3))
    config = NeuronConfig(theta=0.75)
    spikes, after = fused_steps(x_seq, None, config)
    plain = plain_steps(x_seq, torch.zeros(2, 6, 5, 3), config)
    assert torch.equal(spikes, plain[0])
    last = x_seq.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (4, 2))
    spikes, after = fused_steps(last, after, config)
    assert torch.equal(spikes, plain_steps(x_seq, plain[1], config)[0])
    assert spikes.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    (gradient,) = torch.autograd.grad((spikes * last.detach()).sum() + after.sum(), x_seq)
    again, end = plain_steps(x_seq, plain[1], config)
    (expected,) = torch.autograd.grad((again * x_seq.detach()).sum() + end.sum(), x_seq)
    assert (gradient - expected).abs().max() < 1e-5


def test_what_it_does_not_take() -> None:
    assert not can_fuse(torch.zeros(2, 3, dtype=torch.float64), PAPER_LIF)
    assert not can_fuse(torch.zeros(2, 0), PAPER_LIF)
    assert not can_fuse(torch.zeros(2, 3, device="meta"), PAPER_LIF)
    assert can_fuse(torch.zeros(2, 3), PAPER_LIF)


class Flat:
    """A surrogate that the kernels do not have: the same derivative everywhere."""

    def derivative(self, x: Tensor) -> Tensor:
        return torch.full_like(x, 0.25)


def test_a_surrogate_that_the_kernels_lack_is_differentiated_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SURROGATES, "flat", Flat)
    x = torch.rand(1, 50, requires_grad=True)
    (gradient,) = torch.autograd.grad(make_neuron(NeuronConfig(surrogate="flat"))(x, {}).sum(), x)
    assert torch.equal(gradient, torch.full_like(x, 0.25))
