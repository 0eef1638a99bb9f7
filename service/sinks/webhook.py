"""Webhook sink, signed as in Standard Webhooks (https://www.standardwebhooks.com), whose libraries can verify it.

webhook-id          id of the message, the same when it is sent again
webhook-timestamp   seconds since 1970 of this attempt
webhook-signature   "v1," and base64 of HMAC-SHA256(secret, "id.timestamp.body")
"""

import base64
import binascii
import hmac
import http.client
import os
import ssl
import string
import time
from contextlib import closing
from urllib.parse import quote, urlsplit

from spikesight.service.sinks.messages import Message, SinkError, SinkLost, SinkRefused

SECRET = "SPIKESIGHT_WEBHOOK_SECRET"
TIMEOUT_S = 10.0  # for connecting, and for each silence of the receiver
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
