"""The one address of a cluster: requests and streams outlive the replica they were given to."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from starlette.applications import Starlette

from spikesight.encoders.events import SensorSize
from spikesight.models.checkpoint import save
from spikesight.models.classifier import Classifier, Stepper
from spikesight.service.api import create_app
from spikesight.service.client import Client, ClientError
from spikesight.service.cluster.failover import asks_snapshot
from spikesight.service.cluster.proxy import Proxy, create_proxy
from spikesight.service.cluster.replicas import Replicas, summed_metrics
from spikesight.service.http.server import Server, server
from spikesight.service.settings import Settings
from spikesight.service.upload.decode import decode_image
from tests.support.inputs.samples import picture, some_events
from tests.support.models import EVENT_CONTRACT, promising, tiny
from tests.support.serving.servers import running
from tests.support.serving.streams import SENSOR, STREAM, finished, predictions
from tests.support.waiting import PATIENCE_S, until

pytest.importorskip("aiohttp", reason="the proxy needs the extra [cluster]")
INNER, OUTER = "inner-token-of-the-replicas", "outer-token-of-the-clients"
KEY = "snapshot-key-of-the-replicas"


class Behind:
    """A server in a thread that can end like a killed process: no goodbye on any connection."""

    def __init__(self, app: Starlette, settings: Settings) -> None:
        self.app = app
        self.listening = socket.socket()
        self.listening.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.server: Server = server(app, settings)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        until(lambda: self.server.started)

    def _run(self) -> None:
        self.server.run(sockets=[self.listening])

    def kill(self) -> None:
        """Cut every connection and listen no more."""

        def cut() -> None:
            for listener in self.server.servers:
                listener.close()
            for connection in list(self.server.server_state.connections):
                connection.transport.abort()

        self.server.servers[0].get_loop().call_soon_threadsafe(cut)
        until(self._closed)

    def _closed(self) -> bool:
        with socket.socket() as probe:
            return bool(probe.connect_ex(("127.0.0.1", int(self.url.rpartition(":")[2]))))

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)


def replica(classifier: Classifier | None = None, **changes: object) -> Behind:
    wanted = Settings(**{"max_batch": 8, "token": INNER, "snapshot_key": KEY, **changes})  # type: ignore[arg-type]
    served = () if wanted.models else (classifier or tiny(),)
    return Behind(create_app(wanted, served), wanted)


@contextmanager
def proxied(*behind: "Behind | Dropping", **changes: object) -> Iterator[tuple[Client, Proxy]]:
    """A proxy on these replicas, and a client of it."""

    async def known() -> dict[str, str]:
        return {str(n): one.url for n, one in enumerate(behind)}

    wanted = Settings(**{"token": OUTER, "deadline_s": 5, **changes})  # type: ignore[arg-type]
    proxy = Proxy(wanted, INNER, Replicas(known))
    with ExitStack() as stack:
        for one in behind:
            stack.callback(one.stop)
        port = stack.enter_context(running(create_proxy(proxy), token=OUTER))
        yield Client(f"http://127.0.0.1:{port}", OUTER), proxy


def test_requests_are_forwarded_as_they_are() -> None:
    with proxied(replica()) as (client, _):
        until(client.ready, "models and decoders are warm")
        assert client.models().default == "tiny"
        assert client.predict(picture(), logits=True, steps=True).steps
        assert "spikesight_steps_total" in client._ask("GET", "/metrics").decode()
        for data, status in ((b"", 400), (b"GIF89a", 415)):
            with pytest.raises(ClientError) as caught:
                client.predict(data)
            assert caught.value.status == status
        with pytest.raises(ClientError, match="without --cluster") as caught:
            client.lesson()
        assert caught.value.status == 501
        with pytest.raises(ClientError) as caught:
            Client(client.url, "another-token-of-nobody").models()
        assert caught.value.status == 401
        with pytest.raises(ClientError) as caught:
            Client(client.url).stream(**STREAM)
        assert caught.value.status == 1008


def test_no_accepted_image_is_lost_with_its_replica() -> None:
    first, second = replica(max_queue=64), replica(max_queue=64)
    results: list[object] = []
    with proxied(first, second) as (client, _):

        def ask() -> None:
            for _ in range(6):
                try:
                    results.append(client.predict(picture()).label)
                except ClientError as error:
                    results.append(error)

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        until(lambda: len(results) >= 6)
        first.kill()
        for thread in threads:
            thread.join()
        assert len(results) == 36
        assert set(results) == {tiny_label()}


def tiny_label() -> str:
    return tiny().predict_image(decode_image(picture(), 2**20))[-1].label


class Dropping:
    """Takes a request and cuts the connection: what a replica looks like that a sample ends."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.asked = 0
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self.listening.accept()
                with peer:
                    self.asked += b"/v1/predict" in peer.recv(100)  # not whether it lives

    def stop(self) -> None:
        self.listening.close()


