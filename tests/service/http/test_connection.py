"""What one connection may do: limits to the byte and the frame, and what a late, silent or broken client gets."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from spikesight.service.client import Client
from spikesight.service.http.connection import (
    LEAST_READ,
    MAX_HEAD,
    SMALL_BODY,
    DeadlineProtocol,
    StreamProtocol,
    refusal_bytes,
)
from tests.support.serving.http import alive, status_of, talk
from tests.support.serving.servers import running
from tests.support.waiting import until

START = b"GET /health/live HTTP/1.1\r\n"
FIELDS = b"Host: 127.0.0.1\r\nConnection: close\r\n"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with running(receive_s=2) as port:
        yield port


@pytest.mark.parametrize(("more", "status"), [(0, 200), (1, 431)])
def test_heads_and_paths_have_a_most(port: int, more: int, status: int) -> None:
    room = MAX_HEAD + more - len(FIELDS) - len(b"X: \r\n")
    assert status_of(talk(port, START + FIELDS + b"X: " + b"a" * room + b"\r\n\r\n")) == status
    path = b"/health/live?".ljust(MAX_HEAD + more, b"a")
    assert status_of(talk(port, b"GET " + path + b" HTTP/1.1\r\n" + FIELDS + b"\r\n")) == status
    unfinished = (START + FIELDS + b"X: ").ljust(MAX_HEAD + more, b"a")
    assert status_of(talk(port, unfinished)) == (431 if more else 408)


def test_a_stream_holds_its_connections_place_until_it_ends() -> None:
    with running(max_connections_per_client=2) as port, ExitStack() as stack:
        streams = [stack.enter_context(Client(f"http://127.0.0.1:{port}").stream()) for _ in range(2)]
        with socket.create_connection(("127.0.0.1", port)) as third:
            assert status_of(third.recv(4096)) == 503
        for stream in streams:
            stream.close()
        until(lambda: alive(port), "their places are free")


class Line:
    """A transport that writes down what is done with it, and the loop that arranges calls."""

    def __init__(self) -> None:
        self.log: list[object] = []
        self.later: list[Callable[[], None]] = []
        self.unread = 0

    def write(self, data: bytes) -> None:
        self.log.append(data)

    def close(self) -> None:
        self.log.append("close")

    def abort(self) -> None:
        self.log.append("abort")

    def is_closing(self) -> bool:
        return "close" in self.log

    def get_write_buffer_size(self) -> int:
        return self.unread

    def call_later(self, _: float, call: Callable[..., None], *args: Any) -> Any:
        self.later.append(partial(call, *args))
        return SimpleNamespace(cancel=lambda: self.log.append("cancelled"))


def http(full: bool = True, method: bytes = b"POST", **changes: Any) -> tuple[DeadlineProtocol, Line]:
    """A connection in the middle of a request, without a port."""
    made, line = DeadlineProtocol.__new__(DeadlineProtocol), Line()
    state = {
        "runtime": SimpleNamespace(full=lambda: full), "parser": SimpleNamespace(get_method=lambda: method),
        "expect_100_continue": False, "pipeline": [], "cycle": None, "url": b"/v1/predict?a=b", "scheme": "http",
        "headers": [(b"content-length", b"%d" % SMALL_BODY)], "transport": line, "loop": line, "_refused": False,
        "_deadline": None, "_reader": None, "settings": SimpleNamespace(receive_s=9.0, read_s=7.0), **changes,
    }  # fmt: skip
    for name, value in state.items():
        setattr(made, name, value)
    return made, line


def cycle(started: bool, complete: bool) -> Any:
    return SimpleNamespace(response_started=started, response_complete=complete)


@pytest.mark.parametrize(
    ("changes", "away"),
    [
        ({}, True),
        ({"url": b"/v2/models/a/infer"}, True),
        ({"cycle": cycle(True, True)}, True),
        ({"full": False}, False),
        ({"method": b"GET"}, False),
        ({"expect_100_continue": True}, False),
        ({"pipeline": [1]}, False),
        ({"cycle": cycle(True, False)}, False),
        ({"url": b"/v1/models"}, False),
        ({"headers": []}, False),
        ({"headers": [(b"content-length", b"many")]}, False),
        ({"headers": [(b"content-length", b"%d" % (SMALL_BODY + 1))]}, False),
        ({"headers": [(b"content-length", b"5"), (b"origin", b"https://a.example")]}, False),
    ],
    ids=str,
)
def test_work_for_full_queues_is_turned_away_and_all_else_goes_through_the_gate(changes: dict, away: bool) -> None:
    assert http(**changes)[0]._turn_away() == away


@pytest.mark.parametrize(("started", "complete"), [(False, False), (True, False), (True, True)])
def test_who_is_late_is_refused_once_or_cut_off_where_an_answer_is_on_the_line(started: bool, complete: bool) -> None:
    made, line = http(cycle=cycle(started, complete))
    made._late()
    assert line.log == (["abort"] if started and not complete else [refusal_bytes(408), "close"])
    assert (b"retry-after" in refusal_bytes(503)) > (b"retry-after" in refusal_bytes(408))
    before = list(line.log)
    if "close" in before:
        made.send_400_response("words")
        made.data_received(b"more")
        assert line.log == before


@pytest.mark.parametrize(("read", "cut_off"), [(0, True), (LEAST_READ - 1, True), (LEAST_READ, False)])
def test_who_does_not_read_on_in_its_answer_is_cut_off(read: int, cut_off: bool) -> None:
    made, line = http(flow=SimpleNamespace(pause_writing=lambda: None, resume_writing=lambda: None))
    line.unread = 10 * LEAST_READ
    made.pause_writing()
    line.unread -= read
    line.later[0]()
    assert line.log == (["abort"] if cut_off else [])
    assert len(line.later) == (1 if cut_off else 2), "and looked at again"
    made.resume_writing()
    assert line.log[-1] == "cancelled"


@pytest.mark.parametrize(
    ("changes", "stays"),
    [
        ({"cycle": None}, False),
        ({"cycle": cycle(True, False)}, True),
        ({"cycle": cycle(True, True)}, False),
        ({"cycle": cycle(True, False), "_deadline": 1}, False),  # half a request more
        ({"cycle": cycle(True, False), "scheme": "https"}, False),
    ],
    ids=str,
)
def test_who_sends_no_more_is_kept_while_it_is_answered(
    changes: dict[str, Any], stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, line = http(**changes)
    assert made.eof_received() == stays
    monkeypatch.setattr(HttpToolsProtocol, "on_response_complete", lambda _: None)
    made.on_response_complete()
    assert line.log == [], "others keep their connection, and this one while an answer is due"
    if stays:
        made.cycle.response_complete = True  # type: ignore[union-attr]
        made.on_response_complete()
        assert line.log == ["close"]


@pytest.mark.attack("WebSocket", "a burst that is still being worked off at SIGTERM", "1012; the rest is thrown away")
@pytest.mark.parametrize(("greeted", "left"), [(True, []), (False, ["connect", "message"])])
def test_at_the_end_nothing_more_is_taken_from_a_stream(
    greeted: bool, left: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for ending in ("shutdown", "keepalive_timeout"):
        monkeypatch.setattr(WebSocketsSansIOProtocol, ending, lambda _: None)
    made, line = StreamProtocol.__new__(StreamProtocol), Line()
    transport: Any = line
    made.transport = made.loop = transport
    made.handshake_complete, made.queue = greeted, asyncio.Queue()
    for message in ("connect", "message"):
        made.queue.put_nowait(message)  # type: ignore[arg-type]
    made.shutdown()
    assert [made.queue.get_nowait() for _ in range(made.queue.qsize())] == left
    made.keepalive_timeout()
    for call in line.later:
        call()
    assert line.log == ["abort", "abort"]
