"""Replicas on Ray Serve: one that is killed under load takes no prediction with it, and its streams go on elsewhere."""

import os
import signal
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from spikesight.service.client import Client, ClientError
from spikesight.service.cluster import Cluster, ClusterError
from spikesight.service.settings import Settings
from tests.support.inputs.samples import picture, some_events
from tests.support.models import kept, tiny
from tests.support.serving.http import TOKEN, get, status_of, talk
from tests.support.serving.servers import Served
from tests.support.serving.streams import STREAM
from tests.support.waiting import PATIENCE_S, until

RAY = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is absent: pip install 'spikesight[cluster]'")
PROC = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc: replicas cannot be found")


def test_what_a_cluster_cannot_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClusterError, match="--camera opens a device of one machine"):
        Cluster(Settings(cameras=("a",)), 2)
    with pytest.raises(ClusterError, match="1 or more"):
        Cluster(Settings(), 0)
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ClusterError, match="pip install 'spikesight"):
        Cluster(Settings(), 2)


def replicas(served: Served) -> dict[int, float]:
    """The replicas' processes below this one, and the CPU time of each."""
    found, look = dict[int, float](), [served.process.pid]
    for pid in look:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            look += map(int, read(children).split())
        if read(Path(f"/proc/{pid}/cmdline")).startswith("ray::ServeReplica"):
            found[pid] = sum(map(int, read(Path(f"/proc/{pid}/stat")).rpartition(")")[2].split()[11:13]))
    return found


def read(path: Path) -> str:
    """Empty where the process has ended."""
    try:
        return path.read_text()
    except OSError:
        return ""


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    kept(tmp_path / "tiny")
    with Served("--model", str(tmp_path / "tiny"), "--cluster", "--replicas", "2", SPIKESIGHT_TOKEN=TOKEN) as served:
        yield served


class Load:
    """Clients that ask and stream until `over`."""

    def __init__(self, client: Client) -> None:
        self.client, self.over, self.label = client, threading.Event(), client.predict(picture()).label
        self.images, self.answers, self.reconnects = list[object](), [0] * 6, 0
        work = [threading.Thread(target=self.ask) for _ in range(4)]
        self.threads = work + [threading.Thread(target=self.send, args=(n,)) for n in range(6)]
        for thread in self.threads:
            thread.start()

    def ask(self) -> None:
        while not self.over.is_set():
            try:
                self.images.append(self.client.predict(picture()).label)
            except ClientError as error:
                self.images.append(error)

    def send(self, number: int) -> None:
        events = some_events(400)
        with self.client.stream(**STREAM) as stream:
            while not self.over.is_set():
                stream.send_events(events)
                events["t"] += 100_000
                self.answers[number] += next(stream.receive(1), None) is not None  # what was on its way may be lost
            self.reconnects += stream.reconnects

    def went_on(self) -> None:
        """Wait until every stream has had further answers, and images, too."""
        streams, images = list(self.answers), len(self.images)
        until(lambda: all(now > old + 3 for now, old in zip(self.answers, streams)) and len(self.images) > images + 20)


@RAY
@PROC
@pytest.mark.slow
@pytest.mark.attack(
    "host, token, origins", "a cluster, behind Ray's proxy: `//v1/models`, `//v1/predict`, `//metrics`", "401"
)
def test_a_cluster_under_load(served: Served, tmp_path: Path) -> None:
    port, load = int(served.url.rpartition(":")[2]), Load(served.client)
    for path in ("//v1/models", "/v1/models", "//metrics", "//v1/predict", "//v1/teach", "/./v1/models"):
        for method in ("GET", "POST"):
            assert status_of(talk(port, get(path, "Content-Length: 0", method=method))) == 401, path
    try:
        load.went_on()
        before = replicas(served)
        assert len(before) == 2
        load.went_on()
        assert all(replicas(served)[pid] > used for pid, used in before.items()), "each replica has worked"
        os.kill(next(iter(before)), signal.SIGKILL)
        load.went_on()
        until(lambda: len(replicas(served)) == 2, "it was not replaced", 3 * PATIENCE_S)
    finally:
        load.over.set()
        for thread in load.threads:
            thread.join()
    assert set(load.images) == {load.label}, {str(one) for one in load.images}
    assert load.reconnects > 0

    with pytest.raises(ClientError, match="one service: start it without --cluster"):
        served.client.teach()
    old = served.client.predict(picture(), logits=True).logits
    kept(tmp_path / "tiny", tiny(seed=5))
    served.process.send_signal(signal.SIGHUP)
    renewed = lambda: all(served.client.predict(picture(), logits=True).logits != old for _ in range(4))  # noqa: E731
    until(renewed, "the models were not loaded again", 3 * PATIENCE_S)
    served.process.send_signal(signal.SIGTERM)
    served.finish()
    assert served.process.returncode == 0
    until(lambda: not replicas(served), "left over")
