"""An hour of attacks among honest clients (SPIKESIGHT_SOAK_S seconds): memory flat, nothing lost, no exception.

The service runs in a process of its own, so that its memory is its own. Memory is flat when the median of the last
quarter's samples is at most GROWTH above that of the second quarter: by then every kind of request has come often.
"""

import os
import random
import signal
import socket
import statistics
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from websockets.frames import Opcode

from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import write_recording
from spikesight.service.client import Client, ClientError, Prediction
from tests.support.inputs.frames import FLOODS, HELLO, connected, frame
from tests.support.inputs.samples import picture, some_events
from tests.support.models import kept
from tests.support.serving.hostile import BOMBS, FORMS, with_scans
from tests.support.serving.http import get, post, status_of, talk
from tests.support.serving.servers import Served
from tests.support.waiting import PATIENCE_S, until

SOAK_S = float(os.environ.get("SPIKESIGHT_SOAK_S", "3600"))
SAMPLES = 30  # of memory
GROWTH = 0.01


def asked(port: int, data: bytes) -> int:
    return status_of(talk(port, data, wait_s=PATIENCE_S))


def predict(port: int, body: bytes, kind: str, *headers: str) -> int:
    return asked(port, post("/v1/predict", body, f"Content-Type: {kind}", *headers))


def client(port: int) -> Client:
    return Client(f"http://127.0.0.1:{port}", timeout_s=PATIENCE_S)


def begun(length: int = 1000) -> bytes:
    """A request that does not say all that it announces."""
    return get("/v1/predict", f"Content-Length: {length}", "Content-Type: image/png", method="POST")


def image(port: int) -> None:
    assert predict(port, picture(".jpg"), "image/jpeg") in (200, 503)


def stream(port: int) -> None:
    with client(port).stream(width=24, height=32, picture=True) as opened:
        opened.send_events(some_events(500, seed=random.randrange(100)))
        assert any(isinstance(message, Prediction) for message in opened.receive(PATIENCE_S))


def health(port: int) -> None:
    assert b'{"live":true}' in talk(port, get("/health/live"), wait_s=PATIENCE_S)
    assert client(port).ready()
    time.sleep(0.1)


def recording(port: int) -> None:
    """Whole, then damaged: decoded in a process of its own, for no size of it is small and plain."""
    assert predict(port, recorded(), "application/octet-stream") in (200, 503)
    data = bytearray(recorded())
    for place in random.sample(range(len(data)), 20):
        data[place] = random.randrange(256)
    assert predict(port, bytes(data), "application/octet-stream") in (200, 400, 413, 415, 503)


def bomb(port: int) -> None:
    assert predict(port, random.choice([*BOMBS.values(), SCANS]), "image/png") in (400, 413, 503)


def form(port: int) -> None:
    data = post("/v1/predict", random.choice([*FORMS.values()]), "Content-Type: multipart/form-data; boundary=b")
    answer = talk(port, data, wait_s=PATIENCE_S)
    assert not answer or status_of(answer) in (400, 413, 415, 503)


def garbage(port: int) -> None:
    assert asked(port, random.randbytes(200) + b"\r\n\r\n") in (400, 408)


def other_page(port: int) -> None:
    assert predict(port, picture(), "image/png", "Origin: http://evil.example") == 403


def leaver(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as peer:
        peer.sendall(begun() + b"abc")
    time.sleep(0.005)  # it waits for nothing: without this it would be a flood, and all others stood in its queue


def silence(port: int) -> None:
    """Connections that never say all they announced."""
    with ExitStack() as opened:
        peers = [opened.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE_S)) for _ in range(8)]
        for peer in peers:
            peer.sendall(begun()[:-2])
        assert {status_of(peer.recv(4096)) for peer in peers} <= {408, 503}


def flood(port: int) -> None:
    """Fragments, pings and pongs without end, before hello or after it."""
    with connected(port) as peer:
        if random.random() < 0.5:
            peer.socket.sendall(frame(Opcode.TEXT, HELLO))
        data = random.choice([*FLOODS.values()])
        with pytest.raises(ConnectionError):  # noqa: PT012
            for _ in range(500):
                peer.socket.sendall(data)


def slow_reader(port: int) -> None:
    """Asks for pictures again and again, and reads none of it."""
    with suppress(ClientError), client(port).stream(width=24, height=32, picture=True) as opened:
        for _ in range(100):
            opened.send_events(some_events(500, span_us=20_000))


@cache
def recorded() -> bytes:
    """A recording as a camera's software writes it."""
    with TemporaryDirectory() as folder:
        write_recording(path := Path(folder) / "a.raw", some_events(2000), SensorSize(24, 32))
        return path.read_bytes()


HONEST = (image, image, recording, stream, health)
ATTACKS = (bomb, form, garbage, other_page, leaver, silence, flood, slow_reader)
SCANS = with_scans(512, 500)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc: memory is not measured here")
def test_soak(tmp_path: Path) -> None:
    kept(tmp_path / "tiny")
    limits = {"SPIKESIGHT_RECEIVE_S": "20", "SPIKESIGHT_MAX_BODY": "300000", "SPIKESIGHT_DEADLINE_S": "50"}
    memory, done, failures = list[float](), Counter[str](), list[str]()

    def keep_on(work: Callable[[int], None], port: int) -> None:
        while time.monotonic() < end and not failures:
            try:
                work(port)
                done[work.__name__] += 1
            except Exception as error:
                failures.append(f"{work.__name__}: {error!r} from {error.__cause__!r}")

    with Served("--model", str(tmp_path / "tiny"), **limits) as served:
        until(served.client.ready, "models and decoders are warm")
        end = time.monotonic() + SOAK_S
        port, statm = int(served.url.rpartition(":")[2]), Path(f"/proc/{served.process.pid}/statm")
        with ThreadPoolExecutor(len(HONEST + ATTACKS)) as threads:
            for work in HONEST + ATTACKS:
                threads.submit(keep_on, work, port)
            while time.monotonic() < end and not failures:
                time.sleep(SOAK_S / SAMPLES)
                memory.append(int(statm.read_text().split()[1]) * 4096 / 2**20)
                print(f"{SOAK_S - (end - time.monotonic()):5.0f} s: {memory[-1]:.1f} MiB", flush=True)
        served.process.send_signal(signal.SIGTERM)
        log = served.finish()
    print(", ".join(f"{name} {n}" for name, n in sorted(done.items())))
    assert not failures, failures
    assert done.keys() == {work.__name__ for work in HONEST + ATTACKS}
    assert served.process.returncode == 0
    assert "Traceback" not in log, log[log.index("Traceback") :][:2000]
    quarter = SAMPLES // 4
    assert statistics.median(memory[-quarter:]) / statistics.median(memory[quarter : 2 * quarter]) <= 1 + GROWTH
