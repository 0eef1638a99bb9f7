"""Event-driven inference on the CPU: the same logits as the network, computed from its spikes alone.

Convolutions visit only non-zero inputs where these are few and multiply densely where they are many; the engine chooses
for every layer and frame by the number of events in it. Both ways add the same terms in the same order, so the choice
never changes a bit, except for frames on a matrix unit (AMX), which sums in another order. Batching changes no bit
either: a stream has the same logits alone and in any batch. The same pass counts spikes and synaptic operations.
"""

import ctypes
import os
import weakref
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spikesight.encoders.native.build import build, library
from spikesight.models.engine.plan import KINDS, EnginePlan, padded, set_pace
from spikesight.models.engine.plan_converted import make_converted_plan, unplanned
from spikesight.models.engine.plan_resnet import make_plan
from spikesight.models.engine.structs import NativeBuffer, NativeLayer, NativeRun
from spikesight.models.engine.taught import TaughtHead
from spikesight.models.native.threads import threads
from spikesight.models.networks.converted.network import ConvertedNetwork
from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.networks.taught import TaughtNetwork
from spikesight.models.neurons.state import State
from spikesight.models.steps import Step

MEMBRANES = "membranes"
PRECISIONS = ("fp32", "bf16")
CHOICES = {"auto": 0, "events": 1, "dense": 2}
HAND_OVER_NS = 30_000  # until a sleeping thread helps, as on idle processors of all kinds: work of twice that is shared

EngineResult = Step
"""The result of a run: a Step whose tensors, except the state, have T in front."""


def engine_status() -> str:
    """Return one line for users: which native kernels are in use, or why none are."""
    made = build()
    if made.library is None:
        return f"native kernels: none ({made.reason}); the plain network runs instead, slower, with the same results"
    rounded = "; weights that spikes meet rounded to bfloat16" if rounds_weights() else ""
    return f"native kernels: {made.isa}, {made.reason}{rounded}"


def rounds_weights(precision: str | None = None) -> bool:
    """Return whether weights are rounded to bfloat16: requested, and supported by this CPU."""
    if precision is not None and precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    chosen = precision or os.environ.get("SPIKESIGHT_PRECISION")
    return chosen == "bf16" and build().isa in ("avx512-bf16", "avx512-amx")


def why_not(network: nn.Module) -> str:
    """Return why `Engine` cannot run this network on this machine, as a sentence; empty if it can."""
    if library() is None:
        return build().reason
    if (chosen := os.environ.get("SPIKESIGHT_PRECISION", "")) not in ("", *PRECISIONS):
        return f"SPIKESIGHT_PRECISION={chosen}: known are {', '.join(PRECISIONS)}"
    if not all(p.device.type == "cpu" and p.dtype == torch.float32 for p in network.parameters()):
        return "its weights are not float32 on the CPU"
    return why_no_plan(network)


def why_no_plan(network: nn.Module) -> str:
    """Return why the engine has no plan for this network on any machine, as a sentence; empty if it has one."""
    if isinstance(network, ConvertedNetwork):
        return unplanned(network)
    if isinstance(network, TaughtNetwork):
        return why_no_plan(network.backbone)
    if not isinstance(network, SpikingResNet):
        return f"{type(network).__name__} is no network that the engine knows"
    if network.config.neuron.kind not in KINDS:
        return f"neurons of kind {network.config.neuron.kind!r}"
    return "its logits are spikes" if network.config.spiking_readout else ""


def plan_of(
    network: nn.Module,
    height: int,
    width: int,
    *,
    rounded: bool = False,
    rates: int = 0,
    places: int = 1,
) -> EnginePlan:
    """Return the native plan of a network for inputs of this size; `why_no_plan` must be empty. The plan of a taught
    network is its backbone's, with all rates, which the head needs.
    """
    if isinstance(network, ConvertedNetwork):
        return make_converted_plan(network, rounded=rounded, rates=rates)
    if isinstance(network, TaughtNetwork):
        rates, places, network = len(network.neurons), network.config.places, network.backbone
    assert isinstance(network, SpikingResNet)
    return make_plan(network, height, width, rounded=rounded, rates=rates, places=places)


def can_run(network: nn.Module) -> bool:
    """Return whether `Engine` can run this network on this machine."""
    return not why_not(network)


