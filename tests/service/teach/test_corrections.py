"""A moment in doubt is named once: the model knows it, for good, and so does whoever is sent the camera's label."""

import json
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import cv2
import numpy as np
import pytest
from fastapi.testclient import TestClient
from safetensors.torch import load_file, save_file

from spikesight.models.checkpoint import load
from spikesight.models.classifier import Classifier
from spikesight.models.contract import CheckpointError
from spikesight.models.teach.kept import EXAMPLES
from spikesight.service.api import create_app
from spikesight.service.http.errors import ServiceError
from spikesight.service.settings import Settings, SettingsError
from spikesight.service.teach.corrections import Correctable, Corrections
from tests.service.teach.drawn import ASLANT, LYING, before_a_camera, swaying, taught_folder
from tests.support.models import PREDICTION, tiny
from tests.support.serving.broker import Board, Broker, require_broker
from tests.support.serving.servers import running, settings
from tests.support.waiting import until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return taught_folder(tmp_path / "door")


def asked(port: int, method: str = "GET", path: str = "", what: str = "moments") -> tuple[int, Any]:
    """Status and answer of /v1/moments, or another list."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, f"/v1/{what}{path}")
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, json.loads(body) if answer.getheader("content-type") == "application/json" else body


def test_one_click_corrects_and_the_retained_state_follows(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_broker()
    monkeypatch.setenv("SPIKESIGHT_QUEUES", str(tmp_path / "queues"))
    broker = Broker(tmp_path)
    broker.start()
    board, sink = Board(broker.port), f"mqtt://127.0.0.1:{broker.port}/house?discovery=homeassistant"
    wanted = settings(ask=4, sinks=(sink,))
    camera = before_a_camera(swaying(LYING, 5, 3), swaying(ASLANT, 6, 3))
    before = sorted(path.name for path in folder.iterdir())
    with running(create_app(wanted, (Classifier.load(folder),), (camera,))) as port:

        def state() -> str | None:
            return next((said for topic, said in board.shown.items() if topic.endswith("/state")), None)

        until(lambda: asked(port, what="cameras")[1][0]["n_events"] == 12_000, "all was shown")
        until(lambda: state() and asked(port)[1]["moments"], "a label, and a moment in doubt")
        status, body = asked(port)
        moment = body["moments"][0]
        assert (status, body["most"], moment["source"]) == (200, 4, "0")
        assert sorted(moment["guesses"]) == ["lying", "standing"]
        assert state() != "standing"
        clip = cv2.imdecode(np.frombuffer(asked(port, "GET", f"/{moment['number']}")[1], np.uint8), cv2.IMREAD_COLOR)
        assert clip is not None
        assert clip.shape == (32, 32 * moment["steps"], 3)
        assert sorted(path.name for path in folder.iterdir()) == before, "nothing is stored of a moment"

        status, body = asked(port, "POST", f"/{moment['number']}?class=standing")
        assert status == 200
        assert moment["number"] not in [one["number"] for one in body["moments"]]
        until(lambda: state() == "standing", f"the state follows, though nothing moves any more: {board.shown}")
        assert asked(port, "POST", f"/{moment['number']}?class=standing")[0] == 404, "it was named"
    board.close()
    broker.stop()
    again = Classifier.load(folder)
    found = again.predict_events(swaying(ASLANT, 7, 1), camera.size)[-1]
    assert again.labels[found.index] == "standing", "also after a restart, of another clip"
    assert again.card.training["corrections"] == 1


@pytest.mark.attack("teaching", "corrections of no moment, of no class, of models without examples", "400 or 404")
def test_strangers_correct_nothing(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    app = create_app(settings(ask=1, models=(str(folder),)), (), (before_a_camera(swaying(ASLANT, 6, 3)),))
    with running(app) as port:
        until(lambda: asked(port)[1]["moments"], "a moment")
        number = asked(port)[1]["moments"][0]["number"]
        for path in ("/999?class=lying", "/0?class=lying"):
            assert asked(port, "POST", path)[0] == 404
        for path in (f"/{number}?class=cup", f"/{number}?class=", f"/{number}", "/-1?class=lying", "/x?class=lying"):
            assert asked(port, "POST", path)[0] == 400, path
        assert asked(port, "GET", "/999")[0] == 404
        app.state.runtime.registry.load()  # the models were loaded again: what waits was another's
        assert asked(port, "POST", f"/{number}?class=lying")[0] == 404
        assert asked(port, "DELETE", f"/{number}")[0] == 404
    assert (folder / "model.safetensors").read_bytes() == weights


async def test_moments_that_come_while_another_model_is_read_go_with_those_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime: Any = SimpleNamespace(settings=settings(ask=3), registry=SimpleNamespace(get=lambda _: MagicMock()))
    corrections = Corrections(runtime, MagicMock())
    corrections._correctable = Correctable(tiny(), MagicMock())
    unsure = replace(PREDICTION, probabilities=(0.5, 0.5))
    corrections.moments.offer("0", [], unsure)

    async def read() -> None:
        corrections.moments.offer("1", [], unsure)
        raise CheckpointError("it keeps no examples")

    monkeypatch.setattr(corrections, "_load_correctable", read)
    with pytest.raises(ServiceError, match="it keeps no examples"):
        await corrections.correct(corrections.body().moments[0].number, "one")
    assert corrections.body().moments == []


def test_nothing_is_kept_unless_asked(folder: Path) -> None:
    with TestClient(
        create_app(settings(), (Classifier.load(folder),), (before_a_camera(swaying(ASLANT, 6, 2)),))
    ) as client:
        until(lambda: client.get("/v1/cameras").json()[0]["n_events"] >= 3900, "what is aslant was seen")
        assert client.get("/v1/moments").json() == {"most": 0, "moments": []}
        assert client.post("/v1/moments/1?class=lying").status_code == 404
    with TestClient(create_app(settings(ask=3), (tiny(),))) as client:  # was not taught: nothing to correct
        assert client.get("/v1/moments").json() == {"most": 3, "moments": []}


def damaged(folder: Path, **changed: Any) -> None:
    tensors = load_file(folder / EXAMPLES)
    save_file({name: changed.get(name, tensor) for name, tensor in tensors.items()}, folder / EXAMPLES)


@pytest.mark.attack("model files", "examples beside a model that are damaged, or another's", "refused, in one sentence")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / EXAMPLES).write_bytes(b"\xff" * 64),
        lambda folder: damaged(folder, labels=load_file(folder / EXAMPLES)["labels"] + 7),
        lambda folder: damaged(folder, labels=load_file(folder / EXAMPLES)["labels"][:-1]),
        lambda folder: damaged(folder, features=load_file(folder / EXAMPLES)["features"][..., :-1].contiguous()),
        lambda folder: damaged(folder, features=load_file(folder / EXAMPLES)["features"] * float("nan")),
        lambda folder: damaged(folder, pieces=load_file(folder / EXAMPLES)["pieces"].float()),
        lambda folder: taught_folder(folder, correctable=False),
    ],
    ids=["no tensors", "other classes", "too few", "too narrow", "not finite", "another type", "not kept"],
)
def test_examples_are_the_models_own_or_refused(folder: Path, spoil: Any) -> None:
    spoil(folder)
    load(folder)  # the model itself is whole
    with pytest.raises(CheckpointError, match=r"teach it anew with `spikesight teach --correctable`$"):
        Correctable.of(Classifier.load(folder))


def test_a_model_that_keeps_none_is_said_at_the_start(folder: Path) -> None:
    taught_folder(folder, correctable=False)
    app = create_app(Settings(ask=1), (Classifier.load(folder),))
    with pytest.raises(SettingsError, match=r"^door cannot be corrected: .*--correctable` \(--ask\)$"), TestClient(app):
        pass
