"""The parts of the desktop demo with clocks, windows and files that are the test's: pace, pauses, meters, a video."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from spikesight.app.webcam import demo as webcam
from spikesight.app.webcam.demo import Demo, Recorder, line_of, watch
from spikesight.encoders.roi.window import Window as Window2D
from spikesight.encoders.sources.chunks import open_source
from tests.support.models import PREDICTION, tiny


class Clock:
    """Seconds that pass where somebody sleeps, and so many for each picture that is shown."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, picture_s: float = 0.0) -> None:
        self.now, self.shown, self.picture_s = 10.0, list[float](), picture_s
        monkeypatch.setattr(webcam, "time", self)

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds

    def show(self, _: np.ndarray) -> None:
        self.shown.append(self.now - 10.0)
        self.now += self.picture_s

    def window(self, *pressed: list[str]) -> Any:
        keys = iter(pressed)
        return SimpleNamespace(show=self.show, actions=lambda: next(keys, []))


def seen(*times_ms: int, live: bool = False) -> tuple[Any, list[int]]:
    """A demo of chunks at these times, and which of them it has seen."""
    chunks, looked = [SimpleNamespace(t_us=1000 * t) for t in times_ms], list[int]()

    def do(action: str) -> None:
        made.paused = action == "pause" and not made.paused

    made = SimpleNamespace(
        source=SimpleNamespace(chunks=chunks, live=live), paused=False, picture=lambda: np.zeros(1), do=do,
        see=lambda chunk: looked.append(chunk.t_us // 1000),
    )  # fmt: skip
    return made, looked


def test_the_last_picture_stays_for_two_seconds_or_until_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    demo, _ = seen()
    clock = Clock(monkeypatch)
    webcam.keep_last(demo, clock.window())
    assert clock.now == pytest.approx(12, abs=0.04)
    assert len(clock.shown) == 67
    webcam.keep_last(demo, clock.window([], ["mirror"]))
    assert len(clock.shown) == 68


def test_a_window_shows_a_source_in_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webcam, "keep_last", lambda *_: None)
    clock, (demo, looked) = Clock(monkeypatch), seen(100, 400, 500)
    webcam.watch_window(demo, clock.window(), 0.45, None)
    assert looked == [100, 400], "up to so many seconds of the source"
    assert clock.shown == pytest.approx([0.0, 0.1])
    assert clock.now == pytest.approx(10.4)


def test_pictures_are_skipped_when_late_and_predictions_never(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[object] = []
    monkeypatch.setattr(webcam, "keep_last", lambda *_: held.append(1))
    clock, (demo, looked) = Clock(monkeypatch, picture_s=0.3), seen(0, 50, 100, 250, 900)
    webcam.watch_window(demo, clock.window(), 9, None)
    assert looked == [0, 50, 100, 250, 900]
    assert clock.shown == pytest.approx([0.0, 0.3, 0.6])
    assert held == [1]
    live, _ = seen(0, 50, 100, live=True)
    clock = Clock(monkeypatch, picture_s=0.3)
    webcam.watch_window(live, clock.window(), 9, None)
    assert len(clock.shown) == 3, "what is live is never late"
    assert held == [1]


def test_a_pause_moves_the_sources_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webcam, "keep_last", lambda *_: None)
    clock, (demo, looked) = Clock(monkeypatch), seen(30, 90)
    webcam.watch_window(demo, clock.window(["pause"], [], [], ["pause"]), 9, None)
    assert looked == [30, 90]
    assert clock.shown == pytest.approx([0.0, 0.03, 0.06, 0.09, 0.12])
    assert clock.now == pytest.approx(10.18)
    for keys in ([["quit"]], [["pause"], ["quit"]]):
        demo, looked = seen(30, 90)
        webcam.watch_window(demo, clock.window(*keys), 9, None)
        assert not looked


