"""Sessions over HTTP and their streams: taught, looked at, corrected, kept, and attacked (docs/service/security.md)."""

import io
import logging
import os
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from itertools import count as count_from
from pathlib import Path
from unittest.mock import Mock

import cv2
import numpy as np
import pytest

from spikesight.encoders.events import Events, make_events
from spikesight.encoders.recordings.files import digest, write_recording
from spikesight.encoders.sources.address import Address
from spikesight.encoders.sources.source import Source
from spikesight.models.classifier import Classifier
from spikesight.models.shipped import START
from spikesight.service import client as module
from spikesight.service.api import create_app
from spikesight.service.client import (
    Client,
    ClientError,
    EventPicture,
    Message,
    RemoteTeaching,
    Stream,
    StreamPrediction,
)
from spikesight.service.settings import Settings
from spikesight.service.teach import saving
from spikesight.service.teach.bodies import TeachingBody
from tests.service.teach.conftest import SENSOR, SIZE, Record, moving, taught
from tests.support.inputs.samples import picture
from tests.support.models import kept, tiny
from tests.support.refusals import refusal
from tests.support.serving.hostile import BOMBS, claimed, with_scans
from tests.support.serving.http import body_of, get, refused, status_of, talk
from tests.support.serving.servers import running
from tests.support.serving.streams import predictions
from tests.support.waiting import PATIENCE_S


@pytest.mark.attack("teaching", "guessed ids", "24 random hex digits, listed nowhere")
def test_a_session_serves_what_it_learnt_from_files(client: Client, session: RemoteTeaching, record: Record) -> None:
    begun = session.state()
    assert (begun.features, begun.ready, begun.classes) == ("tiny", False, [])
    assert client.predict(record("lying", 9), model=session.id).label == "untaught"
    given = session.show("lying", record("lying", 0))
    assert (len(given.taken), given.skipped) == (4, 0)
    state = taught(session, record).state(wait=True)
    assert {one.label: len(one.examples) for one in state.classes} == {"lying": 12, "standing": 8}
    assert (state.ready, state.learning) == (True, False)
    assert state.version >= 1
    assert state.interval is not None
    low, high = state.interval
    assert low - 1e-9 <= (state.accuracy or 0) <= high + 1e-9
    assert state.accuracy == pytest.approx(1, abs=0.1)
    assert state.advice[0].startswith("show standing again")
    for label in ("lying", "standing"):
        assert client.predict(record(label, 12), model=session.id).label == label
    assert session.id not in [model.name for model in client.models().models], "an id is a secret"


