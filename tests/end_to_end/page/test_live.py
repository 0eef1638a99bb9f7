"""The page in a real browser: a fake camera, a dropped file, a shipped recording, and what goes wrong.

Skips where there is no Chromium.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.browsers.chromium import (
    Nearby,
    Visit,
    Visitor,
    digit_on_paper,
    drop,
    filmed_digit,
    has_models,
    mjpeg,
    needs_chromium,
    nmnist_file,
    violations,
)
from tests.support.inputs.samples import coat, empty_desk, face

pytest.importorskip("playwright", reason="playwright is not installed: pip install 'spikesight[dev]'")
from playwright.sync_api import Page, Route

from spikesight.app.webcam.overlay import luminance
from spikesight.encoders.sources.samples import listing

pytestmark = needs_chromium


def test_a_recording_plays_before_any_click(visit: Visitor) -> None:
    seen = visit()
    page = seen.page
    page.add_init_script("navigator.mediaDevices.getUserMedia = () => { document.title = 'asked'; };")
    seen.finished()
    seen.forget()
    page.reload()
    seen.until(lambda: any(m["reset"] for m in seen.of("prediction")[1:]), "a second round")
    shown = [m["steady"] for m in seen.of("prediction")]
    assert set(shown[shown.index("0") :]) == {"0"}, "its label, from the first one on, through its loop"
    assert set(shown[: shown.index("0")]) <= {""}
    assert page.locator("#label").inner_text() == "0"
    assert page.title() != "asked", "no camera is asked for"
    assert page.locator("#start").is_visible()
    assert "thick pen" in page.locator("#hint").inner_text()
    assert page.locator("#model option").all_inner_texts() == ["Digits from events"]
    assert page.evaluate("document.activeElement === document.body"), "it takes no focus"
    drawn = page.evaluate("[...document.querySelectorAll('#samples canvas')].map((c) => c.toDataURL())")
    assert len(set(drawn)) == page.locator("#samples button").count() == len(listing())
    seen.click("Pause")
    seen.until(seen.hears_nothing, "it can be paused")
    seen.click("Stop")
    assert page.locator("#start").is_visible()
    assert seen.errors == []


def test_what_is_no_class_is_said_in_words(visit: Visitor) -> None:
    seen = visit(reduced_motion="reduce")
    shown = seen.page.evaluate(
        """async () => {
          const { Answer } = await import("/shared/answer.js");
          const parts = ["root", "age", "label", "confidence", "classes", "live"];
          const at = Object.fromEntries(parts.map((part) => [part, document.createElement("p")]));
          const answer = new Answer(at), said = [];
          for (const labels of [[..."0123456789"], ["left", "right"], ["cat", "nothing"]]) {
            answer.setLabels(labels);
            for (const steady of ["", "unknown", "nothing", labels[0]]) {
              answer.show(labels.map((_, k) => (k ? 0 : 1)), steady, 1e6 * said.length);
              said.push([at.label.textContent, at.confidence.textContent, at.classes.querySelectorAll(".best").length]);
            }
          }
          return [said, at.live.textContent];
        }"""
    )
    assert shown == [
        [
            ["–", "", 0],
            ["no digit here", "", 0],
            ["nothing to see", "", 0],
            ["0", "100 %", 1],
            ["–", "", 0],
            ["no motion it knows", "", 0],
            ["nothing moves", "", 0],
            ["left", "100 %", 1],
            ["–", "", 0],
            ["nothing it knows", "", 0],
            ["nothing", "0 %", 1],
            ["cat", "100 %", 1],
        ],
        "Prediction: cat",
    ]


def test_what_is_looked_at_and_what_is_kept(visit: Visitor) -> None:
    seen = visit(reduced_motion="reduce")
    outline, units = seen.page.evaluate(
        """async () => {
          const { RoiBox } = await import("/shared/pictures/roi.js");
          const { Meters } = await import("/live/views/meters.js");
          const canvas = document.getElementById("events"), roi = new RoiBox(), list = document.createElement("dl");
          Object.assign(canvas, { width: 40, height: 30 });
          roi.draw(canvas, [10, 15, 20]);
          const box = roi.outline.getBoundingClientRect(), all = canvas.getBoundingClientRect();
          const side = Math.min(all.width / 40, all.height / 30), middle = all.left + all.width / 2;
          const outline = [(box.left - middle) / side + 20, box.width / side];
          roi.draw(canvas, null);
          const meters = new Meters(list), units = [roi.outline.hidden];
          for (const told of [{}, { events_in: 100, events_kept: 80 }, { events_in: 300, events_kept: 140 }]) {
            meters.prediction({ n_events: 5, start_us: 0, end_us: 1000, spikes: 0, synops: 0, step_ms: 1, ...told }, 0);
            meters.draw(1);
            units.push(list.querySelector("[data-meter=events] small").textContent);
          }
          return [outline, units];
        }"""
    )
    assert outline == pytest.approx([10, 20], abs=0.2)
    assert units == [True, "/s", "/s, 80 % kept", "/s, 47 % kept"]


def test_camera_gives_predictions(visit: Visitor) -> None:
    seen = has_models(visit())
    seen.click("Start camera")
    seen.until(lambda: len(seen.of("prediction")) > 20, "twenty predictions")
    heard = ("prediction", "ack")
    seen.until(lambda: len({m["seq"] for _, m in seen.heard if m["type"] in heard}) >= 2, "frames are acknowledged")
    seen.until(lambda: sum(m["n_events"] for m in seen.of("prediction")) > 1000, "events of its movement")
    seen.until(lambda: seen.pictures > 0, "event pictures are sent")
    seen.until(lambda: seen.lit("events") > 4, "an event picture")
    seen.until(lambda: seen.lit("preview") > 20, "a camera picture")
    seen.until(lambda: seen.lit("raster") > 1, "spikes")
    answers = {*seen.of("ready")[0]["labels"], "no digit here"}
    seen.until(lambda: seen.page.locator("#label").inner_text() in answers, "a label or what it is not")
    assert seen.page.locator("#classes meter").count() == 10
    seen.until(lambda: "% of an ANN" in seen.value("synops"), "the cost beside an ANN's")
    seen.until(lambda: seen.page.locator("#live").inner_text().startswith("Prediction: "), "it is said aloud")
    seen.click("Pause")
    seen.until(seen.hears_nothing, "a paused page sends nothing")
    count = len(seen.heard)
    seen.click("Pause")
    seen.until(lambda: len(seen.heard) > count, "it goes on")
    seen.click("Stop")
    assert seen.page.locator("#start").is_visible()
    assert seen.errors == []
    assert seen.hosts <= {"localhost", ""}, "nothing is fetched from elsewhere"


def test_records_a_video_and_the_predictions(visit: Visitor, tmp_path: Path) -> None:
    seen = has_models(visit())
    seen.click("Start camera")
    seen.until(lambda: seen.of("prediction"), "a prediction")
    for kind in ("video", "predictions"):
        seen.click("Settings")
        seen.page.locator("#record-kind").select_option(kind)
        seen.click("Done")
        seen.click("Record")
        count = len(seen.of("prediction"))
        seen.until(lambda count=count: len(seen.of("prediction")) > count + 20, "more predictions")
        with seen.page.expect_download() as download:
            seen.click("Stop and save")
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        if kind == "video":
            assert path.suffix == ".webm"
            good, frame = cv2.VideoCapture(str(path)).read()
            assert good
            assert frame.shape == (420, 960, 3)
            assert frame.std() > 5
        else:
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            assert len(lines) > 10
            assert {"step", "label", "probabilities", "spikes"} <= set(lines[0])
    assert seen.errors == []


def test_dropped_image(visit: Visitor, digit: Path) -> None:
    seen = has_models(visit())
    drop(seen, digit, "image/png")
    seen.until(lambda: seen.page.locator("#train-controls").is_visible(), "the spike train")
    page = seen.page
    labels = page.locator("#classes li > span:first-child").all_inner_texts()
    seen.until(lambda: page.locator("#label").inner_text() in labels, "its label")
    seen.until(lambda: seen.lit("preview") > 5 and seen.lit("events") > 1, "its picture and its spikes")
    for what in ("membrane", "probability"):
        page.locator("#trace-what").select_option(what)
        seen.until(lambda: seen.lit("trace") > 3, f"the {what} of the leading classes")
    steps = int(page.locator("#at").get_attribute("max") or 0)
    assert steps >= 10
    page.locator("#at").fill("1")
    bars, values = page.locator("#classes meter"), "meters => meters.map((meter) => meter.value)"
    first = bars.evaluate_all(values)
    assert len(first) == len(labels)
    assert page.locator("#at-value").inner_text() == f"1 / {steps}"
    page.locator("#at").fill(str(steps))
    assert bars.evaluate_all(values) != first
    for code in ("rate", "latency", "direct"):
        page.locator("#encoding").select_option(code)
        seen.until(lambda: page.locator("#at").get_attribute("max") == "16", f"{code} has 16 steps")
        seen.until(lambda: page.locator("#train-note").is_visible(), "who reads this code")
        seen.until(lambda: seen.lit("events") > 1 and seen.lit("raster") > 1, "its spikes")
    page.locator("#steps").focus()
    page.keyboard.press("ArrowRight")
    seen.until(lambda: page.locator("#at").get_attribute("max") == "17", "one step more")
    seen.click("Play")
    before = page.locator("#at").input_value()
    seen.until(lambda: page.locator("#at").input_value() != before, "it walks")
    seen.click("Close")
    assert page.locator("#start").is_visible()
    assert seen.errors == []


def test_dropped_recording(visit: Visitor, tmp_path: Path) -> None:
    path = nmnist_file(tmp_path / "three.bin", "digit-3")
    seen = has_models(visit())
    drop(seen, path, "application/octet-stream")
    seen.until(lambda: seen.page.locator("#train-controls").is_visible(), "the spike train")
    assert seen.page.locator("#encoding option").count() == 1
    seen.until(lambda: seen.lit("preview") > 5, "a long exposure")
    assert seen.page.evaluate("[preview.width, preview.height]") == [34, 34], "at its own resolution"
    assert "in 0.3" in seen.value("events")
    assert not seen.page.locator("#upload").is_visible()
    assert seen.errors == []


def test_a_dropped_recording_shows_what_was_looked_at(visit: Visitor, tmp_path: Path) -> None:
    seen = has_models(visit())
    drop(seen, filmed_digit(tmp_path / "three.npz"), "application/octet-stream")
    seen.until(lambda: seen.looked_at("preview"), "the window on the digit")
    seen.until(lambda: seen.page.evaluate("preview.width") == 320, "the sensor's picture below it")
    seen.until(lambda: seen.looked_at("preview") == pytest.approx([160, 120, 160], abs=30), "it lies on the digit")
    seen.click("Close")
    assert seen.looked_at("preview") is None
    drop(seen, nmnist_file(tmp_path / "three.bin", "digit-3"), "application/octet-stream")
    seen.until(lambda: seen.lit("preview") > 5, "a small sensor's picture")
    assert seen.looked_at("preview") is None, "all of it is looked at"
    assert seen.errors == []


def test_a_long_upload_says_how_far_it_is(visit: Visitor, tmp_path: Path) -> None:
    seen = has_models(visit())
    page = seen.page
    held: list[Route] = []
    page.route("**/v1/predict?*", lambda route: held.append(route))
    drop(seen, nmnist_file(tmp_path / "three.bin", "digit-3"), "application/octet-stream")
    seen.until(lambda: held, "it is sent")
    seen.until(lambda: "sending" in page.locator("#upload").inner_text(), "what is waited for")
    held[0].continue_()
    seen.until(lambda: not page.locator("#upload").is_visible(), "it is over")


def test_dropped_video(visit: Visitor, tmp_path: Path) -> None:
    path = tmp_path / "three.webm"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), 30, (640, 480))
    for n in range(45):
        writer.write(digit_on_paper(2 * np.pi * n / 45))
    writer.release()
    seen = has_models(visit())
    drop(seen, path, "video/webm")
    seen.until(lambda: len(seen.of("prediction")) > 10, "predictions")
    seen.until(lambda: seen.lit("preview") > 20, "its picture")
    assert seen.page.locator("#source-title").inner_text() == "Video"
    seen.click("Stop")
    (tmp_path / "no.webm").write_text("dear network")
    drop(seen, tmp_path / "no.webm", "video/webm")
    seen.until(lambda: "This video cannot be shown." in seen.notice(), "the reason")
    assert seen.page.locator("#start").is_visible()


def test_sample_plays_without_a_camera(visit: Visitor) -> None:
    seen = has_models(visit())
    seen.click("Play the recording digit 3")
    seen.until(lambda: len(seen.of("prediction")) >= 8, "most of a recording's steps")
    seen.until(lambda: seen.lit("preview") > 5, "a long exposure")
    seen.until(lambda: seen.lit("events") > 2, "an event picture")
    seen.page.locator("#speed").select_option("1")
    seen.until(lambda: any(m["reset"] for m in seen.of("prediction")), "the next round begins with membranes at rest")
    rounds = [m["step"] for m in seen.of("prediction")]
    assert rounds[:8] == list(range(1, 9)), "no step is lost"
    seen.click("Pause")
    seen.until(seen.hears_nothing, "a paused page sends nothing")
    count = len(seen.heard)
    seen.until(lambda: (seen.click("Step"), len(seen.heard) > count)[1], "one step at a time")
    assert seen.errors == []


def test_shorter_steps_and_what_is_committed_to(visit: Visitor) -> None:
    seen = has_models(visit())
    page = seen.page
    page.locator("#settings-open").click()
    assert page.locator("#bin option").all_inner_texts() == [
        "31 ms, as trained",
        "20 ms",
        "10 ms",
        "5 ms",
        "2 ms",
        "1 ms",
    ]
    page.locator("#bin").select_option("5")
    page.locator("#settings button.primary").click()
    seen.forget()
    seen.click("Play the recording digit 3")
    line, left, said = page.locator("#committed"), set[int](), list[str]()

    def crossed_out() -> bool:
        left.add(page.locator("#classes li:not(.out)").count())
        return max(left) > min(left)

    def committed() -> bool:
        said.append(line.inner_text())
        return any(m["committed"] for m in seen.of("prediction")) and "committed after" in said[-1]

    seen.until(crossed_out, "what is ruled out is crossed out, one after the other")
    seen.until(committed, "a commitment, and when it was made")
    steps, times, begin_us = seen.of("prediction"), list[str](), None
    assert {m["end_us"] - m["start_us"] for m in steps} == {5000}
    for m in steps:
        begin_us = m["start_us"] if m["step"] == 1 else begin_us
        if m["committed"] and begin_us is not None:  # the first of its round
            assert m["committed"] == "3"
            times.append(f"committed after {round((m['end_us'] - begin_us) / 1000)} ms")
            begin_us = None
    assert said[-1] in times
    seen.click("Stop")
    assert line.is_hidden()
    assert seen.errors == []


def test_shown_code_runs(visit: Visitor, digit: Path) -> None:
    seen = has_models(visit())
    drop(seen, digit, "image/png")
    seen.until(lambda: seen.page.locator("#train-controls").is_visible(), "an answer")
    label = seen.page.locator("#label").inner_text()
    code = seen.page.locator("#python-text").text_content() or ""
    said = subprocess.run([sys.executable, "-c", code], cwd=digit.parent, capture_output=True, text=True, check=True)
    assert said.stdout.split()[0] == label
    if curl := shutil.which("curl"):
        words = seen.page.locator("#curl-text").text_content() or ""
        command = words.replace("curl", f"{curl} -s", 1)
        said = subprocess.run(["sh", "-c", command], cwd=digit.parent, capture_output=True, text=True, check=True)
        assert json.loads(said.stdout)["label"] == label


# Safety.


Show = Callable[[list[np.ndarray]], object]


@pytest.fixture
def before_the_camera(camera_file: Path) -> Iterator[Show]:
    """Show other frames, until the test's end."""
    usual = camera_file.read_bytes()
    yield lambda frames: mjpeg(camera_file, frames)
    camera_file.write_bytes(usual)


