"""A replica that takes connections and never answers: nobody waits for it longer than it takes to find out."""

import pytest

from spikesight.service.client import ClientError
from spikesight.service.cluster import proxy as module
from spikesight.service.cluster.proxy import Proxy
from tests.support.inputs.samples import picture
from tests.support.serving.cluster import Behind, Silent, proxied
from tests.support.serving.http import refused
from tests.support.serving.streams import STREAM
from tests.support.waiting import PATIENCE_S, until


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
    with proxied(Silent(), Behind(), deadline_s=PATIENCE_S) as (client, proxy):
        for _ in range(4):
            assert client.predict(picture()).label
        until(lambda: hung(proxy) == 1)
        before = client._ask("GET", "/metrics").decode()
        assert client.predict(picture()).label
        text = client._ask("GET", "/metrics").decode()
        retried = [metric(said, "spikesight_front_retried_total") for said in (before, text)]
        assert 0 < retried[0] == retried[1], "nothing new goes there"
        assert metric(text, "spikesight_front_replicas") == metric(text, "spikesight_front_replicas_missing") == 1
        assert "spikesight_steps_total" in text
        status, said = refused(client._ask, "POST", "/v2/repository/models/tiny/load")
        assert (status, "does not answer" in said) == (503, True), "it is not called loaded while one cannot say"


@pytest.mark.parametrize("there", [0, 1])
def test_where_none_is_there_or_all_hang_the_client_hears_so_at_its_deadline(there: int) -> None:
    with proxied(*[Silent() for _ in range(there)], deadline_s=0.3) as (client, proxy):
        until(lambda: hung(proxy) == there)
        assert not client.ready()
        assert metric(client._ask("GET", "/metrics").decode(), "spikesight_front_replicas_missing") == there
        for ask, status in ((lambda: client.predict(picture()), 503), (lambda: client.stream(**STREAM), 1013)):
            assert refused(ask)[0] == status


def test_a_request_that_is_not_answered_ends_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALIVE_S", PATIENCE_S)  # nobody finds out
    with proxied(Silent(), deadline_s=0.3) as (client, _), pytest.raises(ClientError) as caught:
        client.predict(picture())
    assert caught.value.status == 504
