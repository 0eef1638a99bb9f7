"""Sinks by one string each, and what every sink is to its delivery.

    https://host/path       a webhook: one signed POST a message (http:// likewise)
    mqtt://host:port/topic  a broker, QoS 1; mqtts:// over TLS; user:password@ before the host;
                            ?discovery=homeassistant behind the topic makes sensors of Home Assistant
    file:PATH               JSON lines, appended
    rerun:FILE.rrd          every step for Rerun's viewer; no queue, see rerun_file

Installed packages add others (`spikesight.sinks`): a name, which an address begins with, and a function from an address
to a sink.
"""

from collections.abc import Callable
from typing import Protocol

from spikesight.encoders.plugins import extend
from spikesight.service.sinks.home_assistant import open_mqtt
from spikesight.service.sinks.lines import Lines
from spikesight.service.sinks.messages import Message, SinkError
from spikesight.service.sinks.webhook import Webhook


class Sink(Protocol):
    """What takes messages, one at a time and in order."""

    def send(self, message: Message) -> None:
        """Return once the message is taken. Raises SinkLost to be asked again later, SinkRefused never to be."""
        ...

    def close(self) -> None: ...


OpenSink = Callable[[str], Sink]
SINKS: dict[str, OpenSink] = {
    "http": Webhook,
    "https": Webhook,
    "mqtt": open_mqtt,
    "mqtts": open_mqtt,
    "file": Lines,
}


def open_sink(address: str) -> Sink:
    """A sink by its string; nobody need be there yet. Raises SinkError."""
    kind, colon, _ = address.partition(":")
    if kind not in SINKS:
        extend("sinks", {Callable: SINKS})
    if not colon or kind not in SINKS:
        raise SinkError(
            f"'{kind}{colon}' is no place to send to; choose from {', '.join(f'{name}:' for name in (*SINKS, 'rerun'))}"
        )
    return SINKS[kind](address)
