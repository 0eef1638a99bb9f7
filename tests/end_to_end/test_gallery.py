"""The uses in docs/quickstart.md, each run; a folder of recordings as people have them, taught and trained from."""

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import cv2
import pytest

from spikesight.app.c_folder import c_compiler
from spikesight.app.cli import main
from spikesight.encoders.events import SensorSize
from spikesight.encoders.sources.samples import events_of
from spikesight.models.classifier import Classifier
from spikesight.models.shipped import find
from tests.support.gallery import run, words_of
from tests.support.inputs.formats import nmnist_records
from tests.support.inputs.things import clip, digit_on_paper, filmed, passing
from tests.support.serving.broker import Broker, Subscriber, require_broker
from tests.support.serving.servers import running
from tests.support.waiting import until

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_door_counts_who_comes_and_who_goes() -> None:
    walks = ("right", "left", "right", "right", "left")
    film = cv2.VideoWriter("door.avi", cv2.VideoWriter.fourcc(*"MJPG"), 30, (320, 240))
    for frame in passing(walks, seed=3):
        film.write(frame)
    film.release()
    run("A door counter with a webcam", **{"0": "door.avi"})
    counted = Counter(json.loads(line)["label"] for line in Path("door.jsonl").read_text().splitlines())
    assert (counted["right"], counted["left"]) == (3, 2), counted


def test_the_switch_is_heard_at_the_broker(tmp_path: Path) -> None:
    require_broker()
    broker = Broker(tmp_path)
    broker.start()
    lamp = Subscriber(broker.port, "lamp")
    here = f"mqtt://localhost:{broker.port}/lamp"
    for n, (sample, label) in enumerate((("circle", "right"), ("square", "left")), 1):
        run("A switch for gestures, over MQTT", **{"prophesee": sample, "mqtt://localhost:1883/lamp": here})
        until(lambda n=n: len(lamp.distinct()) >= n, f"the {sample}'s message")
        assert lamp.came[-1]["label"] == label
    lamp.close()
    broker.stop()


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_reader_reads_a_digit() -> None:
    cv2.imwrite("digit.png", digit_on_paper(0))
    with running(classifiers=(Classifier.load(find("nmnist")),)) as port:
        words = [word.replace(":8000", f":{port}") for word in words_of("A reader of digits by REST")]
        answer = subprocess.run([*words, "--silent"], capture_output=True, text=True, check=True).stdout
    assert json.loads(answer)["label"] == "3"


@pytest.mark.skipif(not (c_compiler() and shutil.which("make")), reason="needs make and a C compiler")
def test_the_microcontrollers_reader_reads_a_digit() -> None:
    run("A reader on a microcontroller")
    subprocess.run(["make", "-C", "digit_c", f"CC={' '.join(c_compiler())}"], check=True)
    words = nmnist_records(events_of("digit-7")).tobytes()
    command = ["digit_c/example", "nmnist", "34", "34"]
    lines = subprocess.run(command, input=words, capture_output=True, check=True).stdout
    seen = [line.split("\t")[1:4] for line in lines.decode().splitlines()]
    assert (seen[-1][:2], {held for *_, held in seen}) == (["7", "7"], {"-", "7"})


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two things before a camera, on three days in `things`, and on a day in `another day`."""
    place = tmp_path_factory.mktemp("filmed")
    for take, folder in enumerate(("things/day0", "things/day1", "things/day2", "another day")):
        (place / folder).mkdir(parents=True)
        for kind in ("mug", "key"):
            filmed(place / folder / f"{kind}.npz", clip(kind, 10 + take, 90), SensorSize(160, 120), take)
    return place


def said(capsys: Captured, *words: str) -> tuple[dict, str]:
    """What a command prints: its last line, of JSON, and all of it."""
    assert main([*words, "--json"]) == 0
    out = capsys.readouterr().out
    return json.loads(out.splitlines()[-1]), out


def test_a_folder_is_taught_from_as_it_is(recordings: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.chdir(recordings)
    told, _ = said(capsys, "teach", "--data", "things", "--to", "taught", "--window-ms", "200")
    assert told["labels"] == ["key", "mug"]
    other, _ = said(capsys, "evaluate", "taught", "another day")
    assert other["right"]["accuracy"] > 0.9
    assert abs(other["right"]["accuracy"] - told["accuracy"]) < 0.1


def test_one_command_trains_on_a_folder(recordings: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.chdir(recordings)
    settings = {"network": "event-small", "epochs": 1, "epoch-steps": 6, "crop": "object", "window-ms": 200}
    run, out = said(capsys, "train", "--data", "things", *(f"--{name}={value}" for name, value in settings.items()))
    assert "layout sessions: 2 classes, 6 recordings" in out
    trained, _ = said(capsys, "evaluate", f"{run['run']}/model", "another day")
    assert trained["right"]["count"] > 0
    assert trained["shared"] == []
    again, _ = said(capsys, "evaluate", f"{run['run']}/model", "things")
    assert 0 < len(again["shared"]) < again["right"]["count"] == 6, "all but the session that it was tested on"
