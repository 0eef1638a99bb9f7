"""Export a network as C source: the fixed files of models/export/c, and its weights and sizes as generated constants.

Layers come from the engine's plan, so that every sum has the same terms in the same order as in the engine. Only the
memory layout differs: channels are not padded, and feature maps (`maps`) share memory when not needed at the same time.
"""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from spikesight.encoders.native.targets import EVENT_KERNELS, NETWORK_KERNELS
from spikesight.models.contract import Card
from spikesight.models.engine.engine import plan_of
from spikesight.models.engine.plan import KINDS
from spikesight.models.engine.structs import NativeConvolution, NativeLayer
from spikesight.models.export.block import judging
from spikesight.models.export.parity import ExportError
from spikesight.models.networks.resnet import SpikingResNet
from spikesight.models.networks.taught import TaughtNetwork
from spikesight.models.novelty.conformal import ERROR_RATE, Trials

TEMPLATE = Path(__file__).with_name("c")
SOURCES = ("network.c", "answer.c", "events.c")  # concatenated into spikesight.c
RULES = (*(EVENT_KERNELS / f"{name}.h" for name in ("front", "follow", "words")), NETWORK_KERNELS / "readout.h")
BYTE = 127  # largest magnitude of an 8-bit weight


def why_not_c(network: nn.Module) -> str:
    """Return the reason, for messages, why a network cannot be exported to C; empty if it can."""
    network = network.backbone if isinstance(network, TaughtNetwork) else network
    if not isinstance(network, SpikingResNet):
        return f"{type(network).__name__} is no spiking ResNet, which is all that goes to C"
    if network.config.neuron.kind not in ("lif", "clif", "psn"):
        return f"neurons of kind {network.config.neuron.kind!r} do not go to C"
    if network.config.spiking_readout:
        return "a network whose logits are spikes does not go to C"
    return ""


def number(value: Any) -> str:
    """Return the C literal of an int, float64 or float32, exact to the last bit."""
    single = getattr(value, "dtype", None) == np.float32
    if not single and not isinstance(value, float):
        return str(int(value))
    digits = f"{value:.9g}" if single else f"{value:.17g}"
    digits = digits if any(mark in digits for mark in ".e") else digits + ".0"
    return digits + "f" * single


def text(label: str) -> str:
    """Return a C string literal; quotes, backslashes, "?" and all but printable ASCII become octal escapes.

    >>> text('a"b?')
    '"a\\\\042b\\\\077"'
    """
    plain = set(range(32, 127)) - set(b'"\\?')
    return '"' + "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in label.encode()) + '"'


def constant(name: str, array: NDArray, row: str = "") -> str:
    """Return an array's C definition; `row`: a 2-D array's row length in C. Raises ExportError for NaN or infinity."""
    if not np.isfinite(array).all():
        raise ExportError("not exported: some of its weights are not finite")
    kind = {"f": "float", "d": "double", "b": "SpikesightWeight", "i": "int32_t"}[array.dtype.char]
    values = [number(value) for value in array.ravel()]
    wide = array.shape[1] if row else 12
    lines = [", ".join(values[at : at + wide]) for at in range(0, len(values), wide)]
    inner = "},\n    {".join(lines).join("{}") if row else ",\n    ".join(lines)
    return f"const {kind} {name}[]{row and f'[{row}]'} = {{\n    {inner}}};\n"


def as_bytes(weight: NDArray, axes: tuple[int, ...]) -> tuple[NDArray[np.int8], NDArray, NDArray]:
    """Quantise weights to -BYTE to BYTE, with a common unit along `axes`; return int8, units, dequantised weights."""
    unit = np.maximum(np.abs(weight).max(axes, keepdims=True), 1e-30) / BYTE
    near = np.rint(weight / unit)
    return near.astype(np.int8), unit.squeeze(axes), near * unit


@dataclass
class Piece:
    """A block of the scratch memory: size and offset `at` in floats, and the first and last layer that need it."""

    size: int
    first: int
    last: int
    at: int = 0


