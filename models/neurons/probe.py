"""What a network does inside in one step, for clients that probe: firing neurons, and membranes at one place."""

import base64
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from spikesight.models.neurons.layers import Neuron

Probe = bool | tuple[int, int, int]
"""What a client probes: spikes (True) or nothing; (layer number, row, column) adds the membranes there."""

EVERY_US = 30_000  # stream time between two steps sent; viewers see no more images a second


def due(start_us: int, end_us: int) -> bool:
    """Return whether a step is to be sent to clients that probe: one in each EVERY_US of the stream."""
    return start_us // EVERY_US != end_us // EVERY_US


class Map(NamedTuple):
    """A neuron layer's title, size and thresholds for display."""

    title: str  # models/networks/trace.py
    channels: int
    height: int
    width: int
    thresholds: list[float]  # of each channel, in the unit of the membranes


class Inside(NamedTuple):
    """What a network does inside in one step."""

    input: NDArray[np.uint8]  # [H, W], the input's `brightness`
    fired: NDArray[np.uint8]  # [F], a bit for each neuron: `packed` (metering.py), layer after layer
    membranes: NDArray[np.float32] | None  # [C], after the step, of the neurons at the probed place

    def fields(self) -> dict[str, Any]:
        """Return a dictionary ready for JSON, keyed by the names of the wire format."""
        shown, fired = (base64.b64encode(part.tobytes()).decode() for part in self[:2])
        membranes = None if self.membranes is None else self.membranes.tolist()
        return {"input": shown, "fired": fired, "membranes": membranes}


def brightness(x: NDArray[np.float32] | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert an input [C, H, W] to an image [H, W]: channels summed and scaled to 0 ... 255."""
    sums = x.sum(0, dtype=np.float32)
    sums -= sums.min()
    return (sums * 255 / max(float(sums.max()), 1e-9)).astype(np.uint8)


def part_of(
    fired: NDArray[np.uint8], probe: Probe, maps: Sequence[Map], parts: Sequence[Map], down: float, right: float
) -> tuple[NDArray[np.uint8], Probe]:
    """Cut the bits of all layers, and the probed place, to a part of each map: of the size of `parts`, from a share of
    the map's height (`down`) and width (`right`) on.
    """
    cut, begin = list[NDArray[np.uint8]](), 0
    for layer, (whole, part) in enumerate(zip(maps, parts, strict=True)):
        bytes_ = -(-whole.channels // 16) * 2
        bits = fired[begin : (begin := begin + whole.height * whole.width * bytes_)]
        top, left = round(down * whole.height), round(right * whole.width)
        bits = bits.reshape(whole.height, whole.width, bytes_)
        cut.append(bits[top : top + part.height, left : left + part.width].ravel())
        if not isinstance(probe, bool) and probe[0] == layer:
            inside = probe[1] < part.height and probe[2] < part.width
            probe = (layer, probe[1] + top, probe[2] + left) if inside else False
    return np.concatenate(cut), probe


def threshold_of(neuron: Neuron) -> NDArray[np.float32]:
    """Return a layer's thresholds, [C], or [] if all channels share one. The state of converted neurons is v - v(0)."""
    theta = torch.as_tensor(getattr(neuron, "theta", neuron.config.theta)).detach().cpu().numpy()
    return theta if (rule := getattr(neuron, "rule", None)) is None else theta * np.float32(1 - rule.v0)


def thresholds_of(neuron: Neuron, channels: int) -> list[float]:
    """Return the threshold of each channel."""
    return np.broadcast_to(threshold_of(neuron).reshape(-1), channels).tolist()
