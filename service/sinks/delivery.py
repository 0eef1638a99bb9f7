"""Delivery of predictions to a sink: they wait in memory while a thread sends the oldest until it is accepted."""

import json
import random
import threading
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from itertools import count
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from prometheus_client.registry import Collector

from spikesight.service.http.logs import log
from spikesight.service.http.metrics import counts_of
from spikesight.service.sinks.sink import Message, Sink, SinkLost, SinkRefused, open_sink

PAUSE_S, LONGEST_S = 0.5, 60.0  # between tries: doubled each time up to the longest, with a random factor of up to 1.5
MOST = 10_000  # records that wait, about 3 MB
LAST_S = 5.0  # seconds that a delivery gets at shutdown
COUNTS = {
    "sent": "messages that a sink has taken",
    "dropped": "messages that no sink will get",
    "waiting": "messages that wait in memory",
}


class Delivery:
    """A sink behind a queue of `most` records. `post` never blocks. Call `close` when done. Counters start at zero.

    While the sink is away the oldest record is tried again and again. A full queue drops its oldest record. What is
    dropped is counted and logged, at shutdown too.
    """

    def __init__(self, name: str, sink: Sink, pause_s: float = PAUSE_S, most: int = MOST) -> None:
        self.name, self._sink, self._pause_s, self._most = name, sink, pause_s, most
        self.n_sent = self.n_dropped = 0
        self._waiting: deque[dict[str, Any]] = deque()
        self._full = False  # whether a record was dropped since the last was taken
        self._changed, self._closing = threading.Condition(), threading.Event()
        self._sender = threading.Thread(target=self._send, name=f"sender to {name}", daemon=True)
        self._sender.start()

    @property
    def n_waiting(self) -> int:
        """Number of records that the sink has not taken yet."""
        return len(self._waiting)

    def post(self, record: dict[str, Any]) -> None:
        """Queue a JSON-serialisable record to be sent. Callable from any thread; takes a microsecond."""
        begins = False
        with self._changed:
            self._waiting.append(record)
            if len(self._waiting) > self._most + 1:
                del self._waiting[1]  # the first is with the sink
                self.n_dropped += 1
                begins, self._full = not self._full, True
            self._changed.notify()
        if begins:
            log.warning("%d predictions to %s wait: the oldest are dropped", self._most, self.name)

    def close(self) -> None:
        """Try once more to send what waits, and stop."""
        with self._changed:
            self._closing.set()
            self._changed.notify()
        self._sender.join(LAST_S)
        with self._changed:
            left = self.n_waiting
            self.n_dropped += left
            self._waiting.clear()
        if left:
            log.warning("%d predictions to %s are lost: it did not take them before the end", left, self.name)

    def _send(self) -> None:
        """Send the oldest record, and so on; close the sink at the end. Runs in the sender thread."""
        with closing(self._sink):
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._waiting or self._closing.is_set())
                    if not self._waiting:
                        return
                    record = self._waiting[0]
                if not self._deliver(message_of(record)):
                    return
                with self._changed, suppress(IndexError):  # what waits at the end is given up
                    self._waiting.popleft()

    def _deliver(self, message: Message) -> bool:
        """Send a message until it is accepted or refused; return False at shutdown."""
        for attempt in count():
            try:
                self._sink.send(message)
            except SinkRefused as error:
                self.n_dropped += 1
                log.warning("a prediction to %s is dropped: %s", self.name, error)
                return True
            except Exception as error:  # a plug-in's sink may raise anything: keep the message and retry
                if not attempt:
                    reason = error if isinstance(error, SinkLost) else type(error).__name__  # its text may hold secrets
                    log.warning("predictions to %s wait: %s", self.name, reason)
            else:
                self.n_sent += 1
                self._full = False
                if attempt:
                    log.warning("predictions to %s go on after %d failures", self.name, attempt)
                return True
            pause_s = min(self._pause_s * 2.0 ** min(attempt, 30), LONGEST_S)
            if self._closing.wait(pause_s * random.uniform(1, 1.5)):
                return False
        raise AssertionError("count() has no end")


def message_of(record: dict[str, Any]) -> Message:
    """Return a record as a message with a new id."""
    identity = uuid.uuid4().hex
    return Message(identity, json.dumps({"id": identity, **record}).encode())


def public_name(address: str) -> str:
    """Return a sink's name for logs and metrics, without users, paths and queries, which may hold secrets.

    >>> addresses = "https://me@host:9/services/T0/xyz?key=1", "file:/var/seen.jsonl", "chat:token@room"
    >>> [public_name(address) for address in addresses]
    ['https://host:9', 'file:seen.jsonl', 'chat:']
    """
    kind, _, rest = address.partition(":")
    if kind == "file":
        return f"{kind}:{PurePath(rest).name}"
    host = urlsplit(address).netloc.rpartition("@")[2]
    return f"{kind}://{host}" if host else f"{kind}:"


def open_deliveries(addresses: Sequence[str]) -> tuple[Delivery, ...]:
    """Open all sinks of a service, each once; equal names are numbered. Raises SinkError, with all closed again."""
    addresses = tuple(dict.fromkeys(addresses))
    names = [public_name(address) for address in addresses]
    made: list[Delivery] = []
    with ExitStack() as opened:
        for n, (address, name) in enumerate(zip(addresses, names)):
            number = names[:n].count(name) + 1
            delivery = Delivery(f"{name} {number}" if number > 1 else name, open_sink(address))
            made.append(opened.enter_context(closing(delivery)))
        opened.pop_all()
    return tuple(made)


class Deliveries(Collector):
    """All sinks of a service; also collects their counts for Prometheus."""

    def __init__(self) -> None:
        self._all: tuple[Delivery, ...] = ()

    def start(self, deliveries: Sequence[Delivery]) -> None:
        """Send to these sinks from now on."""
        self._all = tuple(deliveries)

    def post(self, record: dict[str, Any]) -> None:
        """Send a record to every sink."""
        for delivery in self._all:
            delivery.post(record)

    def close(self) -> None:
        for delivery in self._all:
            delivery.close()

    def collect(self) -> Iterator[Any]:
        """Yield each sink's counts for /metrics: messages sent, dropped, and waiting."""
        return counts_of("sink", ((one.name, one) for one in self._all), COUNTS, "waiting")
