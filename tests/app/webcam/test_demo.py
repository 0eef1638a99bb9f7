"""`spikesight webcam`: every kind of source, lines or a window, and a video of it."""

import io
import itertools
import json
import socket
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from spikesight.app import cli
from spikesight.app.webcam import demo as webcam
from spikesight.app.webcam.demo import Demo, line_of
from spikesight.app.webcam.window import Window
from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.recordings.files import write_recording
from spikesight.encoders.sources.address import SourceError
from spikesight.encoders.sources.chunks import REST_PERIODS, open_source
from spikesight.models.checkpoint import save
from spikesight.models.classifier import Classifier
from spikesight.models.shipped import shipped
from spikesight.service.stream.messages import encode_t64
from tests.support.models import EVENT_CONTRACT, IMAGE_CONTRACT, tiny


@pytest.fixture
def model(tmp_path: Path) -> Path:
    classifier = tiny()
    folder = tmp_path / "tiny"
    save(folder, classifier.network, classifier.card)
    return folder


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mjpeg"
    frames = [np.roll(np.kron(np.eye(2), np.full((48, 64), 200)), 3 * n, 1).astype(np.uint8) for n in range(20)]
    path.write_bytes(b"".join(cv2.imencode(".jpg", frame)[1].tobytes() for frame in frames))
    return path


@pytest.fixture
def dummy_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def run(*words: str) -> int:
    return cli.main(["webcam", *words])