def test_examples_can_be_seen_and_taken_back(session: RemoteTeaching, record: Record) -> None:
    numbers = session.show("lying", record("lying", 0)).taken
    image = cv2.imdecode(np.frombuffer(session.picture(numbers[0]), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (32, 32, 3)
    lit = (image.astype(int).sum(2) > 100).nonzero()
    assert np.ptp(lit[1]) > np.ptp(lit[0]), "a line that lies"
    assert session.drop(numbers[0]).classes[0].examples == numbers[1:]
    assert refused(session.drop, numbers[0])[0] == 404
    assert refused(session.picture, numbers[0])[0] == 404
    session.show("standing", record("standing", 0))
    assert session.state(wait=True).ready
    session.rename("lying", "lying")
    assert [one.label for one in session.rename("lying", "a line").classes] == ["a line", "standing"]
    assert refused(session.rename, "a line", "standing") == (409, "another class has that name: take it back first")
    assert refused(session.rename, "lying", "x")[0] == refused(session.forget, "lying")[0] == 404
    assert [one.label for one in session.forget("standing").classes] == ["a line"]
    assert not session.state(wait=True).ready, "one class is none to choose from"


def test_the_archive_is_an_ordinary_model(session: RemoteTeaching, record: Record, tmp_path: Path) -> None:
    assert refused(session.download)[0] == 409
    taught(session, record)
    with zipfile.ZipFile(io.BytesIO(session.download("lines"))) as archive:
        archive.extractall(tmp_path)
    model = Classifier.load(tmp_path / "lines")
    assert model.labels == ("lying", "standing")
    assert model.card.training["features"] == "tiny"
    shown = sorted(digest(record(label, seed)) for seed in range(2) for label in ("lying", "standing"))
    assert model.card.training["recordings"] == shown, "evaluate says when it is given these"
    assert refused(session.download, "../lines")[0] == 400


UNFIT = ("", "x" * 65, "teaching-" + "0" * 24, "a.steps; index", "a/b", "..", ".a", "model", "con", "NUL.txt", "a.")


@pytest.mark.attack("teaching", "saving as `..`, `CON`, `a.`, another session's id", "400")
@pytest.mark.attack("teaching", "overwriting somebody else's model, served or not", "409")
def test_a_saved_model_is_served_to_all_and_after_a_restart(
    client: Client, session: RemoteTeaching, record: Record, saved: Path, tmp_path: Path
) -> None:
    assert session.state().can_save
    assert refused(session.save, "lines")[0] == 409
    taught(session, record)
    assert session.save("lines").saved == "lines"
    assert client.predict(record("lying", 9), model="lines").label == "lying"
    session.rename("lying", "flat")
    assert session.save("lines").saved == "lines", "the same session may save anew"
    assert client.predict(record("lying", 9), model="lines").label == "flat"
    before = sorted(saved.iterdir())
    for name in UNFIT:
        assert refused(session.save, name)[0] == refused(session.download, name)[0] == 400, name
    for name in ("pixels", "Pixels", "LINES", "mnist-direct", "MNIST-direct"):
        assert refused(session.save, name)[0] == 409, f"{name} is somebody else's, served just now or not"
    assert sorted(saved.iterdir()) == before
    with client.teach() as other:
        taught(other, record)
        assert refused(other.save, "lines")[0] == 409, "nobody else takes its name"
        other.save("others")
    client.remove("others")
    assert refused(client.predict, record("lying", 9), model="others")[0] == 404
    assert [model.name for model in client.models().models if model.saved] == ["lines"]
    assert [path.name for path in saved.iterdir()] == ["lines"]
    (saved / "broken").mkdir()
    (saved / "broken" / "config.json").write_text("{")
    app = create_app(Settings(models=(str(kept(tmp_path / "first")),), save_to=saved))
    with running(app) as port:
        names = [model.name for model in Client(f"http://127.0.0.1:{port}").models().models]
    assert names == ["first", "lines"]


def test_a_service_without_a_folder_keeps_nothing() -> None:
    with running() as port, Client(f"http://127.0.0.1:{port}").teach() as session:
        assert not session.state().can_save
        status, sentence = refused(session.save, "lines")
        assert (status, "--save-to" in sentence) == (403, True)


def test_a_full_disk(session: RemoteTeaching, record: Record, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taught(session, record)
    monkeypatch.setattr(saving, "save", Mock(side_effect=OSError))
    before = sorted(saved.iterdir())
    assert refused(session.save, "more")[0] == refused(session.download, "more")[0] == 507
    assert sorted(saved.iterdir()) == before


@pytest.mark.attack("teaching", "too many sessions", "429; an ended one is 404")
def test_sessions_are_counted_by_address_and_end(client: Client, record: Record) -> None:
    first, second = client.teach(), client.teach()
    assert refused(client.teach) == (429, "too many teaching sessions of this address: end one first")
    first.end()
    assert refused(first.state)[0] == refused(first.end)[0] == 404
    assert refused(client.predict, record("lying", 0), model=first.id)[0] == 404
    client.teach().end()
    second.end()


@pytest.mark.attack("teaching", "too many examples", "409")
def test_a_session_has_room_for_so_many_examples(session: RemoteTeaching, record: Record) -> None:
    for seed in range(7):
        session.show("lying", record("lying", seed))
    assert len(session.show("lying", record("lying", 7)).taken) == 2
    assert refused(session.show, "lying", record("lying", 8))[0] == 409


def test_a_still_recording_gives_nothing(session: RemoteTeaching, tmp_path: Path) -> None:
    t = np.arange(0, 2_000_000, 50_000)
    write_recording(tmp_path / "still.npz", make_events(t, t * 0 + 3, t * 0 + 4, t % 2), SENSOR, "npz")
    given = session.show("still", tmp_path / "still.npz")
    assert (given.taken, given.skipped) == ([], 6)


@pytest.mark.attack("teaching", "hostile class names", "400")
@pytest.mark.parametrize("label", ["", "   ", "x" * 65, "a\0b", "a\nb", "\u202e"])
def test_names_of_classes_are_bounded(session: RemoteTeaching, record: Record, label: str) -> None:
    assert refused(session.show, label, record("lying", 0))[0] == 400


HOSTILE = [b"", b"no recording", os.urandom(4096), b"PK\3\4" + bytes(500), picture()[:60]]
HOSTILE += [*BOMBS.values(), claimed(10**9), with_scans(4096, 2000)]


@pytest.mark.attack("teaching", "hostile examples", "400 to 415, nothing is taken")
@pytest.mark.attack("teaching", "image bombs, claims of 10^9 events, thousands of scans", "400, 413; nothing is taken")
@pytest.mark.parametrize("body", HOSTILE)
def test_hostile_bodies_leave_the_session_as_it_was(session: RemoteTeaching, body: bytes) -> None:
    status, sentence = refused(session.show, "x", body)
    assert 400 <= status < 500
    assert "Traceback" not in sentence
    assert session.state().classes == []


@pytest.mark.parametrize(("features", "status"), [("pixels", 400), ("nothing", 404), ("../tiny", 404)])
def test_what_cannot_be_learnt_on_is_refused(client: Client, features: str, status: int) -> None:
    assert refused(client.teach, features)[0] == status


def test_without_a_name_it_is_the_network_that_ships_for_it(client: Client) -> None:
    with client.teach() as session:
        assert session.state().features == START


@pytest.mark.attack("teaching", "a small recording of many minutes", "413 above the limit of steps")
def test_a_recording_of_many_minutes_is_refused(session: RemoteTeaching, tmp_path: Path) -> None:
    t = np.arange(0, 200_000_000, 900_000)
    write_recording(tmp_path / "long.npz", make_events(t, t % 60, t % 40, t % 2), SENSOR, "npz")
    assert refused(session.show, "x", tmp_path / "long.npz")[0] == 413
    assert session.state().classes == []


ROUTES = (
    ("GET", ""),
    ("DELETE", ""),
    ("POST", "/examples?class=a"),
    ("GET", "/examples/1"),
    ("DELETE", "/examples/1"),
    ("PATCH", "/classes?class=a&to=b"),
    ("DELETE", "/classes?class=a"),
    ("POST", "/save?name=a"),
    ("GET", "/model.zip"),
)


@pytest.mark.attack("teaching", "ids without a session: guessed, `..%2f`, `%00`, long", "400, 404 on every route")
@pytest.mark.parametrize("identity", ["teaching-" + "0" * 24, "..%2f", "%2e%2e", "%00", "a" * 65, "x%0d%0aX:y", "%ff"])
def test_ids_of_no_session(port: int, identity: str) -> None:
    for method, below in ROUTES:
        answer = talk(port, get(f"/v1/teach/{identity}{below}", "Content-Length: 0", method=method))
        assert status_of(answer) in (400, 404, 405), (method, below)
        assert list(body_of(answer)) == ["error"]


OTHERS = ("tiny", "pixels")  # served, and not saved here
NEVER = ("..%2f", "%2e%2e", "a%2fb", "%00", "a" * 65, "bystander", ".hidden", "teaching-" + "0" * 24)


@pytest.mark.attack("teaching", "removing `..`, `a%2fb`, or a model that was not saved", "400, 404, 409")
@pytest.mark.parametrize("name", [*OTHERS, *NEVER])
def test_only_saved_models_are_removed(port: int, saved: Path, name: str) -> None:
    (saved / "bystander").mkdir(exist_ok=True)
    before = sorted(saved.rglob("*"))
    answer = talk(port, get(f"/v1/models/{name}", "Content-Length: 0", method="DELETE"))
    assert status_of(answer) in ((409,) if name in OTHERS else (400, 404, 405))
    assert list(body_of(answer)) == ["error"]
    assert sorted(saved.rglob("*")) == before


@pytest.mark.attack("teaching", "another session's id in metrics, logs, lists or thread names", "in none of them")
def test_a_sessions_id_is_told_to_nobody(
    port: int, client: Client, session: RemoteTeaching, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "spikesight")
    taught(session, record)
    assert session.state(wait=True).ready
    client.predict(record("lying", 9), model=session.id)
    for hello in ({"teaching": session.id}, {"model": session.id}):
        with client.stream(**hello, **SIZE) as stream:
            stream.send_events(moving("lying", 0, 1))
            next(message for message in stream.receive(60) if isinstance(message, StreamPrediction))
    asked = [get("/metrics"), get("/v1/models"), get("/v2/models/tiny")]
    told = [body.decode() for body in (talk(port, request) for request in asked)]
    assert all("tiny" in body for body in told)
    told += [str(vars(logged)) for logged in caplog.records]
    told += [thread.name for thread in threading.enumerate()]
    assert "stream opened" in str(told)
    assert [text for text in told if session.id in text] == []


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
    with client.stream(teaching=session.id, picture=True, **SIZE) as stream:
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
        ready = hear(stream, lambda m: isinstance(m, module.Ready), "the newest model")
        assert isinstance(ready, module.Ready)
        assert (ready.model, ready.labels) == (session.id, ["lying", "standing"])
        labels = [message.label for message in predictions(stream, 60)]  # the silence before it, too
        assert set(labels[-10:]) == {"standing"}
        hear(stream, lambda m: isinstance(m, EventPicture), "a picture")
        session.save("shown")
        hear(stream, lambda m: isinstance(m, TeachingBody) and m.saved == "shown", "that it is saved")
    state = session.state(wait=True)
    assert {one.label: len(one.examples) for one in state.classes} == {"lying": 8, "standing": 8}
    assert state.accuracy == 1.0


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
        with client.teach() as session, client.stream(teaching=session.id, source="0", picture=True) as stream:
            stream.show("a line")
            hear(stream, lambda m: count(m, "a line") >= 6, "examples")
            stream.show("another")
            hear(stream, lambda m: count(m, "another") >= 6, "examples")
            hear(stream, lambda m: isinstance(m, TeachingBody) and m.ready, "a head")
            picture = hear(stream, lambda m: isinstance(m, EventPicture), "a picture")
            assert isinstance(picture, EventPicture)
            assert (picture.width, picture.height) == (SENSOR.width, SENSOR.height)
            stream.send_events(moving("lying", 0))
            refusal(lambda: hear(stream, never, "the end"), "takes no packets", ClientError)


@pytest.mark.attack("teaching", "streams with ids without a session", "1008")
@pytest.mark.parametrize(
    "hello", [{"teaching": "teaching-of-nobody"}, {"teaching": ""}, {"teaching": "x", "source": "0"}]
)
def test_streams_of_no_session_are_refused(client: Client, hello: dict) -> None:
    status, said = refused(client.stream, **hello)
    assert (status, "no teaching session of that id" in said) == (1008, True)


def test_messages_that_make_no_sense(client: Client, session: RemoteTeaching) -> None:
    with client.stream(teaching=session.id, **SIZE) as stream:
        for label in ("", "x" * 65, "a\0"):
            stream.show(label)
            told = hear(stream, lambda m: isinstance(m, module.Bad), "what is wrong")
            assert isinstance(told, module.Bad)
            assert (told.seq, "printable" in told.error) == (0, True), "the answer to no message"
        stream._send('{"type": "show", "class": 3}')
        assert refused(hear, stream, never, "the end")[0] == 1003
    with client.stream() as stream:
        stream.show("x")
        assert refused(hear, stream, never, "the end")[0] == 1003, "only a session's stream is shown things"


def test_a_session_that_ends_under_its_stream(client: Client) -> None:
    session = client.teach()
    with client.stream(teaching=session.id, **SIZE) as stream:
        session.end()
        refusal(lambda: hear(stream, never, "the end"), "session is over", ClientError)
