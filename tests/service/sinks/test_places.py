"""Sinks by their addresses: what is none, a file of lines, a broker that goes and comes back, and TLS."""

import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from spikesight.service.sinks import sink as module
from spikesight.service.sinks.delivery import Delivery
from spikesight.service.sinks.sink import Message, Mqtt, SinkError, SinkLost, open_sink
from tests.support.processes import in_fresh_process
from tests.support.serving.broker import Broker, Subscriber, require_broker
from tests.support.serving.receiver import SECRET, Receiver
from tests.support.serving.tls import Certificate


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
    with pytest.raises(SinkError, match=sentence):
        open_sink(address)


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
    with pytest.raises(SinkLost, match="is a directory"):
        sink.send(Message("c", b"{}"))


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


@pytest.mark.attack("sinks", "a disk that is full for a while", "whole lines or none; the message waits")
def test_a_line_is_written_wholly_or_not_at_all(tmp_path: Path) -> None:
    """The largest size of a file stands for a disk: it takes a part of the line, and then none."""
    path = tmp_path / "lines"
    assert in_fresh_process(FILL.format(path=path)) == "waits"
    assert path.read_text() == "123456\nabcdef\n"


def acknowledging(monkeypatch: pytest.MonkeyPatch, *numbers: int) -> MagicMock:
    """A client of a broker's library that only writes down what it is asked, and whose broker acknowledges these."""
    library = MagicMock()
    monkeypatch.setitem(sys.modules, "paho.mqtt.client", library)
    client = library.Client.return_value

    def publish(*_: object, **__: object) -> Any:
        for number in numbers:
            client.on_publish("client", "data", number, "reason")
        return SimpleNamespace(mid=7)

    client.publish.side_effect = publish
    return client


def test_who_does_not_answer_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.0)
    client, sink = acknowledging(monkeypatch), Mqtt("mqtt://host/t")
    with pytest.raises(SinkLost, match=r"the broker host does not answer \(Empty\)"):
        sink.send(Message("id", b"x"))
    client.connect.side_effect = ConnectionRefusedError
    with pytest.raises(SinkLost, match=r"does not answer \(ConnectionRefusedError\)"):
        sink.send(Message("id", b"x"))


def test_a_broker_that_restarts_loses_nothing(tmp_path: Path) -> None:
    require_broker()
    broker = Broker(tmp_path)
    broker.start()
    subscriber = Subscriber(broker.port, "door/#")
    delivery = Delivery("broker", open_sink(f"mqtt://127.0.0.1:{broker.port}/door/camera%200"), 0.05)
    for n in range(200):
        delivery.post({"n": n})
    subscriber.wait_for(50)
    broker.stop()
    for n in range(200, 300):
        delivery.post({"n": n})
    broker.start()
    subscriber.wait_for(300)
    delivery.close()
    subscriber.close()
    broker.stop()
    assert sorted(message["n"] for message in subscriber.distinct()) == list(range(300))
    assert delivery.n_dropped == 0


def trusted_by_its_certificate_alone(address: str, certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send a message in vain, and one that is taken."""
    with pytest.raises(SinkLost, match="SSLCertVerificationError"):
        open_sink(address).send(Message("a", b'{"id": "a"}'))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.certificate))
    with closing(open_sink(address)) as sink:
        sink.send(Message("b", b'{"id": "b"}'))


@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket")  # paho drops one whose handshake failed
def test_a_broker_over_tls_is_trusted_by_its_certificate_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_broker()
    certificate = Certificate.made(tmp_path)
    broker = Broker(tmp_path, certificate)
    broker.start()
    subscriber = Subscriber(broker.port, "door", certificate)
    trusted_by_its_certificate_alone(f"mqtts://localhost:{broker.port}/door", certificate, monkeypatch)
    subscriber.wait_for(1)
    subscriber.close()
    broker.stop()
    assert subscriber.came == [{"id": "b"}]


def test_a_webhook_over_https_is_trusted_by_its_certificate_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = Certificate.made(tmp_path)
    monkeypatch.setenv("SPIKESIGHT_WEBHOOK_SECRET", SECRET)
    receiver = Receiver(tls=certificate.context())
    receiver.start()
    trusted_by_its_certificate_alone(receiver.url, certificate, monkeypatch)
    receiver.stop()
    assert receiver.came == [{"id": "b"}]
