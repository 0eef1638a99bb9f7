"""Messages to sinks, and the errors of sending them."""

from typing import NamedTuple


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
