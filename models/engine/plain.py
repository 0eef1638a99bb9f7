"""Run a network in PyTorch where the engine does not support it: the same steps, spikes counted by module hooks."""

from collections.abc import Sequence
from threading import RLock

import torch
from torch import Tensor, nn

from spikesight.models.networks.metering import DenseMeter, Meter
from spikesight.models.networks.taught import TaughtNetwork, Watch
from spikesight.models.neurons.layers import at_pace
from spikesight.models.neurons.state import State, split_state, stack_states
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
        watch = Watch if isinstance(network, TaughtNetwork) else Rates
        self._rates = watch(network, layers) if layers else None  # type: ignore[arg-type]

    def at(self, span: float) -> nn.Module:
        """Return the network for steps of `span` times the trained length, sharing the weights."""
        with self._turn:  # not during a pass, which has hooks on the modules that are copied
            return at_pace(self.network, span)

    def size(self, name: str, x: Tensor, state: State) -> tuple[int, int, int]:
        """Return channels, rows and columns of a neuron layer for inputs like x [1, C, H, W]."""
        with self._turn:
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
