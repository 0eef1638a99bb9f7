"""`spikesight webcam`: every kind of source, lines or a window, what it shows, and what crosses."""

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from spikesight.app import cli
from spikesight.app.webcam import demo as webcam
from spikesight.app.webcam.demo import Counting, Demo, DisplayWindow, NoDisplay, line_of
from spikesight.app.webcam.overlay import DECAY_US, GROUND, PALETTE, Surface, draw, paint
from spikesight.encoders.events import SensorSize, empty_events, make_events
from spikesight.encoders.sources.chunks import Chunk, OpenedSource, open_source
from spikesight.models.classifier import Classifier
from spikesight.models.shipped import find
from spikesight.models.steps import Detection
from spikesight.service.sinks.delivery import message_of
from spikesight.service.sinks.report import Report
from tests.support.models import IMAGE_CONTRACT, kept, tiny
from tests.support.refusals import refusal


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return kept(tmp_path / "tiny")


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


def lines_of(capsys: pytest.CaptureFixture[str], *words: object) -> list[str]:
    """What the command prints without a window."""
    assert run("--source", *map(str, words), "--no-window") == 0
    return capsys.readouterr().out.splitlines()


def test_a_video_is_predicted(model: Path, video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = lines_of(capsys, video, "--model", model)
    assert len(lines) > 20
    assert all(" events " in line and line.endswith(" ms") for line in lines)


def test_predictions_are_sent(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    every, changes = tmp_path / "every.jsonl", tmp_path / "changes.jsonl"
    lines_of(capsys, "digit-3", "--model", model, "--to", f"file:{every}", "--every-step")
    lines_of(capsys, "digit-3", "--model", model, "--to", f"file:{changes}")
    steps = [json.loads(line) for line in every.read_text().splitlines()]
    assert [step["step"] for step in steps] == list(range(1, len(steps) + 1))
    sent = [json.loads(line)["label"] for line in changes.read_text().splitlines()] if changes.exists() else []
    assert sent == [label for label, _ in itertools.groupby(["", *(step["label"] for step in steps)])][1:]
    assert {message["source"] for message in steps} == {"digit-3"}


def test_a_sample_gives_the_classifiers_own_steps(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines, source = lines_of(capsys, "digit-3", "--model", model), open_source("digit-3")
    assert source.sensor is not None
    events = np.concatenate([chunk.packet for chunk in source.chunks if chunk.packet is not None])
    own = Classifier.load(model).predict_events(events, source.sensor)
    assert min(len(own), len(lines)) >= 30
    for line, prediction in zip(lines, own):
        assert line.rsplit("spikes", 1)[0] == line_of(prediction).rsplit("spikes", 1)[0]


@pytest.mark.usefixtures("dummy_display")
def test_a_window_shows_pictures_to_the_sources_end(model: Path, video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pressed = iter([["reset"]])
    shown, show = [], DisplayWindow.show
    monkeypatch.setattr(DisplayWindow, "actions", lambda _: next(pressed, []))
    monkeypatch.setattr(DisplayWindow, "show", lambda self, picture: (shown.append(picture), show(self, picture)))
    monkeypatch.setattr(webcam, "LAST_S", 0.05)
    assert run("--source", str(video), "--model", str(model)) == 0
    assert len(shown) >= 2
    assert all(picture.shape == shown[0].shape for picture in shown)


@pytest.mark.usefixtures("dummy_display")
def test_a_window_scales_its_picture_names_its_keys_and_is_closed() -> None:
    with DisplayWindow("Spikesight: digit-3") as window:
        window.show(np.zeros((60, 80, 3), np.uint8))
        pygame = window.pygame
        assert pygame.display.get_caption()[0] == "Spikesight: digit-3"
        assert window.screen is not None
        assert window.screen.get_size() == (80, 60)
        for text, key in (("r", pygame.K_r), ("Q", pygame.K_q), ("x", pygame.K_x), ("", pygame.K_ESCAPE)):
            pygame.event.post(pygame.event.Event(pygame.KEYDOWN, unicode=text, key=key))
        pygame.event.post(pygame.event.Event(pygame.QUIT))
        assert window.actions() == ["reset", "quit", "quit", "quit"]
        window.screen = smaller = pygame.display.set_mode((40, 30), pygame.RESIZABLE)
        window.show(np.full((60, 80, 3), (200, 0, 5), np.uint8))
        assert smaller.get_at((20, 15))[:3] == (200, 0, 5)
    assert not pygame.display.get_init()


def test_a_window_without_its_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    refusal(lambda: DisplayWindow("Spikesight"), r"pip install 'spikesight\[webcam\]'", NoDisplay)


def test_a_model_of_images_sees_frames(video: Path) -> None:
    demo = Demo(tiny(IMAGE_CONTRACT, "pixels"), open_source(str(video)))
    assert [p for chunk in demo.source.chunks for p in demo.process(chunk)]
    assert demo.picture().shape[2] == 3


def crossing(frames: int) -> Iterator[Chunk]:
    """A seven that goes from the left to the right."""
    for n in range(frames):
        picture = np.full((240, 320), 225, np.uint8)
        x = 40 + 4 * n
        cv2.polylines(picture, [np.array([[x, 70], [x + 70, 70], [x + 30, 170]])], False, 40, 12)
        yield Chunk(n * 33_333, frame=np.repeat(picture[..., None], 3, 2))


def test_what_crosses_is_counted_and_sent(capsys: pytest.CaptureFixture[str]) -> None:
    sent: list[dict[str, Any]] = []
    source, report = OpenedSource("clip", crossing(50), live=False), Report(sent.append, "clip", every_step=False)
    counting = Counting.of("line:160,240,160,0")
    demo = Demo(Classifier.load(find("nmnist")), source, objects=4, counting=counting, report=report)
    webcam.run_without_window(demo, 9)
    (line,) = capsys.readouterr().out.splitlines()
    record = json.loads(line)
    assert (record["label"], record["crossed"], record["count"]) == ("7", "forward", 1)
    told = [one for one in sent if {"source": "clip", "model": "nmnist", **record}.items() <= one.items()]
    assert len(told) == 1
    for message in map(message_of, sent):
        assert json.loads(message.body)["id"] == message.id, "by which receivers know a second copy"
    shown = [one["objects"] for one in sent if one.get("objects")]
    assert {one["label"] for objects in shown for one in objects} == {"7"}
    assert demo.picture().shape[2] == 3


def put(identity: int, x: float, y: float = 50, label: str = "3") -> Detection:
    return Detection(identity, (x - 5, y - 5, 10, 10), label, 0.9, 0.9, None)


def crossed(counting: Counting, *steps: list[Detection]) -> list[tuple[int, str, int]]:
    records = [record for t_us, objects in enumerate(steps) for record in counting.push(objects, t_us)]
    assert json.loads(json.dumps(records)) == records
    return [(record["object"], record["crossed"], record["count"]) for record in records]


def test_a_line_is_crossed_both_ways_and_each_time() -> None:
    line = Counting.of("line:100,0,100,100")
    steps = [[put(1, x), put(2, 200 - x)] for x in (80, 95, 105, 120, 95, 80)]
    assert crossed(line, *steps) == [
        (1, "backward", 1), (2, "forward", 1), (1, "forward", 2), (2, "backward", 2),
    ]  # fmt: skip


def test_what_dithers_on_a_line_is_counted_once_it_is_clear_of_it() -> None:
    steps = [[put(1, x)] for x in (80, 98, 102, 99, 101, 98, 102, 110, 120, 101, 99, 102, 130)]
    assert crossed(Counting.of("line:100,0,100,100"), *steps) == [(1, "backward", 1)]


def test_what_passes_beyond_a_lines_ends_does_not_cross_it() -> None:
    assert crossed(Counting.of("line:100,0,100,100"), [put(1, 90, 150)], [put(1, 110, 150)]) == []


def test_an_object_that_is_not_seen_for_a_while_has_crossed_when_it_is_seen_again() -> None:
    assert len(crossed(Counting.of("line:100,0,100,100"), [put(1, 90)], [], [put(1, 130)])) == 1


def test_counts_are_by_label() -> None:
    steps = [[put(n, x, label=label) for n, label in enumerate("373")] for x in (80, 120)]
    assert crossed(Counting.of("line:100,0,100,100"), *steps) == [
        (0, "backward", 1), (1, "backward", 1), (2, "backward", 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["line", "line:1,2,3", "box:1,2,3,4", "line:1,2,1,2", "line:a,b,c,d", "line:0,0,inf,1"]
)
def test_what_is_no_place_is_refused(text: str) -> None:
    refusal(lambda: Counting.of(text), "in pixels")


SIZE = SensorSize(40, 30)


def field(on: bool, t_us: int, rows: slice = slice(None), columns: slice = slice(None)) -> np.ndarray:
    """One event of every pixel there."""
    y, x = (part[rows, columns].ravel() for part in np.mgrid[: SIZE.height, : SIZE.width])
    return make_events(np.full(x.size, t_us), x, y, np.full(x.size, on))


def test_events_light_up_and_fade() -> None:
    surface = Surface.blank(SIZE).seen(make_events([5, 6], [3, 4], [2, 2], [True, False]), 10)
    colours = paint(surface)
    assert colours.shape == (30, 40, 3)
    assert colours[2, 3, 2] > colours[2, 3, 0], "brighter is blue"
    assert colours[2, 4, 0] > colours[2, 4, 2], "darker is orange"
    assert tuple(colours[0, 0]) == GROUND
    later = surface.seen(empty_events(), 10 + DECAY_US)
    assert later.levels[2, 3] == pytest.approx(np.exp(-1))
    assert surface.levels[2, 3] == 1, "a value does not change"
    assert later.seen(empty_events(), 5).levels[2, 3] == later.levels[2, 3], "time that steps back fades nothing"


def test_events_off_the_picture_are_left_out() -> None:
    events = make_events([1, 1, 1], [-1, 40, 5], [5, 5, 30], [True, True, True])
    assert not Surface.blank(SIZE).seen(events, 10).levels.any()


def test_no_change_of_the_events_picture_is_a_flash() -> None:
    """Of a flash, relative luminance changes by a tenth at least, or a saturated red comes or goes (WCAG 2.3.1)."""
    shares = PALETTE / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    light, (red, _, _) = linear @ [0.2126, 0.7152, 0.0722], (PALETTE.T / 255.0) ** 2.2
    assert np.ptp(light) < 0.1
    assert (red < 0.8 * ((PALETTE / 255.0) ** 2.2).sum(-1)).all()


@pytest.mark.parametrize("camera", [(480, 640), (34, 34), (1, 400)])
def test_a_picture_shows_its_view_whole_and_changes_with_what_is_predicted(camera: tuple[int, int]) -> None:
    events = paint(Surface.blank(SIZE).seen(field(True, 0), 0))
    views = [np.full((*camera, 3), (1, 99, 2), np.uint8), events]
    picture = draw(views, "3", "87 %")
    assert picture.dtype == np.uint8
    for other in (draw(views, "4", "87 %"), draw(views, "3", ""), draw([views[0], events * 0], "3", "87 %")):
        assert other.shape == picture.shape
        assert (picture != other).any()
    assert draw([events], "Ω", "").shape == picture.shape
    rows, columns = np.nonzero((picture == (1, 99, 2)).all(2))
    tall, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert wide / tall == pytest.approx(camera[1] / camera[0], rel=0.01 if camera[0] > 1 else 0.5)
    assert columns.max() < picture.shape[1] / 2
