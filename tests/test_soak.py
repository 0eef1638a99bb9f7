"""Half an hour of everything at once (SPIKESIGHT_SOAK_S seconds): memory flat, nothing accepted lost, health stays."""

import json
import os
import random
import socket
import threading
import time
from pathlib import Path

import pytest
from serving import picture, running, tiny
from test_api import some_events
from test_attacks import BOMBS, FORMS, get, post, status_of, talk

from service.client import Client, ClientError, Prediction

SOAK_S = float(os.environ.get("SPIKESIGHT_SOAK_S", "1800"))
PATIENCE_S = 120.0  # a machine may have other work: what must hold is the answer, not its time
SETTLE = 0.25  # of the time, before memory is looked at
GROWTH = 60_000_000  # bytes


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc: memory is not measured here")
def test_soak() -> None:
    failures: list[str] = []
    counts = {"answered": 0, "refused": 0, "streams": 0}
    end = time.monotonic() + SOAK_S

    def keep_on(work) -> None:
        while time.monotonic() < end and not failures:
            try:
                work()
            except Exception as error:
                at_s = SOAK_S - (end - time.monotonic())
                failures.append(f"{work.__name__}: {error!r} from {error.__cause__!r}, after {at_s:.0f} s")

    with running(classifiers=(tiny(),), receive_s=20.0, max_body=300_000) as port:
        client = Client(f"http://127.0.0.1:{port}", timeout_s=PATIENCE_S)

        def images() -> None:
            try:
                client.predict(picture(".jpg"))
                counts["answered"] += 1
            except ClientError as error:
                if error.status != 503:
                    raise
                counts["refused"] += 1

        def bombs() -> None:
            data = random.choice(list(BOMBS.values()))
            assert status_of(talk(port, post("/v1/predict", data, "Content-Type: image/png"), wait_s=PATIENCE_S)) in (
                400,
                413,
                503,
            )

        def forms() -> None:
            answer = talk(
                port,
                post(
                    "/v1/predict", random.choice(list(FORMS.values())), "Content-Type: multipart/form-data; boundary=b"
                ),
                wait_s=PATIENCE_S,
            )
            assert not answer or status_of(answer) in (400, 413, 415, 503)

        def garbage() -> None:
            assert status_of(talk(port, random.randbytes(200) + b"\r\n\r\n", wait_s=PATIENCE_S)) in (400, 408)

        def leavers() -> None:
            with socket.create_connection(("127.0.0.1", port)) as peer:
                peer.sendall(get("/v1/predict", "Content-Length: 1000", method="POST") + b"abc")

        def streams() -> None:
            with client.stream(width=24, height=32, picture=True) as stream:
                sent = stream.send_events(some_events(500, seed=random.randrange(100)))
                heard = next((m for m in stream.receive(PATIENCE_S) if isinstance(m, Prediction)), None)
            assert heard is not None, sent
            counts["streams"] += 1

        def slow_readers() -> None:
            with client.stream(width=24, height=32, picture=True) as stream:
                for _ in range(100):
                    stream.send_events(some_events(500, span_us=20_000))
                time.sleep(0.5)

        def health() -> None:
            assert client.ready()
            assert json.loads(talk(port, get("/health/live"), wait_s=PATIENCE_S).partition(b"\r\n\r\n")[2]) == {
                "live": True
            }
            time.sleep(0.1)

        work = (images, images, bombs, forms, garbage, leavers, streams, slow_readers, health)
        threads = [threading.Thread(target=keep_on, args=(one,)) for one in work]
        for thread in threads:
            thread.start()
        time.sleep(SOAK_S * SETTLE)
        before = resident()
        for thread in threads:
            thread.join()
        after = resident()
    assert not failures, failures
    assert counts["answered"] > 0
    assert counts["streams"] > 0
    assert after - before < GROWTH, f"{before / 2**20:.0f} -> {after / 2**20:.0f} MiB"
    print(counts, f"{before / 2**20:.0f} -> {after / 2**20:.0f} MiB")