def watch(seen: Visit, canvases: list[str], seconds: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What canvases show, at every paint: times [n] in ms and relative luminance [n, 192] of a grid of pixels."""
    said = seen.page.evaluate(
        """async ([ids, ms]) => {
          const small = document.createElement("canvas"), samples = [];
          Object.assign(small, { width: 16, height: 12 });
          const context = small.getContext("2d", { willReadFrequently: true });
          context.imageSmoothingEnabled = false;
          const grid = (id) => {
            context.drawImage(document.getElementById(id), 0, 0, 16, 12);
            return [...context.getImageData(0, 0, 16, 12).data].filter((_, i) => i % 4 < 3);
          };
          const end = performance.now() + ms;
          while (performance.now() < end) samples.push([await new Promise(requestAnimationFrame), ids.map(grid)]);
          return JSON.stringify(samples); }""",
        [canvases, 1000 * seconds],
    )
    samples = json.loads(said)  # a text: the driver wraps every number of an array
    times = np.array([now for now, _ in samples])
    pixels = np.array([grids for _, grids in samples]).reshape(len(samples), len(canvases), -1, 3)
    return {name: (times, luminance(pixels[:, n])) for n, name in enumerate(canvases)}


def swing_times(times: np.ndarray, values: np.ndarray, least: float = 0.1) -> list[float]:
    """When one pixel's luminance turned by `least` or more against its last turn (WCAG 2.3.1)."""
    swings, extreme, rising = [], values[0], True
    for now, value in zip(times, values):
        if (value > extreme) == rising and value != extreme:
            extreme = value
        elif abs(value - extreme) >= least:
            swings.append(float(now))
            extreme, rising = value, not rising
    return swings


@pytest.mark.parametrize("shown", [empty_desk, coat, face], ids=lambda shown: shown.__name__)
def test_no_label_where_there_is_no_digit(
    shown: Callable[[float], np.ndarray], visit: Visitor, before_the_camera: Show
) -> None:
    before_the_camera([shown(2 * np.pi * n / 45) for n in range(45)])
    seen = has_models(visit())
    seen.click("Start camera")
    seen.until(lambda: len(seen.of("prediction")) > 90, "predictions, though there is no digit")
    said = [message["steady"] for message in seen.of("prediction")]
    assert shown is not empty_desk or {*said} <= {"", "nothing"}, "what does not move and is no drawing is nothing"
    assert sum(label in ("", "unknown", "nothing") for label in said) >= 0.98 * len(said), said
    words = {"nothing to see"} if shown is empty_desk else {"nothing to see", "no digit here"}
    seen.until(lambda: seen.page.locator("#label").inner_text() in words, "it is said in words")


def most_flashes(times: np.ndarray, light: np.ndarray) -> float:
    """The most flashes in any second that at least a quarter of the pixels make; one flash is two opposing swings."""
    every = [np.array(swing_times(times, pixel)) for pixel in light.T]
    counts = [np.searchsorted(swings, times + 1000) - np.searchsorted(swings, times) for swings in every]
    return float(np.quantile(counts, 0.75, axis=0).max()) / 2


def test_no_flashing(visit: Visitor, before_the_camera: Show) -> None:
    before_the_camera([np.full((240, 320, 3), value, np.uint8) for value in (16, 235)] * 15)
    seen = has_models(visit())
    seen.click("Start camera")
    seen.until(lambda: len(seen.of("prediction")) > 5, "predictions")
    for canvas, (times, light) in watch(seen, ["events", "preview"], 3).items():
        flashes = most_flashes(times, light)
        print(f"\n{canvas}: at most {flashes} flashes a second in {len(times)} paints of a 15 Hz full-field lamp")
        assert flashes <= 3


def test_flash_counter_counts() -> None:
    times = np.arange(0, 3000, 1000 / 60)
    for hertz in (1, 2, 5, 15):
        lamp = (np.floor(times / 1000 * hertz * 2) % 2)[:, None].repeat(4, 1)
        assert most_flashes(times, lamp) == pytest.approx(hertz, abs=0.6)
        assert most_flashes(times, lamp * 0.09) == 0


def test_reduced_motion_is_a_still_view(visit: Visitor) -> None:
    seen = has_models(visit(reduced_motion="reduce"))
    assert seen.page.locator("#still").is_checked()
    seen.click("Start camera")
    seen.until(lambda: seen.of("prediction"), "predictions")
    _, light = watch(seen, ["events"], 2.5)["events"]
    changes = np.count_nonzero((np.diff(light, axis=0) != 0).any(1))
    assert changes <= 3
    before = len(seen.heard)
    seen.until(lambda: len(seen.heard) > before, "predictions go on")


# For all.


def test_keyboard_alone(visit: Visitor) -> None:
    seen = visit()
    page = seen.page
    seen.until(lambda: page.locator("#stop").is_visible(), "a recording plays by itself")

    def focused() -> str:
        return page.evaluate("document.activeElement.id || document.activeElement.className")

    def walk_to(name: str) -> None:
        for _ in range(12):
            if focused() == name:
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"Tab does not reach {name}, but {focused()}")

    page.keyboard.press("Tab")
    assert focused() == "skip"
    walk_to("start")
    seen.forget()
    page.keyboard.press("Enter")
    seen.until(lambda: focused() == "stop", "the camera runs")
    seen.until(lambda: seen.of("prediction"), "predictions")
    walk_to("pause")
    page.keyboard.press("Space")
    assert page.locator("#pause").get_attribute("aria-pressed") == "true"
    page.locator("#settings-open").focus()
    page.keyboard.press("Enter")
    assert page.locator("#settings").is_visible()
    page.keyboard.press("ArrowRight")
    assert page.locator("#threshold-value").inner_text() == "0.21"
    page.keyboard.press("Escape")
    assert not page.locator("#settings").is_visible()
    assert focused() == "settings-open"
    page.locator("#stop").focus()
    page.keyboard.press("Enter")
    seen.until(lambda: focused() == "start", "it stops")
    assert seen.errors == []