class Engine:
    """A network compiled for inputs of one size. It keeps no stream's state, and several threads may run it at once:
    each call has its own scratch memory, so memory grows with the most calls ever made at once. One of the calls made
    at once may share its work with further threads (`native.threads`) where that pays; results do not change.

    The state is {"membranes": float32 [N, M]}. `choice` forces one kernel ("events" or "dense"): for tests and
    benchmarks. `precision` "bf16" rounds weights to bfloat16, except the first layer's, so that dense frames take half
    the time; None: as SPIKESIGHT_PRECISION says, else "fp32", exact. The first `rates` neuron layers report their
    channels' rates (models/novelty), a spiking ResNet's in `places` x `places` parts of the map; a taught network's are
    means over its window. Raises RuntimeError if `why_not` gives a reason.
    """

    def __init__(
        self,
        network: nn.Module,
        height: int,
        width: int,
        *,
        choice: str = "auto",
        precision: str | None = None,
        rates: int = 0,
        places: int = 1,
    ) -> None:
        if reason := why_not(network):
            raise RuntimeError(f"the engine does not run this network: {reason}")
        rounded = rounds_weights(precision)
        plan = plan_of(network, height, width, rounded=rounded, rates=rates, places=places)
        head = None
        if isinstance(network, TaughtNetwork):
            head = TaughtHead(network, rates)
        if plan.shape[1:] != (height, width):
            raise ValueError(f"this network takes {plan.shape[1]}x{plan.shape[2]} inputs, not {height}x{width}")
        self._open(plan, choice, head)

    def _open(self, plan: EnginePlan, choice: str, head: TaughtHead | None) -> None:
        """Pass a plan to the native library and keep its handle."""
        lib = library()
        assert lib is not None
        self.plan, self._choice, self.library, self._head = plan, choice, lib, head
        self.shape, self.outputs, self.state_size = plan.shape, plan.readout.outputs, plan.state_size
        layers = (NativeLayer * len(plan.layers))(*plan.layers)
        buffers = (NativeBuffer * len(plan.buffers))(*plan.buffers)
        parts = ctypes.addressof(buffers), len(buffers), ctypes.addressof(layers), len(layers)
        self._handle = lib.engine_plan(*parts, ctypes.addressof(plan.readout))
        weakref.finalize(self, lib.engine_free, self._handle)

    @property
    def rates_width(self) -> int:
        """S, how many rates a step reports."""
        return self.plan.rates_size if self._head is None else self._head.width

    def at(self, span: float) -> "Engine":
        """Return the engine for steps of `span` times the trained length, sharing the weights."""
        plan = replace(self.plan, layers=[NativeLayer.from_buffer_copy(layer) for layer in self.plan.layers])
        for layer in plan.layers:
            if layer.neuron:
                set_pace(layer, span)
        twin = Engine.__new__(Engine)
        twin._open(plan, self._choice, self._head and self._head.at(span))
        return twin

    def initial_state(self, n: int = 1) -> State:
        """Return the state of n streams before their first step."""
        membranes = {MEMBRANES: torch.zeros(n, self.state_size, dtype=torch.float32)}
        return membranes if self._head is None else membranes | self._head.state(n)

    def run(self, x_seq: Tensor, state: State | None = None, probe: Sequence[bool] = ()) -> Step:
        """Run T steps of N streams: x_seq [T, N, C, H, W], uint8 or float, and their state (None: zeros).

        A still image expanded along T (stride 0) is convolved once. `probe` [N]: streams whose firing neurons are
        recorded in `Step.fired`; the other streams have zeros there.
        """
        if x_seq.ndim != 5 or tuple(x_seq.shape[2:]) != self.shape or not x_seq.numel():
            raise ValueError(f"x_seq must be [T, N, {', '.join(map(str, self.shape))}], not {list(x_seq.shape)}")
        steps, streams = x_seq.shape[:2]
        before = None if state is None else state[MEMBRANES].contiguous()
        if before is not None and (before.shape != (streams, self.state_size) or before.dtype != torch.float32):
            raise ValueError(f"the state must be float32 [{streams}, {self.state_size}], not {list(before.shape)}")
        frozen = steps > 1 and x_seq.stride(0) == 0
        x = x_seq[0] if frozen else x_seq
        x = (x if x.dtype == torch.uint8 else x.float()).contiguous()
        after, logits = _empty((streams, self.state_size)), _empty((steps, streams, self.outputs))
        probed = torch.from_numpy(np.array(probe, np.uint8)) if any(probe) else None
        if probed is not None and len(probed) != streams:
            raise ValueError(f"probe must have {streams} entries, not {len(probed)}")
        layers, bits, width = self.plan.spike_layers, self.plan.fired_size, self.plan.rates_size
        layer_spikes = _empty((steps, streams, layers), np.int64)
        synops = _empty((steps, streams), np.int64)
        fired = torch.from_numpy(np.zeros((steps, streams, 0 if probed is None else bits), np.uint8))
        rates = _empty((steps, streams, width))
        call = NativeRun(steps, streams, x_is_float=x.dtype != torch.uint8, state_size=self.state_size, frozen=frozen)
        call.spike_layers, call.fired_size, call.rates_size = layers, bits, width
        call.force, call.threads, call.hand_over = CHOICES[self._choice], threads(), HAND_OVER_NS
        pointers = {"x": x, "before": before, "after": after, "logits": logits}
        pointers |= {"layer_spikes": layer_spikes, "synops": synops, "rates": rates}
        pointers |= {"fired": fired, "probed": probed}
        for name, tensor in pointers.items():
            setattr(call, name, None if tensor is None else tensor.data_ptr())
        if self.library.engine_run(self._handle, ctypes.addressof(call)):
            raise MemoryError(f"no memory for {steps} steps of {streams} streams at once")
        if self._head is None:
            return Step(logits, {MEMBRANES: after}, layer_spikes, synops, fired, rates)
        made = self._head.run(x_seq, rates, state or {})
        return Step(made.logits, {MEMBRANES: after} | made.state, layer_spikes, synops, fired, made.rates)

    def size(self, layer: int) -> tuple[int, int, int]:
        """Return channels, rows and columns of a neuron layer."""
        return self.plan.states[self.plan.neurons[layer]][1:]

    def membranes(self, state: State, n: int, layer: int, row: int, column: int) -> NDArray[np.float32]:
        """Return stream n's membrane potentials [C] at one place of a layer, in the network's units."""
        name = self.plan.neurons[layer]
        first, channels, _, width = self.plan.states[name]
        first += (row * width + column) * padded(channels)
        found, unit = state[MEMBRANES][n].numpy()[first : first + channels], self.plan.scales.get(name)
        return found if unit is None else found * unit.numpy()


def _empty(shape: tuple[int, ...], dtype: type = np.float32) -> Tensor:
    """Return an uninitialised tensor; unlike torch.empty this does not release the interpreter's lock."""
    return torch.from_numpy(np.empty(shape, dtype))
