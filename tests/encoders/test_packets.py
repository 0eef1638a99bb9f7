"""wire: datagrams of events, against the published byte vectors."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikesight.encoders.events import Events, make_events
from spikesight.encoders.packets import EVENT_BYTES, RECORD_BYTES, WireDecoder, encode, pack

A, B = (1000, 10, 20, True), (1001, 300, 400, False)


def events(*rows: tuple[int, int, int, bool]) -> Events:
    return make_events(*zip(*rows))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("14 80 0a 80 90 01 2c 81", [(77, *A[1:]), (77, *B[1:])]),
        ("14 80 0a 00 e8 03 00 00 90 01 2c 01 e9 03 00 00", [A, B]),
        ("14 80 0a 80 90 01 2c 01 e9 03 00 00", [(77, *A[1:]), B]),  # mixed
        ("90 01 2c 01 e9 03 00 80", [(0x800003E9, *B[1:])]),  # a time with bit 31 set
    ],
)
def test_published_vectors(text: str, expected: list[tuple[int, int, int, bool]]) -> None:
    decoder = WireDecoder("aestream")
    assert (decoder.decode([bytes.fromhex(text)], 77).tolist(), decoder.n_bytes_lost) == (expected, 0)


@pytest.mark.parametrize("layout", list(RECORD_BYTES))
def test_what_is_sent_is_received(layout: str) -> None:
    rng = np.random.default_rng(0)
    n = 5000
    t, x, y, p = (rng.integers(0, end, n) for end in (2**31, 1280, 720, 2))
    sent = make_events(np.sort(t), x, y, p)
    datagrams = list(encode(sent, layout))
    assert all(1472 - EVENT_BYTES[layout] < len(datagram) <= 1472 for datagram in datagrams[:-1])
    decoder = WireDecoder(layout)
    assert np.array_equal(decoder.decode(datagrams, 0), sent)
    again = WireDecoder(layout)
    assert np.array_equal(np.concatenate([again.decode([d], 0) for d in datagrams]), sent)


def test_32_bit_clocks_wrap() -> None:
    layout = "aestream"
    sent = make_events(2**32 - 10 + np.arange(20), np.arange(20), np.arange(20), np.ones(20))
    decoder = WireDecoder(layout)
    received = np.concatenate([decoder.decode([d], 0) for d in encode(sent, layout, longest=32)])
    assert np.array_equal(received["t"], sent["t"])
    lower = decoder.decode(list(encode(make_events([5_000_000_000 - 2**32], [1], [1], [1]), layout)), 0)
    assert int(lower["t"][0]) > 0


def test_a_time_before_zero_is_refused_where_it_would_become_another() -> None:
    with pytest.raises(ValueError, match="no times below 0"):
        pack(make_events([-1, 0], [0, 0], [0, 0], [1, 1]), "t64")


def test_odd_lengths_cost_their_tail_only() -> None:
    good = next(encode(events(A, B), "t64"))
    decoder = WireDecoder("t64")
    assert decoder.decode([good[:-3], b"", good, b"\1\2\3"], 0).tolist() == [A, A, B]
    assert decoder.n_bytes_lost == 10 + 3
    assert len(decoder.decode([], 0)) == 0


@given(st.sampled_from(sorted(RECORD_BYTES)), st.lists(st.binary(max_size=70), max_size=6))
def test_noise_is_decoded_without_a_fault(layout: str, datagrams: list[bytes]) -> None:
    decoder = WireDecoder(layout)
    found = decoder.decode(datagrams, 9)
    used = sum(map(len, datagrams)) - decoder.n_bytes_lost
    record = RECORD_BYTES[layout]
    assert used % record == 0
    if layout == "aestream":
        assert used // 8 <= len(found) <= used // 4
    else:
        assert len(found) == used // record


def test_wild_times_and_polarities_are_tamed() -> None:
    raw = np.zeros(3, [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "u1")])
    raw["t"], raw["x"], raw["on"] = [2**64 - 1, 2**62 + 5, 7], [40_000, 1, 2], [255, 2, 0]
    found = WireDecoder("t64").decode([raw.tobytes()], 0)
    assert (found["t"].tolist(), found["p"].tolist()) == ([2**62, 2**62, 7], [True, True, False])
    assert found["p"].view(np.uint8).tolist() == [1, 1, 0]
    assert found["x"].tolist() == [40_000 - 65_536, 1, 2]


def test_records_to_the_bit() -> None:
    one = events((2**32 + 5, 1279, 719, True))
    assert pack(one, "t64") == struct.pack("<QHHB", 2**32 + 5, 1279, 719, 1)
    assert pack(one, "aestream") == struct.pack("<II", 1279 << 16 | 1 << 15 | 719, 5)
    assert pack(one[:0], "t64") == b""


WORD, TIMED, TIME = 1 << 31 | 5 << 16 | 7, 5 << 16 | 1 << 15 | 7, 1 << 31 | 9


@pytest.mark.parametrize(
    ("datagrams", "expected", "lost"),
    [
        ([[WORD, TIMED, TIME, WORD]], [(77, False), (TIME, True), (77, False)], 0),
        ([[WORD, TIMED], [WORD]], [(77, False), (77, False)], 4),
        ([[TIMED, 3], [TIMED, 4]], [(3, True), (4, True)], 0),
        ([[TIMED, 3, WORD], [TIMED, 4]], [(3, True), (77, False), (4, True)], 0),
        ([[TIMED], [TIMED, 4]], [(4, True)], 4),
        ([[TIMED, 3, TIMED], [3, 4]], [(3, True), (4, False)], 4),
    ],
)
def test_words_with_and_without_times(datagrams: list[list[int]], expected: list[tuple[int, bool]], lost: int) -> None:
    decoder = WireDecoder("aestream")
    found = decoder.decode([struct.pack(f"<{len(words)}I", *words) for words in datagrams], 77)
    assert list(zip(found["t"].tolist(), found["p"].tolist())) == expected
    assert decoder.n_bytes_lost == lost
