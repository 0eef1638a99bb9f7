"""What one connection may do, without a port: whom full queues turn away, what a late or broken client gets."""

import asyncio
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from spikesight.service.http.connection import (
    ABORT_S,
    LEAST_READ,
    SMALL_BODY,
    DeadlineProtocol,
    StreamProtocol,
    refusal_bytes,
)


class Line:
    """A transport, and the loop that arranges calls."""

    def __init__(self) -> None:
        self.log: list[object] = []
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.closing = False
        self.unread = 0

    def write(self, data: bytes) -> None:
        self.log.append(data)

    def close(self) -> None:
        self.log.append("close")
        self.closing = True

    def abort(self) -> None:
        self.log.append("abort")

    def is_closing(self) -> bool:
        return self.closing

    def get_write_buffer_size(self) -> int:
        return self.unread

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.log.append("eof")

    def resume_reading(self) -> None:
        self.log.append("resume")

    def call_later(self, seconds: float, call: Callable[..., None], *args: Any) -> Any:
        self.later.append((seconds, partial(call, *args) if args else call))
        return SimpleNamespace(cancel=lambda: self.log.append("cancelled"))


def http(full: bool = True, method: bytes = b"POST", **changes: Any) -> tuple[DeadlineProtocol, Line]:
    made, line = DeadlineProtocol.__new__(DeadlineProtocol), Line()
    parser = SimpleNamespace(get_method=lambda: method, should_keep_alive=lambda: True)
    state = {
        "runtime": SimpleNamespace(full=lambda: full, turned_away=lambda: line.log.append("counted")),
        "parser": parser, "expect_100_continue": False, "pipeline": [], "cycle": None, "url": b"/v1/predict?a=b",
        "headers": [(b"content-length", b"%d" % SMALL_BODY)], "transport": line, "loop": line, "_refused": False,
        "_deadline": None, "_skipping": False, "_head": 0, "_reader": None, "scheme": "http",
        "settings": SimpleNamespace(receive_s=9.0, read_s=7.0), **changes,
    }  # fmt: skip
    for name, value in state.items():
        setattr(made, name, value)
    return made, line


def test_work_for_full_queues_is_turned_away() -> None:
    assert http()[0]._turn_away()
    assert http(url=b"/v2/models/a/infer")[0]._turn_away()
    assert http(cycle=SimpleNamespace(response_complete=True))[0]._turn_away()


@pytest.mark.parametrize(
    "changes",
    [
        {"full": False},
        {"method": b"GET"},
        {"expect_100_continue": True},
        {"pipeline": [1]},
        {"cycle": SimpleNamespace(response_complete=False)},
        {"url": b"/v1/models"},
        {"headers": []},
        {"headers": [(b"content-length", b"many")]},
        {"headers": [(b"content-length", b"%d" % (SMALL_BODY + 1))]},
        {"headers": [(b"content-length", b"5"), (b"origin", b"https://a.example")]},
    ],
    ids=str,
)
def test_anything_else_goes_through_the_gate(changes: dict[str, Any]) -> None:
    assert not http(**changes)[0]._turn_away()


def test_a_request_has_so_long_to_arrive() -> None:
    made, line = http()
    made._arm()
    made._arm()
    assert [seconds for seconds, _ in line.later] == [9.0], "from its first byte"
    line.later[0][1]()
    assert line.log == [refusal_bytes(408), "close"]
    assert line.later[1:] == [(ABORT_S, line.abort)]
    made._refuse(400)
    assert len(line.log) == 2, "once"
    answering, other = http(cycle=SimpleNamespace(response_started=True, response_complete=False))
    answering._late()
    assert other.log == ["abort"], "there is an answer on the line already"
    for started in (False, True):  # none yet, or all of it
        late, third = http(cycle=SimpleNamespace(response_started=started, response_complete=started))
        late._late()
        assert third.log[0] == refusal_bytes(408)


@pytest.mark.parametrize(("read", "cut_off"), [(0, True), (LEAST_READ - 1, True), (LEAST_READ, False)])
def test_who_does_not_read_on_in_its_answer_is_cut_off(read: int, cut_off: bool) -> None:
    made, line = http(flow=SimpleNamespace(pause_writing=lambda: None, resume_writing=lambda: None))
    line.unread = 10 * LEAST_READ
    made.pause_writing()
    line.unread -= read
    ((seconds, look),) = line.later
    look()
    assert line.log == (["abort"] if cut_off else [])
    assert [later[0] for later in line.later] == [seconds] * (1 if cut_off else 2), "and looked at again"
    made.resume_writing()
    assert line.log[-1] == "cancelled"


