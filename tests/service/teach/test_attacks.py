"""Attacks on teaching (docs/service/security.md): sizes, ids, pages of other origins."""

import logging
import threading
from pathlib import Path

import numpy as np
import pytest

from spikesight.encoders.events import make_events
from spikesight.encoders.recordings.files import write_recording
from spikesight.service.client import Client, Prediction, RemoteTeaching
from tests.service.teach.conftest import SENSOR, SIZE, Record, moving, taught
from tests.support.serving.hostile import BOMBS, claimed, with_scans
from tests.support.serving.http import body_of, get, post, refused, status_of, talk
from tests.support.serving.servers import resident

HOSTILE = {**BOMBS, "10^9 events claimed": claimed(10**9), "scans": with_scans(4096, 2000)}


@pytest.mark.attack("teaching", "image bombs, claims of 10^9 events, thousands of scans", "400, 413; nothing is taken")
@pytest.mark.parametrize("name", HOSTILE)
def test_bombs_are_no_examples(session: RemoteTeaching, name: str) -> None:
    before = resident()
    assert refused(session.show, "x", HOSTILE[name])[0] in (400, 413)
    assert resident() - before < 100_000_000
    assert session.state().classes == []


@pytest.mark.attack("teaching", "a body above the limit", "413 before it is read")
def test_large_examples_are_refused_by_their_length(port: int, session: RemoteTeaching) -> None:
    head = ("Content-Length: 99999999", "Content-Type: application/octet-stream")
    answer = talk(port, get(f"/v1/teach/{session.id}/examples?class=x", *head, method="POST"))
    assert (status_of(answer), list(body_of(answer))) == (413, ["error"])


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


@pytest.mark.attack("teaching", "ids of none: guessed, `..%2f`, `%00`, long ones", "400, 404 on every route")
@pytest.mark.parametrize("identity", ["lesson-" + "0" * 24, "..%2f", "%2e%2e", "%00", "a" * 65, "x%0d%0aX:y", "%ff"])
def test_ids_of_no_session(port: int, identity: str) -> None:
    for method, below in ROUTES:
        answer = talk(port, get(f"/v1/teach/{identity}{below}", "Content-Length: 0", method=method))
        assert status_of(answer) in (400, 404, 405), (method, below)
        assert list(body_of(answer)) == ["error"]


OTHERS = ("tiny", "pixels")  # served, and not saved here
NEVER = ("..%2f", "%2e%2e", "a%2fb", "%00", "a" * 65, "bystander", ".hidden", "lesson-" + "0" * 24)


@pytest.mark.attack("teaching", "removing `..`, `a%2fb`, what is no saved model", "400, 404, 409")
@pytest.mark.parametrize("name", [*OTHERS, *NEVER])
def test_only_saved_models_are_removed(port: int, saved: Path, name: str) -> None:
    (saved / "bystander").mkdir(exist_ok=True)
    before = sorted(saved.rglob("*"))
    answer = talk(port, get(f"/v1/models/{name}", "Content-Length: 0", method="DELETE"))
    assert status_of(answer) in ((409,) if name in OTHERS else (400, 404, 405))
    assert list(body_of(answer)) == ["error"]
    assert sorted(saved.rglob("*")) == before


@pytest.mark.parametrize("number", ["-1", str(2**53 + 1), "9" * 400, "x", "1e3", "0x1", "%00"])
def test_numbers_of_no_example(port: int, session: RemoteTeaching, number: str) -> None:
    for method in ("GET", "DELETE"):
        answer = talk(port, get(f"/v1/teach/{session.id}/examples/{number}", method=method))
        assert status_of(answer) == 400
        assert list(body_of(answer)) == ["error"]


@pytest.mark.attack("teaching", "POST of another origin's page", "403, no session is begun")
def test_pages_of_other_origins_begin_no_session(port: int, client: Client) -> None:
    for _ in range(3):
        assert status_of(talk(port, post("/v1/teach", b"", "Origin: http://evil.example"))) == 403
        assert status_of(talk(port, post("/v1/teach", b"", "Sec-Fetch-Site: cross-site"))) == 403
    with client.teach(), client.teach():
        assert refused(client.teach)[0] == 429, "all places of this address were there, and no more"


@pytest.mark.attack("teaching", "another's id in metrics, logs, lists, names of threads", "in none of them")
def test_a_sessions_id_is_told_to_nobody(
    port: int, client: Client, session: RemoteTeaching, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "spikesight")
    taught(session, record)
    assert session.state(wait=True).ready
    client.predict(record("lying", 9), model=session.id, bin_ms=5)
    for hello in ({"lesson": session.id}, {"model": session.id}, {"lesson": session.id, "bin_ms": 5}):
        with client.stream(**hello, **SIZE) as stream:
            stream.send_events(moving("lying", 0, 1))
            next(message for message in stream.receive(60) if isinstance(message, Prediction))
    asked = [get("/metrics"), get("/v1/models"), get("/v2/models/tiny")]
    told = [body.decode() for body in (talk(port, request) for request in asked)]
    assert all("tiny" in body for body in told)
    told += [str(vars(logged)) for logged in caplog.records]
    told += [thread.name for thread in threading.enumerate()]
    assert "stream opened" in str(told)
    assert [text for text in told if session.id in text] == []
