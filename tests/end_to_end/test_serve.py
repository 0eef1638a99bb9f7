"""`spikesight serve` as people start it: logs, an orderly end, replicas on Ray; cameras on the network."""

import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from spikesight.app.recordings.play import DvSink
from spikesight.encoders.emulator.saccades import saccades
from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.sources import network
from spikesight.encoders.sources.address import Address
from spikesight.encoders.sources.source import Source
from spikesight.service.api import create_app
from spikesight.service.client import Client, ClientError
from spikesight.service.cluster import Cluster, ClusterError
from spikesight.service.settings import Settings
from spikesight.service.stream import live
from spikesight.service.stream.protocol import StreamCore
from tests.support.inputs.samples import picture, some_events
from tests.support.models import EVENT_CONTRACT, kept, tiny
from tests.support.refusals import refusal
from tests.support.serving.http import TOKEN, get, refused, status_of, talk
from tests.support.serving.servers import Served, free_port, running, settings
from tests.support.serving.streams import STREAM, predictions
from tests.support.threads import together
from tests.support.waiting import PATIENCE_S, until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return kept(tmp_path / "tiny")


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    with Served("--model", str(folder), "--log-format", "json", SPIKESIGHT_TOKEN=TOKEN) as served:
        yield served


def test_logs_and_an_orderly_end(served: Served) -> None:
    client = served.client
    until(client.ready, "models and decoders are warm")
    stream = client.stream(width=24, height=32)

    def ask() -> int:
        try:
            client.predict(picture())
        except ClientError as error:
            return error.status
        return 200

    asked = together([ask] * 4 + [lambda: served.process.send_signal(signal.SIGTERM) or 200])
    assert set(asked) <= {200, 503}, "answered or refused: nothing is lost"
    assert not client.ready()
    assert refused(list, stream.receive(PATIENCE_S))[0] == 1012
    logs = [json.loads(line) for line in served.finish().splitlines()]
    assert served.process.returncode == 0
    assert [entry["event"] for entry in logs].count("models loaded") == 1
    request = next(entry for entry in logs if entry["event"] == "request")
    assert {"time", "level", "method", "route", "status", "ms", "client"} <= set(request)


def runs(pid: int) -> bool:
    """Whether it is there, and no zombie that nobody has seen to yet."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.parametrize("early", [True, False])
def test_ctrl_c_leaves_no_child_and_no_traceback(served: Served, early: bool) -> None:
    """The terminal sends it to all processes, perhaps while the decoders' imports are not over."""
    until(served.children, "the fork server has begun")
    if not early:
        with pytest.raises(ClientError):
            served.client.predict(b"% evt 3.0\n% end\n" + bytes(4), name="x.raw")  # decoded in a process of its own
    children = [served.process.pid, *map(int, served.children())]
    for child in reversed(children):
        os.kill(child, signal.SIGINT)
    logs = served.finish()
    assert served.process.returncode == 0
    until(lambda: not [child for child in children if runs(child)], "the fork server has noticed")
    assert "Traceback" not in logs


RAY = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is absent: pip install 'spikesight[cluster]'")
PROC = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc: replicas cannot be found")


def test_what_a_cluster_cannot_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal(lambda: Cluster(Settings(cameras=("a",)), 2), "--camera opens a device of one machine", ClusterError)
    refusal(lambda: Cluster(Settings(), 0), "1 or more", ClusterError)
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    refusal(lambda: Cluster(Settings(), 2), "pip install 'spikesight", ClusterError)


def replicas(clustered: Served) -> dict[int, float]:
    """The replicas' processes below this one, and the CPU time of each."""
    found, look = dict[int, float](), [clustered.process.pid]
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
def clustered(tmp_path: Path) -> Iterator[Served]:
    kept(tmp_path / "tiny")
    with Served("--model", str(tmp_path / "tiny"), "--cluster", "--replicas", "2", SPIKESIGHT_TOKEN=TOKEN) as clustered:
        yield clustered


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
@pytest.mark.attack("host, token, origins", "`//v1/models`, `//v1/predict` and `//metrics` behind Ray's proxy", "401")
def test_a_cluster_under_load(clustered: Served) -> None:
    port, load = int(clustered.url.rpartition(":")[2]), Load(clustered.client)
    for path in ("//v1/models", "/v1/models", "//metrics", "//v1/predict", "//v1/teach", "/./v1/models"):
        for method in ("GET", "POST"):
            assert status_of(talk(port, get(path, "Content-Length: 0", method=method))) == 401, path
    try:
        load.went_on()
        before = replicas(clustered)
        assert len(before) == 2
        load.went_on()
        assert all(replicas(clustered)[pid] > used for pid, used in before.items()), "each replica has worked"
        os.kill(next(iter(before)), signal.SIGKILL)
        load.went_on()
        until(lambda: len(replicas(clustered)) == 2, "it was not replaced", 3 * PATIENCE_S)
    finally:
        load.over.set()
        for thread in load.threads:
            thread.join()
    assert set(load.images) == {load.label}, {str(one) for one in load.images}
    assert load.reconnects > 0

    refusal(lambda: clustered.client.teach(), "one service: start it without --cluster", ClientError)
    clustered.process.send_signal(signal.SIGTERM)
    clustered.finish()
    assert clustered.process.returncode == 0
    until(lambda: not replicas(clustered), "left over")


SENSOR = SensorSize(24, 32)
CONTRACT = replace(EVENT_CONTRACT, bin_us=20_000)


def recording() -> Events:
    image = np.zeros((28, 28), np.uint8)
    image[5:23, 9:13] = image[5:9, 9:20] = 255
    return saccades(image, SENSOR, seed=1)


def test_live_predictions_are_the_offline_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly the packets are passed on: the clock, which closes bins in silence, stands still so long."""
    now = count()
    monkeypatch.setattr(live, "StreamCore", partial(StreamCore, clock=lambda: next(now) if all_came() else 0))
    events = recording()
    expected = tiny(CONTRACT).predict_events(events, SENSOR)
    sink = DvSink(SENSOR, "127.0.0.1", port := free_port())
    source = Source(Address("dv", "dv", "127.0.0.1", port), network.DvDriver)

    def all_came() -> bool:
        return source.n_events == len(events)

    with (
        running(create_app(settings(), (tiny(CONTRACT),), (source,))) as port,
        Client(f"http://127.0.0.1:{port}").stream(source="0") as viewer,
        closing(sink),
    ):
        while not sink.n_clients:
            pass
        for packet in np.array_split(events, 40):
            sink.send(packet)
        found = predictions(viewer, len(expected))
    assert [one.n_events for one in found] == [one.n_events for one in expected]
    assert [one.start_us for one in found] == [one.start_us for one in expected]
    assert [one.label for one in found] == [one.label for one in expected]
    for got, wanted in zip(found, expected):
        assert got.probabilities == pytest.approx(list(wanted.probabilities), abs=1e-6)
    assert source.n_dropped == source.counters.n_outside == 0
