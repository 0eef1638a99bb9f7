"""Webhook sink, signed as in Standard Webhooks (https://www.standardwebhooks.com), whose libraries can verify it.

webhook-id          id of the message, the same when it is sent again
webhook-timestamp   seconds since 1970 of this attempt
webhook-signature   "v1," and base64 of HMAC-SHA256(secret, "id.timestamp.body")
"""

import base64
import binascii
import hmac
import http.client
import io
import os
import socket
import string
import time
from time import monotonic
from typing import Any
from urllib.parse import quote, urlsplit

from spikesight.service.sinks.messages import Message, SinkError, SinkLost, SinkRefused

SECRET = "SPIKESIGHT_WEBHOOK_SECRET"
TIMEOUT_S = 10.0  # for connecting, for sending a request, and for the whole answer
REFUSALS = (400, 413, 415, 422)  # this message is at fault; other errors may be fixed at the receiver
MOST_ANSWER = 1 << 16  # most bytes of an answer, headers and body


class Bounded(io.RawIOBase):
    """A socket's received bytes as a stream, at most `most` and until `until` on time.monotonic(); OSError beyond."""

    def __init__(self, sock: socket.socket, most: int, until: float) -> None:
        self._sock, self._raw = sock, sock.makefile("rb", buffering=0)  # keeps the socket open until this is closed
        self._left, self._until = most, until

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._until - monotonic()
        if left_s <= 0:
            raise TimeoutError("the answer takes too long")
        if not self._left:
            raise OSError("the answer is too long")
        self._sock.settimeout(left_s)
        count = self._raw.readinto(memoryview(buffer)[: self._left])
        self._left -= count or 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class BoundedAnswer(http.client.HTTPResponse):
    """An HTTP response limited to MOST_ANSWER bytes and TIMEOUT_S seconds."""

    def __init__(self, sock: socket.socket, *others: Any, **named: Any) -> None:
        super().__init__(sock, *others, **named)
        self.fp.close()
        self.fp = io.BufferedReader(Bounded(sock, MOST_ANSWER, monotonic() + TIMEOUT_S))


class Webhook:
    """Sink http://host/path or https://host/path, over one kept-alive connection. Redirects are not followed."""

    def __init__(self, address: str, secret: str | None = None) -> None:
        parts = urlsplit(address)
        try:
            self._place = (parts.hostname or "", parts.port)
        except ValueError:
            raise SinkError(f"the port of the webhook at {parts.hostname} is no number up to 65535") from None
        if not parts.hostname or parts.username is not None:
            raise SinkError("a webhook is https://host/path, without a user: its messages are signed")
        self._secure = parts.scheme == "https"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._path = quote(path, safe=string.punctuation)  # spaces and what is not ASCII; the rest is as it was written
        self._secret = key_of(secret or os.environ.get(SECRET, ""))
        self._connection: http.client.HTTPConnection | None = None

    def send(self, message: Message) -> None:
        kept = self._connection is not None
        try:
            status = self._post(message)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if kept and not isinstance(error, TimeoutError):  # the receiver may have closed the idle connection
                return self.send(message)
            raise SinkLost(f"{self._place[0]} does not answer ({type(error).__name__})") from None
        if status in REFUSALS:
            raise SinkRefused(f"{self._place[0]} answered {status}")
        if not 200 <= status < 300:
            raise SinkLost(f"{self._place[0]} answered {status}")
        return None

    def _post(self, message: Message) -> int:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            self._connection = kind(*self._place, timeout=TIMEOUT_S)
            self._connection.response_class = BoundedAnswer
        elif self._connection.sock is not None:
            self._connection.sock.settimeout(TIMEOUT_S)  # reading the last answer may have lowered it
        headers = {"Content-Type": "application/json", **signed(message, self._secret, int(time.time()))}
        self._connection.request("POST", self._path, message.body, headers)
        answer = self._connection.getresponse()
        try:
            whole = len(answer.read(MOST_ANSWER)) < MOST_ANSWER
        except (OSError, http.client.HTTPException):  # the status has arrived, so the message is answered
            whole = False
        if not whole:
            self.close()
        return answer.status

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def key_of(secret: str) -> bytes:
    """Return the signing key: the decoded base64 of `whsec_...`, else the secret's bytes. Raises SinkError.

    >>> key_of("whsec_MDEyMzQ1Njc4OWFiY2RlZg=="), key_of("0123456789abcdef")
    (b'0123456789abcdef', b'0123456789abcdef')
    """
    try:
        key = base64.b64decode(secret[6:], validate=True) if secret.startswith("whsec_") else secret.encode()
    except binascii.Error:
        raise SinkError(f"{SECRET} begins with whsec_ and is not base64 behind it") from None
    if len(key) < 16:
        raise SinkError(f"webhooks are signed: set {SECRET} to 16 characters or more, such as openssl rand -hex 24")
    return key


def signed(message: Message, key: bytes, at_s: int) -> dict[str, str]:
    """Return the three headers that sign a message sent at `at_s`, seconds since 1970.

    >>> signed(Message("a", b"{}"), b"0123456789abcdef", 1)["webhook-signature"]
    'v1,dzsg+GberOLjD9kzhED/npZEpY0IOnvQOYpGokCGjGA='
    """
    content = b".".join([message.id.encode(), str(at_s).encode(), message.body])
    signature = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    return {"webhook-id": message.id, "webhook-timestamp": str(at_s), "webhook-signature": f"v1,{signature}"}
