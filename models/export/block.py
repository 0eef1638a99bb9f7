"""A network as one block of memory for the engine in WebAssembly (models/native/kernels/engine/browser.cpp).

The block holds the plan's structures with pointers of 32 bits, each an offset from the block's start. What a step
reads and writes lies behind the file's content and starts as zeros. The facts tell where: `engine` has the `size` of
the block and [offset, length] of `x` (bytes [C, H, W]), `state`, `logits`, `rates` (float32), `fired` (bits) and
`probed` (a byte: whether the last two are computed).
"""

import ctypes
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from spikesight.encoders.native.build import POINTER
from spikesight.models.contract import Card
from spikesight.models.engine.engine import CHOICES, plan_of, why_no_plan
from spikesight.models.engine.plan import EnginePlan
from spikesight.models.engine.structs import NativeBuffer, NativeLayer, NativeReadout, NativeRun
from spikesight.models.export.parity import ExportError
from spikesight.models.networks.taught import TaughtNetwork
from spikesight.models.novelty.score import SLOPE
from spikesight.models.steps import label_rules

WEB = Path(__file__).with_name("web")  # the page without a server, and engine.wasm, which benchmarks/wasm.py compiles
ALIGNED = 64
SCATTERED = {(1, 1), (1, 2), (3, 1), (3, 2), (7, 2)}  # (kernel, stride) with an event-driven kernel


def narrow(kind: type) -> type:
    """Return the type of a native structure or field with pointers of 32 bits."""
    if kind is POINTER:
        return ctypes.c_uint32
    if not issubclass(kind, ctypes.Structure):
        return kind
    fields = [(field[0], narrow(field[1])) for field in kind._fields_]
    return type(kind.__name__, (ctypes.Structure,), {"_fields_": fields})


Layer, Buffer, Readout, Run = map(narrow, (NativeLayer, NativeBuffer, NativeReadout, NativeRun))


class HeadStruct(ctypes.Structure):
    """The header at the start of the block."""

    _fields_ = [
        ("run", Run), ("readout", Readout), ("n_buffers", ctypes.c_int64), ("n_layers", ctypes.c_int64),
        ("buffers", ctypes.c_uint32), ("layers", ctypes.c_uint32), ("engine", ctypes.c_uint32),
    ]  # fmt: skip


@dataclass
class BlockMemory:
    """Where blocks lie one behind another: what several need lies in the first of them."""

    size: int = 0
    placed: dict[bytes, int] = field(default_factory=dict[bytes, int])  # offsets of arrays, by their content


