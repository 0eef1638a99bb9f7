"""From whoever answers to a sink: one thread keeps messages on disk, another sends them until they are taken."""

import json
import random
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from service.http.logs import log
from service.sinks.disk_queue import DiskQueue, queue_path
from service.sinks.messages import Message, SinkLost, SinkRefused
from service.sinks.sink import Sink, open_sink

BACK_OFF_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)  # between tries, each up to half as long again by chance
MOST_UNKEPT = 10_000  # records in memory, should the disk be slow; beyond that new ones are dropped
PIECE = 100  # messages read from the disk at once
LAST_S = 5.0  # what a delivery has at the end; the rest waits on disk for the next start


class Delivery:
    """A sink behind its queue. `post` never waits; close() when done. Counters are of this process."""

    def __init__(self, name: str, sink: Sink, queue: DiskQueue, back_off_s: Sequence[float] = BACK_OFF_S) -> None:
        self.name, self._sink, self._queue, self._back_off_s = name, sink, queue, back_off_s
        self.n_sent = self.n_dropped = 0
        self._new: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        self._waiting = threading.Condition()
        self._closing = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name=f"queue of {name}", daemon=True)
        self._sender = threading.Thread(target=self._send, name=f"sender to {name}", daemon=True)
        self._keeper.start()
        self._sender.start()

    @property
    def n_waiting(self) -> int:
        """Messages on disk."""
        return len(self._queue)

    def post(self, record: dict[str, Any]) -> None:
        """Send a record, fit for JSON, with an id of its own. From any thread; costs a microsecond."""
        if self._new.qsize() < MOST_UNKEPT:
            self._new.put(record)
        else:
            self.n_dropped += 1

    def close(self) -> None:
        """Keep what was posted, try what waits once more, and end."""
        self._new.put(None)
        self._keeper.join(LAST_S)
        self._closing.set()
        with self._waiting:
            self._waiting.notify_all()
        self._sender.join(LAST_S)

    def _keep(self) -> None:
        """The first thread: records to the disk, all that have come at once."""
        while (record := self._new.get()) is not None:
            records = [record]
            while len(records) < PIECE:
                try:
                    following = self._new.get_nowait()
                except Empty:
                    break
                if following is None:
                    self._new.put(None)
                    break
                records.append(following)
            self._put([message_of(record) for record in records])

    def _put(self, messages: list[Message]) -> None:
        try:
            over = self._queue.put(messages)
        except sqlite3.Error as error:
            over = len(messages)
            log.warning("predictions to %s are lost, the disk does not take them: %s", self.name, error)
        self.n_dropped += over
        with self._waiting:
            self._waiting.notify()

    def _send(self) -> None:
        """The second thread: the oldest messages to the sink. What it holds is closed by it, when it is at its end."""
        try:
            while True:
                with self._waiting:
                    self._waiting.wait_for(lambda: len(self._queue) or self._closing.is_set())
                if not len(self._queue):
                    return
                for number, message in self._queue.first(PIECE):
                    if not self._deliver(message):
                        return
                    self._queue.done(number)
        finally:
            self._sink.close()
            self._queue.close()

    def _deliver(self, message: Message) -> bool:
        """Try until it is taken or refused; False when the end came first."""
        for attempt in range(1 << 62):
            try:
                self._sink.send(message)
            except SinkRefused as error:
                self.n_dropped += 1
                log.warning("a prediction to %s is dropped: %s", self.name, error)
                return True
            except Exception as error:  # a foreign sink may raise anything: nothing is lost by waiting
                if not attempt:
                    reason = error if isinstance(error, SinkLost) else f"{type(error).__name__}: {error}"
                    log.warning("predictions to %s wait: %s", self.name, reason)
                pause = self._back_off_s[min(attempt, len(self._back_off_s) - 1)]
                if self._closing.wait(pause * random.uniform(1, 1.5)):
                    return False
            else:
                self.n_sent += 1
                if attempt:
                    log.warning("predictions to %s go on after %d failures", self.name, attempt)
                return True
        return False


def message_of(record: dict[str, Any]) -> Message:
    """A record with an id."""
    identity = uuid.uuid4().hex
    return Message(identity, json.dumps({"id": identity, **record}).encode())


def open_delivery(address: str) -> Delivery:
    """A sink's string to its delivery, which first sends what waits on disk since last time. Raises SinkError."""
    name = address.partition("?")[0].rpartition("@")[2]  # without a user's password
    return Delivery(name, open_sink(address), DiskQueue(queue_path(address)))


class Deliveries(Collector):
    """All sinks of a service."""

    def __init__(self) -> None:
        self._all: tuple[Delivery, ...] = ()

    def start(self, deliveries: Sequence[Delivery]) -> None:
        """Send to these from now on."""
        self._all = tuple(deliveries)

    def post(self, record: dict[str, Any]) -> None:
        """To each of them."""
        for delivery in self._all:
            delivery.post(record)

    def close(self) -> None:
        """End every one."""
        for delivery in self._all:
            delivery.close()

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily]:
        """For /metrics: sent, dropped, and waiting on disk."""
        sent = CounterMetricFamily("spikesight_sink_sent", "messages that a sink has taken", labels=["sink"])
        dropped = CounterMetricFamily("spikesight_sink_dropped", "messages that no sink will get", labels=["sink"])
        waiting = GaugeMetricFamily("spikesight_sink_waiting", "messages on disk", labels=["sink"])
        for delivery in self._all:
            sent.add_metric([delivery.name], delivery.n_sent)
            dropped.add_metric([delivery.name], delivery.n_dropped)
            waiting.add_metric([delivery.name], delivery.n_waiting)
        yield from (sent, dropped, waiting)
