"""Messages of a stream: decoded or one clear error, whatever the bytes; fields, times and close reasons have limits."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from spikesight.encoders.dvs import progress_us
from spikesight.encoders.events import EVENTS, SensorSize
from spikesight.encoders.packets import pack
from spikesight.models.classifier.session import Session
from spikesight.service.stream.messages import (
    CONTROL,
    EVENTS_AER,
    EVENTS_T32,
    EVENTS_T64,
    Ended,
    Hello,
    PacketDecoder,
    PacketError,
    Ticket,
    ack_text,
    fault,
    identity,
    pack_picture,
    parse_frame,
    text,
)
from tests.support.inputs.samples import some_events
from tests.support.models import tiny

CLASSIFIER = tiny()
SIZES = {EVENTS_T64: 13, EVENTS_T32: 8, EVENTS_AER: 4}


@hypothesis_settings(max_examples=200)
@given(kind=st.sampled_from(list(SIZES)), payloads=st.lists(st.binary(max_size=60), max_size=4))
def test_any_payload(kind: int, payloads: list[bytes]) -> None:
    decoder, session = PacketDecoder(), Session(CLASSIFIER, SensorSize(24, 32))
    for payload in payloads:
        try:
            events = decoder.decode(kind, payload, 7)
        except PacketError:
            continue
        assert events.dtype == EVENTS
        steps = progress_us(events, 10_000, 1_000_000, 100_000)
        if not len(events) or steps[-1] < 10_000_000:
            session.push(events)


def test_times_of_each_layout() -> None:
    events = some_events(100)
    assert np.array_equal(PacketDecoder().decode(EVENTS_T64, pack(events, "t64"), 0), events)
    wrapping, times = PacketDecoder(), [2**32 - 10, 2**32 - 1, 4, 9]
    got = [wrapping.decode(EVENTS_T32, struct.pack("<IHH", t, 1, 5), 0)[0].tolist() for t in times]
    goes_on = (2**32 - 10, 2**32 - 1, 2**32 + 4, 2**32 + 9)
    assert got == [(t, 1, 2, True) for t in goes_on], "a wrapped clock goes on"
    word = struct.pack("<I", 1 << 31 | 10 << 16 | 1 << 15 | 20)
    (event,) = PacketDecoder().decode(EVENTS_AER, word, 555)
    assert (event["t"], event["x"], event["y"], event["p"]) == (555, 10, 20, True), "without a time, its arrival"
    decoder, timed = PacketDecoder(), struct.pack("<I", 10 << 16 | 20)
    assert decoder.decode(EVENTS_AER, timed + struct.pack("<I", 99), 5)["t"].tolist() == [99]
    with pytest.raises(PacketError, match="the last event's time is missing"):
        decoder.decode(EVENTS_AER, timed, 5)
    assert decoder.decode(EVENTS_AER, timed + struct.pack("<I", 101), 5)["t"].tolist() == [101]


def test_what_is_no_packet() -> None:
    event = struct.Struct("<QHHB")
    assert PacketDecoder().decode(EVENTS_T64, event.pack(2**53 - 1, 1, 2, 1), 0)["t"].tolist() == [2**53 - 1]
    with pytest.raises(PacketError, match="beyond"):
        PacketDecoder().decode(EVENTS_T64, event.pack(0, 1, 2, 1) + event.pack(2**53, 1, 2, 1), 0)
    for kind, size in SIZES.items():
        decoder = PacketDecoder()
        assert not len(decoder.decode(kind, b"", 0))
        for n in (1, size - 1, size + 1):
            with pytest.raises(PacketError, match=f"not a whole number of {size}-byte records"):
                decoder.decode(kind, bytes(n), 0)


@pytest.mark.parametrize(
    "data",
    [
        bytes(12) + b"\0\0\1\0",
        *(struct.pack("<Id4x", 1, t_ms) for t_ms in (2.0**53, -1e-9, float("inf"), float("nan"))),
    ],
)
def test_what_is_no_frame(data: bytes) -> None:
    with pytest.raises(Ended) as caught:
        parse_frame(data)
    assert caught.value.code == 1003


@pytest.mark.parametrize(("n", "shown"), [(0, 0), (4095, 4095), (4096, 4096), (4097, 4096), (10_000, 4096)])
def test_pictures_hold_so_many_events_evenly_thinned(n: int, shown: int) -> None:
    events = np.zeros(n, EVENTS)
    events["x"], events["y"], events["p"] = np.arange(n), 7, np.arange(n) % 2
    data = pack_picture(5, 6, 24, 32, events)
    assert struct.unpack_from("<IIIHH", data) == (5, 6, shown, 24, 32)
    pairs = np.frombuffer(data, "<u2", offset=16).reshape(-1, 2)
    assert len(np.unique(pairs[:, 0])) == shown
    assert np.array_equal(pairs[:, 1], 7 | pairs[:, 0] % 2 << 15)
    if n:
        assert (pairs[0, 0], pairs[-1, 0]) == (0, n - 1)


def reason_of(message: dict) -> str:
    try:
        CONTROL.validate_python(message)
    except ValidationError as error:
        return fault("this message", error)
    return ""


def test_reasons_name_our_fields_and_fit_a_close_frame() -> None:
    assert reason_of({"type": "settings", "threshold": 3}).startswith("this message, threshold: ")
    theirs = reason_of({"type": "reset", "their_own_name": 1})
    assert theirs.startswith("this message, a field: ")
    assert "their_own_name" not in theirs
    assert reason_of({"type": "no such"}) == "this message: its type must be reset, settings, probe or snapshot"
    with pytest.raises(ValidationError) as caught:
        Hello(type="hello", protocol=1, width=3)
    assert fault("hello", caught.value) == "hello: width and height go together"
    assert fault("ä" * 100, caught.value) == "ä" * 61  # 123 bytes would cut the 62nd in half


def test_an_answers_identity_is_its_message_and_step() -> None:
    answer = text(type="prediction", seq=4, t=1.5, step=3, start_us=0, label="a")
    assert identity(answer) == '{"type":"prediction","seq":4,"t":1.5,"step":3'
    assert identity(ack_text(Ticket(4, 1.5), 2)) == '{"type":"ack","seq":4,"t":1.5,"dropped":2}'
