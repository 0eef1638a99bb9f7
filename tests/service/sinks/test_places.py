"""Sinks by their addresses, files, webhooks, brokers, TLS; and delivery: every message, once and in order."""

import base64
import hmac
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from spikesight.models.novelty.conformal import Commitment
from spikesight.models.steps import Answer
from spikesight.service.sinks import sink as module
from spikesight.service.sinks.delivery import Deliveries, Delivery, open_deliveries
from spikesight.service.sinks.report import Report, record_of
from spikesight.service.sinks.sink import SECRET, Message, SinkError, SinkLost, SinkRefused, Webhook, open_sink
from tests.support.models import PREDICTION
from tests.support.processes import in_fresh_process
from tests.support.refusals import refusal
from tests.support.serving import receiver as receiving
from tests.support.serving.http import PATIENCE_S
from tests.support.serving.receiver import Receiver
from tests.support.serving.tls import Certificate
from tests.support.waiting import until


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("ftp://host/x", "no place to send to; choose from http:, https:, mqtt:, mqtts:, file:"),
        ("https:///path", "a webhook is https://host/path"),
        ("https://user:word@host/path", "without a user"),
        ("https://host:99999/path", "the port of the webhook at host is no number"),
        ("https://host/path", "webhooks are signed: set SPIKESIGHT_WEBHOOK_SECRET"),
        ("mqtt://host", "mqtt://host:port/topic"),
        ("mqtt://host/a/#", "no place in a topic"),
        ("mqtt://host/a%23", "no place in a topic"),
        ("mqtt://host/a?retain=1", "no place in a topic"),
        ("mqtt://host:x/a", "no number up to 65535"),
        ("file:/no/such/folder/lines.jsonl", "cannot write to file:/no/such/folder/lines.jsonl: no such file"),
    ],
)
def test_addresses_that_cannot_be_sent_to(address: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPIKESIGHT_WEBHOOK_SECRET", raising=False)
    refusal(lambda: open_sink(address), sentence, SinkError)


@pytest.mark.attack("sinks", "a mistyped address that holds a secret", "the sentence that is printed does not")
@pytest.mark.parametrize("address", ["htps://host/s3cret", "https://host:x/s3cret", "https://s3cret@host/", "c:s3cret"])
def test_what_is_said_of_an_address_holds_no_secret(address: str) -> None:
    with pytest.raises(SinkError) as refused:
        open_sink(address)
    assert "s3cret" not in str(refused.value)


def test_lines_follow_a_file_that_is_moved_away(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    sink = open_sink(f"file:{path}")
    sink.send(Message("a", b'{"id": "a"}'))
    path.rename(tmp_path / "old.jsonl")
    sink.send(Message("b", b'{"id": "b"}'))
    assert (tmp_path / "old.jsonl").read_text() == '{"id": "a"}\n'
    assert path.read_text() == '{"id": "b"}\n'
    path.unlink()
    path.mkdir()
    refusal(lambda: sink.send(Message("c", b"{}")), "is a directory", SinkLost)


FILL = """
import resource, signal
from spikesight.service.sinks.sink import Message, SinkLost
from spikesight.service.sinks.sink import open_sink
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, resource.RLIM_INFINITY))
sink = open_sink("file:{path}")
sink.send(Message("a", b"123456"))
for most in (10, 20):
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    try:
        sink.send(Message("b", b"abcdef"))
    except SinkLost as error:
        print("waits")
"""


def test_a_line_is_written_wholly_or_not_at_all(tmp_path: Path) -> None:
    """The largest size of a file stands for a disk: it takes a part of the line, and then none."""
    path = tmp_path / "lines"
    assert in_fresh_process(FILL.format(path=path)) == "waits"
    assert path.read_text() == "123456\nabcdef\n"


def test_a_broker_is_asked_as_its_address_says_and_may_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    library = MagicMock()
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", library)
    client, sink = library.Client.return_value, module.Mqtt("mqtts://me:s%20x@host/door/camera%200")
    sink.send(Message("id", b"x"))
    client.tls_set.assert_called_once_with()
    client.username_pw_set.assert_called_once_with("me", "s x")
    client.connect.assert_called_once_with("host", 8883, keepalive=30)
    client.publish.assert_called_once_with("door/camera 0", b"x", qos=1)
    client.publish.return_value.is_published.return_value = False
    with pytest.raises(SinkLost, match=r"the broker host does not answer \(it refuses, or sends no acknowledgement\)"):
        sink.send(Message("id", b"x"))
    client.connect.side_effect = ConnectionRefusedError
    refusal(lambda: sink.send(Message("id", b"x")), r"does not answer \(ConnectionRefusedError\)", SinkLost)


def test_a_webhook_is_trusted_by_its_certificate_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = Certificate.made(tmp_path)
    receiver = Receiver(tls=certificate.context())
    receiver.start()
    refusal(lambda: open_sink(receiver.url).send(Message("a", b'{"id": "a"}')), "SSLCertVerificationError", SinkLost)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.certificate))
    with closing(open_sink(receiver.url)) as sink:
        sink.send(Message("b", b'{"id": "b"}'))
    receiver.stop()
    assert receiver.came == [{"id": "b"}]


