"""An hour of attacks among honest clients (SPIKESIGHT_SOAK_S seconds): memory flat, nothing lost, no exception.

The service runs in a process of its own, so that its memory is its own. Memory is flat when the median of the last
quarter's samples is at most GROWTH above that of the second quarter: by then every kind of request has come often.
"""

import base64
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from spikesight.encoders.events import SensorSize
from spikesight.encoders.recordings.files import write_recording
from spikesight.models.checkpoint import save
from spikesight.service.client import Client, ClientError, Prediction
from tests.support.inputs.frames import EMPTY, FRAGMENTS, HELLO, PINGS, PONGS, TEXT, closed, connected, frame
from tests.support.inputs.samples import picture, some_events
from tests.support.models import tiny
from tests.support.serving.hostile import BOMBS, FORMS, with_scans
from tests.support.serving.http import get, post, status_of, talk
from tests.support.waiting import until

SOAK_S = float(os.environ.get("SPIKESIGHT_SOAK_S", "3600"))
SAMPLES = 30  # of memory
PATIENCE_S = 60.0  # a machine may have other work: what must hold is the answer, not its time
GROWTH = 0.01


def raw_file() -> bytes:
    """A recording as a camera's software writes it, EVT 2."""
    with TemporaryDirectory() as folder:
        write_recording(Path(folder) / "a.raw", some_events(2000), SensorSize(24, 32), "evt2")
        return (Path(folder) / "a.raw").read_bytes()


RECORDING, SCANS = raw_file(), with_scans(512, 500)
START = [sys.executable, "-m", "spikesight", "serve", "--port", "0"]


@contextmanager
def served(folder: Path) -> Iterator[tuple[int, int]]:
    """The service in its own process: its port and process id."""
    made = tiny()
    save(folder / "tiny", made.network, made.card)
    limits = {"OMP_NUM_THREADS": "1", "SPIKESIGHT_RECEIVE_S": "20", "SPIKESIGHT_MAX_BODY": "300000"}
    limits["SPIKESIGHT_DEADLINE_S"] = "50"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [*START, "--model", str(folder / "tiny")],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **limits},
        )
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline().split()[2].rpartition(":")[2])
            until(Client(f"http://127.0.0.1:{port}").ready, "models and decoders are warm")
            yield port, process.pid
        finally:
            process.terminate()
            assert process.wait(PATIENCE_S) == 0
            process.stdout.close()


def resident_mib(process: int) -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * 4096 / 2**20


def growth(samples: list[float]) -> float:
    """Of the last quarter's median over the second quarter's, as a share."""
    quarter = len(samples) // 4
    return statistics.median(samples[-quarter:]) / statistics.median(samples[quarter : 2 * quarter]) - 1


