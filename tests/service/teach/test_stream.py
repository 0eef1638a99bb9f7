"""A session's stream: what is shown is learnt, and the stream goes on on the newest model."""

import json
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import count as count_from
from zipfile import ZipFile

import numpy as np
import pytest

from spikesight.encoders.events import Events, empty_events
from spikesight.encoders.sources.address import Address
from spikesight.encoders.sources.source import Source
from spikesight.service.api import create_app
from spikesight.service.client import (
    Ack,
    Bad,
    Client,
    ClientError,
    Message,
    Picture,
    Prediction,
    Ready,
    RemoteTeaching,
    Stream,
)
from spikesight.service.settings import Settings
from spikesight.service.teach.bodies import TeachingBody
from tests.service.teach.conftest import SENSOR, SIZE, moving
from tests.support.models import tiny
from tests.support.serving.http import refused
from tests.support.serving.servers import running
from tests.support.serving.streams import predictions
from tests.support.waiting import PATIENCE_S


def hear(stream: Stream, true: Callable[[Message], object], what: str) -> Message:
    """The next message of which it is true."""
    for message in stream.receive(PATIENCE_S):
        if true(message):
            return message
    raise AssertionError(f"nothing came: {what}")


def never(_: Message) -> bool:
    """Until the service closes the stream."""
    return False


def count(message: Message, label: str) -> int:
    if not isinstance(message, TeachingBody):
        return 0
    return sum(len(one.examples) for one in message.classes if one.label == label)


def packets(label: str, seed: int, windows: int, later_us: int) -> Iterator[Events]:
    """31 ms each, as a camera would give them."""
    events = moving(label, seed, windows)
    events["t"] += later_us
    ends = np.arange(later_us + 31_000, int(events["t"][-1]), 31_000)
    yield from np.split(events, np.searchsorted(events["t"], ends))


def show(stream: Stream, label: str, seed: int, later_us: int) -> None:
    stream.show(label)
    for packet in packets(label, seed, 4, later_us):
        stream.send_events(packet)
    hear(stream, lambda message: count(message, label) >= 4 * seed + 4, f"examples of {label}")
    stream.show(None)


def test_what_is_shown_is_learnt_and_answered_at_once(client: Client, session: RemoteTeaching) -> None:
    with client.stream(lesson=session.id, picture=True, **SIZE) as stream:
        assert stream.ready["labels"] == ["untaught"]
        hear(stream, lambda m: isinstance(m, TeachingBody) and not m.ready, "the state at once")
        later = 0
        for seed in range(2):
            for label in ("lying", "standing"):
                show(stream, label, seed, later)
                later += 3_000_000
        hear(stream, lambda m: isinstance(m, TeachingBody) and m.ready and not m.learning, "a head")
        for packet in packets("standing", 9, 4, later):
            stream.send_events(packet)
        ready = hear(stream, lambda m: isinstance(m, Ready), "the newest model")
        assert isinstance(ready, Ready)
        assert (ready.model, ready.labels) == (session.id, ["lying", "standing"])
        labels = [message.label for message in predictions(stream, 60)]  # the silence before it, too
        assert set(labels[-10:]) == {"standing"}
        hear(stream, lambda m: isinstance(m, Picture), "a picture")
        session.save("lines")
        hear(stream, lambda m: isinstance(m, TeachingBody) and m.saved == "lines", "that it is saved")
    state = session.state(wait=True)
    assert {one.label: len(one.examples) for one in state.classes} == {"lying": 8, "standing": 8}
    assert state.accuracy == 1.0


def test_a_class_that_is_renamed_while_it_is_shown_has_all_that_is_shown(
    client: Client, session: RemoteTeaching
) -> None:
    with client.stream(lesson=session.id, **SIZE) as stream:
        show(stream, "lying", 0, 0)
        stream.show("lying")
        stream.send_events(empty_events())  # answered when all before it is handled
        hear(stream, lambda message: isinstance(message, Ack) and message.seq == stream.seq, "that it is shown")
        session.rename("lying", "flat")
        for packet in packets("lying", 1, 4, 3_000_000):
            stream.send_events(packet)
        lesson = hear(stream, lambda m: count(m, "flat") + count(m, "lying") >= 8, "further examples")
        assert count(lesson, "lying") == 0


