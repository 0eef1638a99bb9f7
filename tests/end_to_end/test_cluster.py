"""Replicas on Ray Serve: one that is killed under load takes no accepted request and no stream with it."""

import os
import signal
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from encoders.events import SensorSize
from models.checkpoint import save
from service.client import ClientError
from tests.support.inputs.samples import picture, some_events
from tests.support.models import EVENT_CONTRACT, tiny
from tests.support.serving.servers import PATIENCE_S, Served
from tests.support.serving.streams import STREAM, predictions
from tests.support.waiting import until

SENSOR = SensorSize(EVENT_CONTRACT.sensor_width, EVENT_CONTRACT.sensor_height)


def descendants(pid: int) -> dict[int, str]:
    """Every process below this one, with its command line."""
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(status.parent.name))
    found: dict[int, str] = {}
    todo = parents.get(pid, [])
    while todo:
        child = todo.pop()
        try:
            found[child] = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        todo += parents.get(child, [])
    return found


def replicas(served: Served) -> list[int]:
    return [pid for pid, line in descendants(served.process.pid).items() if line.startswith("ray::ServeReplica")]


def gauge(served: Served) -> float:
    text = served.client._ask("GET", "/metrics").decode()
    return float(next(line for line in text.splitlines() if line.startswith("spikesight_front_replicas ")).split()[1])


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is absent: pip install 'spikesight[cluster]'")
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc: replicas cannot be found")
def test_a_replica_killed_under_load(tmp_path: Path) -> None:
    made = tiny()
    save(tmp_path / "tiny", made.network, made.card)
    served = Served("--model", str(tmp_path / "tiny"), "--cluster", "--replicas", "2")
    below: dict[int, str] = {}
    try:
        events = some_events(6000, span_us=2_000_000)
        expected = [p.logits for p in tiny().predict_events(events, SENSOR)][:-1]
        label = served.client.predict(picture()).label
        images: list[object] = []
        streams: list[object] = []
        frames: list[object] = []
        killed = threading.Event()

        def ask() -> None:
            after = 0
            while after < 20:
                after += killed.is_set()
                try:
                    images.append(served.client.predict(picture()).label)
                except ClientError as error:
                    images.append(error)

        def send() -> None:
            try:
                with served.client.stream(**STREAM) as stream:
                    parts = np.array_split(events, 200)
                    for n, part in enumerate(parts):
                        stream.send_events(part)
                        if n == 100:
                            assert killed.wait(PATIENCE_S)
                        time.sleep(0.01)
                    got = predictions(stream, len(expected))
                    streams.append([tuple(p.logits or ()) for p in got] == expected)
            except ClientError as error:
                streams.append(error.status)

        def show() -> None:
            try:
                with served.client.stream(width=40, height=30) as stream:
                    for n in range(200):
                        stream.send_image(picture(seed=n), n * 20.0)
                        assert next(stream.receive(PATIENCE_S))
                    frames.append("answered")
            except ClientError as error:
                frames.append(error.status)

        work = [ask] * 4 + [send] * 6 + [show] * 2
        threads = [threading.Thread(target=one) for one in work]
        for thread in threads:
            thread.start()
        until(lambda: len(images) >= 20)
        before = replicas(served)
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        killed.set()
        for thread in threads:
            thread.join()
        print(len(images), "images;", streams, frames)
        assert set(images) == {label}, {str(one) for one in images}
        assert len(streams) == 6
        assert set(streams) <= {True, 1012, 1001}, streams
        assert True in streams
        assert len(frames) == 2
        assert set(frames) <= {"answered", 1012, 1001}, frames

        until(lambda: gauge(served) >= 2 and len(replicas(served)) >= 2, "the killed replica was not replaced")

        other = tiny(seed=5)
        save(tmp_path / "tiny", other.network, other.card)
        assert all(
            os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0) for pid in replicas(served)
        )
        old = served.client.predict(picture(), logits=True).logits
        served.process.send_signal(signal.SIGHUP)

        def renewed() -> bool:
            return all(served.client.predict(picture(), logits=True).logits != old for _ in range(4))

        until(renewed, "the models were not loaded again", 3 * PATIENCE_S)  # Ray deploys anew

        below = descendants(served.process.pid)
        served.process.send_signal(signal.SIGTERM)
        errors = served.finish()
        assert served.process.returncode == 0, errors
        until(
            lambda: not any(line and Path(f"/proc/{pid}/cmdline").exists() for pid, line in below.items()), "left over"
        )
    finally:
        if served.process.poll() is None:
            below = descendants(served.process.pid)
            served.process.kill()
            served.finish()
        for pid in below:
            if Path(f"/proc/{pid}").exists():
                os.kill(pid, signal.SIGKILL)
        for pipe in (served.process.stdout,):
            if pipe is not None:
                pipe.close()
