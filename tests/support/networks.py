"""Slow and plain computations that compiled ones are held against."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from spikesight.models.engine.engine import Engine
from spikesight.models.networks.metering import Meter
from spikesight.models.networks.resnet import NETWORKS
from spikesight.models.neurons.config import NeuronConfig
from spikesight.models.neurons.layers import step
from spikesight.models.steps import Step
from tests.support.engines import network_state


def plain_steps(
    x_seq: Tensor, v: Tensor, config: NeuronConfig, beta: float | Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Spikes [T, ...] and last potentials of neurons that are stepped one by one, from potentials v."""
    spikes = []
    for x in x_seq:
        s, v = step(x, v, config, beta)
        spikes.append(s)
    return torch.stack(spikes), v


def leaves(steps: int, shape: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    """Currents and potentials on both sides of the threshold, some on it."""
    generator = torch.Generator().manual_seed(seed)
    x_seq = torch.randn(steps, *shape, generator=generator) * 0.8 + 0.3
    v = torch.randn(shape, generator=generator)
    v.flatten()[::7] = 0.75
    x_seq[0].flatten()[::7] = 0.375
    return x_seq.requires_grad_(), v.requires_grad_()


class Passes(NamedTuple):
    """A layer of neurons forward and backward: what goes in, from either side, and what comes out."""

    config: NeuronConfig
    given: tuple[Tensor, Tensor, Tensor | None]  # x_seq, the state before, the leak
    behind: tuple[Tensor, Tensor]  # gradients of spikes and of the state after
    out: tuple[Tensor, Tensor]  # spikes, the state after
    gradients: tuple[Tensor, ...]  # of what was given

    def expect(self, out: tuple[Tensor, Tensor], gradients: Sequence[Tensor | None]) -> None:
        """These are the spikes and the state to the bit, and the gradients but for the order of sums."""
        assert 0 < out[0].mean() < 1
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(out, self.out))
        for ours, theirs in zip(gradients, self.gradients, strict=True):
            assert ours is not None
            tolerance = 2e-6 if ours.ndim else 5e-6  # the leak's gradient is one sum over everything
            assert (ours - theirs).abs().max() <= tolerance * max(1.0, float(theirs.abs().max()))


def plain_passes(config: NeuronConfig, steps: int = 6, shape: tuple[int, ...] = (3, 5, 7)) -> Passes:
    """Those of the plain loop; the leak is given where it is learnt."""
    x_seq, v = leaves(steps, shape)
    beta = torch.tensor(0.6, requires_grad=True) if config.learn_beta else None
    out = plain_steps(x_seq, v, config, beta)
    generator = torch.Generator().manual_seed(1)
    behind = torch.randn(out[0].shape, generator=generator), torch.randn(v.shape, generator=generator)
    gradients = torch.autograd.grad(out, [x_seq, v] if beta is None else [x_seq, v, beta], behind)
    return Passes(config, (x_seq, v, beta), behind, (out[0].detach(), out[1].detach()), gradients)


EVENT = replace(NETWORKS["event-medium"], depths=(1, 1), widths=(16, 32))
"""A small network of the registry's kind for events, for `inputs` and the engine."""


def inputs(
    steps: int, streams: int, channels: int = 2, density: float = 0.1, size: tuple[int, int] = (17, 13), seed: int = 1
) -> Tensor:
    """Seeded events, uint8 [steps, streams, channels, *size]: a share `density` of ones."""
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(steps, streams, channels, *size, generator=generator) < density).to(torch.uint8)


def assert_same(a: Step, b: Step, streams: slice = slice(None)) -> None:
    """The results of one run are those of some streams of another, bit for bit."""
    assert all(torch.equal(a.state[key], value[streams]) for key, value in b.state.items())
    for name in ("logits", "rates", "layer_spikes", "synops", "fired"):
        assert torch.equal(getattr(a, name), getattr(b, name)[:, streams]), name


def assert_no_bit_changes(engine: Engine, x_seq: Tensor) -> None:
    """Every stream alone, and all of them step by step, give what the whole x_seq [T, N, C, H, W] gives at once."""
    together = engine.run(x_seq, probe=[True] * x_seq.shape[1])
    for n in range(x_seq.shape[1]):
        mine = slice(n, n + 1)
        assert_same(engine.run(x_seq[:, mine], probe=[True]), together, mine)
    state, steps = engine.initial_state(x_seq.shape[1]), []
    for x in x_seq:
        given = {key: value.clone() for key, value in state.items()}
        result = engine.run(x[None].float(), state)
        assert all(torch.equal(state[key], value) for key, value in given.items()), "a state is a value"
        state, steps = result.state, [*steps, result.logits]
    assert torch.equal(torch.cat(steps), together.logits)
    assert all(torch.equal(state[key], value) for key, value in together.state.items())


def assert_equal_to_network(network: nn.Module, x_seq: Tensor) -> None:
    """Logits to 1e-4, spikes, operations and who fired equal; no threshold tie in these seeded inputs."""
    meter = Meter(network)
    meter.probe = True
    with torch.inference_mode():
        logits, after = network(x_seq.float(), None)
        counts = meter.read()
    meter.close()
    engine = Engine(network, *x_seq.shape[3:])
    result = engine.run(x_seq, probe=[True] * x_seq.shape[1])
    assert (result.logits - logits).abs().max() < 1e-4
    assert torch.equal(result.layer_spikes.sum(0), counts.layer_spikes)
    assert torch.equal(result.synops.sum(0), counts.synops)
    assert torch.equal(result.fired[-1], counts.fired)
    state = network_state(engine, result.state)
    assert state.keys() == after.keys()
    assert all((state[key] - after[key]).abs().max() < 1e-3 for key in after)