@pytest.mark.parametrize(
    ("changes", "stays"),
    [
        ({"cycle": None}, False),
        ({"cycle": SimpleNamespace(response_complete=False)}, True),
        ({"cycle": SimpleNamespace(response_complete=True)}, False),
        ({"cycle": SimpleNamespace(response_complete=False), "_deadline": 1}, False),  # half a request more
        ({"cycle": SimpleNamespace(response_complete=False), "scheme": "https"}, False),
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


def test_nothing_is_refused_on_a_line_that_closes() -> None:
    made, line = http()
    line.closing = True
    made._refuse(431)
    assert line.log == []
    refused, other = http(_refused=True)
    refused.send_400_response("words")
    refused.data_received(b"more")
    assert other.log == []
    broken, third = http()
    broken.send_400_response("words")
    assert third.log[0] == refusal_bytes(400)


def stream(**changes: Any) -> tuple[StreamProtocol, Line]:
    made, line = StreamProtocol.__new__(StreamProtocol), Line()
    reason = SimpleNamespace(code=1008, reason="too many frames")
    state = {
        "conn": SimpleNamespace(close_sent=reason, data_to_send=lambda: [b"a", b"b"]), "transport": line, "loop": line,
        "queue": asyncio.Queue(), "read_paused": True, "close_timer": None, "_broken": False, "close_sent": False,
        "writable": asyncio.Event(), **changes,
    }  # fmt: skip
    for name, value in state.items():
        setattr(made, name, value)
    return made, line


def test_a_broken_stream_is_told_why_and_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    made, line = stream()
    made.handle_parser_exception()
    assert line.log == [b"ab", "eof", "resume"]
    assert made.queue.get_nowait() == {"type": "websocket.disconnect", "code": 1008, "reason": "too many frames"}
    assert line.later == [(ABORT_S, line.abort)]
    assert made.close_sent
    monkeypatch.setattr(WebSocketsSansIOProtocol, "data_received", lambda *_: line.log.append("parsed"))
    made.data_received(b"more")
    made.writable.set()
    made.handle_ping()
    assert line.log[3:] == []
    again, other = stream(read_paused=False)
    again.close_timer = other.call_later(1.0, print)
    again.handle_parser_exception()
    assert other.log == [b"ab", "eof", "cancelled"]


def test_who_does_not_read_gets_no_pongs() -> None:
    made, line = stream()
    made.handle_ping()
    assert line.log == []
    made.writable.set()
    made.handle_ping()
    assert line.log == [b"ab"]


@pytest.mark.parametrize("ending", ["keepalive_timeout", "shutdown"])
def test_who_does_not_answer_a_goodbye_is_cut_off(ending: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WebSocketsSansIOProtocol, ending, lambda _: None)
    made, line = stream(handshake_complete=True)
    getattr(made, ending)()
    assert line.later == [(ABORT_S, line.abort)]


@pytest.mark.attack("WebSocket", "a burst that is still being worked off at SIGTERM", "1012; the rest is thrown away")
@pytest.mark.parametrize(("greeted", "left"), [(True, []), (False, ["connect", "message"])])
def test_at_the_end_nothing_more_is_taken_from_a_stream(
    greeted: bool, left: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WebSocketsSansIOProtocol, "shutdown", lambda _: None)
    made, _ = stream(handshake_complete=greeted)
    for message in ("connect", "message"):
        made.queue.put_nowait(message)  # type: ignore[arg-type]
    made.shutdown()
    assert [made.queue.get_nowait() for _ in range(made.queue.qsize())] == left


def test_a_connections_place_is_given_back_once_or_handed_on() -> None:
    given: list[str] = []
    made, line = http(caps=SimpleNamespace(give=given.append), _counted="a")
    made._uncount()
    made._uncount()
    assert given == ["a"]
    made._uncount_later()
    assert line not in StreamProtocol.inherited, "there is nothing left to hand on"
    made._counted = "b"
    made._uncount_later()
    made._uncount()
    assert given == ["a"]
    assert StreamProtocol.inherited.pop(line) == (made.caps, "b")
