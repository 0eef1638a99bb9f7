"""Sinks, each opened by one address, and the interface that a sink implements.

    https://host/path       a webhook: one signed POST a message (http:// likewise)
    mqtt://host:port/topic  a broker, QoS 1; mqtts:// over TLS; user:password@ before the host;
    file:PATH               JSON lines, appended

Installed packages may add others (entry points `spikesight.sinks`): a name, with which an address begins, and a
function from an address to a sink.
"""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from spikesight.encoders.plugins import extend
from spikesight.service.sinks.messages import Message, SinkError, SinkLost
from spikesight.service.sinks.mqtt import Mqtt
from spikesight.service.sinks.webhook import Webhook


class Sink(Protocol):
    """A destination of messages; called with one at a time, in order."""

    def send(self, message: Message) -> None:
        """Return once the message is accepted. Raises SinkLost to be called again later, SinkRefused to drop it."""
        ...

    def close(self) -> None: ...


class JsonLinesFile:
    """Sink file:PATH of JSON lines. The file is opened for each line, so that logrotate may move it away."""

    def __init__(self, address: str) -> None:
        self.path = Path(address.removeprefix("file:"))
        try:
            self._append(b"")
        except OSError as error:
            raise SinkError(f"cannot write to {address}: {(error.strerror or str(error)).lower()}") from None

    def _append(self, line: bytes) -> None:
        """Append a line completely or not at all, even on a full disk."""
        with self.path.open("ab", buffering=0) as file:
            before = os.fstat(file.fileno()).st_size
            try:
                taken = file.write(line)
                if taken != len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                with suppress(OSError):  # a pipe
                    file.truncate(before)
                raise

    def send(self, message: Message) -> None:
        try:
            self._append(message.body + b"\n")
        except OSError as error:
            raise SinkLost((error.strerror or str(error)).lower()) from None

    def close(self) -> None:
        pass


OpenSink = Callable[[str], Sink]
SINKS: dict[str, OpenSink] = {
    "http": Webhook,
    "https": Webhook,
    "mqtt": Mqtt,
    "mqtts": Mqtt,
    "file": JsonLinesFile,
}


def open_sink(address: str) -> Sink:
    """Open a sink by its address; the receiver need not be running yet. Raises SinkError."""
    kind, colon, _ = address.partition(":")
    if kind not in SINKS:
        extend("sinks", {Callable: SINKS})
    if not colon or kind not in SINKS:
        raise SinkError(
            f"'{kind}{colon}' is no place to send to; choose from {', '.join(f'{name}:' for name in SINKS)}"
        )
    return SINKS[kind](address)
