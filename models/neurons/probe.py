"""What a network does inside in one step, for those who probe: who fired, and the membranes at one place."""

import base64
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from spikesight.models.neurons.layers import Neuron

Probe = bool | tuple[int, int, int]
"""Whether somebody probes; with a neuron layer's number, a row and a column also the membranes there."""

EVERY_US = 30_000  # of a stream's time: more pictures a second nobody sees


def due(start_us: int, end_us: int) -> bool:
    """Whether a stream's step is the one in EVERY_US, at shorter bins, that is sent to those who probe."""
    return start_us // EVERY_US != end_us // EVERY_US


class Map(NamedTuple):
    """A neuron layer, as one step of it is shown."""

    title: str  # models/networks/trace.py
    channels: int
    height: int
    width: int
    thresholds: list[float]  # of each channel, in the membrane's unit


class Inside(NamedTuple):
    """What a network does in a step."""

    input: NDArray[np.uint8]  # [H, W], `brightness`
    fired: NDArray[np.uint8]  # [F], a bit a neuron: `packed` (models/networks/metering.py), layer after layer
    membranes: NDArray[np.float32] | None  # [C] after the step, of the neurons at the place that is probed

    def fields(self) -> dict[str, Any]:
        """By the wire's names, ready for JSON."""
        shown, fired = (base64.b64encode(part.tobytes()).decode() for part in self[:2])
        membranes = None if self.membranes is None else self.membranes.tolist()
        return {"input": shown, "fired": fired, "membranes": membranes}


def brightness(x: NDArray[np.float32] | NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An input [C, H, W] as a picture [H, W]: channels summed, 0 the least and 255 the most."""
    sums = x.sum(0, dtype=np.float32)
    sums -= sums.min()
    return (sums * 255 / max(float(sums.max()), 1e-9)).astype(np.uint8)


def threshold_of(neuron: Neuron) -> NDArray[np.float32]:
    """Of each channel [C], or of no dimension: one for all."""
    return torch.as_tensor(getattr(neuron, "theta", neuron.config.theta)).detach().numpy()


def thresholds_of(neuron: Neuron, channels: int) -> list[float]:
    """Of each channel."""
    return np.broadcast_to(threshold_of(neuron).reshape(-1), channels).tolist()
