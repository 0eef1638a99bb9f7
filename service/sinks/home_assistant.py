"""Home Assistant by MQTT discovery: each model is a device, each source its sensor, whose state is the shown label.

    PREFIX/sensor/ID/config        from which Home Assistant creates the sensor
    TOPIC/availability             "online"; "offline" after the end of the service, if need be by MQTT's last will
    TOPIC/MODEL/SOURCE/state       the label
    TOPIC/MODEL/SOURCE/attributes  JSON with confidence, known, committed

All are retained, so that a Home Assistant started later finds them.
"""

import hashlib
import json
from threading import Lock
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from spikesight.service.sinks.messages import Message, SinkError
from spikesight.service.sinks.mqtt import NO_NAME, Mqtt

LONGEST_STATE = 255  # most characters of a state in Home Assistant
NO_STATE = "None"  # shown by Home Assistant as "unknown"


class HomeAssistant(Mqtt):
    """Sink mqtt://host/topic?discovery=PREFIX; Home Assistant's default prefix is `homeassistant`.

    After a lost connection it reconnects by itself and publishes all retained topics again, without a new prediction.
    """

    def __init__(self, address: str, prefix: str) -> None:
        super().__init__(address)
        if not prefix or NO_NAME & set(prefix):
            raise SinkError("Home Assistant's discovery has a prefix without + and #: ?discovery=homeassistant")
        self._prefix, self._topic = prefix, self._topic.rstrip("/")
        self._availability = f"{self._topic}/availability"
        self._name = identity(address)  # a fixed client id: a restarted service takes over before the last will
        self._retained: dict[str, bytes] = {}  # by topic
        self._lock = Lock()  # the library's thread publishes retained topics before new ones

    def send(self, message: Message) -> None:
        """Publish the changed topics, if the label has changed."""
        told = retained_of(self._prefix, self._topic, message)
        if not told:
            return
        state = next(iter(told))
        if self._client is not None and told[state] == self._retained.get(state):
            return
        changed = [one for one in told if self._client is None or told[one] != self._retained.get(one)]
        with self._lock:
            self._retained.update(told)
        for topic in reversed(changed):
            self._publish(topic, told[topic], retain=True)

    def _made(self) -> Any:
        client = self._library.Client(self._library.CallbackAPIVersion.VERSION2, client_id=self._name)
        client.will_set(self._availability, b"offline", qos=1, retain=True)
        client.on_connect = self._born
        return client

    def _born(self, client: Any, _userdata: object, _flags: object, reason: Any, *_: object) -> None:
        """Publish all retained topics after (re)connecting; QoS 0, as a lost connection publishes them again anyway."""
        if reason.is_failure:
            return
        while not self._acknowledged.empty():  # acknowledgements of the previous connection
            self._acknowledged.get_nowait()
        with self._lock:
            for topic, body in {self._availability: b"online", **self._retained}.items():
                client.publish(topic, body, qos=0, retain=True)

    def close(self) -> None:
        if self._client is not None:
            self._client.publish(self._availability, b"offline", qos=1, retain=True)
        super().close()


def retained_of(prefix: str, topic: str, message: Message) -> dict[str, bytes]:
    """Return the bodies of a message's three topics: state first, then attributes, then the sensor's discovery.

    What crossed a line is no state of a sensor: there are none for it.
    """
    text = json.dumps(json.loads(message.body), ensure_ascii=False)
    record = json.loads(text.encode(errors="replace"))  # file names may contain invalid UTF-8
    if "crossed" in record:
        return {}
    model, source = record["model"], record["source"]
    place = f"{topic}/{quote(model, safe='')}/{quote(source, safe='')}"
    sensor: dict[str, Any] = {
        "name": source,
        "unique_id": identity(topic, model, source),
        "state_topic": f"{place}/state",
        "json_attributes_topic": f"{place}/attributes",
        "availability_topic": f"{topic}/availability",
        "qos": 1,
        "device": {
            "identifiers": [identity(topic, model)],
            "name": f"Spikesight {model}",
            "manufacturer": "Spikesight",
            "model": model,
        },
        "origin": {"name": "Spikesight"},
    }
    beside = {
        "confidence": record.get("probability"),
        "known": record.get("known"),
        "committed": record.get("committed"),
    }
    return {
        sensor["state_topic"]: (record["label"] or NO_STATE)[:LONGEST_STATE].encode(),
        sensor["json_attributes_topic"]: json.dumps(beside).encode(),
        f"{prefix}/sensor/{sensor['unique_id']}/config": json.dumps(sensor).encode(),
    }


def identity(*names: str) -> str:
    """Return a stable id of 23 letters, digits and underscores for these names, valid in topics and as client id."""
    return f"spikesight_{hashlib.sha256(json.dumps(names).encode()).hexdigest()[:12]}"


def open_mqtt(address: str) -> Mqtt:
    """Open a sink for a plain topic or for Home Assistant, by the address's query. Raises SinkError."""
    query = urlsplit(address).query
    if not query:
        return Mqtt(address)
    asked = parse_qs(query, keep_blank_values=True)
    if list(asked) != ["discovery"]:
        raise SinkError("behind a broker's topic comes nothing but ?discovery=homeassistant")
    return HomeAssistant(address, asked["discovery"][-1])