@dataclass
class ModelBlock:
    """The block's content so far, with arrays placed once each."""

    plan: EnginePlan
    memory: BlockMemory

    def __post_init__(self) -> None:
        self.content = bytearray(ctypes.sizeof(HeadStruct))
        self.held = {tensor.data_ptr(): tensor for tensor in self.plan.held}

    def put(self, content: bytes) -> int:
        """Append content at the next aligned offset; return the offset."""
        at = -(-len(self.content) // ALIGNED) * ALIGNED
        self.content += bytes(at - len(self.content)) + content
        return at

    def array(self, address: int | None) -> int:
        """Append the plan's tensor at this address unless it is there already; return its offset, 0 for None, negative
        in a block before this one.
        """
        if not address:
            return 0
        content, begin, placed = self.held[address].numpy().tobytes(), self.memory.size, self.memory.placed
        if content not in placed:
            placed[content] = begin + self.put(content)
        return placed[content] - begin

    def narrowed(self, value: ctypes.Structure, into: Any) -> Any:
        """Copy a native structure into its 32-bit twin and place its arrays, except those of dense kernels."""
        for name, kind in value._fields_:  # type: ignore[misc] - all have two parts
            given = getattr(value, name)
            if isinstance(given, ctypes.Structure):
                self.narrowed(given, getattr(into, name))
            elif kind is not POINTER:
                setattr(into, name, given)
            elif name not in ("by_tap", "by_pair"):
                setattr(into, name, self.array(given))
        return into


def write_block(
    network: nn.Module, height: int, width: int, memory: BlockMemory, *, layers: int = 0, **constants: NDArray
) -> tuple[bytes, dict[str, Any]]:
    """Return the content of a memory's next block, for inputs of this size, and the facts that a runtime needs to step
    it. `layers`: how many neuron layers report rates; with `reach`, the logits are those of each place. `constants`:
    what else a runtime reads. Raises ExportError.
    """
    if reason := why_no_plan(network):
        raise ExportError(f"not exported: {reason}")
    plan = plan_of(network.eval(), height, width, rates=layers)
    block, head = ModelBlock(plan, memory), HeadStruct()
    convolutions = [conv for layer in plan.layers if not layer.pool for conv in (layer.main, layer.side)]
    if any(conv.buffer >= 0 and (conv.kernel, conv.stride) not in SCATTERED for conv in convolutions):
        raise ExportError("not exported: one of its convolutions has no event-driven kernel")
    head.n_buffers, head.n_layers = len(plan.buffers), len(plan.layers)
    head.buffers = block.put(b"".join(bytes(block.narrowed(one, Buffer())) for one in plan.buffers))
    head.layers = block.put(b"".join(bytes(block.narrowed(one, Layer())) for one in plan.layers))
    block.narrowed(plan.readout, head.readout)
    places = dict[str, tuple[int, int]]()
    if isinstance(network, TaughtNetwork):
        config, taught, length = network.config, network.head, network.memory.length
        sizes = [taught.out_features, config.slices, length, plan.rates_size, taught.in_features // config.slices]
        sizes += [sum(network.channels[:layers]), config.places, *plan.shape, config.input_places]
        constants["taught"] = np.array(sizes, np.uint32)  # as in native/kernels/readout.h
        constants["head"] = np.ascontiguousarray(taught.weight.detach().numpy().T)
        constants["head_bias"] = taught.bias.detach().numpy()
    for name, values in constants.items():
        places[name] = block.put(values.tobytes()), values.size
    run, end = head.run, -(-len(block.content) // ALIGNED) * ALIGNED
    run.steps = run.streams = run.threads = 1
    run.force, run.state_size, run.spike_layers = CHOICES["events"], plan.state_size, plan.spike_layers
    run.fired_size, run.rates_size = plan.fired_size, plan.rates_size
    sizes = {
        "x": (math.prod(plan.shape), 1), "state": (plan.state_size, 4), "logits": (plan.readout.outputs, 4),
        "rates": (plan.rates_size, 4), "fired": (plan.fired_size, 1), "probed": (1, 1),
        "layer_spikes": (plan.spike_layers, 8), "synops": (1, 8),
    }  # fmt: skip
    for name, (count, size) in sizes.items():
        places[name] = end, count
        for pointer in ("before", "after") if name == "state" else (name,):
            setattr(run, pointer, end)
        end += -(-count * size // ALIGNED) * ALIGNED
    block.content[: ctypes.sizeof(HeadStruct)] = bytes(head)
    memory.size += end
    return bytes(block.content), {"engine": {"size": end, **places}, "layers": layers_of(plan)}


def judging(card: Card) -> dict[str, NDArray]:
    """Return the constants of a network's read-out, by their names and in their order in native/kernels/readout.h."""
    known, horizon = card.novelty, card.contract.horizon
    rates, centres, active = (known.width, len(known.distance.centres), known.active[-1]) if known else (0, 0, 0.0)
    sizes = [len(card.labels), rates, centres, horizon, card.contract.steps]
    found: dict[str, NDArray] = {"sizes": np.array(sizes, np.int32)}
    found["rules"] = np.array([active, SLOPE, *label_rules(horizon).values()])
    return found | known.constants(horizon) if known else found


def layers_of(plan: EnginePlan) -> list[dict[str, Any]]:
    """Describe the neuron layers for display, in the order of `fired`."""
    found: list[dict[str, Any]] = []
    for number, key in enumerate(plan.neurons, 1):
        _, channels, height, width = plan.states[key]
        found.append({"title": f"layer {number}", "channels": channels, "height": height, "width": width})
    return found