def test_video_without_a_window(model: Path, video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--source", str(video), "--model", str(model), "--no-window") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 20
    assert all(" events " in line and line.endswith(" ms") for line in lines)


def test_predictions_are_sent(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKESIGHT_QUEUES", str(tmp_path / "queues"))
    every, changes = tmp_path / "every.jsonl", tmp_path / "changes.jsonl"
    words = ["--source", "digit-3", "--model", str(model), "--no-window"]
    assert run(*words, "--to", f"file:{every}", "--every-step") == 0
    assert run(*words, "--to", f"file:{changes}") == 0
    steps = [json.loads(line) for line in every.read_text().splitlines()]
    labels = [step["label"] for step in steps]
    assert [step["step"] for step in steps] == list(range(1, len(steps) + 1))
    told = [json.loads(line) for line in changes.read_text().splitlines()] if changes.exists() else []
    assert [message["label"] for message in told] == [label for label, _ in itertools.groupby(["", *labels])][1:]
    assert {message["source"] for message in steps} == {"digit-3"}


def test_sample_equals_the_classifiers_own_steps(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--source", "digit-3", "--model", str(model), "--no-window") == 0
    said = capsys.readouterr().out.splitlines()
    source = open_source("digit-3")
    assert source.sensor is not None
    events = np.concatenate([g.packet for g in source.chunks if g.packet is not None])
    own = Classifier.load(model).predict_events(events, source.sensor)
    shared = min(len(own), len(said))
    assert shared >= 30
    for line, prediction in zip(said[:shared], own):
        assert line.rsplit("spikes", 1)[0] == line_of(prediction).rsplit("spikes", 1)[0]


def test_recording_file(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    t = np.sort(rng.integers(0, 200_000, 900))
    events = make_events(t, rng.integers(0, 24, 900), rng.integers(0, 18, 900), rng.random(900) < 0.5)
    path = tmp_path / "some.aedat4"
    write_recording(path, events, SensorSize(24, 18))
    assert run("--source", str(path), "--model", str(model), "--no-window", "--seconds", "0.1") == 0
    assert 5 <= len(capsys.readouterr().out.splitlines()) <= 11


class Reader(io.StringIO):
    """A terminal before which somebody sits who presses Ctrl-C after so many lines."""

    def __init__(self, lines: int) -> None:
        super().__init__()
        self.left = lines

    def write(self, text: str) -> int:
        self.left -= text.count("\n")
        written = super().write(text)
        if self.left <= 0:
            raise KeyboardInterrupt
        return written


def test_live_source(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Reader(10)
    monkeypatch.setattr("sys.stdout", terminal)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    stop = threading.Event()

    def send() -> None:
        rng = np.random.default_rng(0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            for n in range(10_000):
                t = 5_000_000 + n * 5000 + np.sort(rng.integers(0, 5000, 60))
                events = make_events(t, rng.integers(0, 34, 60), rng.integers(0, 34, 60), rng.random(60) < 0.5)
                out.sendto(encode_t64(events), ("127.0.0.1", port))
                if stop.wait(0.005):
                    return

    sender = threading.Thread(target=send)
    sender.start()
    try:
        source = f"udp://127.0.0.1:{port}?format=t64&size=34x34"
        assert run("--source", source, "--model", str(model), "--no-window") == 130
    finally:
        stop.set()
        sender.join()
    times = [float(line.split()[0]) for line in terminal.getvalue().splitlines()]
    assert len(times) == 10
    assert times[0] < 0.1, "times begin near 0"
    assert times == sorted(times)


def test_record_out(model: Path, video: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    assert run("--source", str(video), "--model", str(model), "--no-window", "--record", str(out)) == 0
    capture = cv2.VideoCapture(str(out))
    good, frame = capture.read()
    assert good
    assert frame.shape[1] == 1120
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) >= 15
    capture.release()


def test_record_where_nothing_can_be_written(model: Path, video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = "/nowhere/at/all/out.mp4"
    assert run("--source", str(video), "--model", str(model), "--no-window", "--record", out) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.usefixtures("dummy_display")
def test_window(model: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pressed = iter([["less events"], ["mirror"], ["reset"], ["pause"], ["pause"], ["more events"]])
    shown = []
    monkeypatch.setattr(Window, "actions", lambda _: next(pressed, []))
    show = Window.show
    monkeypatch.setattr(Window, "show", lambda self, picture: (shown.append(picture), show(self, picture)))
    monkeypatch.setattr(webcam.keep_last, "__defaults__", (0.05,))
    assert run("--source", str(video), "--model", str(model)) == 0
    assert len(shown) >= 2
    assert all(picture.shape == shown[0].shape for picture in shown)


@pytest.mark.usefixtures("dummy_display")
def test_quit(model: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Window, "actions", lambda _: ["quit"])
    assert run("--source", str(video), "--model", str(model)) == 0


@pytest.mark.usefixtures("dummy_display")
def test_a_sample_begins_again_in_a_window() -> None:
    once = list(open_source("digit-3").chunks)
    looped = list(itertools.islice(open_source("digit-3", loop=True).chunks, 2 * len(once) + REST_PERIODS))
    times = [chunk.t_us for chunk in looped]
    assert times == sorted(times)
    packets = [chunk.packet for chunk in looped if chunk.packet is not None and len(chunk.packet)]
    first, second = packets[: len(once)], packets[len(once) :]
    assert [len(packet) for packet in first] == [len(packet) for packet in second]
    events = np.concatenate(packets)["t"]
    assert np.all(np.diff(events) >= 0)
    assert max(np.diff(events)) > 500_000, "a rest between two rounds"


def test_actions(model: Path) -> None:
    demo = Demo(Classifier.load(model), open_source("digit-3"))
    demo.do("less events")
    assert demo.threshold > Demo.threshold
    for _ in range(200):
        demo.do("more events")
    assert demo.threshold == webcam.THRESHOLD[0]
    demo.do("pause")
    assert demo.paused
    assert demo.picture().shape[1] == 1120
    assert demo.meters() == []


def test_reset_takes_the_membranes_back(model: Path) -> None:
    demo = Demo(Classifier.load(model), open_source("digit-3"))
    chunks = list(demo.source.chunks)
    before = [p for chunk in chunks[:3] for p in demo.see(chunk)]
    demo.do("reset")
    after = demo.see(chunks[3])
    assert before[-1].step > 1
    assert after[0].step == 1


def test_image_model_sees_frames(video: Path) -> None:
    demo = Demo(tiny(IMAGE_CONTRACT, "pixels"), open_source(str(video)))
    predictions = [p for chunk in demo.source.chunks for p in demo.see(chunk)]
    assert predictions
    assert EVENT_CONTRACT.kind == "events"


@pytest.mark.parametrize("source", ["97", "nothing-of-that-name", "udp://no-port", __file__])
def test_sources_that_do_not_open(source: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SourceError) as error:
        open_source(source)
    assert str(error.value)
    capsys.readouterr()


@pytest.mark.skipif(len(shipped()) < 2, reason="fewer than two models are shipped")
def test_a_sample_brings_its_model(capsys: pytest.CaptureFixture[str]) -> None:
    for source, label in (("digit-3", "3"), ("digit-7", "7"), ("circle", "right"), ("square", "left")):
        assert run("--source", source, "--no-window") == 0
        assert capsys.readouterr().out.splitlines()[-1].split()[2] == label


def test_without_shipped_models_one_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webcam, "shipped", dict)
    with pytest.raises(ValueError, match="name a folder with --model"):
        webcam.default_model("digit-3")


def test_no_model_of_that_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--source", "digit-3", "--model", "nobody", "--no-window") == 2
    assert "no model 'nobody'" in capsys.readouterr().err