KEY = "a secret of many characters"
MESSAGE = Message("0" * 32, b'{"n": 1}')


@contextmanager
def answering(answer: bytes, path: str = "/a/b?c=d") -> Iterator[tuple[Webhook, list[bytes]]]:
    """A webhook, and what its receiver was sent before it answered with these bytes and closed the connection."""
    requests = list[bytes]()

    def serve() -> None:
        peer, _ = listening.accept()
        peer.settimeout(PATIENCE_S)
        with peer:
            got = b""
            while not got.endswith(MESSAGE.body):
                got += peer.recv(4096)
            requests.append(got)
            peer.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with closing(Webhook(f"http://127.0.0.1:{listening.getsockname()[1]}{path}", KEY)) as sink:
            yield sink, requests
    thread.join(PATIENCE_S)


def status(code: int) -> bytes:
    return f"HTTP/1.1 {code} X\r\nContent-Length: 0\r\nLocation: http://127.0.0.1:9/\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("path", "asked"),
    [("/a%20b?c=%2F+d", "/a%20b?c=%2F+d"), ("/a b", "/a%20b"), ("/größe?t=ä", "/gr%C3%B6%C3%9Fe?t=%C3%A4")],
)
def test_what_a_receiver_is_sent(path: str, asked: str) -> None:
    with answering(status(200), path) as (sink, requests):
        sink.send(MESSAGE)
    head, _, body = requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines[1:])}
    assert (lines[0], body) == (f"POST {asked} HTTP/1.1", MESSAGE.body)
    assert (headers["content-type"], headers["webhook-id"]) == ("application/json", MESSAGE.id)
    content = f"{MESSAGE.id}.{headers['webhook-timestamp']}.".encode() + body
    good = base64.b64encode(hmac.digest(KEY.encode(), content, "sha256")).decode()
    assert headers["webhook-signature"] == f"v1,{good}"


ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\nhalf"
HEADERS = b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n"
NO_STATUS = b"HTTP/1.1 abc\r\n\r\n"
LONG = b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n"


@pytest.mark.attack("sinks", "a receiver that redirects", "not followed: the message waits")
@pytest.mark.attack("sinks", "an answer that is not HTTP, or has endless headers", "the message waits")
@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        *((answer, None, "") for answer in (status(202), status(299), ENDLESS)),  # a body without end is not read
        *((status(code), SinkRefused, f"answered {code}") for code in (400, 413, 415, 422)),
        *((status(code), SinkLost, f"answered {code}") for code in (300, 302, 401, 404, 429, 500)),
        *((answer, SinkLost, "does not answer") for answer in (b"", b"garbage\r\n\r\n", NO_STATUS, HEADERS, LONG)),
    ],
)
def test_what_is_taken_never_taken_or_waits(answer: bytes, error: type[Exception] | None, words: str) -> None:
    outcome = pytest.raises(error, match=rf"127\.0\.0\.1 {words}") if error else nullcontext()
    with answering(answer) as (sink, _), outcome:
        sink.send(MESSAGE)


@pytest.mark.parametrize("secret", ["", "short", "x" * 15])
def test_weak_secrets_are_refused(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET, secret)
    refusal(lambda: Webhook("http://127.0.0.1/"), SECRET, SinkError)
    assert module.key_of("x" * 16) == b"x" * 16


COMMITMENT = Commitment("b", ("b",), 0.01, False, 5)
STEP = replace(PREDICTION, probabilities=(0.123456, 0.876544), in_distribution=0.98765, commitment=COMMITMENT)


def answer(label: str) -> Answer:
    return Answer(replace(STEP, label=label), label, [], False, 0, 0)


@pytest.mark.parametrize(("every", "told"), [(False, ["a", "b", "a"]), (True, ["", "a", "a", "b", "b", "", "b", "a"])])
def test_changes_or_every_step(every: bool, told: list[str]) -> None:
    posted: list[dict[str, Any]] = []
    report = Report(posted.append, "cam", every_step=every)
    for label in ("", "a", "a", "b", "b", "", "b", "a"):
        report.report_step("m", answer(label))
    assert [record["label"] for record in posted] == told


def test_what_is_said_of_an_answer() -> None:
    before = datetime.now(UTC)
    record = record_of("cam", "m", answer("a"))
    at = datetime.fromisoformat(record.pop("time"))
    assert abs((at - before).total_seconds()) < 60
    assert at.utcoffset() is not None
    assert record == {
        "source": "cam", "model": "m", "t_us": 20_000, "step": 4, "label": "a", "top1": "b",
        "probability": 0.8765, "in_distribution": 0.9877,
        "commitment": {"label": "b", "set": ("b",), "risk": 0.01, "shifted": False, "at_us": 5},
    }  # fmt: skip
    unknown = answer("a")._replace(prediction=replace(STEP, in_distribution=None))
    assert record_of("cam", "m", unknown)["in_distribution"] is None


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
    refusal(lambda: open_deliveries([*paths, f"file:{tmp_path / 'none' / 'seen'}"]), "no such file", SinkError)
