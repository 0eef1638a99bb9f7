"""What a broker's library is asked for, by one that only writes it down."""

import importlib
from queue import Empty, SimpleQueue
from types import SimpleNamespace
from typing import Any

import pytest

from spikesight.service.sinks import mqtt as module
from spikesight.service.sinks.messages import Message, SinkError, SinkLost
from spikesight.service.sinks.mqtt import LEFT, Mqtt


class Broker:
    """The names of paho-mqtt that are used; `acks` are the numbers that it acknowledges after each message."""

    CallbackAPIVersion = SimpleNamespace(VERSION2="two")

    def __init__(self, *acks: list[int]) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.acks = list(acks)
        self.refuses = False

    def Client(self, version: str, **options: Any) -> "Broker":
        self.calls.append(("client", version, options))
        return self

    def publish(self, topic: str, body: bytes, qos: int) -> Any:
        self.calls.append(("publish", topic, body, qos))
        for number in self.acks.pop(0):
            if number == LEFT:
                self.on_disconnect(1, 2)
            else:
                self.on_publish("client", "data", number, "reason", "properties")
        return SimpleNamespace(mid=7)

    def connect(self, host: str, port: int, keepalive: int) -> None:
        if self.refuses:
            raise ConnectionRefusedError
        self.calls.append(("connect", host, port, keepalive, self.connect_timeout))

    def __getattr__(self, name: str) -> Any:
        return lambda *given: self.calls.append((name, *given))

    def names(self) -> list[str]:
        return [call[0] for call in self.calls]


def sink(monkeypatch: pytest.MonkeyPatch, broker: Broker, address: str = "mqtt://host/a/b") -> Mqtt:
    monkeypatch.setattr(module, "importlib", SimpleNamespace(import_module=lambda _: broker))
    return Mqtt(address)


def test_a_message_is_taken_once_its_number_is_acknowledged(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker([3, 7], [7])
    made = sink(monkeypatch, broker)
    made.send(Message("id", b"first"))
    made.send(Message("id", b"second"))
    assert broker.calls == [
        ("client", "two", {"reconnect_on_failure": False}),
        ("connect", "host", 1883, 30, 10.0),
        ("loop_start",),
        ("publish", "a/b", b"first", 1),
        ("publish", "a/b", b"second", 1),
    ]
    made.close()
    made.close()
    assert broker.names()[-2:] == ["disconnect", "loop_stop"], "once"


@pytest.mark.parametrize(
    ("address", "port", "before"),
    [
        ("mqtt://host:99/t", 99, []),
        ("mqtts://host/t", 8883, [("tls_set",)]),
        ("mqtt://me:pass%20word@host/t", 1883, [("username_pw_set", "me", "pass word")]),
        ("mqtt://me@host/t", 1883, [("username_pw_set", "me", "")]),
    ],
)
def test_ports_users_and_encryption(
    address: str, port: int, before: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = Broker([7])
    sink(monkeypatch, broker, address).send(Message("id", b"x"))
    assert broker.calls[1 : 1 + len(before)] == before
    assert broker.calls[1 + len(before)][:3] == ("connect", "host", port)


def test_a_connection_that_ends_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker([LEFT], [7])
    made = sink(monkeypatch, broker)
    with pytest.raises(SinkLost, match="the broker host has ended the connection, or refused it"):
        made.send(Message("id", b"x"))
    assert broker.names()[-2:] == ["disconnect", "loop_stop"]
    made.send(Message("id", b"x"))
    assert broker.names().count("connect") == 2


def test_who_does_not_answer_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []

    class Silent(SimpleQueue):  # type: ignore[type-arg]
        def get(self, block: bool = True, timeout: float | None = None) -> int:
            assert block
            waits.append(timeout or 0.0)
            raise Empty

    monkeypatch.setattr(module, "SimpleQueue", Silent)
    broker = Broker([])
    made = sink(monkeypatch, broker)
    with pytest.raises(SinkLost, match=r"the broker host does not answer \(Empty\)"):
        made.send(Message("id", b"x"))
    assert waits == [10.0]
    broker.refuses = True
    with pytest.raises(SinkLost, match=r"does not answer \(ConnectionRefusedError\)"):
        made.send(Message("id", b"x"))


def test_the_library_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        assert name == "paho.mqtt.client"
        raise ImportError

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(SinkError, match=r"pip install 'spikesight\[mqtt\]'"):
        Mqtt("mqtt://host/t")
