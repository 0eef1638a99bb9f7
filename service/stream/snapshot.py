"""A session as bytes: safetensors, compressed, of all that it carries from message to message. Never a pickle.

A snapshot comes back from a client. It begins with its HMAC-SHA256 (RFC 2104, 32 bytes), so that only what a service
with the same key wrote is read at all. What it says is then checked like any upload: names, shapes, types, finite
values, and that no part contradicts another.
"""

import hmac
import json
import zlib
from dataclasses import replace

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from spikesight.encoders.preprocess.values import Values, array, flag, integer, part, real, under
from spikesight.models.classifier.session import Session
from spikesight.models.neurons.state import State
from spikesight.models.novelty.alarm import RATE, Alarm
from spikesight.models.novelty.conformal import Evidence
from spikesight.models.steps import OTHER, Readout

MAX_BYTES = 64 * 2**20
FORMAT = 10
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
    """The session and its membranes (batch size 1), compressed and signed."""
    values = header(session) | under("front", session.state()) | under("track", track_state(session))
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    tensors = {f"state.{name}": tensor.contiguous() for name, tensor in state.items()}
    tensors |= {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    numbers = json.dumps({name: value for name, value in values.items() if name not in arrays}).encode()
    tensors["numbers"] = torch.from_numpy(np.frombuffer(numbers, np.uint8).copy())
    return sign(zlib.compress(save(tensors), 1), key)


def unpack(session: Session, data: bytes, key: bytes) -> State:
    """Set a fresh session to a snapshot; its membranes. Raises SnapshotError."""
    if len(data) > MAX_BYTES:
        raise SnapshotError("the snapshot is too large")
    body = signed(data, key)
    try:
        tensors = load(inflated(body))
        state = {name.removeprefix("state."): tensors.pop(name) for name in list(tensors) if name.startswith("state.")}
        values: Values = json.loads(tensors.pop("numbers").numpy().tobytes())
        values |= {name: tensor.numpy() for name, tensor in tensors.items()}
        apply(session, values)
    except SnapshotError:
        raise
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError, zlib.error):
        raise SnapshotError("not a snapshot of this model and sensor") from None
    return state


def inflated(body: bytes) -> bytes:
    """What was compressed, of MAX_BYTES at most. Raises ValueError or zlib.error."""
    stream = zlib.decompressobj()
    data = stream.decompress(body, MAX_BYTES)
    if not stream.eof or stream.unused_data:
        raise ValueError
    return data


def header(session: Session) -> Values:
    """The model and weights that a snapshot must be of."""
    classifier = session.classifier
    return {"format": FORMAT, "model": classifier.name, "weights": classifier.fingerprint}


def track_state(session: Session) -> Values:
    """The read-out, its smoothing, its evidence, and the alarm."""
    track, steady = session.track, session.track.steady
    arrays = {"readout": track.readout.recent, "mean": steady.mean, "evidence": steady.evidence}
    arrays["strangest"] = track.evidence.strangest
    values: Values = {name: None if one is None else np.array(one) for name, one in arrays.items()}
    values |= {"seen": track.readout.seen, "spikes": track.spikes, "synops": track.synops}
    values |= under("alarm", vars(track.alarm))
    return values | {"steady": steady.index, "quiet": session.rest.quiet, "window": track.evidence.steps}


def apply(session: Session, values: Values) -> None:
    """Restore read-out, counters and open bin.

    Raises SnapshotError for other weights, ValueError or KeyError for anything else unexpected.
    """
    wanted = header(session)
    if values["format"] != FORMAT or values["model"] != wanted["model"]:
        raise ValueError
    if values["weights"] != wanted["weights"]:
        raise SnapshotError("the snapshot is of this model at another bin, or of weights that it no longer has")
    front, stored = part("front", values), part("track", values)
    if len(wanted) + len(front) + len(stored) != len(values) or stored.keys() != track_state(session).keys():
        raise ValueError
    session.restore(front)
    restore_track(session, stored)


def restore_track(session: Session, values: Values) -> None:
    """Set the read-out. Raises ValueError where no stream leads there."""
    track, classes = session.track, len(session.classifier.labels)
    seen, index, steps = integer(values["seen"]), values["steady"], integer(values["window"])
    readout, mean, evidence = stored = [values[name] for name in ("readout", "mean", "evidence")]
    if seen:
        shape = min(seen, track.readout.steps), track.width
        readout = array(readout, shape, np.float64, -LARGEST_LOGIT, LARGEST_LOGIT)
        mean = array(mean, (classes + 2,), np.float64)
        evidence = array(evidence, (classes + 2,), np.float64, 0, OTHER)
    elif any(one is not None for one in stored) or values["spikes"] or values["synops"]:
        raise ValueError
    strangest = values["strangest"]
    if (strangest is None) != (track.rule is None or seen == 0) or (strangest is None) != (steps == 0):
        raise ValueError
    if strangest is not None:
        strangest = array(strangest, (classes,), np.float64, 0, LARGEST_LOGIT)
    if index is not None:
        integer(index, 0, classes + 1)
    track.spikes, track.synops = integer(values["spikes"]), integer(values["synops"])
    session.rest.quiet = integer(values["quiet"])
    track.readout = Readout(track.readout.steps, readout, seen)
    track.steady = replace(track.steady, mean=mean, evidence=evidence, index=index)
    track.evidence = Evidence(steps, strangest)
    told = part("alarm", values)
    track.alarm = Alarm(integer(told["windows"]), real(told["won"], 0, 1 / RATE), flag(told["on"]))
    if track.alarm != Alarm() and not (track.watched and track.alarm.windows):
        raise ValueError
