"""A session as bytes: safetensors with its membranes, read-out, open bin and counters. Never a pickle.

A snapshot comes back from a client. It begins with its HMAC-SHA256 (RFC 2104, 32 bytes), so that only what a service
with the same key wrote is read at all. What it says is then checked like any upload: names, shapes, types, finite
values, and that no part contradicts another.
"""

import hmac
import json
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from encoders.dvs import OpenBin
from models.known.conformal import Evidence
from models.neurons.state import State
from models.steps import OTHER, Readout
from service.stream.session import Session

MAX_BYTES = 64 * 2**20
FORMAT = 7
TENSORS = frozenset({"readout", "steady", "evidence", "open", "since", "pool", "strangest"})  # beside the membranes
SIGNATURE_BYTES = 32
LARGEST_LOGIT = float(np.finfo(np.float32).max)


class SnapshotError(ValueError):
    """Bytes that are no snapshot of this service, model and sensor."""


def sign(body: bytes, key: bytes) -> bytes:
    """The body behind its signature."""
    return hmac.digest(key, body, "sha256") + body


def signed(data: bytes, key: bytes) -> bytes:
    """The body of signed bytes. Raises SnapshotError unless this key signed it."""
    body = data[SIGNATURE_BYTES:]
    if not hmac.compare_digest(data[:SIGNATURE_BYTES], hmac.digest(key, body, "sha256")):
        raise SnapshotError("the snapshot was not signed by this service, or has been changed")
    return body


def pack(session: Session, state: State, key: bytes) -> bytes:
    """The session and its membranes (batch size 1), signed."""
    track = session.track
    tensors = {f"state.{key}": tensor.contiguous() for key, tensor in state.items()}
    values: dict[str, Any] = {
        "format": FORMAT,
        "model": session.classifier.name,
        "bin_us": session.classifier.contract.bin_us,
        "sensor": [session.sensor.width, session.sensor.height],
        "seen": track.readout.seen,
        "spikes": track.spikes,
        "synops": track.synops,
        "steady": track.steady.index,
        "quiet": session.rest.quiet,
        "window": track.evidence.steps,
    }
    steady = track.steady
    arrays = {"readout": track.readout.recent, "steady": steady.mean, "evidence": steady.evidence}
    for name, kept in (arrays | {"strangest": track.evidence.strangest}).items():
        if kept is not None:
            tensors[name] = torch.from_numpy(np.array(kept))
    if session.binner is not None:
        bins = session.binner.snapshot()
        tensors["open"] = torch.from_numpy(bins.open.copy())
        if bins.since is not None:
            tensors["since"] = torch.from_numpy(bins.since.copy())
        counts = {"n_open": bins.n_open, "n_missed": bins.n_missed}
        values["binner"] = {"origin": bins.origin, "last": bins.last, "reset": bins.reset, **counts}
    if session.sight is not None and session.sight.pool is not None:
        tensors["pool"] = torch.from_numpy(session.sight.pool.level.copy())
    tensors["values"] = torch.from_numpy(np.frombuffer(json.dumps(values).encode(), np.uint8).copy())
    return sign(save(tensors), key)


def unpack(session: Session, data: bytes, key: bytes) -> State:
    """Set a fresh session to a snapshot; its membranes. Raises SnapshotError."""
    if len(data) > MAX_BYTES:
        raise SnapshotError("the snapshot is too large")
    body = signed(data, key)
    try:
        tensors = load(body)
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
    if values["bin_us"] != session.classifier.contract.bin_us:
        raise ValueError
    if values["sensor"] != [sensor.width, sensor.height]:
        raise ValueError
    if any(not key.startswith("state.") and key not in TENSORS for key in tensors):
        raise ValueError
    hypotheses = (len(session.classifier.labels) + 2,)
    seen, index = whole(values["seen"]), values["steady"]
    shape = (min(seen, track.readout.steps), track.width)
    readout = within(tensors.get("readout"), shape, -LARGEST_LOGIT, LARGEST_LOGIT)
    steady = within(tensors.get("steady"), hypotheses, 0, 1)
    evidence = within(tensors.get("evidence"), hypotheses, 0, OTHER)
    if not (readout is None) == (steady is None) == (evidence is None) == (seen == 0):
        raise ValueError
    strangest = within(tensors.get("strangest"), (len(session.classifier.labels),), 0, LARGEST_LOGIT)
    steps = whole(values["window"])
    if (strangest is None) != (track.promise is None or seen == 0) or (strangest is None) != (steps == 0):
        raise ValueError
    if index is not None and not 0 <= whole(index) < hypotheses[0]:
        raise ValueError
    spikes, synops = whole(values["spikes"]), whole(values["synops"])
    if seen == 0 and (spikes or synops):
        raise ValueError
    if session.binner is not None:
        kept = values["binner"]
        origin = None if kept["origin"] is None else whole(kept["origin"])
        if type(kept["reset"]) is not bool:
            raise ValueError
        opened, since = tensors["open"].numpy(), tensors["since"].numpy() if "since" in tensors else None
        counts = whole(kept["n_open"]), opened, since, whole(kept["n_missed"])
        carried = OpenBin(origin, whole(kept["last"]), kept["reset"], *counts)
        session.binner.restore(carried)
    if session.sight is not None and session.sight.pool is not None:
        session.sight.pool.restore(tensors["pool"].numpy())
    track.readout = Readout(track.readout.steps, readout, seen)
    track.steady = replace(track.steady, mean=steady, evidence=evidence, index=index)
    track.evidence = Evidence(steps, strangest)
    session.rest.quiet = whole(values["quiet"])
    track.spikes, track.synops = spikes, synops


def whole(value: Any) -> int:
    """A JSON integer within 2^53. Raises ValueError."""
    if type(value) is not int or not 0 <= value <= 2**53:
        raise ValueError
    return value


def within(tensor: torch.Tensor | None, shape: tuple[int, ...], low: float, high: float) -> np.ndarray | None:
    """Float64 of this shape, all in [low, high]; None for None. Raises ValueError."""
    if tensor is None:
        return None
    values = tensor.numpy()
    if values.shape != shape or values.dtype != np.float64 or not ((low <= values) & (values <= high)).all():
        raise ValueError
    return values