class Work:
    """What clients do, each again and again in a thread of its own; what goes wrong is kept."""

    def __init__(self, port: int) -> None:
        self.port, self.end = port, time.monotonic() + SOAK_S
        self.client = Client(f"http://127.0.0.1:{port}", timeout_s=PATIENCE_S)
        self.failures: list[str] = []
        self.answered = self.refused = self.streams = 0
        self.health_ms: list[float] = []
        honest = (self.image, self.image, self.recording, self.stream, self.health)
        attacks = (self.bomb, self.form, self.garbage, self.leaver, self.slow_reader, self.flood, self.forgery)
        attacks += (self.damage, self.other_page, self.silence)
        self.threads = [
            threading.Thread(target=self.keep_on, args=(kind,), name=kind.__name__) for kind in (*honest, *attacks)
        ]
        self.done: Counter[str] = Counter()

    def keep_on(self, work) -> None:
        while time.monotonic() < self.end and not self.failures:
            try:
                work()
                self.done[work.__name__] += 1
            except Exception as error:
                at_s = SOAK_S - (self.end - time.monotonic())
                self.failures.append(f"{work.__name__}: {error!r} from {error.__cause__!r}, after {at_s:.0f} s")

    def send(self, data: bytes) -> bytes:
        return talk(self.port, data, wait_s=PATIENCE_S)

    def image(self) -> None:
        try:
            self.client.predict(picture(".jpg"))
            self.answered += 1
        except ClientError as error:
            if error.status != 503:
                raise
            self.refused += 1

    def recording(self) -> None:
        status = status_of(self.send(post("/v1/predict", RECORDING, "Content-Type: application/octet-stream")))
        assert status in (200, 503)

    def damage(self) -> None:
        """Decoded in a process of its own, for no size of it is small and plain."""
        data = bytearray(RECORDING)
        for place in random.sample(range(len(data)), 20):
            data[place] = random.randrange(256)
        answer = self.send(post("/v1/predict", bytes(data), "Content-Type: application/octet-stream"))
        assert status_of(answer) in (200, 400, 413, 415, 503)

    def flood(self) -> None:
        """Fragments, pings and pongs, before hello or after it."""
        with connected(self.port) as peer:
            if random.random() < 0.5:
                peer.sendall(frame(TEXT, HELLO))
            with suppress(ConnectionError):
                peer.sendall(random.choice((FRAGMENTS, EMPTY, PINGS, PONGS)))
                assert closed(peer) == (1008, "too many frames")

    def forgery(self) -> None:
        """A snapshot that no service signed."""
        with pytest.raises(ClientError), self.client.stream(restore=base64.b64encode(random.randbytes(500)).decode()):
            pass

    def other_page(self) -> None:
        headers = "Content-Type: image/png", "Origin: http://evil.example"
        assert status_of(self.send(post("/v1/predict", picture(), *headers))) == 403

    def silence(self) -> None:
        """Connections that never say all they promised."""
        begun = get("/v1/predict", "Content-Length: 1000", method="POST")[:-2]
        peers = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(8)]
        for peer in peers:
            peer.sendall(begun)
        for peer in peers:
            peer.settimeout(PATIENCE_S)
            assert status_of(peer.recv(4096)) in (408, 503)
            peer.close()

    def bomb(self) -> None:
        data = random.choice([*BOMBS.values(), SCANS])
        assert status_of(self.send(post("/v1/predict", data, "Content-Type: image/png"))) in (400, 413, 503)

    def form(self) -> None:
        data = random.choice(list(FORMS.values()))
        answer = self.send(post("/v1/predict", data, "Content-Type: multipart/form-data; boundary=b"))
        assert not answer or status_of(answer) in (400, 413, 415, 503)

    def garbage(self) -> None:
        assert status_of(self.send(random.randbytes(200) + b"\r\n\r\n")) in (400, 408)

    def leaver(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port)) as peer:
            peer.sendall(get("/v1/predict", "Content-Length: 1000", method="POST") + b"abc")
        time.sleep(0.005)  # it waits for nothing: without this it would be a flood, and all others stood in its queue

    def stream(self) -> None:
        with self.client.stream(width=24, height=32, picture=True) as stream:
            sent = stream.send_events(some_events(500, seed=random.randrange(100)))
            heard = next((m for m in stream.receive(PATIENCE_S) if isinstance(m, Prediction)), None)
        assert heard is not None, sent
        self.streams += 1

    def slow_reader(self) -> None:
        """Asks for pictures and for its state again and again, and reads none of it."""
        with suppress(ClientError), self.client.stream(width=24, height=32, picture=True) as stream:
            for _ in range(100):
                stream.send_events(some_events(500, span_us=20_000))
                stream.snapshot()

    def health(self) -> None:
        begin = time.perf_counter()
        answer = self.send(get("/health/live"))
        self.health_ms.append((time.perf_counter() - begin) * 1e3)
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"live": True}
        assert self.client.ready()
        time.sleep(0.1)


def test_what_is_called_flat() -> None:
    assert growth([100, 200, 300, 300, 300, 300, 301, 303]) == pytest.approx(2 / 300)
    assert growth([float(n) for n in range(100, 140)]) > GROWTH


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc: memory is not measured here")
def test_soak(tmp_path: Path) -> None:
    memory: list[float] = []
    with served(tmp_path) as (port, process):
        work = Work(port)
        for thread in work.threads:
            thread.start()
        while any(thread.is_alive() for thread in work.threads):
            time.sleep(SOAK_S / SAMPLES)
            memory.append(resident_mib(process))
            print(f"{SOAK_S - (work.end - time.monotonic()):5.0f} s: {memory[-1]:.1f} MiB", flush=True)
        for thread in work.threads:
            thread.join()
    assert not work.failures, work.failures
    health = statistics.quantiles(work.health_ms, n=100)
    print(f"{work.answered} images, {work.refused} refused, {work.streams} streams; memory {growth(memory):+.2%};")
    print(f"health in {health[49]:.0f} ms (median), {health[98]:.0f} ms (99 %), {max(work.health_ms):.0f} ms at most")
    print(", ".join(f"{name} {n}" for name, n in sorted(work.done.items())))
    assert min(work.done.values()) > 0
    assert work.done.keys() == {thread.name for thread in work.threads}
    log = (tmp_path / "log").read_text()
    assert "Traceback" not in log, log[log.index("Traceback") :][:2000]
    assert growth(memory) <= GROWTH
