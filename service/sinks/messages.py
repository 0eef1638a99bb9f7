"""A message on its way to a sink, and what may become of it."""

from typing import NamedTuple


class Message(NamedTuple):
    """What one sink is sent: delivered at least once, so that a receiver may know a second copy by its id."""

    id: str  # of 32 hexadecimal digits, in the body as well
    body: bytes  # JSON, one object


class SinkError(ValueError):
    """An address that cannot be sent to; one sentence."""


class SinkLost(Exception):
    """Raised by a sink that is not there now: the message waits."""


class SinkRefused(Exception):
    """Raised by a sink that will never take this message: it is dropped, and counted."""
