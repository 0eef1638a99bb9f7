"""What runs a network on inputs of one shape: the engine, or PyTorch where the engine has no plan for it."""

from collections.abc import Sequence
from functools import cached_property
from threading import RLock
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikesight.models.engine.engine import Engine, why_not
from spikesight.models.networks.metering import DenseMeter, Meter
from spikesight.models.networks.taught import RateWatch, TaughtNetwork
from spikesight.models.neurons.layers import Neuron, at_pace, neuron_names
from spikesight.models.neurons.probe import Map, thresholds_of
from spikesight.models.neurons.state import State, split_state, stack_states, zero_state
from spikesight.models.novelty.rates import Rates
from spikesight.models.steps import Step


class Plain:
    """A network that one thread at a time steps while others wait, since the hooks count the spikes of the last pass.

    `layers`: how many neuron layers report rates; `macs`: an ANN's dense multiply-adds a step (its spikes are not
    counted), None for a spiking network.
    """

    def __init__(self, network: nn.Module, layers: int, macs: int | None) -> None:
        self.network, self._turn = network, RLock()
        self._meter = Meter(network) if macs is None else DenseMeter(macs)
        watch = RateWatch if isinstance(network, TaughtNetwork) else Rates
        self._rates = watch(network, layers) if layers else None  # type: ignore[arg-type]

    def at(self, span: float) -> nn.Module:
        """Return the network for steps of `span` times the trained length, sharing the weights."""
        with self._turn:  # not during a pass, which has hooks on the modules that are copied
            return at_pace(self.network, span)

    def size(self, layer: int, x: Tensor, state: State) -> tuple[int, int, int]:
        """Return channels, rows and columns of a neuron layer for inputs like x [1, C, H, W]."""
        with self._turn:
            name = neuron_names(self.network)[layer]
            if name not in self._meter.sizes:
                self.step(x, state)
            return self._meter.sizes[name]

    @torch.inference_mode()
    def step(self, x: Tensor, state: State, probe: Sequence[bool] = ()) -> Step:
        """Step N streams, x [N, C, H, W], one by one, since dense kernels may sum in another order in larger batches.

        Firing neurons are recorded for all streams if any of `probe` is true.
        """
        states = split_state(state) or [state] * len(x)  # an ANN has no state
        steps = [self._step(x[n : n + 1], one, any(probe)) for n, one in enumerate(states)]
        logits, after, *others = zip(*steps)
        return Step(torch.cat(logits), stack_states(list(after)), *map(torch.cat, others))

    def _step(self, x: Tensor, state: State, probe: bool) -> Step:
        """Step one stream, x [1, C, H, W]."""
        with self._turn:
            self._meter.probe = probe
            logits, after = self.network(x[None].float(), state)
            counts = self._meter.read()
            rates = torch.zeros(1, 0) if self._rates is None else self._rates.read()[0]
        return Step(logits[0].float(), after, counts.layer_spikes, counts.synops, counts.fired, rates)


class Runner:
    """Runs a network on inputs of `shape` [C, H, W]. It holds no state of any stream, so several threads may use it.

    `layers`: how many neuron layers report rates; `macs`: see `Plain`; `engine`: made unless given.
    """

    def __init__(
        self,
        network: nn.Module,
        shape: tuple[int, int, int],
        *,
        layers: int = 0,
        macs: int | None = None,
        engine: Engine | None = None,
    ) -> None:
        self.network, self.shape, self._macs = network, shape, macs
        self.reason = why_not(network)
        if engine is None and not self.reason:
            engine = Engine(network, *shape[1:], rates=layers)
        self.engine = engine
        self._zero = zero_state(network, *shape) if engine is None else engine.initial_state()
        self._plain = Plain(network, layers, macs) if engine is None else None

    @property
    def rates_width(self) -> int:
        """How many firing rates a step reports (`Step.rates`)."""
        if self.engine is not None:
            return self.engine.rates_width
        return self.step(torch.zeros(1, *self.shape), self._zero).rates.shape[1]

    def at(self, span: float) -> tuple[nn.Module, Engine | None]:
        """Return network and engine for steps of `span` times the trained length, sharing the weights."""
        network = at_pace(self.network, span) if self._plain is None else self._plain.at(span)
        return network, None if self.engine is None else self.engine.at(span)

    def initial_state(self, n: int = 1) -> State:
        """Return the state of n streams before their first step."""
        if n == 1:
            return dict(self._zero)
        return {key: tensor.expand(n, *tensor.shape[1:]) for key, tensor in self._zero.items()}

    def step(self, x: Tensor, state: State, probe: Sequence[bool] = ()) -> Step:
        """Run one step of N streams, x [N, C, H, W]; see `Classifier.step`."""
        if self.engine is not None:
            made = self.engine.run(x[None], state, probe)
            return Step(made.logits[0], made.state, made.layer_spikes[0], made.synops[0], made.fired[0], made.rates[0])
        assert self._plain is not None
        return self._plain.step(x, state, probe)

    @torch.inference_mode()
    def run(self, x_seq: Tensor, state: State) -> Step:
        """Run T steps of N streams, x_seq [T, N, C, H, W]; bit for bit the results of T calls of `step`."""
        if self.engine is not None:
            return self.engine.run(x_seq, state)
        results: list[Step] = []
        for x in x_seq:
            results.append(self.step(x, results[-1].state if results else state))
        logits, spikes, synops, fired, rates = (
            torch.stack(parts) for parts in zip(*((r.logits, *r[2:]) for r in results))
        )
        return Step(logits, results[-1].state, spikes, synops, fired, rates)

    @cached_property
    def maps(self) -> tuple[Map, ...]:
        """Title, size and thresholds of each neuron layer, in `Step.fired`'s order; none for an ANN."""
        found: list[Map] = []
        for layer, name in enumerate(neuron_names(self.network) if self._macs is None else ()):
            if self.engine is not None:
                size = self.engine.size(layer)
            else:
                assert self._plain is not None
                size = self._plain.size(layer, torch.zeros(1, *self.shape), self._zero)
            neuron = cast(Neuron, self.network.get_submodule(name))
            found.append(Map(f"layer {layer + 1}", *size, thresholds_of(neuron, size[0])))
        return tuple(found)

    def membranes(self, state: State, n: int, layer: int, row: int, column: int) -> NDArray[np.float32] | None:
        """Return stream n's membrane potentials [C] at a place of a layer; None outside the layer or without state."""
        if layer >= len(self.maps) or row >= self.maps[layer].height or column >= self.maps[layer].width:
            return None
        if self.engine is not None:
            return self.engine.membranes(state, n, layer, row, column)
        name = neuron_names(self.network)[layer]
        part = state.get(cast(Neuron, self.network.get_submodule(name)).key)
        return None if part is None else part[n].reshape(self.maps[layer][1:4])[:, row, column].float().numpy()
