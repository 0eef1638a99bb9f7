"""Attacks by load (docs/service/security.md): rates, full queues, deadlines."""

import json
import socket
import threading

import pytest

from tests.support.inputs.samples import picture
from tests.support.serving.http import PATIENCE_S, alive, get, post, status_of, talk
from tests.support.serving.servers import running


@pytest.mark.attack("load", "rate limit", "429 + Retry-After")
def test_the_rate_limit_gets_429() -> None:
    with running(requests_per_s=3) as port:
        statuses = [talk(port, get("/v1/models")) for _ in range(8)]
        assert [status_of(answer) for answer in statuses].count(429) >= 3
        refused = next(answer for answer in statuses if status_of(answer) == 429)
        assert b"retry-after: 1" in refused
        assert alive(port)


@pytest.mark.attack("load", "queue full", "503 + Retry-After")
def test_a_full_queue_gets_503() -> None:
    with running(max_queue=1, max_batch=1) as port:
        answers: list[bytes] = []
        data = post("/v1/predict", picture(size=(400, 300)), "Content-Type: image/png")
        threads = [threading.Thread(target=lambda: answers.append(talk(port, data))) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        statuses = {status_of(answer) for answer in answers}
        assert statuses == {200, 503}
        assert all(b"retry-after: 1" in answer for answer in answers if status_of(answer) == 503)


@pytest.mark.attack("load", "queue full, connections kept alive", "503 before the body is read; the connection goes on")
def test_a_full_queue_keeps_its_connections() -> None:
    """Refusals come before the body is read; the connection goes on, and so does the count of requests."""
    body = picture(".jpg", size=(400, 300))
    asked = post("/v1/predict", body, "Content-Type: image/jpeg").replace(b"Connection: close\r\n", b"")
    with running(max_queue=1, max_batch=1) as port:

        def ask(peer: socket.socket) -> int:
            peer.sendall(asked)
            got = b""
            while b"\r\n\r\n" not in got:
                got += peer.recv(65536)
            head, _, rest = got.partition(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            while len(rest) < length:
                rest += peer.recv(65536)
            assert status_of(head) == 200 or json.loads(rest) == {"error": "the service is busy: try again in a moment"}
            return status_of(head)

        def client() -> None:
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as peer:
                statuses.extend(ask(peer) for _ in range(10))

        statuses: list[int] = []
        threads = [threading.Thread(target=client) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(statuses) == 80
        assert set(statuses) == {200, 503}
        text = talk(port, get("/metrics")).decode()
    refused = next(line for line in text.splitlines() if line.startswith("spikesight_refused_total"))
    assert 0 < float(refused.split()[-1]) <= statuses.count(503)


@pytest.mark.attack("load", "deadline", "504")
def test_a_missed_deadline_gets_504() -> None:
    with running(deadline_s=0.001) as port:
        answer = talk(port, post("/v1/predict", picture(size=(800, 600)), "Content-Type: image/png"))
        assert status_of(answer) == 504
