"""Snapshots come back from clients: only signed ones are read, and only those whose parts agree."""

import base64
import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from spikesight.encoders.events import SensorSize, make_events
from spikesight.models.classifier.session import Session
from spikesight.service.client import Client, ClientError, Snapshot
from spikesight.service.stream.snapshot import SnapshotError, pack, sign, signed, unpack
from tests.support.inputs.samples import some_events
from tests.support.models import EVENT_CONTRACT, tiny
from tests.support.serving.servers import running
from tests.support.serving.streams import SENSOR, STREAM, Alone, answered
from tests.support.waiting import PATIENCE_S

CLASSIFIER = tiny()
KEY = b"a key of the tests"


def fresh() -> Session:
    return Session(CLASSIFIER, SensorSize(**SENSOR))


def packed(events: np.ndarray) -> bytes:
    alone = Alone(fresh())
    alone.step(alone.session.push(events))
    return pack(alone.session, alone.state, KEY)


DATA = packed(some_events(300))


Change = Callable[[dict[str, Any]], dict[str, object]]
BIN, TOLD, DROPPED = "front.binner.", "track.", object()


def forged(lie: dict[str, object] | Change, data: bytes = DATA) -> bytes:
    """A snapshot with its contents changed, signed again."""
    tensors = load(zlib.decompress(signed(data, KEY)))
    values = json.loads(tensors.pop("numbers").tobytes())
    values |= tensors
    values |= lie if isinstance(lie, dict) else lie(values)
    values = {name: value for name, value in values.items() if value is not DROPPED}
    tensors = {name: value for name, value in values.items() if isinstance(value, np.ndarray)}
    numbers = {name: value for name, value in values.items() if name not in tensors}
    tensors["numbers"] = np.frombuffer(json.dumps(numbers).encode(), np.uint8)
    return sign(zlib.compress(save(tensors)), KEY)


def test_what_is_signed_comes_back() -> None:
    assert unpack(fresh(), forged({}), KEY).keys() == unpack(fresh(), DATA, KEY).keys()


@pytest.mark.attack("WebSocket", "another key's snapshots", "1008: HMAC-SHA256 first")
@pytest.mark.parametrize(
    "data",
    [b"", DATA[:10], DATA[:32], DATA[:-1], DATA + b"\0", bytes(32) + DATA[32:], DATA[32:], b"\0" + DATA[1:]],
    ids=["empty", "short", "no body", "cut", "longer", "no signature", "unsigned", "changed"],
)
def test_only_this_keys_snapshots_are_read(data: bytes) -> None:
    with pytest.raises(SnapshotError, match="not signed"):
        unpack(fresh(), data, KEY)
    with pytest.raises(SnapshotError, match="not signed"):
        unpack(fresh(), DATA, b"another key")


LIES: list[dict[str, object] | Change] = [
    {BIN + "origin": 0, BIN + "last": 2**53}, {BIN + "origin": None}, {BIN + "origin": None, BIN + "n_open": 0},
    {BIN + "n_open": 0}, {BIN + "n_open": 1}, {BIN + "n_open": -1}, {BIN + "n_missed": -1}, {BIN + "n_missed": DROPPED},
    {BIN + "last": True}, {BIN + "last": 2**80}, {BIN + "reset": 1}, {BIN + "open": None},
    {BIN + "cells": np.ones((16, 16))}, {"more": np.zeros(3)}, {"front.more": 3}, {TOLD + "more": 3},
    {TOLD + "readout": None}, {TOLD + "mean": None}, {TOLD + "mean": DROPPED}, {TOLD + "seen": 0},
    {TOLD + "evidence": None}, {TOLD + "steady": -1}, {TOLD + "steady": 5}, {TOLD + "quiet": -1}, {TOLD + "spikes": -1},
    {TOLD + "alarm.windows": 1}, {TOLD + "alarm.won": 1.0}, {TOLD + "alarm.won": float("nan")},
    {TOLD + "alarm.on": True}, {TOLD + "alarm.on": DROPPED}, {"front.width": 40},
    {"front.width": 40, "front.frames": 1}, {"front.threshold": float("nan")}, {"front.noise_hz": -1.0},
    {"front.frames": None}, {"front.reset": 0}, {"front.filter.n_kept": -1}, {"format": 1}, {"model": "other"},
    lambda s: {BIN + "last": s[BIN + "origin"] + EVENT_CONTRACT.bin_us},
    lambda s: {BIN + "last": s[BIN + "origin"] - 1},
    lambda s: {BIN + "origin": s[BIN + "last"] + 2_000_000}, lambda s: {BIN + "open": np.zeros_like(s[BIN + "open"])},
    lambda s: {BIN + "open": s[BIN + "open"] * 2}, lambda s: {BIN + "open": s[BIN + "open"][:1]},
    lambda s: {TOLD + "readout": np.full_like(s[TOLD + "readout"], np.nan)},
    lambda s: {TOLD + "readout": np.full_like(s[TOLD + "readout"], 1e300)},
    lambda s: {TOLD + "mean": s[TOLD + "mean"] + 1}, lambda s: {TOLD + "mean": s[TOLD + "mean"] * np.nan},
    lambda s: {TOLD + "seen": s[TOLD + "seen"] / 2}, lambda s: {TOLD + "evidence": s[TOLD + "evidence"] + 99},
]  # fmt: skip


@pytest.mark.attack(
    "WebSocket",
    "signed snapshots whose parts contradict each other",
    "refused: names, shapes, types, values and their relations",
)
@pytest.mark.parametrize("lie", LIES)
def test_parts_that_contradict_each_other_are_refused(lie: dict[str, object] | Change) -> None:
    with pytest.raises(SnapshotError, match="model and sensor"):
        unpack(fresh(), forged(lie), KEY)


def test_a_stream_that_saw_nothing_counts_nothing() -> None:
    before = packed(make_events([], [], [], []))
    unpack(fresh(), before, KEY)
    with pytest.raises(SnapshotError, match="model and sensor"):
        unpack(fresh(), forged({TOLD + "spikes": 5}, before), KEY)
    with pytest.raises(SnapshotError, match="model and sensor"):
        unpack(fresh(), forged({BIN + "last": 5}, before), KEY)


def kept(port: int) -> str:
    with Client(f"http://127.0.0.1:{port}").stream(**STREAM) as stream:
        stream.send_events(some_events(100))
        return next(message.state for message in answered(stream) if isinstance(message, Snapshot))


def refusal(port: int, restore: str) -> ClientError:
    with (
        pytest.raises(ClientError) as caught,
        Client(f"http://127.0.0.1:{port}").stream(restore=restore, **STREAM) as stream,
    ):
        next(stream.receive(PATIENCE_S))
    return caught.value


@pytest.mark.attack(
    "WebSocket", "a snapshot of a service with another key", "1008; with `SPIKESIGHT_SNAPSHOT_KEY` in common it goes on"
)
def test_services_restore_what_services_with_their_key_wrote() -> None:
    key = "a key of two services"
    with running(snapshot_key=key) as first, running(snapshot_key=key) as second, running() as third:
        state = kept(first)
        with Client(f"http://127.0.0.1:{second}").stream(restore=state, **STREAM) as stream:
            assert stream.ready["type"] == "ready"
        error = refusal(third, state)
        assert error.status == 1008
        assert "not signed" in str(error)
        body = base64.b64decode(state)
        for bad in (body[:-5], body[:40] + bytes(1) + body[41:]):
            error = refusal(first, base64.b64encode(bad).decode())
            assert error.status == 1008
            assert "not signed" in str(error)
