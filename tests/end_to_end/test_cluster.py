"""Replicas on Ray Serve: one that is killed or stopped under load takes no accepted request and no stream with it."""

import os
import signal
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from spikesight.encoders.events import SensorSize
from spikesight.service.client import ClientError
from tests.support.inputs.samples import picture, some_events
from tests.support.models import EVENT_CONTRACT, kept, tiny
from tests.support.serving.servers import PATIENCE_S, Served
from tests.support.serving.streams import STREAM, predictions
from tests.support.waiting import until

SENSOR = SensorSize(EVENT_CONTRACT.sensor_width, EVENT_CONTRACT.sensor_height)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is absent: pip install 'spikesight[cluster]'"),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc: replicas cannot be found"),
]


def read(path: Path) -> str:
    """Empty where the process has ended."""
    try:
        return path.read_text()
    except OSError:
        return ""


def descendants(pid: int) -> dict[int, str]:
    """Every process below this one, with its command line."""
    found: dict[int, str] = {}
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, read(children).split()):
            found |= {child: read(Path(f"/proc/{child}/cmdline")).replace("\0", " ")} | descendants(child)
    return found


def lives(pid: int) -> bool:
    return Path(f"/proc/{pid}/exe").exists()


def replicas(served: Served) -> list[int]:
    return [pid for pid, line in descendants(served.process.pid).items() if line.startswith("ray::ServeReplica")]


def gauge(served: Served) -> float:
    text = served.client._ask("GET", "/metrics").decode()
    return float(next(line for line in text.splitlines() if line.startswith("spikesight_front_replicas ")).split()[1])


class Load:
    """Clients of a cluster that ask and stream through the death of a replica: `killed` is set when it has come."""

    def __init__(self, served: Served) -> None:
        self.served, self.killed = served, threading.Event()
        self.events = some_events(6000, span_us=2_000_000)
        self.expected = [p.logits for p in tiny().predict_events(self.events, SENSOR)][:-1]
        self.label = served.client.predict(picture()).label
        self.images, self.streams, self.frames = list[object](), list[object](), list[object]()
        self.half_way = list[int]()  # streams that have begun, and wait for the death
        work = [self.ask] * 4 + [self.send] * 6 + [self.show] * 2
        self.threads = [threading.Thread(target=one) for one in work]
        for thread in self.threads:
            thread.start()
        until(lambda: len(self.images) >= 20 and len(self.half_way) == 6)

    def ask(self) -> None:
        after = 0
        while after < 20:
            after += self.killed.is_set()
            try:
                self.images.append(self.served.client.predict(picture()).label)
            except ClientError as error:
                self.images.append(error)

    def send(self) -> None:
        try:
            with self.served.client.stream(**STREAM) as stream:
                for n, part in enumerate(np.array_split(self.events, 200)):
                    stream.send_events(part)
                    if n == 100:
                        self.half_way.append(n)
                        assert self.killed.wait(PATIENCE_S)
                    time.sleep(0.01)
                got = predictions(stream, len(self.expected))
                self.streams.append([tuple(p.logits or ()) for p in got] == self.expected)
        except ClientError as error:
            self.streams.append(error.status)

    def show(self) -> None:
        try:
            with self.served.client.stream(width=40, height=30) as stream:
                for n in range(200):
                    stream.send_image(picture(seed=n), n * 20.0)
                    assert next(stream.receive(PATIENCE_S))
                self.frames.append("answered")
        except ClientError as error:
            self.frames.append(error.status)

    def survives(self, kill: Callable[[], object]) -> None:
        """Every image is answered; streams are moved, or closed with the code for it."""
        kill()
        self.killed.set()
        for thread in self.threads:
            thread.join()
        print(len(self.images), "images;", self.streams, self.frames)
        assert set(self.images) == {self.label}, {str(one) for one in self.images}
        assert len(self.streams) == 6
        assert set(self.streams) <= {True, 1012, 1001}, self.streams
        assert True in self.streams
        assert len(self.frames) == 2
        assert set(self.frames) <= {"answered", 1012, 1001}, self.frames


def ends(served: Served) -> None:
    served.process.send_signal(signal.SIGTERM)
    errors = served.finish()
    assert served.process.returncode == 0, errors


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_a_replica_killed_or_stopped_under_load(tmp_path: Path, end: signal.Signals) -> None:
    kept(tmp_path / "tiny")
    with Served("--model", str(tmp_path / "tiny"), "--cluster", "--replicas", "2") as served:
        below: dict[int, str] = {}
        try:
            load, before = Load(served), replicas(served)
            assert len(before) == 2
            load.survives(lambda: os.kill(before[0], end))
            back = lambda: gauge(served) >= 2 and len(replicas(served)) >= 2  # noqa: E731
            until(back, "it was not replaced", 3 * PATIENCE_S)  # Ray takes its time with one that is stopped
            own = os.getpriority(os.PRIO_PROCESS, 0)
            assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in replicas(served)} == {own}

            kept(tmp_path / "tiny", tiny(seed=5))
            old = served.client.predict(picture(), logits=True).logits
            served.process.send_signal(signal.SIGHUP)

            def renewed() -> bool:
                return all(served.client.predict(picture(), logits=True).logits != old for _ in range(4))

            until(renewed, "the models were not loaded again", 3 * PATIENCE_S)  # Ray deploys anew
            below = descendants(served.process.pid)
            ends(served)
            until(lambda: not any(map(lives, below)), "left over")
        finally:
            for pid in filter(lives, below or descendants(served.process.pid)):
                os.kill(pid, signal.SIGKILL)


def test_a_node_killed_under_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    from ray.cluster_utils import Cluster

    kept(tmp_path / "tiny")
    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20}  # room for one replica
    machines = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    words = ("--model", str(tmp_path / "tiny"), "--cluster", "--replicas", "2")
    try:
        other = machines.add_node(**node)
        with Served(*words, RAY_ADDRESS=machines.address) as served:
            until(lambda: gauge(served) == 2, "a replica on each node")
            load = Load(served)
            load.survives(lambda: machines.remove_node(other, allow_graceful=False))
            machines.add_node(**node)
            until(lambda: gauge(served) == 2, "the new node has a replica", 3 * PATIENCE_S)
            assert served.client.predict(picture()).label == load.label
            ends(served)
    finally:
        machines.shutdown()
