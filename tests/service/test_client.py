"""The client of the service: every kind of message, every refusal in the service's own sentence."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from websockets.sync.server import ServerConnection
from websockets.sync.server import serve as websocket_server

from spikesight.service.client import Bad, Client, ClientError
from spikesight.service.stream.messages import error_text, text
from tests.support.inputs.samples import picture, some_events
from tests.support.serving.http import TOKEN, refused
from tests.support.serving.servers import running
from tests.support.serving.streams import STREAM, finished
from tests.support.waiting import PATIENCE_S, until


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(token=TOKEN) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def client(url: str) -> Client:
    return Client(url + "/", TOKEN)


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://", "ws://127.0.0.1"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ValueError, match="is not an http address"):
        Client(address)


def test_the_token_goes_along_and_a_wrong_one_is_refused(url: str, client: Client) -> None:
    until(client.ready, "models and decoders are warm")
    assert (client.models().default, client.cameras()) == ("tiny", [])
    assert client.samples()[0].width > 0
    for token in (None, "another token that is long"):
        stranger = Client(url, token)
        status, said = refused(stranger.models)
        assert (status, "token" in said) == (401, True)
        assert refused(stranger.stream)[0] in (401, 1008)


def test_nobody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    client = Client(f"http://127.0.0.1:{port}", timeout_s=2)
    assert not client.ready()
    for ask in (client.models, client.stream):
        status, said = refused(ask)
        assert (status, "does not answer" in said) == (0, True)


def test_every_wish_of_a_prediction_is_sent(client: Client, tmp_path: Path) -> None:
    (tmp_path / "p.png").write_bytes(picture())
    plain, full = client.predict(tmp_path / "p.png"), client.predict(picture(), logits=True, steps=True, model="tiny")
    for name in ("probabilities", "step", "spikes", "synops"):
        assert getattr(plain, name) == getattr(full, name), name
    assert (plain.logits, plain.steps) == (None, None)
    assert client.predict(str(tmp_path / "p.png")).probabilities == plain.probabilities
    assert full.logits is not None
    assert full.steps is not None
    assert len(full.steps) == full.step
    early = client.predict(picture(), confidence=0.34)
    assert early.step <= full.step
    wrong = {"model": "nobody", "confidence": 2.0, "error_rate": 0.0, "bin_ms": -1.0, "objects": -1}
    for name, value in wrong.items():
        assert refused(client.predict, picture(), **{name: value})[0] == (404 if name == "model" else 400), name


@contextmanager
def websockets_of(serve: Callable[[ServerConnection], None]) -> Iterator[str]:
    """A server of which each stream is served by this function; its address."""
    with websocket_server(serve, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join(PATIENCE_S)


def test_a_service_that_never_is_ready_is_left() -> None:
    left = threading.Event()

    def serve(socket: ServerConnection) -> None:
        for _ in socket:  # the hello is not answered
            pass
        left.set()

    with websockets_of(serve) as url:
        status, said = refused(Client(url, timeout_s=1).stream)
        assert (status, "does not answer" in said) == (0, True)
        assert left.wait(PATIENCE_S), "its connection is closed"


def test_a_lost_stream_connects_again_and_goes_on() -> None:
    heard, lost, long = list[str](), threading.Event(), "x" * 2**22  # a client library's own limit is a mebibyte

    def serve(socket: ServerConnection) -> None:
        heard.append(str(socket.recv()))
        socket.send(text(type="ready", model="m", labels=["a"], step_us=1))
        heard.append(str(socket.recv()))
        if len(heard) == 2:
            socket.close(1012)
            lost.set()
        else:
            socket.send(error_text(7, long))
            heard.append(str(socket.recv()))

    with websockets_of(serve) as url, Client(url).stream(width=3, height=2) as stream:
        stream.reset()
        assert lost.wait(PATIENCE_S)
        answer = stream.receive(PATIENCE_S)
        threading.Timer(0.1, stream.reset).start()  # from another thread, as streams are used
        assert next(answer) == Bad(7, long)
        stream.show("b")
        until(lambda: len(heard) == 5)
        assert (stream.reconnects, heard[0], heard[1]) == (1, heard[2], heard[3])


@pytest.mark.parametrize(
    ("answers", "status"),
    [((b"", b"200"), 200), ((b"500", b"200"), 200), ((b"", b""), 0), ((b"503 busy", b"200"), 503), ((b"404",), 404)],
)
def test_a_lost_prediction_is_asked_for_once_more(answers: tuple[bytes, ...], status: int, client: Client) -> None:
    good, left = client._ask("POST", "/v1/predict", picture(), "image/png"), list(answers)

    def serve(listening: socket.socket) -> None:
        for answer in answers:
            try:
                peer, _ = listening.accept()
            except OSError:  # nobody asked once more
                return
            peer.recv(65536)
            left.pop()
            body = good if answer == b"200" else b'{"error": "busy"}' if b"busy" in answer else b"Internal Server Error"
            head = b"HTTP/1.1 %s x\r\nContent-Length: %d\r\n\r\n" % (answer[:3], len(body))
            peer.sendall(head + body if answer else b"")
            peer.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = threading.Thread(target=serve, args=(listening,), daemon=True)
        serving.start()
        other = Client(f"http://127.0.0.1:{listening.getsockname()[1]}")
        if status == 200:
            assert other.predict(b"x").model == "tiny"
        else:
            assert refused(other.predict, b"x")[0] == status
        assert len(left) == (1 if status == 503 else 0), "a refusal of the service is final"


def test_a_stream_that_the_service_closes(client: Client) -> None:
    with client.stream() as stream:
        stream.settings(threshold=99)
        status, said = refused(list, stream.receive(PATIENCE_S))
        assert (status, "threshold" in said) == (1003, True)
        with pytest.raises(ClientError):
            stream.reset()


def test_events_of_another_library_mean_the_same(client: Client) -> None:
    events, told = some_events(2000), []
    others = np.empty(len(events), [("x", "i4"), ("y", "i4"), ("timestamp", "f8"), ("polarity", "i1")])
    others["x"], others["y"], others["timestamp"] = events["x"], events["y"], events["t"]
    others["polarity"] = np.where(events["p"], 1, -1)
    for given in (events, others):
        with client.stream(**STREAM) as stream:
            stream.send_events(given)
            told.append([one.logits for one in finished(stream)])
    assert told[0]
    assert told[0] == told[1]