def lay_out(pieces: Iterable[Piece]) -> int:
    """Set the pieces' offsets so that no two needed at the same time overlap; return the total size in floats."""
    placed = list[Piece]()
    for piece in sorted(pieces, key=lambda piece: -piece.size):
        beside = [one for one in placed if one.first <= piece.last and piece.first <= one.last]
        ends = sorted([0, *(one.at + one.size for one in beside)])
        piece.at = next(
            at for at in ends if all(at + piece.size <= one.at or one.at + one.size <= at for one in beside)
        )
        placed.append(piece)
    return max(piece.at + piece.size for piece in placed)


class CSource:
    """A generator of the texts of model.h and model.c for one network; `int8` quantises weights to 8 bits."""

    def __init__(self, network: SpikingResNet | TaughtNetwork, card: Card, *, int8: bool) -> None:
        self.card, self.int8 = card, int8
        self.taught = network if isinstance(network, TaughtNetwork) else None
        layers = 0 if card.novelty is None else card.novelty.layers
        self.plan = plan = plan_of(network, card.contract.height, card.contract.width, rates=layers)
        self.held = {tensor.data_ptr(): tensor for tensor in plan.held}
        self.arrays, self.layers = list[str](), list[str]()
        self.channels = {0: plan.shape[0]}
        self.state = 0
        for layer in plan.layers:
            channels = self.channels[layer.main.buffer] if layer.pool else layer.main.fan_out
            self.channels |= {layer.current: channels, layer.spikes: channels}
        self.fused = {i for i, layer in enumerate(plan.layers) if layer.fused}
        self.buffers, self.extra, self.scratch = self.place()
        for i, layer in enumerate(plan.layers):
            if i + 1 not in self.fused:
                self.write_layer(i, layer)

    def is_float(self, buffer: int) -> bool:
        """Return whether a map holds floats rather than bytes; `buffer`: number in the plan, 0 for the input."""
        return bool(self.plan.buffers[buffer].is_float) or (buffer == 0 and self.card.contract.kind == "image")

    def size(self, buffer: int) -> int:
        """Return a map's size in units of a float; four bytes count as one."""
        shape = self.plan.buffers[buffer]
        values = shape.height * shape.width * self.channels[buffer]
        return values if self.is_float(buffer) else -(-values // 4)

    def place(self) -> tuple[dict[int, Piece], dict[tuple[int, str], Piece], int]:
        """Return the maps' blocks by buffer, temporary blocks by (layer, "sums" or "row"), and the total size."""
        pieces, extra = dict[int, Piece](), dict[tuple[int, str], Piece]()
        for i, layer in enumerate(self.plan.layers):
            at = i + 1 if i + 1 in self.fused else i  # index of the layer with which it runs
            read = [layer.main.buffer, layer.side.buffer, layer.before.buffer, layer.after.buffer]
            written = [layer.current] * (at == i) + [layer.spikes]
            for buffer in (*read, *written):
                if buffer >= 0 and not (i in self.fused and buffer == layer.main.buffer):
                    piece = pieces.setdefault(buffer, Piece(self.size(buffer), at, at))
                    piece.last = at
            channels = self.channels[layer.main.buffer] if layer.pool else layer.main.fan_out
            if layer.current < 0:
                extra[i, "sums"] = Piece(layer.height * layer.width * channels, i, i)
            if layer.pool:
                extra[i, "row"] = Piece(self.plan.buffers[layer.main.buffer].width * channels, i, i)
        pieces[0].first = 0
        pieces[0].last = len(self.plan.layers) if self.taught else pieces[0].last  # the head reads it
        pieces[self.plan.readout.buffer].last = len(self.plan.layers)
        return pieces, extra, lay_out([*pieces.values(), *extra.values()])

    def define(self, array: Tensor | NDArray) -> str:
        """Add a constant array to model.c; return the array's C name."""
        name = f"array_{len(self.arrays)}"
        self.arrays.append("static " + constant(name, np.asarray(array)))
        return name

    def convolution(self, conv: NativeConvolution, then: NDArray | None) -> tuple[str, NDArray | None]:
        """Return a convolution's C initialiser and, for 8-bit weights, its units [Co] (else None): an integer sum times
        its channel's unit is the real sum. `then`: units to convert the sums to; None: real values.
        """
        if conv.buffer < 0:
            return "{-1, 0, 0, 0, NULL, NULL}", None
        packed = self.held[conv.by_channel].permute(1, 2, 0, 3).flatten(2)  # [Ci, K K, Co padded]
        weight = packed[: self.channels[conv.buffer], :, : conv.fan_out].contiguous().numpy()
        scale, unit = "NULL", None
        if self.int8:
            weight, unit, _ = as_bytes(weight, (0, 1))
            scale = self.define((unit if then is None else unit / then).astype(np.float32))
        place = f"{self.map_of(conv.buffer)}, {conv.kernel}, {conv.stride}, {conv.pad}"
        return f"{{{place}, {self.define(weight)}, {scale}}}", unit

    def map_of(self, buffer: int) -> int:
        """Return a map's index in C's spikesight_maps; -1 for no buffer."""
        return -1 if buffer < 0 else sorted(self.buffers).index(buffer)

    def write_layer(self, i: int, layer: NativeLayer) -> None:
        """Add layer i's C initialiser, and the arrays that it refers to; a fused pool includes its convolution."""
        source = self.plan.layers[i - 1] if i in self.fused else layer  # the layer with the convolution
        channels = self.channels[layer.main.buffer] if layer.pool else layer.main.fan_out
        fields: dict[str, Any] = {"height": layer.height, "width": layer.width, "channels": channels}
        fields["pool"] = layer.pool
        if layer.pool and i not in self.fused:
            fields["main"] = f"{{{self.map_of(layer.main.buffer)}, 0, 0, 0, NULL, NULL}}"
            fields["side"] = "{-1, 0, 0, 0, NULL, NULL}"
        else:
            fields["side"], after = self.convolution(layer.side, None)
            fields["main"], unit = self.convolution(source.main, after)
            bias = self.held[source.bias][:channels].numpy()
            fields["bias"] = self.define(bias if unit is None else (bias / unit).astype(np.float32))
        fields["sums"] = self.buffers[layer.current].at if layer.current >= 0 else self.extra[i, "sums"].at
        fields["row"] = self.extra[i, "row"].at if layer.pool else 0
        for name, shortcut in (("before", layer.before), ("after", layer.after)):
            fields[name] = f"{{{self.map_of(shortcut.buffer)}, {shortcut.stride}, {shortcut.first}}}"
        fields["spikes"] = self.map_of(layer.spikes)
        fields["neuron"] = layer.kind if layer.neuron else "SPIKESIGHT_QUIET"
        if layer.neuron:
            fields |= {name: getattr(layer, name) for name in ("delay", "zero", "inclusive", "taps")}
            charge = 1 - layer.beta if layer.kind == KINDS["clif"] else layer.charge
            reals = {name: getattr(layer, name) for name in ("beta", "theta", "gain", "limit")} | {"charge": charge}
            fields |= {name: number(np.float32(value)) for name, value in reals.items()}
            fields["filter"] = self.define(self.held[layer.weight]) if layer.weight else "NULL"
            parts = {KINDS["clif"]: 2, KINDS["psn"]: max(1, layer.taps - 1)}.get(layer.kind, 1)
            fields["state"], self.state = self.state, self.state + parts * layer.height * layer.width * channels
            fields["places"], fields["rates"] = layer.rate_places, layer.rate_first
        self.layers.append("    {" + ", ".join(f".{name} = {value}" for name, value in fields.items()) + "},\n")

    def model_c(self) -> str:
        """Return the text of model.c: maps, layers, weights, labels and calibration as constants."""
        card, readout = self.card, self.plan.readout
        last = self.channels[readout.buffer]
        maps = []
        for buffer, piece in sorted(self.buffers.items()):
            shape = self.plan.buffers[buffer]
            numbers = piece.at, shape.height, shape.width, self.channels[buffer], int(self.is_float(buffer))
            maps.append(f"    {{{', '.join(map(str, numbers))}}},\n")
        weight, bias = (self.held[address].numpy() for address in (readout.weight, readout.bias))
        weight, bias = weight[:last, : self.plan.classes], bias[: self.plan.classes]
        if self.taught is not None:
            weight, bias = self.taught.head.weight.detach().numpy().T, self.taught.head.bias.detach().numpy()
        parts = [
            '#include "model.h"\n#include "spikesight.h"\n\n',
            *self.arrays,
            "const SpikesightMap spikesight_maps[] = {\n", *maps, "};\n",
            "const SpikesightLayer spikesight_layers[] = {\n", *self.layers, "};\n",
            constant("spikesight_weight", weight.ravel()),
            constant("spikesight_bias", bias),
            f"const char *const spikesight_labels[] = {{{', '.join(map(text, card.labels))}}};\n",
        ]  # fmt: skip
        rows = {"whiten": "SPIKESIGHT_RATES", "placed": "SPIKESIGHT_CENTRES", "lines": "8"}
        parts += [constant(f"spikesight_{name}", values, rows.get(name, "")) for name, values in judging(card).items()]
        limits = self.trials.limits(ERROR_RATE) if self.trials else np.full(len(card.labels), np.finfo(float).max)
        parts.append(constant("spikesight_limits", limits))
        return "".join(parts)

    @property
    def trials(self) -> Trials | None:
        """The conformal calibration at the contract's bin; None if there is none that commits at ERROR_RATE."""
        found = self.card.conformal and self.card.conformal.trials.get(self.card.contract.bin_us)
        return found if found and found.least <= ERROR_RATE else None

    def model_h(self, name: str, more: Mapping[str, float]) -> str:
        """Return the text of model.h: sizes and parameters as macros, with the numbers of `more` by name."""
        c, known = self.card.contract, self.card.novelty
        events = c.kind == "events"
        facts: dict[str, Any] = {
            "events": int(events), "channels": c.channels, "height": c.height, "width": c.width,
            "inputs": c.channels * c.height * c.width, "classes": len(self.card.labels), "layers": len(self.layers),
            "state": max(self.state, 1), "scratch": self.scratch, "last": self.map_of(self.plan.readout.buffer),
            "horizon": c.horizon, "rates": 0 if known is None else known.width, "noted": self.plan.rates_size,
            "centres": 0 if known is None else len(known.distance.centres), "reach": self.plan.readout.reach,
            "slices": 0, "length": 1, "places": 1, "input_places": 1, "observed": 1,
        }  # fmt: skip
        if self.taught is not None:
            config = self.taught.config
            facts |= {"slices": config.slices, "length": self.taught.memory.length, "places": config.places}
            facts |= {"input_places": config.input_places}
            facts |= {"observed": self.taught.head.in_features // config.slices}
        if events:
            facts |= {"sensor_width": c.sensor_width, "sensor_height": c.sensor_height, "bin_us": c.bin_us}
            facts |= {"shown": c.shown_bins, "filter_us": c.filter_us}
        facts |= {key: number(value) for key, value in more.items()}
        lines = [f"#define SPIKESIGHT_{key.upper()} {value}\n" for key, value in facts.items()]
        kinds = "int8_t" if self.int8 else "float", "uint8_t" if events else "float"
        types = [f"typedef {kind} Spikesight{of};\n" for kind, of in zip(kinds, ("Weight", "Input"))]
        head = f"/* {name}: the sizes that spikesight.h needs. */\n#ifndef SPIKESIGHT_MODEL_H\n"
        head += "#define SPIKESIGHT_MODEL_H\n#include <stdint.h>\n\n"
        return "".join([head, *lines, "\n", *types, "#endif\n"])


def write_source(
    folder: Path, network: nn.Module, card: Card, name: str, more: Mapping[str, float], *, int8: bool = False
) -> None:
    """Write the C sources, an example and a Makefile into an existing folder. `name`: for model.h's heading; `more`:
    parameters of the preprocessing by name; `int8`: quantise weights. Raises ExportError if C lacks the network.
    """
    if reason := why_not_c(network):
        raise ExportError(f"not exported: {reason}")
    assert isinstance(network, SpikingResNet | TaughtNetwork)
    source = CSource(network.eval(), card, int8=int8)
    (folder / "model.c").write_text(source.model_c())
    (folder / "model.h").write_text(source.model_h(name, more))
    (folder / "spikesight.c").write_text("".join((TEMPLATE / one).read_text() for one in SOURCES))
    for one in (*RULES, *(TEMPLATE / name for name in ("spikesight.h", "example.c", "Makefile"))):
        shutil.copyfile(one, folder / one.name)
