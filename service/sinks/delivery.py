"""Delivery of predictions to a sink: one thread writes messages to disk, another sends them until they are accepted."""

import json
import random
import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import count
from pathlib import PurePath
from queue import SimpleQueue
from typing import Any, TypeVar
from urllib.parse import urlsplit

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from spikesight.models.classifier import Classifier
from spikesight.models.steps import Answer, Input
from spikesight.service.http.logs import log
from spikesight.service.sinks.disk_queue import DiskQueue, queue_path
from spikesight.service.sinks.messages import Message, SinkLost, SinkRefused
from spikesight.service.sinks.rerun_file import RerunFile
from spikesight.service.sinks.sink import Sink, open_sink

BACK_OFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)  # between tries, with a random factor of up to 1.5
MOST_UNKEPT = 10_000  # most records in memory if the disk is slow; beyond that new ones are dropped
T = TypeVar("T")
PIECE = 100  # messages read from the disk at once
LAST_S = 5.0  # seconds that a delivery gets at shutdown; the rest stays on disk for the next start


class Delivery:
    """A sink behind its queue on disk. `post` never blocks. Call `close` when done. Counters start at zero."""

    def __init__(self, name: str, sink: Sink, queue: DiskQueue, back_off_s: Sequence[float] = BACK_OFF_S) -> None:
        self.name, self._sink, self._queue, self._back_off_s = name, sink, queue, back_off_s
        self.n_sent = self.n_dropped = 0
        self._new: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._faults: set[str] = set()  # disk errors that have been logged
        self._waiting = threading.Condition()
        self._ending, self._closing = threading.Event(), threading.Event()  # stop the keeper, the sender
        self._keeper = threading.Thread(target=self._keep, name=f"queue of {name}", daemon=True)
        self._sender = threading.Thread(target=self._send, name=f"sender to {name}", daemon=True)
        self._keeper.start()
        self._sender.start()

    @property
    def n_waiting(self) -> int:
        """Number of messages on disk."""
        return len(self._queue)

    def post(self, record: dict[str, Any]) -> None:
        """Queue a JSON-serialisable record to be sent. Callable from any thread; takes a microsecond."""
        if self._new.qsize() < MOST_UNKEPT:
            self._new.put(record)
        else:
            self.n_dropped += 1

    def on_step(self, source: str, classifier: Classifier, inputs: list[Input], answer: Answer) -> None:
        """Do nothing: only RerunFile uses whole steps, this sink gets records."""

    def close(self) -> None:
        """Write all records to disk, try once more to send them, and stop."""
        self._ending.set()
        self._new.put(None)
        self._keeper.join(LAST_S)
        self._closing.set()
        with self._waiting:
            self._waiting.notify_all()
        self._sender.join(LAST_S)

    def _keep(self) -> None:
        """Write records to disk, all that have arrived at once. Runs in the keeper thread."""
        for record in iter(self._new.get, None):
            following = [self._new.get() for _ in range(min(PIECE - 1, self._new.qsize()))]
            self._put([message_of(one) for one in (record, *following) if one is not None])
            if None in following:
                return

    def _put(self, messages: list[Message]) -> None:
        """Write messages to disk, retrying until it succeeds; newer records wait in memory meanwhile."""
        for attempt in count():
            try:
                self.n_dropped += self._queue.put(messages)
                break
            except sqlite3.Error as error:
                if not attempt:
                    log.warning("predictions to %s stay in memory, the disk does not take them: %s", self.name, error)
            if self._ending.wait(self._pause(attempt)):
                self.n_dropped += len(messages)
                log.warning("%d predictions to %s are lost: the disk does not take them", len(messages), self.name)
                return
        with self._waiting:
            self._waiting.notify()

    def _send(self) -> None:
        """Send the oldest messages to the sink; close both at the end. Runs in the sender thread."""
        with closing(self._queue), closing(self._sink):
            while True:
                with self._waiting:
                    self._waiting.wait_for(lambda: len(self._queue) or self._closing.is_set())
                if not len(self._queue):
                    return
                oldest = self._ask("does not give them", lambda: self._queue.first(PIECE))
                if oldest is None and self._closing.wait(self._pause(0)):
                    return
                for number, message in oldest or ():
                    if not self._deliver(message):
                        return
                    self._ask("keeps those that were sent", lambda number=number: self._queue.done(number))

    def _ask(self, fault: str, work: Callable[[], T]) -> T | None:
        """Return what `work` on the queue returns; None if the disk fails, which is logged once."""
        try:
            answer = work()
        except sqlite3.Error as error:
            if fault not in self._faults:
                log.warning("predictions to %s: the disk %s: %s", self.name, fault, error)
            self._faults.add(fault)
            return None
        self._faults.discard(fault)
        return answer

    def _pause(self, attempt: int) -> float:
        return self._back_off_s[min(attempt, len(self._back_off_s) - 1)] * random.uniform(1, 1.5)

    def _deliver(self, message: Message) -> bool:
        """Send a message until it is accepted or refused; return False at shutdown."""
        for attempt in count():
            try:
                self._sink.send(message)
            except SinkRefused as error:
                self.n_dropped += 1
                log.warning("a prediction to %s is dropped: %s", self.name, error)
                break
            except Exception as error:  # a plug-in's sink may raise anything: keep the message and retry
                if not attempt:
                    reason = error if isinstance(error, SinkLost) else type(error).__name__  # its text may hold secrets
                    log.warning("predictions to %s wait: %s", self.name, reason)
            else:
                self.n_sent += 1
                if attempt:
                    log.warning("predictions to %s go on after %d failures", self.name, attempt)
                break
            if self._closing.wait(self._pause(attempt)):
                return False
        return True


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
    if kind in ("file", "rerun"):
        return f"{kind}:{PurePath(rest).name}"
    host = urlsplit(address).netloc.rpartition("@")[2]
    return f"{kind}://{host}" if host else f"{kind}:"


