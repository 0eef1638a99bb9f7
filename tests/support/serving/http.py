"""HTTP by hand: raw requests and their answers, what an answer must never show, and what is refused."""

import json
import re
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from spikesight.service.client import ClientError
from spikesight.service.http.errors import ServiceError

TOKEN = "0123456789abcdef"
RECEIVE_S = 0.5
PATIENCE_S = 6.0
LEAK = re.compile(r"0x[0-9a-f]{6,}|Traceback|site-packages|\.py\b|/tmp|/root|/home")


def talk(port: int, data: bytes, *, trickle: bytes = b"", wait_s: float = PATIENCE_S) -> bytes:
    """Send, keep trickling, and return all that comes until the server closes."""
    got, end = b"", time.monotonic() + wait_s
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.settimeout(0.05)
        try:
            peer.sendall(data)
            while time.monotonic() < end:
                try:
                    part = peer.recv(65536)
                    if not part:
                        return got
                    got += part
                except TimeoutError:
                    if trickle:
                        peer.sendall(trickle)
        except (ConnectionError, BrokenPipeError):
            return got
    raise AssertionError(f"still open after {wait_s} s: {got[:200]!r}")


def status_of(answer: bytes) -> int:
    """The status code of a raw answer."""
    return int(answer.split(b" ", 2)[1])


def body_of(answer: bytes) -> dict:
    """The JSON body of a raw answer."""
    return json.loads(answer.partition(b"\r\n\r\n")[2])


def get(path: str, *headers: str, host: str = "127.0.0.1", method: str = "GET") -> bytes:
    """A request without a body that asks the server to close; no Host for an empty one."""
    lines = [f"{method} {path} HTTP/1.1", *([f"Host: {host}"] if host else []), *headers, "Connection: close"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def post(path: str, body: bytes, *headers: str) -> bytes:
    """A POST of a body, with its length."""
    head = get(path, f"Content-Length: {len(body)}", *headers, method="POST")
    return head + body


def alive(port: int) -> bool:
    """Whether the server still says that it lives."""
    return status_of(talk(port, get("/health/live"))) == 200


def refused(call: Callable[..., object], *arguments: Any, **named: Any) -> tuple[int, str]:
    """The status and the sentence with which the service refuses what is called, or its client hears that it does."""
    with pytest.raises((ClientError, ServiceError)) as caught:
        call(*arguments, **named)
    return caught.value.status, str(caught.value)