@pytest.mark.attack(
    "load", "a request that ends its process (`--cluster`)", "given to three replicas at most, then 500"
)
def test_a_sample_that_ends_replicas_does_not_end_them_all() -> None:
    dropping = [Dropping() for _ in range(5)]
    with proxied(*dropping) as (client, _), pytest.raises(ClientError) as caught:
        client.predict(picture())
    assert caught.value.status == 500
    assert sum(one.asked for one in dropping) == 3


def test_without_replicas_there_is_a_clear_answer() -> None:
    with proxied(deadline_s=0.3) as (client, _):
        assert not client.ready()
        for ask in (lambda: client.predict(picture()), lambda: client.stream(**STREAM)):
            with pytest.raises(ClientError) as caught:
                ask()
            assert caught.value.status in (503, 1013)


def holder(proxy: Proxy, *behind: Behind) -> Behind:
    """The replica that has the stream."""
    return next(one for n, one in enumerate(behind) if proxy.replicas.get(str(n)).streams)  # type: ignore[union-attr]


@pytest.mark.parametrize("packets_before", [5, 60])
def test_a_stream_moves_with_its_membranes(packets_before: int) -> None:
    events = some_events(3000, span_us=1_000_000)
    expected = tiny().predict_events(events, SensorSize(**SENSOR))
    parts = np.array_split(events, 100)
    first, second = replica(), replica()
    with proxied(first, second) as (client, proxy), client.stream(**STREAM) as stream:
        for part in parts[:packets_before]:
            stream.send_events(part)
        got = predictions(stream, packets_before // 2)
        holder(proxy, first, second).kill()
        for part in parts[packets_before:]:
            stream.send_events(part)
        got += finished(stream)
        assert proxy.metrics.moved._value.get() == 1
    assert [p.step for p in got] == list(range(1, len(got) + 1))
    assert [tuple(p.logits or ()) for p in got] == [p.logits for p in expected[:-1]]
    assert not any(p.reset for p in got)


def test_every_replica_loads_a_model_again(tmp_path: Path) -> None:
    folder, load = tmp_path / "tiny", "/v2/repository/models/tiny/load"

    def keep(seed: int) -> None:
        made = tiny(seed=seed)
        save(folder, made.network, made.card)

    keep(0)
    behind = [replica(models=(str(folder),), deadline_s=PATIENCE_S) for _ in range(2)]
    with proxied(*behind, deadline_s=PATIENCE_S) as (client, _):  # both load and warm up, on a busy machine
        keep(5)
        client._ask("POST", load)
        with running(classifiers=(tiny(seed=5),)) as port:
            new = Client(f"http://127.0.0.1:{port}").predict(picture(), logits=True).logits
        for one in behind:
            assert Client(one.url, INNER).predict(picture(), logits=True).logits == new
        (folder / "config.json").write_text("{")
        with pytest.raises(ClientError) as caught:
            client._ask("POST", load)
        assert caught.value.status == 409


def test_a_stream_moves_at_its_bin_with_what_it_has_ruled_out() -> None:
    """Steps of 2 ms at an error rate of the client's: both go along in the hello and the snapshot."""
    made, events = partial(promising, replace(EVENT_CONTRACT, shortest_bin_us=1000)), some_events(600, span_us=200_000)
    whole = Stepper(made().at(2), made().at(2).track(error_rate=0.2))
    expected = [whole.step(given).prediction for given in made().at(2).event_inputs(events, SensorSize(**SENSOR))]
    first, second = replica(made()), replica(made())
    with proxied(first, second) as (client, proxy), client.stream(bin_ms=2, error_rate=0.2, **STREAM) as stream:
        for part in np.array_split(events[:300], 10):
            stream.send_events(part)
        got = predictions(stream, 20)
        holder(proxy, first, second).kill()
        stream.send_events(events[300:])
        got += finished(stream)
        assert stream.ready["step_us"] == 2000
    told = [(p.end_us, p.committed, tuple(p.set or ()), p.risk) for p in got]
    assert told == [(p.end_us, p.committed, p.set, p.risk) for p in expected[: len(told)]]
    assert len(told) >= len(expected) - 1 > 90
    assert any(committed is not None for _, committed, _, _ in told)


@pytest.mark.parametrize("frames_before", [3, 40])
def test_a_stream_of_frames_moves_with_its_pixels(frames_before: int) -> None:
    def film(client: Client, cut: Callable[[], object]) -> list[tuple[object, ...]]:
        with client.stream(logits=True) as stream:
            for n in range(frames_before):
                stream.send_image(picture(seed=n), n * 40.0)
            got = predictions(stream, 4)
            cut()
            for n in range(frames_before, 60):
                stream.send_image(picture(seed=n), n * 40.0)
            return [(p.end_us, p.n_events, tuple(p.logits or ())) for p in got + finished(stream)]

    first, second = replica(), replica()
    with running() as port, proxied(first, second) as (client, proxy):
        alone = film(Client(f"http://127.0.0.1:{port}"), lambda: None)
        moved = film(client, lambda: holder(proxy, first, second).kill())
        assert proxy.metrics.moved._value.get() == 1
    assert moved == alone
    assert len(alone) > 200


def test_sequences_stay_with_their_replica() -> None:
    httpclient = pytest.importorskip("tritonclient.http", reason="conformance needs tritonclient[http]")
    from tritonclient.utils import InferenceServerException

    first, second = replica(), replica()
    contract = EVENT_CONTRACT
    random = np.random.default_rng(0)
    x = (random.random((1, 6, contract.channels, contract.height, contract.width)) < 0.2).astype(np.float32)

    def infer(triton, part: np.ndarray, **options) -> np.ndarray:
        given = httpclient.InferInput("x", list(part.shape), "FP32")
        given.set_data_from_numpy(np.ascontiguousarray(part))
        answer = triton.infer("tiny.steps", [given], headers={"Authorization": f"Bearer {OUTER}"}, **options)
        return answer.as_numpy("logits")

    with proxied(first, second) as (client, proxy):
        triton = httpclient.InferenceServerClient(client.url.removeprefix("http://"))
        whole = infer(triton, x)
        infer(triton, x[:, :2], sequence_id=7, sequence_start=True)
        for _ in range(3):
            client.predict(picture())
        infer(triton, x[:, 2:4], sequence_id=7)
        assert np.array_equal(infer(triton, x[:, 4:], sequence_id=7), whole)
        (first if proxy._holders["tiny.steps", 7] == "0" else second).kill()
        with pytest.raises(InferenceServerException, match="lost with its replica"):
            infer(triton, x, sequence_id=7)
        with pytest.raises(InferenceServerException, match="unknown sequence"):
            infer(triton, x, sequence_id=7)
        infer(triton, x[:, :2], sequence_id=7, sequence_start=True)
        triton.close()


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ('{"type": "snapshot"}', True),
        (r'{"type": "\u0073napshot"}', True),
        ('{"type": "reset", "why": "snapshot"}', False),
        ("snapshot", False),
    ],
)
def test_a_wish_for_a_snapshot_is_read_as_the_replica_reads_it(text: str, asks: bool) -> None:
    assert asks_snapshot(text) == asks


def test_metrics_are_added_up() -> None:
    one = b'# HELP a_total b\n# TYPE a_total counter\na_total{route="/x"} 2.0\n'
    other = b'# HELP a_total b\n# TYPE a_total counter\na_total{route="/x"} 3.0\na_total{route="/y"} 1.0\n'
    text = summed_metrics([one, other]).decode()
    assert 'a_total{route="/x"} 5.0\n' in text
    assert 'a_total{route="/y"} 1.0\n' in text