def test_axe_finds_nothing(visit: Visitor, axe: str, digit: Path) -> None:
    seen = has_models(visit(bypass_csp=True, reduced_motion="reduce"))
    seen.page.add_script_tag(content=axe)

    def check() -> None:
        for scheme in ("light", "dark"):
            seen.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            assert violations(seen) == []

    check()
    seen.click("Start camera")
    seen.until(lambda: len(seen.of("prediction")) > 10, "predictions")
    seen.click("Pause")
    check()
    seen.click("Settings")
    check()
    seen.click("Done")
    drop(seen, digit, "image/png")
    seen.until(lambda: seen.page.locator("#train-controls").is_visible(), "a spike train")
    check()


def test_fits_narrow_screens(visit: Visitor, digit: Path) -> None:
    seen = has_models(visit())

    def check() -> None:
        for width in (320, 390, 768, 1024):
            seen.page.set_viewport_size({"width": width, "height": 844})
            assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        heights = seen.page.evaluate("[...document.querySelectorAll('.controls button')].map((b) => b.offsetHeight)")
        assert all(height >= 38 for height in heights if height), "large enough for fingers"

    check()
    seen.click("Play the recording digit 3")
    seen.until(lambda: seen.of("prediction"), "predictions")
    check()
    drop(seen, digit, "image/png")
    seen.until(lambda: seen.page.locator("#train-controls").is_visible(), "a spike train")
    check()


