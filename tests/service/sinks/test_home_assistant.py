"""Home Assistant's discovery: messages as it documents them, and sensors at a broker that goes and comes back."""

import json
import re
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from spikesight.service.sinks.home_assistant import retained_of
from spikesight.service.sinks.messages import Message
from spikesight.service.sinks.sink import open_sink
from tests.support.serving.broker import Board, Broker, require_broker
from tests.support.waiting import until

SENSOR = {  # https://www.home-assistant.io/integrations/sensor.mqtt, and what it says of topics, devices and origins
    "availability_topic": str, "availability": list, "availability_mode": str, "availability_template": str,
    "device": dict, "device_class": str, "enabled_by_default": bool, "encoding": str, "entity_category": str,
    "entity_picture": str, "expire_after": int, "force_update": bool, "icon": str, "json_attributes_template": str,
    "json_attributes_topic": str, "last_reset_value_template": str, "name": str, "object_id": str, "options": list,
    "origin": dict, "payload_available": str, "payload_not_available": str, "qos": int, "state_class": str,
    "state_topic": str, "suggested_display_precision": int, "unique_id": str, "unit_of_measurement": str,
    "value_template": str,
}  # fmt: skip
DEVICE = {
    "configuration_url": str, "connections": list, "hw_version": str, "identifiers": list, "manufacturer": str,
    "model": str, "model_id": str, "name": str, "serial_number": str, "suggested_area": str, "sw_version": str,
    "via_device": str,
}  # fmt: skip
ORIGIN = {"name": str, "sw_version": str, "support_url": str}
NAMES = [
    ("m", "cam"),
    ("m", "file:a b.raw"),
    ("m", "a/b"),
    ("m/a", "b"),
    ("", ""),
    ("+", "#"),
    ("ö\0", "\udcff"),
    ("$SYS", "a"),
]


def message(model: str = "m", source: str = "cam", label: str = "left", **others: object) -> Message:
    record = {"model": model, "source": source, "label": label, "probability": 0.5, "known": 0.75, "committed": None}
    return Message("id", json.dumps({**record, **others}).encode())


def conforms(told: dict[str, Any], documented: dict[str, type]) -> None:
    """Keys and types are documented ones."""
    for key, value in told.items():
        assert type(value) is documented[key], key


@pytest.mark.parametrize(("model", "source"), NAMES)
def test_discovery_is_as_home_assistant_documents_it(model: str, source: str) -> None:
    told = retained_of("homeassistant", "house/door", message(model, source))
    (discovery,) = (topic for topic in told if topic.endswith("/config"))
    sensor = json.loads(told[discovery])
    assert re.fullmatch(r"homeassistant/sensor/([a-zA-Z0-9_-]+)/config", discovery)
    conforms(sensor, SENSOR)
    conforms(sensor["device"], DEVICE)
    conforms(sensor["origin"], ORIGIN)
    assert sensor["origin"]["name"]
    assert sensor["device"]["identifiers"]
    assert sensor["qos"] in (0, 1, 2)
    assert {sensor["state_topic"], sensor["json_attributes_topic"], discovery} == set(told)
    assert not [topic for topic in told if re.search(r"[+#\0]", topic) or not topic.startswith(("house/door/", "home"))]
    sensor["name"].encode()
    assert told[sensor["state_topic"]] == b"left"
    assert json.loads(told[sensor["json_attributes_topic"]]) == {"confidence": 0.5, "known": 0.75, "committed": None}


def test_what_crossed_a_line_is_not_what_a_camera_shows() -> None:
    assert not retained_of("homeassistant", "house/door", message(label="3", crossed="forward", count=1))


def test_a_model_is_one_device_and_each_source_its_own_sensor() -> None:
    told = [retained_of("p", "t", message(model, source)) for model, source in NAMES]
    sensors = [json.loads(one[topic]) for one in told for topic in one if topic.endswith("/config")]
    assert len({sensor["unique_id"] for sensor in sensors}) == len({topic for one in told for topic in one}) / 3 == 8
    devices = {(sensor["device"]["model"], *sensor["device"]["identifiers"]) for sensor in sensors}
    assert len(devices) == len({model for model, _ in NAMES})


def test_a_label_is_no_longer_than_a_state_may_be() -> None:
    assert len(next(iter(retained_of("p", "t", message(label="ö" * 300)).values())).decode()) == 255


def shows(board: Board, availability: str, state: str | None = None) -> None:
    """Wait until it does."""

    def so() -> bool:
        return (board.shown.get("door/availability"), board.shown.get("door/m/cam/state")) == (availability, state)

    until(so, f"{availability}, {state}: {board.shown}")


def test_a_service_that_is_killed_is_offline_until_the_next_says_something(tmp_path: Path) -> None:
    require_broker()
    broker = Broker(tmp_path)
    broker.start()
    board = Board(broker.port)
    address = f"mqtt://127.0.0.1:{broker.port}/door?discovery=homeassistant"
    program = (
        "import sys; from spikesight.service.sinks.messages import Message;"
        "from spikesight.service.sinks.sink import open_sink;"
        "sink = open_sink(sys.argv[1]); sink.send(Message('id', sys.argv[2].encode())); sys.stdin.read()"
    )
    service = subprocess.Popen([sys.executable, "-c", program, address, message().body.decode()], stdin=subprocess.PIPE)
    shows(board, "online", "left")
    service.kill()
    service.communicate()
    shows(board, "offline", "left")
    with closing(open_sink(address)) as sink:
        sink.send(message(label="left"))
        shows(board, "online", "left")
    board.close()
    broker.stop()
