"""Cameras of the service: listed, followed by streams, gone without harm."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from fastapi.testclient import TestClient

from spikesight.encoders.events import Events, SensorSize, make_events
from spikesight.encoders.sources.address import Address, SourceEnded
from spikesight.encoders.sources.source import Source
from spikesight.models.classifier import Classifier
from spikesight.service.api import create_app
from spikesight.service.client import Ack, Client, ClientError, EventPicture, StreamPrediction
from spikesight.service.settings import SettingsError
from spikesight.service.sinks.delivery import Delivery
from spikesight.service.sinks.sink import Webhook
from spikesight.service.stream.cameras import BACKLOG, Listener
from tests.support.models import EVENT_CONTRACT, IMAGE_CONTRACT, tiny
from tests.support.serving.http import refused
from tests.support.serving.receiver import SECRET, Receiver
from tests.support.serving.servers import running, settings
from tests.support.serving.streams import predictions
from tests.support.waiting import PATIENCE_S, until


class Waving:
    """A driver: a dot that moves, 5 ms a packet, and the end after so many packets."""

    size = SensorSize(24, 32)

    def __init__(self, packets: int, pause_after: int = 1_000_000) -> None:
        self.left, self.sent, self.pause_after = packets, 0, pause_after

    def read(self, timeout_s: float) -> Events | None:
        if self.sent == self.pause_after:
            time.sleep(timeout_s)
            return None
        if self.left <= 0:
            raise SourceEnded
        self.left -= 1
        time.sleep(0.002)
        t = np.arange(20) * 250 + self.sent * 5000
        self.sent += 1
        return make_events(t, (t // 1000) % 24, t % 32, t % 2)

    def close(self) -> None:
        pass


def source(packets: int, pause_after: int = 1_000_000, text: str = "udp://127.0.0.1:3333") -> Source:
    return Source(Address(text, text.partition(":")[0], text), lambda _: Waving(packets, pause_after))


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    app = create_app(settings(), (tiny(),), (source(100_000),))
    with running(app) as port:
        yield port


def test_predictions_of_a_camera_are_sent_at_every_step() -> None:
    receiver = Receiver()
    receiver.start()
    delivery = Delivery("hook", Webhook(receiver.url, SECRET))
    app = create_app(settings(sinks_every_step=True), (tiny(),), (source(200, pause_after=200),), (delivery,))
    with running(app):
        receiver.wait_for(30)
    receiver.stop()
    assert [message["step"] for message in receiver.came[:30]] == list(range(1, 31)), "every step, in order"
    assert {message["source"] for message in receiver.came} == {"udp://127.0.0.1:3333"}
    assert {message["model"] for message in receiver.came} == {"tiny"}
    assert len(receiver.came) - delivery.n_sent in (0, 1), "one may be under way at the end, and comes again"


def test_events_off_the_sensor_are_counted() -> None:
    camera = source(0)
    camera._sanitiser.push(make_events(range(7), [24] * 7, [0] * 7, [1] * 7))
    with TestClient(create_app(settings(), (tiny(),), (camera,))) as client:
        assert client.get("/v1/cameras").json()[0]["n_outside"] == 7
        assert 'spikesight_camera_outside_total{camera="0"} 7.0' in client.get("/metrics").text


def test_steps_of_a_camera_may_be_shorter() -> None:
    fine = tiny(replace(EVENT_CONTRACT, shortest_bin_us=1000))
    with running(create_app(settings(camera_bin_ms=2), (fine,), (source(100_000),))) as port:
        with Client(f"http://127.0.0.1:{port}").stream(source="0") as stream:
            assert stream.ready["step_us"] == 2000
            found = predictions(stream, 5)
        assert [one.step - found[0].step for one in found] == list(range(5))
        assert {one.end_us - one.start_us for one in found} == {2000}


@pytest.mark.parametrize(
    ("model", "bin_ms", "says"), [(tiny(), 2, "bin_ms must be"), (tiny(IMAGE_CONTRACT), None, "takes images")]
)
def test_a_camera_needs_a_model_of_events_at_its_bin(model: Classifier, bin_ms: float | None, says: str) -> None:
    app = create_app(settings(camera_bin_ms=bin_ms), (model,), (source(100),))
    with pytest.raises(SettingsError, match=says), TestClient(app):
        pass


@pytest.mark.parametrize("name", ["0", "udp://127.0.0.1:3333"])
def test_streams_may_follow_a_camera_with_its_pictures_or_without(port: int, name: str) -> None:
    client = Client(f"http://127.0.0.1:{port}")
    with client.stream(source=name, picture=True) as shown, client.stream(source=name) as plain:
        assert {type(message) for message in islice(shown.receive(PATIENCE_S), 20)} == {
            Ack,
            StreamPrediction,
            EventPicture,
        }
        assert {type(message) for message in islice(plain.receive(PATIENCE_S), 20)} == {Ack, StreamPrediction}


def test_a_camera_is_read_by_any_model_on_a_stream_of_its_own() -> None:
    models = (tiny(), tiny(name="other", seed=5), tiny(IMAGE_CONTRACT, "still"))
    app = create_app(settings(), models, (source(100_000),))
    with running(app) as port:
        client = Client(f"http://127.0.0.1:{port}")
        with client.stream(source="0", model="other", logits=True) as stream:
            assert stream.ready["model"] == "other"
            found = predictions(stream, 8)
            assert [one.step for one in found] == list(range(1, 9)), "its own membranes, from its first event on"
            assert all(one.logits and one.n_events for one in found)
            stream.send_events(make_events([], [], [], []))
            assert refused(predictions, stream, 10_000)[0] == 1003
        with pytest.raises(ClientError, match="takes images"):
            client.stream(source="0", model="still")


@pytest.mark.attack("WebSocket", "a source that the service did not open", "1008")
def test_other_sources_are_not_opened(port: int) -> None:
    client = Client(f"http://127.0.0.1:{port}")
    for name in ("udp://127.0.0.1:4444", "file:/etc/passwd", "webcam:0", "1"):
        assert refused(client.stream, source=name)[0] == 1008


def test_silence_is_a_still_scene_and_the_end_is_told() -> None:
    app = create_app(settings(), (tiny(),), (source(100_000, pause_after=10),))
    with running(app) as port, Client(f"http://127.0.0.1:{port}").stream(source="0") as stream:
        assert sum(one.n_events == 0 for one in predictions(stream, 12)) >= 5
    app = create_app(settings(), (tiny(),), (source(30, text="file:/secret/place/a.bin"),))
    with running(app) as port:
        client = Client(f"http://127.0.0.1:{port}")
        until(lambda: not client.cameras()[0].running)
        (camera,) = client.cameras()
        assert (camera.id, camera.source, camera.width, camera.height) == ("0", "file:a.bin", 24, 32)
        assert camera.n_events == 600
        with client.stream(source="0") as stream:
            assert refused(predictions, stream, 1000) == (1001, "the camera has ended")


def test_who_follows_a_camera_is_told_of_its_end_and_nothing_goes_on_after_it() -> None:
    driver = Waving(10**6)
    camera = Source(Address("udp://127.0.0.1:3333", "udp", ""), lambda _: driver)
    with running(create_app(settings(), (tiny(),), (camera,))) as port:
        with Client(f"http://127.0.0.1:{port}").stream(source="0") as stream:
            assert len(predictions(stream, 3)) == 3
            driver.left = 0  # it is unplugged
            with pytest.raises(ClientError, match="the camera has ended") as caught:
                predictions(stream, 500)
        assert caught.value.status == 1001


async def test_the_newest_is_kept_for_who_is_slow() -> None:
    listener, packets = Listener(), [make_events([n], [0], [0], [1]) for n in range(BACKLOG + 2)]
    for packet in packets:
        listener.put(packet)
    listener.end()
    assert [await listener.next(9) for _ in range(BACKLOG)] == packets[2:]
    assert await listener.next(9) is None, "and nobody waits for more"
    waiting = Listener()
    assert await waiting.next(0) is None
    asyncio.get_running_loop().call_soon(waiting.put, packets[0])
    assert await waiting.next(PATIENCE_S) is packets[0]