def test_a_stream_at_shorter_bins_shows_the_same_examples(client: Client, session: RemoteTeaching) -> None:
    with client.stream(lesson=session.id, bin_ms=5, **SIZE) as stream:
        for number, label in enumerate(("lying", "standing", "lying", "standing")):
            show(stream, label, number // 2, number * 3_000_000)
        hear(stream, lambda m: isinstance(m, TeachingBody) and m.ready and not m.learning, "a head")
        for packet in packets("lying", 9, 4, 12_000_000):
            stream.send_events(packet)
        answer = hear(stream, lambda m: isinstance(m, Prediction) and m.start_us > 13_000_000, "an answer")
        assert isinstance(answer, Prediction)
        assert (answer.label, answer.end_us - answer.start_us) == ("lying", 5000)
    assert session.picture(session.state().classes[0].examples[0])
    with pytest.raises(ClientError, match="whole milliseconds from 1 to 31"):
        client.stream(lesson=session.id, bin_ms=40, **SIZE)


class Endless:
    """A driver: a line that sways on and on."""

    size = SENSOR

    def __init__(self) -> None:
        self.parts = (part for turn in count_from(0) for part in packets("lying", turn, 2, turn * 700_000))

    def read(self, timeout_s: float) -> Events | None:
        time.sleep(min(timeout_s, 0.005))
        return next(self.parts)

    def close(self) -> None:
        pass


def test_a_camera_of_the_service_is_shown() -> None:
    source = Source(Address("udp://127.0.0.1:9", "udp", "127.0.0.1:9"), lambda _: Endless())
    with running(create_app(Settings(), (tiny(),), (source,))) as port:
        client = Client(f"http://127.0.0.1:{port}", timeout_s=60)
        with client.teach() as session, client.stream(lesson=session.id, source="0", picture=True) as stream:
            stream.show("a line")
            hear(stream, lambda m: count(m, "a line") >= 6, "examples")
            stream.show("another")
            hear(stream, lambda m: count(m, "another") >= 6, "examples")
            hear(stream, lambda m: isinstance(m, TeachingBody) and m.ready, "a head")
            with ZipFile(BytesIO(session.download())) as packed:
                (card,) = (json.loads(packed.read(name)) for name in packed.namelist() if name.endswith("config.json"))
            assert card["card"]["training"]["camera"] == source.settings
            picture = hear(stream, lambda m: isinstance(m, Picture), "a picture")
            assert isinstance(picture, Picture)
            assert (picture.width, picture.height) == (SENSOR.width, SENSOR.height)
            stream.send_events(moving("lying", 0))
            with pytest.raises(ClientError, match="takes no packets"):
                hear(stream, never, "the end")


@pytest.mark.attack("teaching", "streams on ids of no session", "1008")
@pytest.mark.parametrize("hello", [{"lesson": "lesson-of-nobody"}, {"lesson": ""}, {"lesson": "x", "source": "0"}])
def test_streams_of_no_session_are_refused(client: Client, hello: dict) -> None:
    status, said = refused(client.stream, **hello)
    assert (status, "no teaching session of that id" in said) == (1008, True)


@pytest.mark.attack("teaching", "messages that make no sense", "told so; 1003")
def test_messages_that_make_no_sense(client: Client, session: RemoteTeaching) -> None:
    with client.stream(lesson=session.id, **SIZE) as stream:
        for label in ("", "x" * 65, "a\0"):
            stream.show(label)
            told = hear(stream, lambda m: isinstance(m, Bad), "what is wrong")
            assert isinstance(told, Bad)
            assert (told.seq, "printable" in told.error) == (0, True), "the answer to no message"
        stream._send('{"type": "show", "class": 3}')
        assert refused(hear, stream, never, "the end")[0] == 1003
    with client.stream() as stream:
        stream.show("x")
        assert refused(hear, stream, never, "the end")[0] == 1003, "only a session's stream is shown things"


def test_a_session_that_ends_under_its_stream(client: Client) -> None:
    session = client.teach()
    with client.stream(lesson=session.id, **SIZE) as stream:
        session.end()
        with pytest.raises(ClientError, match="session is over"):
            hear(stream, never, "the end")
