"""A stream's session as bytes: compressed safetensors with everything it keeps between messages. Never a pickle.

A snapshot comes back from a client. It begins with an HMAC-SHA256 (RFC 2104, 32 bytes), so that only snapshots written
by a service with the same key are read at all. Their content is then checked like any upload: names, shapes, types,
finite values, and consistency.
"""

import hmac
import json
import zlib
from dataclasses import replace

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from spikesight.encoders.preprocess.values import COUNT, Values, array, number, part, under
from spikesight.encoders.roi.tracks import MOST
from spikesight.models.classifier.objects import Objects
from spikesight.models.classifier.session import Session
from spikesight.models.neurons.state import State
from spikesight.models.novelty.alarm import RATE, Alarm
from spikesight.models.novelty.conformal import Evidence
from spikesight.models.steps import OTHER, Readout, Track

MAX_BYTES = 64 * 2**20
FORMAT = 14
SIGNATURE_BYTES = 32
COUNTS = ("leading", "seen", "spikes", "synops")  # attributes of Objects that count over all windows
LARGEST_LOGIT = float(np.finfo(np.float32).max)


class SnapshotError(ValueError):
    """Bytes that are not a snapshot of this service, model and sensor."""


def sign(body: bytes, key: bytes) -> bytes:
    """Return the body with its signature in front."""
    return hmac.digest(key, body, "sha256") + body


def signed(data: bytes, key: bytes) -> bytes:
    """Check the signature of signed bytes and return the body. Raises SnapshotError if the key differs."""
    body = data[SIGNATURE_BYTES:]
    if not hmac.compare_digest(data[:SIGNATURE_BYTES], hmac.digest(key, body, "sha256")):
        raise SnapshotError("the snapshot was not signed by this service, or has been changed")
    return body


def pack(session: Session, state: State, key: bytes) -> bytes:
    """Return a signed, compressed snapshot of a session and its membranes (batch size 1)."""
    values = header(session) | under("front", session.state()) | under("track", stream_state(session))
    arrays = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    tensors = {f"state.{name}": tensor.contiguous() for name, tensor in state.items()}
    tensors |= {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
    numbers = json.dumps({name: value for name, value in values.items() if name not in arrays}).encode()
    tensors["numbers"] = torch.from_numpy(np.frombuffer(numbers, np.uint8).copy())
    return sign(zlib.compress(save(tensors), 1), key)


def unpack(session: Session, data: bytes, key: bytes) -> State:
    """Restore a fresh session from a snapshot; return its membranes. Raises SnapshotError."""
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
    """Decompress at most MAX_BYTES. Raises ValueError or zlib.error."""
    stream = zlib.decompressobj()
    data = stream.decompress(body, MAX_BYTES)
    if not stream.eof or stream.unused_data:
        raise ValueError
    return data


def header(session: Session) -> Values:
    """Return the format, model name and weights' fingerprint that a snapshot must match."""
    classifier = session.classifier
    return {"format": FORMAT, "model": classifier.name, "weights": classifier.fingerprint}


def stream_state(session: Session) -> Values:
    """Return the state of the read-out, as flat values: of one window, or of each tracked object and their counters."""
    track, quiet = session.track, {"quiet": session.rest.quiet}
    if not isinstance(track, Objects):
        return track_state(track) | quiet
    values: Values = quiet | {"ids": np.array(sorted(track.tracks), np.int64)}
    values |= {"lately": np.array([track.familiarity[one] for one in sorted(track.tracks)])}
    values |= {"parted": np.array(sorted(track.separated), np.int64).reshape(-1, 2)}
    values |= {name: getattr(track, name) for name in COUNTS}
    return values | {
        name: v for one, of in track.tracks.items() for name, v in under(f"{one}", track_state(of)).items()
    }


def track_state(track: Track) -> Values:
    """Return the state of one window's read-out: mean logits, smoothing, conformal evidence, and drift alarm."""
    steady = track.steady
    arrays = {"readout": track.readout.recent, "mean": steady.mean, "evidence": steady.evidence}
    arrays["strangest"] = track.evidence.strangest
    values: Values = {name: None if one is None else np.array(one) for name, one in arrays.items()}
    values |= {"seen": track.readout.seen, "spikes": track.spikes, "synops": track.synops}
    values |= under("alarm", vars(track.alarm))
    return values | {"steady": steady.index, "window": track.evidence.steps}


def apply(session: Session, values: Values) -> None:
    """Restore a session's read-out, counters and open bin from the values of a snapshot.

    Raises SnapshotError for other weights, ValueError or KeyError for anything else unexpected.
    """
    wanted = header(session)
    if values["format"] != FORMAT or values["model"] != wanted["model"]:
        raise ValueError
    if values["weights"] != wanted["weights"]:
        raise SnapshotError("the snapshot is of this model at another bin, or of weights that it no longer has")
    front, stored = part("front", values), part("track", values)
    if len(wanted) + len(front) + len(stored) != len(values):
        raise ValueError
    session.restore(front)
    restore_stream(session, stored)
    if stored.keys() != stream_state(session).keys():
        raise ValueError


def restore_stream(session: Session, values: Values) -> None:
    """Restore the state of the read-out. Raises ValueError for a state that no stream can reach."""
    session.rest.quiet = number(values["quiet"], *COUNT)
    track = session.track
    if not isinstance(track, Objects):
        restore_track(track, values)
        return
    count = min(MOST, len(values["ids"]))
    ids = array(values["ids"], (count,), np.int64, 0, 2**53).tolist()
    lately = array(values["lately"], (count,), np.float64).tolist()
    if ids != sorted({*ids}):
        raise ValueError
    for one in ids:
        track.tracks[one] = track.make()
        restore_track(track.tracks[one], part(f"{one}", values))
    track.familiarity = dict(zip(ids, lately))
    pairs = values["parted"]
    pairs = array(pairs, (min(len(pairs), MOST**2), 2), np.int64, 0, 2**53)
    if not np.isin(pairs, ids).all():
        raise ValueError
    track.separated = {(one, other) for one, other in pairs.tolist()}
    for name in COUNTS:
        setattr(track, name, number(values[name], *COUNT))


def restore_track(track: Track, values: Values) -> None:
    """Restore one window's read-out. Raises ValueError for a state that no stream can reach."""
    classes = len(track.labels)
    seen, index, steps = number(values["seen"], *COUNT), values["steady"], number(values["window"], *COUNT)
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
        number(index, 0, classes + 1)
    track.spikes, track.synops = number(values["spikes"], *COUNT), number(values["synops"], *COUNT)
    track.readout = Readout(track.readout.steps, readout, seen)
    track.steady = replace(track.steady, mean=mean, evidence=evidence, index=index)
    track.evidence = Evidence(steps, strangest)
    told = part("alarm", values)
    track.alarm = Alarm(
        number(told["windows"], *COUNT), number(told["won"], 0.0, 1 / RATE), number(told["on"], False, True)
    )
    if track.alarm != Alarm() and not (track.watched and track.alarm.windows):
        raise ValueError
