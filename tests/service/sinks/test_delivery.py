"""Delivery: every message reaches a receiver that comes and goes, in order; what comes twice has the same id."""

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spikesight.service.sinks.delivery import MOST_UNKEPT, Delivery, open_delivery
from spikesight.service.sinks.disk_queue import FOLDER, DiskQueue, queue_path
from spikesight.service.sinks.messages import Message, SinkError
from spikesight.service.sinks.webhook import SECRET, Webhook
from tests.support.processes import in_fresh_process
from tests.support.serving import receiver as receiving
from tests.support.serving.receiver import Receiver
from tests.support.waiting import until

QUICK = (0.01,)


@pytest.fixture(autouse=True)
def _own_queues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "queues"))
    monkeypatch.setenv(SECRET, receiving.SECRET)


@pytest.fixture
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    made = Receiver(**getattr(request, "param", {}))
    made.start()
    yield made
    made.stop()


def deliver(to: Receiver, pause_s: float = 0.01) -> Delivery:
    return Delivery("receiver", Webhook(to.url), DiskQueue(queue_path(to.url)), (pause_s,))


@pytest.mark.attack("sinks", "a receiver that goes and comes back", "every message comes, in order")
@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_message_is_lost_while_the_receiver_restarts_twice(count: int) -> None:
    receiver = Receiver(cut_at=(count // 4, count // 2))
    receiver.start()
    delivery = deliver(receiver)
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


def test_what_waits_outlives_a_killed_process(receiver: Receiver) -> None:
    receiver.stop()
    code = f"""
import os
from spikesight.service.sinks.delivery import open_delivery
delivery = open_delivery({receiver.url!r})
for n in range(50):
    delivery.post({{"n": n}})
while delivery.n_waiting < 50:
    os.sched_yield()
print("kept", flush=True)
os._exit(0)  # no thread is asked to end
"""
    assert in_fresh_process(code) == "kept"
    receiver.start()
    delivery = open_delivery(receiver.url)
    receiver.wait_for(50)
    delivery.close()
    assert receiver.distinct() == list(range(50))


@pytest.mark.parametrize("receiver", [{"statuses": (503, 401, 302, 422, 500)}], indirect=True)
def test_refusals_are_dropped_and_faults_tried_again(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    delivery = deliver(receiver)
    for n in range(3):
        delivery.post({"n": n})
    receiver.wait_for(2)
    delivery.close()
    assert receiver.distinct() == [1, 2], "the first was refused with 422 in the end"
    assert (delivery.n_sent, delivery.n_dropped) == (2, 1)
    assert caplog.messages[0] == "predictions to receiver wait: 127.0.0.1 answered 503"
    assert "a prediction to receiver is dropped: 127.0.0.1 answered 422" in caplog.messages
    assert "predictions to receiver go on after 1 failures" in caplog.messages


def test_a_foreign_sink_that_fails_is_asked_again(tmp_path: Path) -> None:
    taken: list[str] = []

    def send(message: Message) -> None:
        taken.append(message.id)
        if len(taken) < 3:
            raise KeyError("mood")

    moody: Any = SimpleNamespace(send=send, close=lambda: None)
    delivery = Delivery("moody", moody, DiskQueue(tmp_path / "q.sqlite3"), QUICK)
    delivery.post({})
    until(lambda: delivery.n_sent == 1)
    delivery.close()
    assert taken == taken[:1] * 3


@pytest.mark.attack("sinks", "a disk that hangs", "10,000 messages in memory, then new ones are dropped and counted")
def test_a_disk_that_hangs_costs_memory_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entered, go = threading.Event(), threading.Event()
    queue = DiskQueue(tmp_path / "q.sqlite3")
    put = queue.put

    def slow(messages: list[Message]) -> int:
        entered.set()
        go.wait()
        return put(messages)

    monkeypatch.setattr(queue, "put", slow)
    delivery = Delivery("slow", Webhook("http://127.0.0.1:1/", receiving.SECRET), queue, QUICK)
    delivery.post({})
    assert entered.wait(receiving.PATIENCE_S)
    for _ in range(MOST_UNKEPT + 7):
        delivery.post({})
    assert delivery.n_dropped == 7
    go.set()
    delivery.close()


def test_two_processes_do_not_share_a_queue(receiver: Receiver) -> None:
    delivery = open_delivery(receiver.url)
    with pytest.raises(SinkError, match=r"another Spikesight sends from the queue .* SPIKESIGHT_QUEUES"):
        open_delivery(receiver.url)
    delivery.close()
