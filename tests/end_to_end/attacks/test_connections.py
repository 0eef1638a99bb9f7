"""Attacks on connections (docs/service/security.md): slow, endless, half-open and broken HTTP."""

import logging
import socket
from contextlib import ExitStack

import pytest

from spikesight.service.http.connection import MAX_PIPELINE
from tests.support.inputs.samples import picture
from tests.support.serving.http import LEAK, RECEIVE_S, alive, body_of, get, status_of, talk
from tests.support.serving.servers import resident, running
from tests.support.waiting import PATIENCE_S, until


@pytest.mark.attack(
    "connections", "silent, slow headers, slow body, slow chunks", "408 and close within the receive deadline (10 s)"
)
@pytest.mark.parametrize(
    ("sent", "trickle"),
    [
        (b"", b""),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ", b"b"),
        (
            b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/png\r\nContent-Length: 9999\r\n\r\n",
            b"b",
        ),
        (b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nb\r\n"),
    ],
    ids=["silent", "slow headers", "slow body", "slow chunks"],
)
def test_slow_senders_get_408(port: int, sent: bytes, trickle: bytes) -> None:
    answer = talk(port, sent, trickle=trickle)
    assert status_of(answer) == 408
    assert list(body_of(answer)) == ["error"]


@pytest.mark.attack("connections", "keep-alive and pipelining beside the deadline", "live on")
def test_keep_alive_and_pipelining_live_on(port: int) -> None:
    request = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port)) as peer:
        for _ in range(2):
            peer.settimeout(PATIENCE_S)
            peer.sendall(request + request)
            got = b""
            while got.count(b'{"live":true}') < 2:
                got += peer.recv(65536)
            peer.settimeout(RECEIVE_S * 1.5)
            with pytest.raises(TimeoutError):  # nothing comes, an end of the connection neither
                peer.recv(1)


@pytest.mark.attack(
    "connections", "hundreds of pipelined requests", "429 above 16 that wait; one a round of the event loop"
)
def test_a_pipeline_has_an_end(port: int) -> None:
    request = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    last = request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert b" 429 " not in talk(port, request * MAX_PIPELINE + last)
    assert b" 429 " in talk(port, request * 4 * MAX_PIPELINE)
    assert alive(port)


@pytest.mark.attack("connections", "one unfinished header, 50 MB", "431 or close after 16 KiB of raw bytes; no memory")
def test_an_endless_header_costs_no_memory(port: int) -> None:
    before = resident()
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
        sent = 0
        try:
            while sent < 50_000_000:
                peer.sendall(b"a" * 100_000)
                sent += 100_000
        except (ConnectionError, BrokenPipeError):
            pass
    assert sent < 10_000_000
    assert resident() - before < 20_000_000


@pytest.mark.attack("connections", "half-open connections", "health stays live; 503 above the cap of an address")
def test_half_open_connections_leave_health_alive(port: int) -> None:
    peers = [socket.create_connection(("127.0.0.1", port)) for _ in range(39)]
    try:
        assert alive(port)
        extra = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        got = [peer.recv(4096) for peer in extra]
        for peer in extra:
            peer.close()
        assert any(answer and status_of(answer) == 503 for answer in got)
    finally:
        for peer in peers:
            peer.close()
    until(lambda: alive(port))


@pytest.mark.attack("connections", "answers that are never read", "cut off unless 32 KiB are read in 10 s")
def test_who_never_reads_holds_no_connection() -> None:
    ask = b"GET /samples/circle HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * MAX_PIPELINE
    with running(read_s=0.2, max_connections_per_client=2) as port, ExitStack() as stack:
        for _ in range(2):
            peer = stack.enter_context(socket.socket())
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.connect(("127.0.0.1", port))
            peer.sendall(ask)
        until(lambda: talk(port, get("/health/live")).startswith(b"HTTP/1.1 200"))


@pytest.mark.attack(
    "connections", "a few addresses that hold every place", "another gets in: the greediest loses an idle one"
)
def test_few_addresses_do_not_keep_others_out() -> None:
    with running(max_connections=8, max_connections_per_client=4) as port, ExitStack() as stack:
        for address in ("127.0.0.2", "127.0.0.3"):
            for _ in range(4):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), source_address=(address, 0)))
        assert alive(port)


@pytest.mark.attack(
    "connections", "pipelined requests whose answers are never read", "cut off; nothing is logged as an error"
)
def test_a_pipeline_that_is_cut_off_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    with running(read_s=0.2, max_connections_per_client=1) as port, socket.socket() as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        peer.connect(("127.0.0.1", port))
        peer.sendall(b"GET /samples/digit-3 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" * MAX_PIPELINE)
        until(lambda: talk(port, get("/health/live")).startswith(b"HTTP/1.1 200"))
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_connections_of_a_trusted_proxy_are_not_one_clients() -> None:
    with running(max_connections_per_client=1, trusted_proxies=("127.0.0.1",)) as port, ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        assert alive(port)


@pytest.mark.attack("connections", "a client that shuts down its sending side", "answered, then closed")
def test_a_half_closed_client_gets_its_answer(port: int) -> None:
    body = picture()
    head = f"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as peer:
        peer.sendall(head.encode() + body)
        peer.shutdown(socket.SHUT_WR)
        got = b""
        while part := peer.recv(65536):
            got += part
    assert status_of(got) == 200


HEAD = b" HTTP/1.1\r\nHost: 127.0.0.1\r\n"
WRONG = {
    "200 KB header": (b"GET /" + HEAD + b"X: " + b"a" * 200_000, [431]),
    "10,000 headers": (b"GET /" + HEAD + b"X: y\r\n" * 10_000, [431]),
    "100 KB path": (b"GET /" + b"a" * 100_000 + HEAD, [431]),
    "length and chunked": (b"POST /" + HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", [400]),
    "garbage": (b"\x00\x01\x02 not http\r\n", [400]),
    "version": (b"GET / HTTP/9.9\r\n", [400]),
    "negative length": (b"POST /" + HEAD + b"Content-Length: -5\r\n", [400]),
    "bad chunk": (b"POST /" + HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n", [400]),
    "http 2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n", [400]),
    "absolute target": (b"GET http://127.0.0.1/health/live" + HEAD, [200]),
    "two slashes": (b"GET //health/live" + HEAD, [200, 404]),
    "options": (b"OPTIONS *" + HEAD, range(500)),
    "connect": (b"CONNECT a:1" + HEAD, range(500)),
    "percent": (b"GET /%" + HEAD, range(500)),
}


@pytest.mark.attack("connections", "200 KB header, 10,000 headers, 100 KB path", "431")
@pytest.mark.attack("connections", "Content-Length with Transfer-Encoding, garbage, bad chunks", "400")
@pytest.mark.attack("connections", "absolute-form target, `OPTIONS *`, CONNECT", "no crash")
@pytest.mark.parametrize("name", WRONG)
def test_requests_that_are_wrong_or_odd_are_answered_and_the_service_lives(port: int, name: str) -> None:
    sent, statuses = WRONG[name]
    answer = talk(port, sent + b"Connection: close\r\n\r\n")
    if answer or 431 not in statuses:  # a client still sending may see a reset instead
        assert status_of(answer) in statuses
    assert not LEAK.search(answer.decode("latin-1"))
    assert alive(port)
