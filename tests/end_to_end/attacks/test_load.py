"""Attacks by load (docs/service/security.md): rates, full queues, deadlines."""

import json
import socket

import pytest

from tests.support.inputs.samples import picture
from tests.support.serving.http import PATIENCE_S, post, status_of, talk
from tests.support.serving.servers import running
from tests.support.threads import together


@pytest.mark.attack("load", "queue full", "503 + Retry-After")
@pytest.mark.attack("load", "queue full, connections kept alive", "503 before the body is read; the connection goes on")
def test_a_full_queue_gets_503_and_keeps_its_connections() -> None:
    """Refusals come before the body is read; the connection goes on, and so does the count of requests."""
    body = picture(".jpg", size=(400, 300))
    asked = post("/v1/predict", body, "Content-Type: image/jpeg").replace(b"Connection: close\r\n", b"")
    with running(max_queue=1, max_batch=1) as port:

        def ask(peer: socket.socket) -> int:
            peer.sendall(asked)
            got = b""
            while b"\r\n\r\n" not in got:
                got += peer.recv(65536)
            head, _, rest = got.lower().partition(b"\r\n\r\n")
            length = int(head.partition(b"content-length:")[2].split()[0])
            while len(rest) < length:
                rest += peer.recv(65536).lower()
            if status_of(head) == 503:
                assert json.loads(rest) == {"error": "the service is busy: try again in a moment"}
                assert b"retry-after: 1" in head
            return status_of(head)

        def client() -> list[int]:
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as peer:
                return [ask(peer) for _ in range(10)]

        statuses = [status for own in together([client] * 8) for status in own]
        assert set(statuses) == {200, 503}


@pytest.mark.attack("load", "deadline", "504")
def test_a_missed_deadline_gets_504() -> None:
    with running(deadline_s=0.001) as port:
        answer = talk(port, post("/v1/predict", picture(size=(800, 600)), "Content-Type: image/png"))
        assert status_of(answer) == 504