# What goes wrong.


def test_camera_denied(launch: Visitor) -> None:
    seen = launch("--use-fake-device-for-media-stream", "--deny-permission-prompts")
    seen.click("Start camera")
    seen.until(lambda: "Camera permission denied." in seen.notice(), "the reason")
    assert seen.page.locator("#start").is_enabled()


def test_no_camera(launch: Visitor) -> None:
    seen = launch("--use-fake-ui-for-media-stream")
    seen.click("Start camera")
    seen.until(lambda: "No camera found." in seen.notice(), "the reason")


def test_insecure_address(visit: Visitor, service: Nearby) -> None:
    seen = has_models(visit(service.url.replace("localhost", "demo.test")))
    assert "not secure" in seen.notice()
    seen.click("Start camera")
    seen.until(lambda: "https://" in seen.notice(), "the way out")
    seen.click("Play the recording digit 3")
    seen.until(lambda: seen.of("prediction"), "recordings play all the same")


def test_file_that_is_no_sample(visit: Visitor, tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("dear network")
    seen = has_models(visit())
    drop(seen, path, "text/plain")
    seen.until(lambda: "No prediction for this file." in seen.notice(), "the reason")
    assert "neither an image" in seen.notice()
    assert seen.page.locator("#start").is_visible()


def test_model_gone(visit: Visitor) -> None:
    seen = has_models(visit())
    seen.page.evaluate("document.getElementById('model').options[0].value = 'gone'")
    seen.click("Start camera")
    seen.until(lambda: "no model of that name" in seen.notice(), "the reason")
    assert seen.page.locator("#link").get_attribute("data-state") == "refused"


def test_camera_of_the_server(model: str, visit: Visitor, tmp_path: Path) -> None:
    path = nmnist_file(tmp_path / "three.bin", "digit-3")
    served = Nearby(model, cameras=(f"file:{path}?loop=1", f"file:{path}?speed=0.1"))
    try:
        seen = has_models(visit(served.url))
        buttons = seen.page.get_by_role("button", name="Watch file:three.bin")
        seen.until(lambda: buttons.count() == 2, "both cameras are offered")
        looped, once = buttons.all()
        looped.click()
        seen.until(lambda: len(seen.of("prediction")) > 20, "predictions")
        seen.until(lambda: seen.lit("events") > 4, "an event picture")
        seen.until(lambda: seen.value("latency")[:1].isdigit(), "how long an answer takes")
        assert 0 <= float(seen.value("latency").split()[0].removesuffix("ms")) < 60_000
        seen.click("Stop")
        once.click()
        seen.until(lambda: "The camera has ended." in seen.notice(), "its end")
        assert seen.errors == []
    finally:
        served.stop()


def enter_token(page: Page, token: str) -> None:
    page.locator("#token").fill(token)
    page.locator("#token").press("Tab")
    page.get_by_role("button", name="Done").click()


def test_token_then_busy_then_gone_then_back(model: str, visit: Visitor) -> None:
    token = "a-token-for-the-test"
    served = Nearby(model, max_sessions=1, token=token)
    try:
        seen = visit(served.url)
        seen.until(lambda: "asks for a token" in seen.notice(), "the token is asked for")
        seen.page.locator("#notice-action").click()
        enter_token(seen.page, token)
        has_models(seen)
        seen.click("Play the recording digit 3")
        seen.until(lambda: seen.of("prediction"), "predictions")
        other = seen.page.context.new_page()
        other.goto(served.url)
        other.locator("#settings-open").click()
        enter_token(other, token)
        other.get_by_role("button", name="Play the recording digit 3").click()
        seen.until(lambda: "The server is busy." in other.locator("#notice").inner_text(), "no room for another")
        other.close()
        served.stop()
        seen.until(lambda: "The server is gone." in seen.notice(), "the reason")
        seen.until(lambda: "from before" in seen.page.locator("#answer-age").inner_text(), "the old answer fades")
        count = len(seen.of("prediction"))
        served = Nearby(model, port=served.port, token=token)
        seen.until(lambda: len(seen.of("prediction")) > count, "it reconnects by itself")
        seen.until(lambda: not seen.page.locator("#notice").is_visible(), "nothing is wrong any more")
        seen.until(lambda: not seen.page.locator("#answer-age").inner_text(), "a new answer")
    finally:
        served.stop()
