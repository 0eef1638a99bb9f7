"""Webhooks, signed as Standard Webhooks has it (https://www.standardwebhooks.com): its libraries verify them.

webhook-id          of the message, the same when it is sent again
webhook-timestamp   seconds since 1970, of this attempt
webhook-signature   "v1," and base64 of HMAC-SHA256(secret, "id.timestamp.body")
"""

import base64
import binascii
import hmac
import http.client
import os
import time
from urllib.parse import urlsplit

from service.sinks.messages import Message, SinkError, SinkLost, SinkRefused

SECRET = "SPIKESIGHT_WEBHOOK_SECRET"
TIMEOUT_S = 10.0
REFUSALS = (400, 413, 415, 422)  # of this very message; everything else may be mended at the receiver
MOST_ANSWER = 1 << 16  # bytes of an answer that are read to keep the connection


class Webhook:
    """http://host/path or https://host/path, over one connection that is kept. Redirections are not followed."""

    def __init__(self, address: str, secret: str | None = None) -> None:
        parts = urlsplit(address)
        try:
            self._place = (parts.hostname or "", parts.port)
        except ValueError:
            raise SinkError(f"'{address}' has no good port") from None
        if not parts.hostname or parts.username is not None:
            raise SinkError("a webhook is https://host/path, without a user: its messages are signed")
        self._secure = parts.scheme == "https"
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._secret = key_of(secret or os.environ.get(SECRET, ""))
        self._connection: http.client.HTTPConnection | None = None

    def send(self, message: Message) -> None:
        kept = self._connection is not None
        try:
            status = self._post(message)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if kept:  # the receiver may have closed it long since
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
        headers = {"Content-Type": "application/json", **signed(message, self._secret, int(time.time()))}
        self._connection.request("POST", self._path, message.body, headers)
        answer = self._connection.getresponse()
        if len(answer.read(MOST_ANSWER)) == MOST_ANSWER:
            self.close()
        return answer.status

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def key_of(secret: str) -> bytes:
    """The key of a secret: of `whsec_...` what it is the base64 of, else its letters. Raises SinkError.

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
    """The three headers.

    >>> signed(Message("a", b"{}"), b"0123456789abcdef", 1)["webhook-signature"]
    'v1,dzsg+GberOLjD9kzhED/npZEpY0IOnvQOYpGokCGjGA='
    """
    content = b".".join([message.id.encode(), str(at_s).encode(), message.body])
    signature = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    return {"webhook-id": message.id, "webhook-timestamp": str(at_s), "webhook-signature": f"v1,{signature}"}
