"""What a broker's library is asked for, by one that only writes it down."""

import json
import sys
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock, call

import pytest

from spikesight.service.sinks import mqtt as module
from spikesight.service.sinks.home_assistant import open_mqtt
from spikesight.service.sinks.messages import Message, SinkLost
from spikesight.service.sinks.mqtt import DISCONNECTED, Mqtt


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    made = MagicMock()
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", made)
    return made


def acknowledging(library: MagicMock, *acks: list[int]) -> MagicMock:
    """The client that it makes: the broker acknowledges these numbers after each message, or leaves."""
    client, left = library.Client.return_value, list(acks)

    def publish(*_: object, **__: object) -> Any:
        for number in left.pop(0):
            client.on_disconnect() if number == DISCONNECTED else client.on_publish("client", "data", number, "reason")
        return SimpleNamespace(mid=7)

    client.publish.side_effect = publish
    return client


@pytest.mark.parametrize(
    ("address", "port", "secure", "user"),
    [
        ("mqtt://host/t", 1883, 0, []),
        ("mqtt://host:99/t", 99, 0, []),
        ("mqtts://host/t", 8883, 1, []),
        ("mqtt://me:pass%20word@host/t", 1883, 0, [call("me", "pass word")]),
        ("mqtt://me@host/t", 1883, 0, [call("me", "")]),
    ],
)
def test_ports_users_and_encryption(library: MagicMock, address: str, port: int, secure: int, user: list[Any]) -> None:
    client = acknowledging(library, [7])
    Mqtt(address).send(Message("id", b"x"))
    assert client.connect.call_args.args == ("host", port)
    assert (client.tls_set.call_count, client.username_pw_set.call_args_list) == (secure, user)


def test_who_does_not_answer_is_not_there(library: MagicMock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.0)
    client, sink = acknowledging(library, []), Mqtt("mqtt://host/t")
    with pytest.raises(SinkLost, match=r"the broker host does not answer \(Empty\)"):
        sink.send(Message("id", b"x"))
    client.connect.side_effect = ConnectionRefusedError
    with pytest.raises(SinkLost, match=r"does not answer \(ConnectionRefusedError\)"):
        sink.send(Message("id", b"x"))


def report(label: str) -> Message:
    record = {"model": "m", "source": "cam", "label": label, "probability": 0.5, "known": None, "committed": None}
    return Message("id", json.dumps(record).encode())


def published(client: MagicMock) -> list[Any]:
    """What each topic's last level was told since last time."""
    told = [(one.args[0].rpartition("/")[2], one.args[1]) for one in client.publish.call_args_list]
    assert all(one.kwargs["retain"] for one in client.publish.call_args_list)
    client.publish.reset_mock()
    return [(level, body) for level, body in told if level not in ("config", "attributes")]


def test_home_assistant_is_told_what_has_changed_and_all_of_it_after_a_lost_connection(library: MagicMock) -> None:
    client = acknowledging(library, *[[7]] * 4, [DISCONNECTED], [], *[[7]] * 3)
    sink = open_mqtt("mqtt://host/door/?discovery=homeassistant")
    for label in ("left", "left", "left", "right"):
        sink.send(report(label))
    assert published(client) == [("state", b"left"), ("state", b"right")]
    assert client.will_set.call_args.args == ("door/availability", b"offline")

    with pytest.raises(SinkLost):
        sink.send(report("left"))
    published(client)
    sink.send(report("left"))
    assert published(client) == [("state", b"left")]

    client.on_connect(client, None, None, SimpleNamespace(is_failure=True), None)
    assert published(client) == []
    client.publish.side_effect = None
    client.on_disconnect()
    client.on_connect(client, None, None, SimpleNamespace(is_failure=False), None)
    assert published(client) == [("availability", b"online"), ("state", b"left")]
    acknowledging(library, [7], [7])
    sink.send(report(""))
    sink.close()
    assert published(client) == [("state", b"None"), ("availability", b"offline")]
