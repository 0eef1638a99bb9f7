"""Limits of one connection, to the byte and to the frame."""

from collections.abc import Iterator

import pytest
from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode

from spikesight.service.http.connection import HELLO_FRAMES, MAX_HEAD, CountedFrames, refusal_bytes
from tests.support.serving.http import body_of, status_of, talk
from tests.support.serving.servers import running

START = b"GET /health/live HTTP/1.1\r\n"
FIELDS = b"Host: 127.0.0.1\r\nConnection: close\r\n"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(receive_s=2) as port:
        yield port


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 431)])
def test_headers_have_a_most(port: int, more: int, status: int) -> None:
    room = MAX_HEAD + more - len(FIELDS) - len(b"X: \r\n")
    assert status_of(talk(port, START + FIELDS + b"X: " + b"a" * room + b"\r\n\r\n")) == status


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 431)])
def test_paths_have_a_most(port: int, more: int, status: int) -> None:
    path = b"/health/live?".ljust(MAX_HEAD + more, b"a")
    assert status_of(talk(port, b"GET " + path + b" HTTP/1.1\r\n" + FIELDS + b"\r\n")) == status


def test_an_unfinished_head_is_refused_at_its_first_byte_too_many(port: int) -> None:
    assert status_of(talk(port, (START + FIELDS + b"X: ").ljust(MAX_HEAD + 1, b"a"))) == 431
    assert status_of(talk(port, (START + FIELDS + b"X: ").ljust(MAX_HEAD, b"a"))) == 408


@pytest.mark.parametrize("status", [400, 408, 431, 503])
def test_refusals_are_whole_answers(status: int) -> None:
    answer = refusal_bytes(status)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert status_of(answer) == status
    assert f"content-length: {len(body)}".encode() in head
    assert b"connection: close" in head
    assert (b"retry-after" in head) == (status == 503)
    assert list(body_of(answer)) == ["error"]


def take(frames: CountedFrames, n: int, opcode: Opcode = Opcode.PING, fin: bool = True) -> int:
    """How many of n frames are taken."""
    for taken in range(n):
        try:
            frames.recv_frame(Frame(opcode, b"", fin))
        except ProtocolError:
            return taken
    return n


def test_frames_before_the_first_message() -> None:
    assert take(CountedFrames(None, 1e-3), HELLO_FRAMES + 9) == HELLO_FRAMES


def test_after_the_first_message_the_rate_counts() -> None:
    frames = CountedFrames(None, 5)
    assert take(frames, 10) == 10
    assert take(frames, 1, Opcode.TEXT, fin=False) == 1
    assert take(frames, 3) == 3  # the message is not whole yet: they cost none of the rate's five
    assert take(frames, 1, Opcode.CONT) == 1
    assert take(frames, 100) in (5, 6)  # a fifth of a second may have gone by


def test_a_flood_breaks_our_rules_and_a_broken_frame_the_protocols() -> None:
    for flooded, code in ((True, 1008), (False, 1002)):
        frames = CountedFrames(None, 5)
        frames.state = frames.state.OPEN
        assert take(frames, HELLO_FRAMES + 1) == HELLO_FRAMES if flooded else True
        frames.fail(1002, "broken")
        assert frames.close_sent is not None
        assert frames.close_sent.code == code
