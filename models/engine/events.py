"""Event-by-event inference: after every event the network has the state as if the open bin closed now.

An event that sets a cell of the input changes the sums that it reaches, and the change goes on to the next layer only
where a spike appears or disappears; membranes leak once a bin. After any number of events all layers hold the bits of a
step of the engine on the bin so far (except frames that the engine takes to a matrix unit, which sums in another
order). So a bin of the network's length gives the same logits, and the answer can be read before the bin's end.
"""

import ctypes
import weakref
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spikesight.models.engine.engine import MEMBRANES, Engine
from spikesight.models.engine.plan import KINDS, Plan
from spikesight.models.engine.structs import NativeBuffer, NativeLayer

WIDEST = 1024  # most channels of a layer, and most classes


class Moment(NamedTuple):
    """The state that is carried from event to event; an immutable value."""

    membranes: NDArray[np.float32]  # [M], at the begin of the open bin, in the engine's order
    since: NDArray[np.uint16]  # [2, H, W]: bins from each cell's last event to the last bin's end
    open: NDArray[np.uint8]  # [2, H, W]: whether the cell had an event in the open bin


def why_not_by_events(plan: Plan) -> str:
    """Return why a network cannot run event by event, as a sentence; empty if it can."""
    for layer in plan.layers:
        if layer.neuron and layer.kind != KINDS["paced"]:
            return "event by event is for LIF neurons at a shorter bin than the trained one"
        if layer.after.buffer >= 0 or layer.pool == 2 or (layer.pool and not plan.buffers[layer.main.buffer].is_float):
            return "event by event is for networks of MS and plain blocks with maximum pools"
        if layer.channels > WIDEST or plan.classes > WIDEST:
            return f"event by event is for up to {WIDEST} channels and classes"
        if not layer.pool and not (layer.main.by_channel and layer.chunk in (16, 32)):
            return "event by event is for weights that a scatter takes"
    return ""


class EventEngine:
    """Runs one stream event by event on the weights of an engine at a shorter bin. Use from one thread at a time.

    An input shows the events of `shown` bins including the open one (`Contract.shown_bins`). Raises ValueError for a
    network that cannot run event by event.
    """

    def __init__(self, engine: Engine, shown: int) -> None:
        plan = engine.plan
        if reason := why_not_by_events(plan):
            raise ValueError(reason)
        self._engine, self._library = engine, engine.library  # the weights lie in the engine's plan
        self._shape, self._shown = plan.shape, shown
        buffers = (NativeBuffer * len(plan.buffers))(*plan.buffers)
        layers = (NativeLayer * len(plan.layers))(*plan.layers)
        sizes = ctypes.addressof(plan.readout), plan.state_size, self._shown
        self._handle = self._library.events_plan(
            ctypes.addressof(buffers), len(buffers), ctypes.addressof(layers), len(layers), *sizes
        )
        weakref.finalize(self, self._library.events_free, self._handle)
        self._logits = np.empty(engine.classes, np.float32)
        self._reads = self._logits.ctypes.data
        self.load(self.initial_state())

    def initial_state(self) -> Moment:
        """Return the state before the first event."""
        since = np.full(self._shape, self._shown, np.uint16)
        return Moment(self._engine.initial_state()[MEMBRANES][0].numpy(), since, np.zeros(self._shape, np.uint8))

    def load(self, moment: Moment) -> None:
        """Continue from a saved state. Raises ValueError for the state of another network or input size."""
        expected = self.initial_state()
        for name, found, own in zip(Moment._fields, moment, expected):
            if found.shape != own.shape or found.dtype != own.dtype:
                raise ValueError(f"{name} of this moment is of another network")
        parts = [np.ascontiguousarray(part) for part in moment]
        self._library.events_load(self._handle, *(part.ctypes.data for part in parts))

    def save(self) -> Moment:
        """Return the present state."""
        moment = self.initial_state()
        self._library.events_save(self._handle, *(part.ctypes.data for part in moment))
        return moment

    def push(self, cells: NDArray[np.int32]) -> NDArray[np.float32]:
        """Add events of the open bin, given by their cells (`encoders/binning.py`, cells_of); return the logits [K] of
        a step on the bin so far. Raises ValueError for a cell outside the input.
        """
        cells = np.ascontiguousarray(cells, np.int32)
        if self._library.events_push(self._handle, cells.ctypes.data, len(cells), self._reads):
            raise ValueError(f"cells must lie in 0 to {np.prod(self._shape) - 1}")
        return self._logits.copy()

    def step(self) -> NDArray[np.float32]:
        """Close the open bin and begin the next; return the closed bin's logits [K]."""
        logits = self.read()
        self._library.events_step(self._handle)
        return logits

    def read(self) -> NDArray[np.float32]:
        """Return the logits [K] as if the open bin closed now."""
        self._library.events_read(self._handle, self._reads)
        return self._logits.copy()
