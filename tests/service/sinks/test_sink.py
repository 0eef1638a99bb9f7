"""Sinks by their strings: what is no address, a file of lines, and a broker that goes and comes back."""

import importlib
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.sinks.delivery import Delivery
from service.sinks.disk_queue import DiskQueue
from service.sinks.messages import Message, SinkError, SinkLost
from service.sinks.sink import open_sink
from tests.support.serving.receiver import PATIENCE_S
from tests.support.serving.servers import free_port

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("ftp://host/x", "no place to send to; choose from http:, https:, mqtt:, mqtts:, file:"),
        ("", "no place to send to"),
        ("http", "no place to send to"),
        ("https:///path", "a webhook is https://host/path"),
        ("https://user:word@host/path", "without a user"),
        ("https://host:99999/path", "no good port"),
        ("https://host/path", "webhooks are signed: set SPIKESIGHT_WEBHOOK_SECRET"),
        ("mqtt://host", "mqtt://host:port/topic"),
        ("mqtt://host/a/#", "no place in a topic"),
        ("mqtt://host:x/a", "no number up to 65535"),
        ("file:/no/such/folder/lines.jsonl", "cannot write to file:/no/such/folder/lines.jsonl: no such file"),
    ],
)
def test_addresses_that_cannot_be_sent_to(address: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPIKESIGHT_WEBHOOK_SECRET", raising=False)
    with pytest.raises(SinkError, match=sentence.replace("?", r"\?")):
        open_sink(address)


def test_lines_follow_a_file_that_is_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    sink = open_sink(f"file:{path}")
    sink.send(Message("a", b'{"id": "a"}'))
    path.rename(tmp_path / "old.jsonl")
    sink.send(Message("b", b'{"id": "b"}'))
    assert (tmp_path / "old.jsonl").read_text() == '{"id": "a"}\n'
    assert path.read_text() == '{"id": "b"}\n'
    path.unlink()
    path.mkdir()
    with pytest.raises(SinkLost, match="is a directory"):
        sink.send(Message("c", b"{}"))


class Broker:
    """Debian's mosquitto, which keeps its sessions over a restart."""

    def __init__(self, folder: Path) -> None:
        assert MOSQUITTO is not None
        self.port = free_port()
        self._command = [MOSQUITTO, "-c", str(folder / "broker.conf")]
        (folder / "broker.conf").write_text(
            f"listener {self.port} 127.0.0.1\nallow_anonymous true\nuser root\nlog_dest stderr\n"
            f"persistence true\npersistence_location {folder}/\nmax_queued_messages 0\n"
        )

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if "running" in line:
                threading.Thread(target=self._process.stderr.read, daemon=True).start()
                return
        pytest.fail(f"mosquitto did not start: {''.join(said)}")

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE_S)
        assert self._process.stderr is not None
        self._process.stderr.close()


class Subscriber:
    """Another program at the broker, with a session of its own there."""

    def __init__(self, port: int, topic: str) -> None:
        mqtt: Any = importlib.import_module("paho.mqtt.client")
        self.came: list[dict[str, Any]] = []
        self.changed = threading.Condition()
        subscribed = threading.Event()
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="viewer", clean_session=False)
        self.client.on_connect = lambda client, *_: client.subscribe(topic, qos=1)
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.on_message = lambda _client, _userdata, message: self._take(message.payload)
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert subscribed.wait(PATIENCE_S)

    def _take(self, body: bytes) -> None:
        with self.changed:
            self.came.append(json.loads(body))
            self.changed.notify_all()

    def distinct(self) -> list[int]:
        return list({message["id"]: message["n"] for message in self.came}.values())

    def wait_for(self, n: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.distinct()) >= n, PATIENCE_S), len(self.came)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    pytest.importorskip("paho.mqtt.client", reason="needs paho-mqtt: pip install 'spikesight[mqtt]'")
    if MOSQUITTO is None:
        pytest.skip("needs a broker: apt install mosquitto")
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


def test_a_broker_that_restarts_loses_nothing(broker: Broker, tmp_path: Path) -> None:
    subscriber = Subscriber(broker.port, "door/#")
    sink = open_sink(f"mqtt://127.0.0.1:{broker.port}/door/camera%200")
    delivery = Delivery("broker", sink, DiskQueue(tmp_path / "q.sqlite3"), (0.05,))
    for n in range(200):
        delivery.post({"n": n})
    subscriber.wait_for(50)
    broker.stop()
    for n in range(200, 300):
        delivery.post({"n": n})
    broker.start()
    subscriber.wait_for(300)
    delivery.close()
    subscriber.client.disconnect()
    subscriber.client.loop_stop()
    assert sorted(subscriber.distinct()) == list(range(300))
    assert delivery.n_dropped == 0
