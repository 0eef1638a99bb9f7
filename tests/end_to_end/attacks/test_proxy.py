"""Attacks on the proxy that docs/service/Caddyfile describes: what uvicorn cannot end, and the service behind it."""

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.sync.client import connect

from tests.support.inputs.samples import picture
from tests.support.serving.http import TOKEN, get, post, status_of
from tests.support.serving.servers import free_port, running
from tests.support.waiting import PATIENCE_S, until

CADDYFILE = Path(__file__).parents[3] / "docs" / "service" / "Caddyfile"
pytestmark = pytest.mark.skipif(shutil.which("caddy") is None, reason="no caddy: apt install caddy")
UNCHECKED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
UNCHECKED.check_hostname, UNCHECKED.verify_mode = False, ssl.CERT_NONE
KEY = f"Authorization: Bearer {TOKEN}"


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of Caddy, with heads in one second, before a service with a token."""
    home, port = str(tmp_path_factory.mktemp("caddy")), free_port()
    with running(token=TOKEN, trusted_proxies=("127.0.0.1",), max_connections=16) as service:
        environment = {
            **os.environ,
            "HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home,
            "SPIKESIGHT_SITE": f"https://localhost:{port}", "SPIKESIGHT_SERVICE": f"127.0.0.1:{service}",
            "SPIKESIGHT_HTTP_PORT": str(free_port()), "SPIKESIGHT_HEAD": "1s",
        }  # fmt: skip
        command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(CADDYFILE)]
        caddy = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(lambda: asked(port, get("/health/live", host="localhost")) == 200, "Caddy does not answer")
            yield port
        finally:
            caddy.terminate()
            caddy.wait(PATIENCE_S)


def secured(port: int) -> ssl.SSLSocket:
    """A connection whose handshake is done."""
    return UNCHECKED.wrap_socket(socket.create_connection(("127.0.0.1", port), PATIENCE_S), server_hostname="localhost")


def asked(port: int, request: bytes) -> int:
    """The status of the answer; 0: there is none."""
    try:
        with secured(port) as peer:
            peer.sendall(request)
            answer = peer.recv(65536)
            return status_of(answer) if answer else 0
    except OSError:
        return 0


def silent(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), PATIENCE_S)


def slow_head(port: int) -> socket.socket:
    peer = secured(port)
    peer.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a")
    return peer


@pytest.mark.attack(
    "connections", "unfinished TLS handshakes, or half a header after one", "the proxy's: closed after 10 s"
)
@pytest.mark.parametrize("attack", [silent, slow_head])
def test_who_is_silent_is_closed_and_keeps_nobody_out(proxy: int, attack: Callable[[int], socket.socket]) -> None:
    with ExitStack() as stack:
        peers = [stack.enter_context(attack(proxy)) for _ in range(100)]  # more than the service has places for
        assert asked(proxy, get("/health/live", host="localhost")) == 200
        for peer in peers:
            assert peer.recv(4096) == b"" or peer.recv(4096) == b"", "closed, after an alert or a status"


@pytest.mark.attack("connections", "headers of more than 16 KiB, over TLS", "the proxy's: 431")
@pytest.mark.parametrize(
    ("request_of", "status"),
    [
        (get("/v1/models", KEY, host="localhost"), 200),
        (get("/v1/models", host="localhost"), 401),
        (get("//v1/models", host="localhost"), 401),
        (post("/v1/predict", picture(), KEY, "Content-Type: image/png").replace(b"127.0.0.1", b"localhost"), 200),
        (get("/", "X: " + "a" * 40_000, host="localhost"), 431),
        (get("/", "Host: evil.example", host="localhost"), 400),
        (get("/v1/predict", "Content-Length: 99999999", KEY, host="localhost", method="POST"), 413),
    ],
)
def test_what_goes_through(proxy: int, request_of: bytes, status: int) -> None:
    assert asked(proxy, request_of) == status


def test_streams_go_through(proxy: int) -> None:
    address = f"wss://localhost:{proxy}/v1/stream"
    with connect(address, ssl=UNCHECKED, additional_headers={"Authorization": f"Bearer {TOKEN}"}, proxy=None) as socket:
        socket.send('{"type": "hello", "protocol": 1}')
        assert '"type":"ready"' in str(socket.recv(PATIENCE_S))
