"""Sessions over HTTP: taught by files, looked at, corrected, kept, and nothing that a stranger could break."""

import io
import os
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from httpx import ASGITransport, AsyncClient

from spikesight.encoders.events import make_events
from spikesight.encoders.recordings.files import digest, write_recording
from spikesight.models.classifier import Classifier
from spikesight.service.api import create_app
from spikesight.service.client import Client, RemoteTeaching
from spikesight.service.settings import Settings
from tests.service.teach.conftest import SENSOR, Record, taught
from tests.support.inputs.samples import picture
from tests.support.models import kept, tiny
from tests.support.serving.http import refused
from tests.support.serving.servers import running, settings


@pytest.mark.attack("teaching", "ids that are guessed", "24 random hex digits, listed nowhere")
def test_a_session_learns_from_files_and_serves_what_it_learnt(
    client: Client, session: RemoteTeaching, record: Record
) -> None:
    begun = session.state()
    assert (begun.features, begun.ready, begun.classes) == ("tiny", False, []), "the first that gives features"
    assert client.predict(record("lying", 9), model=session.id).label == "untaught"
    given = session.show("lying", record("lying", 0))
    assert len(given.taken) == 4
    assert given.skipped == 0
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


async def test_an_upload_follows_its_class_while_it_is_sent() -> None:
    app, data = create_app(settings(), (tiny(),)), picture()
    async with app.router.lifespan_context(app):
        client = AsyncClient(transport=ASGITransport(app), base_url="http://testserver")
        session = f"/v1/teach/{(await client.post('/v1/teach')).json()['id']}"

        async def show_while(method: str, query: str) -> dict[str, int]:
            """Send an example of a cup, and change its class meanwhile; the number of examples by class."""

            async def sent() -> AsyncIterator[bytes]:
                yield data[:20]
                assert (await client.request(method, f"{session}/classes?{query}")).status_code == 200
                yield data[20:]

            await client.post(f"{session}/examples?class=cup", content=data)
            body = (await client.post(f"{session}/examples?class=cup", content=sent())).json()
            return {one["label"]: len(one["examples"]) for one in body["lesson"]["classes"]}

        assert await show_while("PATCH", "class=cup&to=mug") == {"mug": 2}
        assert await show_while("DELETE", "class=cup") == {"mug": 2}


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


UNFIT = (
    "",
    "x" * 65,
    "lesson-" + "0" * 24,
    *["a/b", "..", "model", "con", "NUL.txt", "a."],
)


@pytest.mark.attack("teaching", "saving as `..`, `CON`, `a.`, another session's id", "400")
@pytest.mark.attack("teaching", "saving over a model of somebody else, also one that is not served now", "409")
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


@pytest.mark.attack("teaching", "saving without `--save-to`", "403")
def test_a_service_without_a_folder_keeps_nothing() -> None:
    with running() as port, Client(f"http://127.0.0.1:{port}").teach() as session:
        assert not session.state().can_save
        status, sentence = refused(session.save, "lines")
        assert (status, "--save-to" in sentence) == (403, True)


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


@pytest.mark.attack("teaching", "hostile names of classes", "400")
@pytest.mark.parametrize("label", ["", "   ", "x" * 65, "a\0b", "a\nb", "\u202e"])
def test_names_of_classes_are_bounded(session: RemoteTeaching, record: Record, label: str) -> None:
    assert refused(session.show, label, record("lying", 0))[0] == 400


@pytest.mark.attack("teaching", "hostile examples", "400 to 415, nothing is taken")
@pytest.mark.parametrize("body", [b"", b"no recording", os.urandom(4096), b"PK\3\4" + bytes(500), picture()[:60]])
def test_hostile_bodies_leave_the_session_as_it_was(session: RemoteTeaching, body: bytes) -> None:
    status, sentence = refused(session.show, "x", body)
    assert 400 <= status < 500
    assert "Traceback" not in sentence
    assert session.state().classes == []


@pytest.mark.parametrize(("features", "status"), [("pixels", 400), ("nothing", 404), ("../tiny", 404)])
def test_what_cannot_be_learnt_on_is_refused(client: Client, features: str, status: int) -> None:
    assert refused(client.teach, features)[0] == status
