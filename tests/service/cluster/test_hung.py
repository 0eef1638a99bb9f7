"""A replica that takes connections and never answers: nobody waits for it longer than it takes to find out."""

import socket
import threading
from contextlib import suppress

import numpy as np
import pytest

from spikesight.encoders.events import SensorSize
from spikesight.service.client import ClientError
from spikesight.service.cluster import proxy as module
from spikesight.service.cluster.proxy import Proxy
from tests.service.cluster.test_proxy import Behind, holder, proxied, replica
from tests.support.inputs.samples import picture, some_events
from tests.support.models import tiny
from tests.support.serving.streams import SENSOR, STREAM, finished, predictions
from tests.support.waiting import PATIENCE_S, until


class Silent:
    """Takes connections and requests, and says nothing: what a stopped process looks like."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.taken: list[socket.socket] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                self.taken.append(self.listening.accept()[0])

    def stop(self) -> None:
        self.listening.close()
        for peer in self.taken:
            peer.close()


class Stopping(Behind):
    """A replica whose event loop can be stopped, as SIGSTOP does it: its sockets stay open."""

    def __init__(self, behind: Behind) -> None:
        self.__dict__ = behind.__dict__
        self.go_on = threading.Event()

    def hang(self) -> None:
        held = threading.Event()

        def hold() -> None:
            held.set()
            self.go_on.wait(PATIENCE_S)

        self.server.servers[0].get_loop().call_soon_threadsafe(hold)
        assert held.wait(PATIENCE_S)

    def stop(self) -> None:
        self.go_on.set()
        super().stop()


@pytest.fixture(autouse=True)
def _found_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALIVE_S", 1.0)
    monkeypatch.setattr(module, "POLL_S", 0.05)


def hung(proxy: Proxy) -> int:
    return sum(one.hung for one in proxy.replicas.all())


def metric(text: str, name: str) -> float:
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name + " "))


@pytest.mark.attack(
    "load", "a replica that takes connections and never answers (`--cluster`)", "others answer within the deadline"
)
def test_requests_in_a_replica_that_hangs_are_answered_by_another() -> None:
    silent = Silent()
    with proxied(silent, replica(), deadline_s=PATIENCE_S) as (client, proxy):  # type: ignore[arg-type]
        for _ in range(4):
            assert client.predict(picture()).label
        until(lambda: hung(proxy) == 1)
        asked = proxy.metrics.retried._value.get()
        assert client.predict(picture()).label
        assert proxy.metrics.retried._value.get() == asked, "nothing new goes there"
        text = client._ask("GET", "/metrics").decode()
        assert metric(text, "spikesight_front_replicas") == 1
        assert metric(text, "spikesight_front_replicas_missing") == 1
        assert "spikesight_steps_total" in text


def test_where_all_hang_the_client_hears_so_at_its_deadline() -> None:
    with proxied(Silent(), deadline_s=0.3) as (client, proxy):  # type: ignore[arg-type]
        until(lambda: hung(proxy) == 1)
        assert not client.ready()
        assert metric(client._ask("GET", "/metrics").decode(), "spikesight_front_replicas_missing") == 1
        for ask, status in ((lambda: client.predict(picture()), 503), (lambda: client.stream(**STREAM), 1013)):
            with pytest.raises(ClientError) as caught:
                ask()
            assert caught.value.status == status


def test_a_request_that_is_not_answered_ends_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALIVE_S", PATIENCE_S)  # nobody finds out
    with proxied(Silent(), deadline_s=0.3) as (client, _), pytest.raises(ClientError) as caught:  # type: ignore[arg-type]
        client.predict(picture())
    assert caught.value.status == 504


def test_a_stream_leaves_a_replica_that_hangs_with_its_membranes() -> None:
    events = some_events(3000, span_us=1_000_000)
    expected = tiny().predict_events(events, SensorSize(**SENSOR))
    parts = np.array_split(events, 100)
    both = Stopping(replica()), Stopping(replica())
    with proxied(*both) as (client, proxy), client.stream(**STREAM) as stream:
        for part in parts[:60]:
            stream.send_events(part)
        got = predictions(stream, 30)
        stopped = holder(proxy, *both)
        assert isinstance(stopped, Stopping)
        stopped.hang()
        for part in parts[60:]:
            stream.send_events(part)
        got += finished(stream)
        assert proxy.metrics.moved._value.get() == 1
        stopped.go_on.set()
        until(lambda: hung(proxy) == 0, "what goes on is asked again")
    assert [tuple(p.logits or ()) for p in got] == [p.logits for p in expected[:-1]]


def test_a_model_is_not_called_loaded_while_one_replica_cannot_say() -> None:
    with proxied(Silent(), replica(), deadline_s=PATIENCE_S) as (client, _):  # type: ignore[arg-type]
        with pytest.raises(ClientError, match="does not answer") as caught:
            client._ask("POST", "/v2/repository/models/tiny/load")
        assert caught.value.status == 503
