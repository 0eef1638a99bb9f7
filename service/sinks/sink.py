"""Sinks, each opened by one address, and the interface that a sink implements.

    https://host/path       a webhook: one signed POST a message (http:// likewise)
    mqtt://host:port/topic  a broker, QoS 1; mqtts:// over TLS; user:password@ before the host;
    file:PATH               JSON lines, appended

Installed packages may add others (entry points `spikesight.sinks`): a name, with which an address begins, and a
function from an address to a sink.
"""

import base64
import errno
import hmac
import http.client
import importlib
import os
import ssl
import string
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, unquote, urlsplit

from spikesight.encoders.plugins import extend


class Message(NamedTuple):
    """A message to a sink, delivered at least once: receivers recognise a second copy by its id."""

    id: str  # 32 hexadecimal digits, also in the body
    body: bytes  # one JSON object


class SinkError(ValueError):
    """An invalid or unusable sink address."""


class SinkLost(Exception):
    """Raised by a sink that is not reachable now: the message is sent again later."""


class SinkRefused(Exception):
    """Raised by a sink that will never accept this message: it is dropped and counted."""


TIMEOUT_S = 10.0  # for connecting, and for each silence of the receiver
PORTS = {"mqtt": 1883, "mqtts": 8883}
NO_NAME = frozenset("+#\0")  # characters that a topic to publish to must not contain


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

    def send(self, message: Message) -> None:
        """Publish and wait until the broker has acknowledged. Raises SinkLost."""
        why = "it refuses, or sends no acknowledgement"
        try:
            self._client = self._client or self._connected()
            published = self._client.publish(self._topic, message.body, qos=1)
            published.wait_for_publish(TIMEOUT_S)
            if published.is_published():
                return
        except (OSError, RuntimeError) as error:  # paho's own for a connection that has ended
            why = type(error).__name__
        self.close()
        raise SinkLost(f"the broker {self._host} does not answer ({why})")

    def _connected(self) -> Any:
        client = self._library.Client(self._library.CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        if self._user is not None:
            client.username_pw_set(unquote(self._user), unquote(self._password or ""))
        if self._secure:
            client.tls_set()
        client.connect_timeout = TIMEOUT_S
        client.connect(self._host, self._port, keepalive=30)
        client.loop_start()
        return client

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()


SECRET = "SPIKESIGHT_WEBHOOK_SECRET"
REFUSALS = (400, 413, 415, 422)  # this message is at fault; other errors may be fixed at the receiver


class Webhook:
    """Sink http://host/path or https://host/path: a connection a message, closed once the answer's status is read.

    Redirects are not followed.
    """

    def __init__(self, address: str, secret: str | None = None) -> None:
        parts = urlsplit(address)
        try:
            self._place = (parts.hostname or "", parts.port)
        except ValueError:
            raise SinkError(f"the port of the webhook at {parts.hostname} is no number up to 65535") from None
        if not parts.hostname or parts.username is not None:
            raise SinkError("a webhook is https://host/path, without a user: its messages are signed")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._path = quote(path, safe=string.punctuation)  # spaces and what is not ASCII; the rest is as it was written
        self._secret = key_of(secret or os.environ.get(SECRET, ""))
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None

    def send(self, message: Message) -> None:
        headers = {"Content-Type": "application/json", **signed(message, self._secret, int(time.time()))}
        try:
            with closing(self._connection()) as connection:
                connection.request("POST", self._path, message.body, headers)
                with connection.getresponse() as answer:
                    status = answer.status
        except (OSError, http.client.HTTPException) as error:
            raise SinkLost(f"{self._place[0]} does not answer ({type(error).__name__})") from None
        if status in REFUSALS:
            raise SinkRefused(f"{self._place[0]} answered {status}")
        if not 200 <= status < 300:
            raise SinkLost(f"{self._place[0]} answered {status}")

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(*self._place, timeout=TIMEOUT_S)
        return http.client.HTTPSConnection(*self._place, timeout=TIMEOUT_S, context=self._tls)

    def close(self) -> None:
        pass


def key_of(secret: str) -> bytes:
    """Return the signing key: the secret's bytes. Raises SinkError."""
    if len(secret) < 16:
        raise SinkError(f"webhooks are signed: set {SECRET} to 16 characters or more, such as openssl rand -hex 24")
    return secret.encode()


def signed(message: Message, key: bytes, at_s: int) -> dict[str, str]:
    """Return the three headers that sign a message sent at `at_s`, seconds since 1970.

    >>> signed(Message("a", b"{}"), b"0123456789abcdef", 1)["webhook-signature"]
    'v1,dzsg+GberOLjD9kzhED/npZEpY0IOnvQOYpGokCGjGA='
    """
    content = b".".join([message.id.encode(), str(at_s).encode(), message.body])
    signature = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    return {"webhook-id": message.id, "webhook-timestamp": str(at_s), "webhook-signature": f"v1,{signature}"}


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
            if file.write(line) != len(line):
                file.truncate(before)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def send(self, message: Message) -> None:
        try:
            self._append(message.body + b"\n")
        except OSError as error:
            raise SinkLost((error.strerror or str(error)).lower()) from None

    def close(self) -> None:
        pass


OpenSink = Callable[[str], Sink]
SINKS: dict[str, OpenSink] = {"http": Webhook, "https": Webhook, "mqtt": Mqtt, "mqtts": Mqtt, "file": JsonLinesFile}


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
