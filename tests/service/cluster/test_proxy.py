"""The one address of a cluster: requests and sequences outlive the replica they were given to, or hear that it went."""

import json
import threading
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest

from spikesight.service.client import Client, ClientError
from tests.support.inputs.samples import picture
from tests.support.models import EVENT_CONTRACT, kept, tiny
from tests.support.serving.cluster import INNER, OUTER, Behind, Silent, proxied
from tests.support.serving.http import refused
from tests.support.serving.servers import running
from tests.support.serving.streams import STREAM
from tests.support.waiting import PATIENCE_S, until

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
        for path in ("/v2/models/stats", "/v2/models/tiny/stats", "/v2/models/tiny/versions/1/stats"):
            assert json.loads(client._ask("GET", path))["model_stats"][0]["inference_count"] == 2
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


def test_every_replica_loads_a_model_again(tmp_path: Path) -> None:
    folder, load = kept(tmp_path / "tiny"), "/v2/repository/models/tiny/load"
    behind = [Behind(models=(str(folder),), deadline_s=PATIENCE_S) for _ in range(2)]
    with proxied(*behind, deadline_s=PATIENCE_S) as (client, _):  # both load and warm up, on a busy machine
        kept(folder, tiny(seed=5))
        client._ask("POST", load)
        with running(classifiers=(tiny(seed=5),)) as port:
            new = Client(f"http://127.0.0.1:{port}").predict(picture(), logits=True).logits
        for one in behind:
            assert Client(one.url, INNER).predict(picture(), logits=True).logits == new
        (folder / "config.json").write_text("{")
        assert refused(client._ask, "POST", load)[0] == 409


def test_sequences_stay_with_their_replica() -> None:
    httpclient = pytest.importorskip("tritonclient.http", reason="conformance needs tritonclient[http]")
    from tritonclient.utils import InferenceServerException

    both = Behind(), Behind()
    x = (np.random.default_rng(0).random((1, 6, *EVENT_CONTRACT.shape)) < 0.2).astype(np.float32)

    def infer(part: np.ndarray, **options: object) -> np.ndarray:
        given = httpclient.InferInput("x", list(part.shape), "FP32")
        given.set_data_from_numpy(np.ascontiguousarray(part))
        answer = triton.infer("tiny.steps", [given], headers={"Authorization": f"Bearer {OUTER}"}, **options)
        return answer.as_numpy("logits")

    with proxied(*both) as (client, proxy):
        triton = httpclient.InferenceServerClient(client.url.removeprefix("http://"))
        whole = infer(x)
        infer(x[:, :2], sequence_id=7, sequence_start=True)
        for _ in range(3):
            client.predict(picture())
        infer(x[:, 2:4], sequence_id=7)
        assert np.array_equal(infer(x[:, 4:], sequence_id=7), whole)
        both[int(proxy._holders["tiny.steps", 7])].kill()
        for words in ("lost with its replica", "unknown sequence"):
            with pytest.raises(InferenceServerException, match=words):
                infer(x, sequence_id=7)
        infer(x[:, :2], sequence_id=7, sequence_start=True)
        triton.close()
