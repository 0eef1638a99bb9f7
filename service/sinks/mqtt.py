"""Sink for an MQTT 3.1.1 broker: each message is published with QoS 1 and done when the broker acknowledges it."""

import importlib
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import unquote, urlsplit

from spikesight.service.sinks.messages import Message, SinkError, SinkLost

PORTS = {"mqtt": 1883, "mqtts": 8883}
TIMEOUT_S = 10.0
NO_NAME = frozenset("+#\0")  # characters that a topic to publish to must not contain
DISCONNECTED = -1  # queued instead of a message's number when the connection has ended


class Mqtt:
    """Sink mqtt://[user:password@]host[:port]/topic. After a failure the next try makes a new connection."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._topic = unquote(parts.path.lstrip("/"))
        if not parts.hostname or not self._topic or NO_NAME & set(self._topic) or "#" in address or parts.query:
            raise SinkError("a broker is mqtt://host:port/topic, and +, # and ? have no place in a topic")
        try:
            self._host, self._port = parts.hostname, parts.port or PORTS[parts.scheme]
        except ValueError:
            raise SinkError(f"the port of the broker {parts.hostname} is no number up to 65535") from None
        self._secure, self._user, self._password = parts.scheme == "mqtts", parts.username, parts.password
        try:
            self._library: Any = importlib.import_module("paho.mqtt.client")
        except ImportError:
            raise SinkError("mqtt:// needs paho-mqtt: pip install 'spikesight[mqtt]'") from None
        self._client: Any = None
        self._acknowledged: SimpleQueue[int] = SimpleQueue()  # numbers of acknowledged messages, or DISCONNECTED

    def send(self, message: Message) -> None:
        """Publish and wait until the broker has acknowledged. Raises SinkLost."""
        try:
            self._client = self._client or self._connected()
            number = self._client.publish(self._topic, message.body, qos=1).mid
            while (acknowledged := self._acknowledged.get(timeout=TIMEOUT_S)) not in (number, DISCONNECTED):
                pass
        except (OSError, Empty) as error:
            acknowledged, reason = DISCONNECTED, f"does not answer ({type(error).__name__})"
        else:
            reason = "has ended the connection, or refused it"
        if acknowledged == DISCONNECTED:
            self.close()
            raise SinkLost(f"the broker {self._host} {reason}")

    def _connected(self) -> Any:
        acknowledged = self._acknowledged = SimpleQueue()  # a new queue, for this client only
        client = self._library.Client(self._library.CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        if self._user is not None:
            client.username_pw_set(unquote(self._user), unquote(self._password or ""))
        if self._secure:
            client.tls_set()
        client.on_publish = lambda _client, _userdata, number, *_: acknowledged.put(number)
        client.on_disconnect = lambda *_: acknowledged.put(DISCONNECTED)
        client.connect_timeout = TIMEOUT_S
        client.connect(self._host, self._port, keepalive=30)
        client.loop_start()
        return client

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()
