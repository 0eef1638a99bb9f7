"""Event payloads: decoded or PacketError, whatever the bytes; times that wrap go on."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from encoders.dvs import progress_us
from encoders.events import EVENTS, SensorSize
from service.stream.messages import (
    EVENTS_AER,
    EVENTS_T32,
    EVENTS_T64,
    Frame,
    MessageError,
    PacketDecoder,
    PacketError,
    encode_t64,
    pack_picture,
    parse_frame,
)
from service.stream.session import Session
from tests.support.inputs.samples import some_events
from tests.support.models import tiny

CLASSIFIER = tiny()


@hypothesis_settings(max_examples=200)
@given(
    kind=st.sampled_from([EVENTS_T64, EVENTS_T32, EVENTS_AER]), payloads=st.lists(st.binary(max_size=60), max_size=4)
)
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


def test_t64_there_and_back() -> None:
    events = some_events(100)
    assert np.array_equal(PacketDecoder().decode(EVENTS_T64, encode_t64(events), 0), events)


def test_a_wrapped_clock_goes_on() -> None:
    decoder = PacketDecoder()
    times = [2**32 - 10, 2**32 - 1, 4, 9]
    got = [decoder.decode(EVENTS_T32, struct.pack("<IHH", t, 1, 3), 0)["t"][0] for t in times]
    assert got == [2**32 - 10, 2**32 - 1, 2**32 + 4, 2**32 + 9]


def test_words_without_time_take_the_arrival() -> None:
    word = struct.pack("<I", 1 << 31 | 10 << 16 | 1 << 15 | 20)
    (event,) = PacketDecoder().decode(EVENTS_AER, word, 555)
    assert (event["t"], event["x"], event["y"], event["p"]) == (555, 10, 20, True)


@hypothesis_settings(max_examples=60)
@given(times=st.lists(st.integers(0, 3_000_000), max_size=40))
def test_progress_bounds_the_bins(times: list[int]) -> None:
    events = np.zeros(len(times), EVENTS)
    events["t"] = times
    session = Session(CLASSIFIER, SensorSize(24, 32))
    assert session.binner is not None
    n = len(session.push(events))
    progress = progress_us(events, 10_000, session.binner.gap_us, session.binner.back_us)
    assert n <= (int(progress[-1]) if len(times) else 0) // 10_000 + 1 + len(times)


def test_frames_there_and_back() -> None:
    frame = Frame(2**32 - 1, 1234.5, EVENTS_T32, b"abc")
    assert parse_frame(frame.pack()) == frame
    for data in (
        b"",
        bytes(15),
        bytes(12) + b"\4\0\0\0",
        bytes(12) + b"\0\0\1\0",
        struct.pack("<Id4x", 1, float("nan")),
    ):
        with pytest.raises(MessageError):
            parse_frame(data)


def test_pictures_are_thinned_evenly() -> None:
    events = some_events(10_000)
    data = pack_picture(5, 6, 24, 32, events)
    seq, step, n, width, height = struct.unpack_from("<IIIHH", data)
    assert (seq, step, n, width, height) == (5, 6, 4096, 24, 32)
    pairs = np.frombuffer(data, "<u2", offset=16).reshape(n, 2)
    assert pairs[0].tolist() == [events["x"][0], events["y"][0] | events["p"][0] << 15]
    assert pairs[-1, 0] == events["x"][-1]