Outlet = Delivery | RerunFile


def open_delivery(address: str, name: str = "") -> Outlet:
    """Open a sink by its address; its delivery first sends what is left on disk. Raises SinkError."""
    if address.startswith("rerun:"):
        return RerunFile(address)
    return Delivery(name or public_name(address), open_sink(address), DiskQueue(queue_path(address)))


def open_deliveries(addresses: Sequence[str]) -> tuple[Outlet, ...]:
    """Open all sinks of a service, each once; equal names are numbered. Raises SinkError, with all closed again."""
    addresses = tuple(dict.fromkeys(addresses))
    names = [public_name(address) for address in addresses]
    made: list[Outlet] = []
    with ExitStack() as opened:
        for n, (address, name) in enumerate(zip(addresses, names)):
            number = names[:n].count(name) + 1
            delivery = open_delivery(address, f"{name} {number}" if number > 1 else name)
            made.append(opened.enter_context(closing(delivery)))
        opened.pop_all()
    return tuple(made)


class Deliveries(Collector):
    """All sinks of a service; also collects their counts for Prometheus."""

    def __init__(self) -> None:
        self._all: tuple[Outlet, ...] = ()

    def start(self, deliveries: Sequence[Outlet]) -> None:
        """Send to these sinks from now on."""
        self._all = tuple(deliveries)

    def post(self, record: dict[str, Any]) -> None:
        """Send a record to every sink."""
        for delivery in self._all:
            delivery.post(record)

    def on_step(self, source: str, classifier: Classifier, inputs: list[Input], answer: Answer) -> None:
        """Show every sink a step: a source's inputs, and the answer after the last of them."""
        for delivery in self._all:
            delivery.on_step(source, classifier, inputs, answer)

    def close(self) -> None:
        for delivery in self._all:
            delivery.close()

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """Yield each sink's counts for /metrics: messages sent, dropped, and waiting on disk."""
        for family, name, text in (
            (CounterMetricFamily, "sent", "messages that a sink has taken"),
            (CounterMetricFamily, "dropped", "messages that no sink will get"),
            (GaugeMetricFamily, "waiting", "messages on disk"),
        ):
            made = family(f"spikesight_sink_{name}", text, labels=["sink"])
            for delivery in self._all:
                made.add_metric([delivery.name], getattr(delivery, f"n_{name}"))
            yield made
