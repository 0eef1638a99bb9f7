"""The uses in docs/quickstart.md: each command is run, on a clip, a service or a broker of the test's.

The page with no server, which takes a browser, is run in page/test_offline.py.
"""

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import cv2
import pytest

from spikesight.app.c_folder import c_compiler
from spikesight.encoders.sources.samples import events_of
from spikesight.models.classifier import Classifier
from spikesight.models.shipped import find
from tests.support.gallery import run, words_of
from tests.support.inputs.formats import nmnist_records
from tests.support.inputs.things import digit_on_paper, passing
from tests.support.serving.broker import Broker, Subscriber, require_broker
from tests.support.serving.servers import running
from tests.support.waiting import until


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
    lines = subprocess.run(
        ["digit_c/example", "nmnist", "34", "34"], input=words, capture_output=True, check=True
    ).stdout
    assert lines.decode().splitlines()[-1].split("\t")[1:4] == ["7", "7", "7"]
