"""A session as bytes: safetensors with its membranes, read-out, open bin and counters. Never a pickle.

A snapshot comes back from a client, so it is checked like any upload: names, shapes, types, finite values.
"""

import json
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from models.neurons.state import State
from models.steps import Readout, Steady
from service.stream.session import Session

MAX_BYTES = 64 * 2**20
FORMAT = 1


class SnapshotError(ValueError):
    """Bytes that are no snapshot of this model and sensor."""


def pack(session: Session, state: State) -> bytes:
    """The session and its membranes (batch size 1)."""
    track = session.track
    tensors = {f"state.{key}": tensor.contiguous() for key, tensor in state.items()}
    values: dict[str, Any] = {
        "format": FORMAT,
        "model": session.classifier.name,
        "sensor": [session.sensor.width, session.sensor.height],
        "seen": track.readout.seen,
        "spikes": track.spikes,
        "synops": track.synops,
        "steady": track.steady.index,
    }
    for name, kept in (("readout", track.readout.recent), ("steady", track.steady.mean)):
        if kept is not None:
            tensors[name] = torch.from_numpy(np.array(kept))
    if session.binner is not None:
        bins = session.binner.snapshot()
        tensors["open"] = torch.from_numpy(bins.open.copy())
        values["binner"] = {"origin": bins.origin, "last": bins.last, "reset": bins.reset, "n_open": bins.n_open}
    tensors["values"] = torch.from_numpy(np.frombuffer(json.dumps(values).encode(), np.uint8).copy())
    return save(tensors)


def unpack(session: Session, data: bytes) -> State:
    """Set a fresh session to a snapshot; its membranes. Raises SnapshotError."""
    if len(data) > MAX_BYTES:
        raise SnapshotError("the snapshot is too large")
    try:
        tensors = load(data)
        values = json.loads(tensors.pop("values").numpy().tobytes())
        apply(session, tensors, values)
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise SnapshotError("not a snapshot of this model and sensor") from None
    return {key.removeprefix("state."): t for key, t in tensors.items() if key.startswith("state.")}


def apply(session: Session, tensors: dict[str, torch.Tensor], values: dict[str, Any]) -> None:
    """Read-out, counters and open bin. Raises ValueError or KeyError for anything unexpected."""
    track, sensor = session.track, session.sensor
    if values["format"] != FORMAT or values["model"] != session.classifier.name:
        raise ValueError
    if values["sensor"] != [sensor.width, sensor.height]:
        raise ValueError
    classes = len(session.classifier.labels)
    seen, index = whole(values["seen"]), values["steady"]
    readout = finite(tensors.get("readout"), (min(seen, track.readout.steps), classes))
    steady = finite(tensors.get("steady"), (classes,))
    if (readout is None) != (seen == 0) or (steady is None) != (index is None):
        raise ValueError
    if index is not None and not 0 <= whole(index) < classes:
        raise ValueError
    if session.binner is not None:
        kept, before = values["binner"], session.binner.snapshot()
        opened = tensors["open"].numpy()
        if opened.shape != before.open.shape or opened.dtype != before.open.dtype:
            raise ValueError
        origin = None if kept["origin"] is None else whole(kept["origin"])
        session.binner.restore(
            type(before)(origin, whole(kept["last"]), bool(kept["reset"]), whole(kept["n_open"]), opened)
        )
    track.readout = Readout(track.readout.steps, readout, seen)
    track.steady = Steady(track.steady.smoothing, track.steady.margin, steady, index)
    track.spikes, track.synops = whole(values["spikes"]), whole(values["synops"])


def whole(value: Any) -> int:
    """A JSON integer within 2^53. Raises ValueError."""
    if type(value) is not int or not 0 <= value <= 2**53:
        raise ValueError
    return value


def finite(tensor: torch.Tensor | None, shape: tuple[int, ...]) -> np.ndarray | None:
    """Finite float64 of this shape. Raises ValueError."""
    if tensor is None:
        return None
    values = tensor.numpy()
    if values.shape != shape or values.dtype != np.float64 or not np.isfinite(values).all():
        raise ValueError
    return values
