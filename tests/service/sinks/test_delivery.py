"""Delivery: every message reaches a receiver that comes and goes, once and in order; what is dropped is counted."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from spikesight.service.sinks.delivery import Deliveries, Delivery, open_deliveries
from spikesight.service.sinks.sink import SECRET, Message, SinkError, SinkLost, Webhook
from tests.support.serving import receiver as receiving
from tests.support.serving.receiver import Receiver
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET, receiving.SECRET)


@pytest.fixture
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    made = Receiver(**getattr(request, "param", {}))
    made.start()
    yield made
    made.stop()


class Closable:
    """A sink that a test opens and closes; what it has taken, and how often it was asked."""

    def __init__(self, *faults: Exception) -> None:
        self.faults, self.asked, self.taken = list(faults), list[Message](), list[bytes]()
        self.asks, self.open = threading.Semaphore(0), threading.Event()
        self.closed = False

    def send(self, message: Message) -> None:
        self.asked.append(message)
        self.asks.release()
        if self.faults:
            raise self.faults.pop(0)
        assert self.open.wait(receiving.PATIENCE_S)
        self.taken.append(message.body)

    def close(self) -> None:
        self.closed = True


@pytest.mark.attack("sinks", "a receiver that goes and comes back", "every message comes, in order")
def test_no_message_is_lost_while_the_receiver_restarts_twice() -> None:
    count = 1000
    receiver = Receiver(cut_at=(count // 4, count // 2))
    receiver.start()
    delivery = Delivery("receiver", Webhook(receiver.url), 0.01)
    for part in range(4):
        for n in range(count // 4):
            delivery.post({"n": part * count // 4 + n})
        if part in (1, 2):
            with receiver.changed:
                assert receiver.changed.wait_for(lambda cuts=part: receiver.cuts == cuts, receiving.PATIENCE_S)
            receiver.stop()
            receiver.start()
    receiver.wait_for(count)
    delivery.close()
    receiver.stop()
    assert receiver.distinct() == list(range(count)), "in order, none missing"
    again = len(receiver.came) - count
    assert 2 <= again <= 4, "the two that were cut came again, and what was under way when the receiver stopped"
    assert (delivery.n_sent, delivery.n_dropped) == (count, 0)


@pytest.mark.parametrize("receiver", [{"statuses": (503, 401, 302, 422, 500)}], indirect=True)
def test_refusals_are_dropped_and_faults_tried_again(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    delivery = Delivery("receiver", Webhook(receiver.url), 0.01)
    for n in range(3):
        delivery.post({"n": n})
    receiver.wait_for(2)
    delivery.close()
    assert receiver.distinct() == [1, 2], "the first was refused with 422 in the end"
    assert (delivery.n_sent, delivery.n_dropped) == (2, 1)
    assert caplog.messages[0] == "predictions to receiver wait: 127.0.0.1 answered 503"
    assert "a prediction to receiver is dropped: 127.0.0.1 answered 422" in caplog.messages
    assert "predictions to receiver go on after 1 failures" in caplog.messages


def test_a_message_is_sent_until_it_is_taken_and_never_again() -> None:
    """A plug-in's sink may raise anything."""
    sink = Closable(KeyError("mood"), SinkLost("away"))
    sink.open.set()
    delivery = Delivery("moody", sink, 0.001)
    for n in range(3):
        delivery.post({"n": n})
    until(lambda: delivery.n_sent == 3)
    delivery.close()
    first, second, third, *others = sink.asked
    assert first == second == third, "the same message, by the same id"
    assert len({message.id for message in (first, *others)}) == len(sink.taken) == 3
    assert sink.closed


def test_a_full_queue_drops_its_oldest_and_the_end_counts_what_is_left(caplog: pytest.LogCaptureFixture) -> None:
    sink = Closable()
    delivery = Delivery("slow", sink, most=4)
    delivery.post({"n": 0})
    assert sink.asks.acquire(timeout=receiving.PATIENCE_S), "it is with the sink now"
    for n in range(1, 10):
        delivery.post({"n": n})
    assert (delivery.n_waiting, delivery.n_dropped) == (5, 5)
    sink.open.set()
    until(lambda: delivery.n_sent == 5)
    assert [body.partition(b'"n": ')[2] for body in sink.taken] == [b"0}", b"6}", b"7}", b"8}", b"9}"]
    assert caplog.messages == ["4 predictions to slow wait: the oldest are dropped"]
    delivery.close()
    assert delivery.n_dropped == 5


def test_what_nobody_took_before_the_end_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    sink = Closable(*[SinkLost("away")] * 9)
    delivery = Delivery("gone", sink, 3600.0)
    for n in range(3):
        delivery.post({"n": n})
    assert sink.asks.acquire(timeout=receiving.PATIENCE_S)
    delivery.close()
    assert (delivery.n_sent, delivery.n_dropped, delivery.n_waiting) == (0, 3, 0)
    assert caplog.messages[-1] == "3 predictions to gone are lost: it did not take them before the end"
    assert sink.closed


def test_each_place_is_opened_once_and_counted_by_its_name(tmp_path: Path) -> None:
    paths = [f"file:{tmp_path / folder / 'seen'}" for folder in ("", "a", "")]
    (tmp_path / "a").mkdir()
    opened = open_deliveries(paths)
    assert [one.name for one in opened] == ["file:seen", "file:seen 2"]
    deliveries = Deliveries()
    deliveries.start(opened)
    deliveries.post({"n": 1})
    until(lambda: all(one.n_sent for one in opened))
    counts = {family.name: [sample.value for sample in family.samples] for family in deliveries.collect()}
    assert counts == {f"spikesight_sink_{name}": [n, n] for name, n in (("sent", 1), ("dropped", 0), ("waiting", 0))}
    deliveries.close()
    with pytest.raises(SinkError, match="no such file"):
        open_deliveries([*paths, f"file:{tmp_path / 'none' / 'seen'}"])