def test_a_mirror_turns_the_picture_and_the_window_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    demo, drawn = Demo(tiny(), open_source("digit-3")), list[dict[str, Any]]()
    monkeypatch.setattr(webcam, "draw", lambda *_, **how: drawn.append(how) or np.zeros(1))
    demo.picture()
    demo.camera = np.arange(10)[None].repeat(2, 0)
    demo.session = SimpleNamespace(window=Window2D(1, 2, 3))  # type: ignore[assignment]
    demo.picture()
    demo.do("mirror")
    demo.picture()
    demo.session.window = None  # type: ignore[misc]
    demo.picture()
    assert [how["window"] for how in drawn[1:]] == [Window2D(1, 2, 3), Window2D(6, 2, 3), None]
    assert [how["camera"][0, 0] for how in drawn[1:]] == [0, 9, 9]
    assert (drawn[0]["camera"], drawn[0]["history"], drawn[0]["steady"]) == (None, None, "")


def test_what_is_recorded_ends_with_the_seconds_that_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webcam, "keep_last", lambda *_: None)
    for live in (False, True):
        kept: list[int] = []
        recorder: Any = SimpleNamespace(add=lambda _, t_us, kept=kept: kept.append(t_us))
        clock, (demo, looked) = Clock(monkeypatch), seen(100, 500, 501, live=live)
        webcam.watch_window(demo, clock.window(), 0.5, recorder)
        assert looked == [100, 500]
        assert kept == [100_000, 500_000]
        said: list[str] = []
        demo, looked = seen(100, 500, 501)
        demo.see = lambda chunk, looked=looked: looked.append(chunk.t_us) or [PREDICTION]
        watch(demo, 0.5, recorder, said.append)
        assert looked == [100_000, 500_000]
        assert kept == [100_000, 500_000] * 2
        assert said == [line_of(PREDICTION)] * 2


def test_a_video_lasts_as_long_as_its_source_and_keeps_its_colours(tmp_path: Path) -> None:
    recorder, picture = Recorder(tmp_path / "out.mp4"), np.zeros((49, 65, 3), np.uint8)
    picture[..., 0] = 200
    for t_us in (0, 33_000, 100_000, 99_000, 1_000_000):
        recorder.add(picture, t_us)
    recorder.close()
    video = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == pytest.approx(video.get(cv2.CAP_PROP_FPS), abs=1.1)
    good, frame = video.read()
    assert good
    assert frame.shape == (48, 64, 3), "even sides"
    assert frame[20, 20].argmax() == 2, "red, which OpenCV reads last"


def test_meters_are_of_the_last_second(monkeypatch: pytest.MonkeyPatch) -> None:
    demo, clock = Demo(tiny(), open_source("digit-3")), Clock(monkeypatch)
    assert demo.meters() == []
    demo._remember([PREDICTION, PREDICTION])
    clock.now += 0.5
    demo._remember([PREDICTION])
    clock.now += 0.5
    demo._remember([])
    assert demo.recent == [(10.5, 90)], "a second ago is no longer"
    assert demo.history == [PREDICTION.probabilities] * 3
    demo._remember([PREDICTION] * 300)
    assert len(demo.history) == webcam.HISTORY
    demo.answer = SimpleNamespace(prediction=PREDICTION, steady="two")  # type: ignore[assignment]
    demo.classifier = SimpleNamespace(ann_macs=12_000_000, origin="direct", labels=("a", "b"))  # type: ignore[assignment]
    demo.recent = [(0.0, 1234), (0.0, 1)]
    demo.threshold = 0.256
    demo.session = SimpleNamespace(pipeline=None, window=None)  # type: ignore[assignment]
    assert demo.meters() == [
        ("Events", "1,235 /s"), ("Spikes", "120 a step"), ("Synaptic operations", "3.00 M, 25% of ANN"),
        ("Step time", "0.1 ms"), ("Threshold", "0.26"),
    ]  # fmt: skip
    demo.classifier = SimpleNamespace(ann_macs=0, origin="ann", labels=("a", "b"))  # type: ignore[assignment]
    assert demo.meters()[1:3] == [("Spikes", "none: an ANN"), ("Synaptic operations", "3.00 M, 300000000% of ANN")]
    for plain, n_events, kept in ((False, 8, ", 25% kept"), (True, 8, ""), (False, 0, "")):
        counted = SimpleNamespace(plain=plain, n_events=n_events, n_kept=2)
        demo.session.pipeline = SimpleNamespace(filter=counted)  # type: ignore[assignment]
        assert demo.meters()[0] == ("Events", f"1,235 /s{kept}")
