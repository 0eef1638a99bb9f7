"""The one address of a cluster: requests and sequences outlive the replica they were given to, or hear that it went."""

import threading
from urllib.request import urlopen

import pytest

from spikesight.service.client import Client, ClientError
from tests.support.inputs.samples import picture
from tests.support.serving.cluster import INNER, Behind, Silent, proxied
from tests.support.serving.http import refused
from tests.support.serving.streams import STREAM
from tests.support.waiting import until

pytest.importorskip("aiohttp", reason="the proxy needs the extra [cluster]")


def test_requests_are_forwarded_as_they_are() -> None:
    with proxied(Behind()) as (client, _):
        until(client.ready, "models and decoders are warm")
        assert client.models().default == "tiny"
        assert client.predict(picture(), logits=True, steps=True).steps
        assert "spikesight_steps_total" in client._ask("GET", "/metrics").decode()
        stranger = Client(client.url, "another-token-of-nobody")
        for ask, status in (
            (lambda: client.predict(b""), 400),
            (lambda: client.predict(b"GIF89a"), 415),
            (client.lesson, 501),
            (lambda: client.remove("tiny"), 501),  # it would be removed from one replica of many
            (stranger.models, 401),
            (lambda: Client(client.url).stream(**STREAM), 1008),
        ):
            assert refused(ask)[0] == status


def test_a_page_is_not_kept_for_long_and_counts_are_sums_whatever_the_path() -> None:
    both = Behind(), Behind()
    with proxied(*both) as (client, _):
        for one in both:
            Client(one.url, INNER).predict(picture())
        with urlopen(client.url) as page, urlopen(both[0].url) as own:
            assert page.headers["cache-control"] == own.headers["cache-control"]


def test_no_accepted_image_is_lost_with_its_replica() -> None:
    first, second = Behind(max_queue=64), Behind(max_queue=64)
    results: list[object] = []
    with proxied(first, second) as (client, _):
        label = client.predict(picture()).label

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
    assert results == [label] * 36


@pytest.mark.attack(
    "load", "a request that ends its process (`--cluster`)", "given to three replicas at most, then 500"
)
def test_a_sample_that_ends_replicas_does_not_end_them_all() -> None:
    dropping = [Silent(cuts=True) for _ in range(5)]
    with proxied(*dropping) as (client, _), pytest.raises(ClientError) as caught:
        client.predict(picture())
    assert caught.value.status == 500
    assert sum(one.asked for one in dropping) == 3
