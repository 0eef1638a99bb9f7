"""The page in a real browser: cameras, dropped files, shipped recordings, and what goes wrong."""

import re
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest

from spikesight.encoders.sources.samples import names
from tests.support import chromium
from tests.support.chromium import Show, Visit, Visitor, has_models, needs_chromium, nmnist_file, served
from tests.support.inputs.things import digit_on_paper, one_turn

pytest.importorskip("playwright", reason="playwright is not installed: pip install 'spikesight[dev]'")
from playwright.sync_api import Page, Playwright, Route, WebSocketRoute

pytestmark = needs_chromium


LOOPS = """() => {
  window.loops = 0; // that wait for a video's next frame
  const ask = HTMLVideoElement.prototype.requestVideoFrameCallback;
  HTMLVideoElement.prototype.requestVideoFrameCallback = function (call) {
    loops++;
    return ask.call(this, (...frame) => { loops--; call(...frame); });
  };
}"""
HIDE = """(hidden) => {
  Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
LIT = "(all) => all.map((c) => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size)"
COMMITTED = """async () => {
  const { showCommitment } = await import("/live/views/conformal.js"), line = document.createElement("p");
  const commitment = { label: "3", set: ["3"], risk: 0.01, shifted: false, at_us: 460000 };
  showCommitment(line, { end_us: 520000, commitment }, 0.05);
  return line.textContent;
}"""
WORDS = """async () => {
  const { headline } = await import("/shared/answer.js");
  const labels = [..."0123456789"], of = (shares) => labels.map((label) => shares[label] ?? 0);
  const said = (label, more) => headline({ labels, label, probabilities: of({ 1: 0.27, 7: 0.25, 4: 0.1 }), ...more });
  return [said(""), said("unknown"), said("1"), said("1", { possible: ["1", "4"] }),
    said("1", { probabilities: of({ 1: 0.9 }) }), said("3", { objects: ["3", "7", "7"] })];
}"""
ASKED = """() => {
  const media = navigator.mediaDevices, give = media.getUserMedia.bind(media);
  window.given = [];
  media.getUserMedia = async (what) => {
    await new Promise((allow) => { window.allow = allow; });
    given.push(await give(what));
    return given.at(-1);
  };
}"""


def spike_train(seen: Visit) -> None:
    """The answer to a file is there."""
    seen.until(lambda: seen.page.locator("#train-controls").is_visible(), "the spike train")


def test_a_recording_plays_before_any_click(visit: Visitor) -> None:
    seen = visit()
    page = seen.page
    page.add_init_script("navigator.mediaDevices.getUserMedia = () => { document.title = 'asked'; };")
    page.wait_for_timeout(0)
    seen.forget()
    page.reload()
    seen.until(lambda: any(m["reset"] for m in seen.of("prediction")[1:]), "a second round")
    shown = [m["label"] for m in seen.of("prediction")]
    assert set(shown[shown.index("0") :]) == {"0"}, "its label, from the first one on, through its loop"
    assert set(shown[: shown.index("0")]) <= {""}
    assert seen.text("#label") == "0"
    assert page.title() != "asked", "no camera is asked for"
    assert page.locator("#start").is_visible()
    assert page.evaluate("document.activeElement === document.body"), "it takes no focus"
    drawn = page.evaluate("[...document.querySelectorAll('#samples canvas')].map((c) => c.toDataURL())")
    assert len(set(drawn)) == page.locator("#samples button").count() == len(names())
    page.route("**/v1/models", lambda route: route.abort(), times=1)
    page.reload()
    seen.until(lambda: "does not answer" in seen.notice(), "no models")
    seen.click("Try again")
    seen.until(lambda: page.locator("#stop").is_visible(), "a recording plays again")
    late: list[Route] = []
    page.route("**/samples/*", lambda route: late.append(route))
    page.reload()
    seen.until(lambda: len(late) == len(names()), "a slow network")
    seen.click("Compare")
    for route in late:
        route.continue_()
    seen.until(lambda: page.locator("#samples canvas").count() == len(names()), "all recordings")
    assert page.locator("body").get_attribute("data-source") == "none", "none plays by itself in another mode"


def test_a_camera_gives_predictions_until_it_is_paused_or_stopped(visit: Visitor) -> None:
    seen = has_models(visit())
    seen.click("Start camera")
    seen.until(lambda: len({m["seq"] for m in seen.heard if m["type"] in ("prediction", "ack")}) >= 2, "acknowledged")
    seen.until(lambda: sum(m["n_events"] for m in seen.of("prediction")) > 1000, "events of its movement")
    seen.until(lambda: seen.pictures and seen.colours("events") > 4, "an event picture")
    seen.until(lambda: seen.colours("preview") > 20, "a camera picture")
    seen.until(lambda: seen.colours("raster") > 1, "spikes")
    seen.until_says("3")
    assert seen.page.locator("#classes meter").count() == 10
    seen.until(lambda: "% of an ANN" in seen.value("synops"), "the cost beside an ANN's")
    seen.until(lambda: min(seen.page.locator(".maps canvas").evaluate_all(LIT)) > 2, "every layer's map is lit")
    seen.until(lambda: seen.text("#live").startswith("Prediction: "), "it is said aloud")
    seen.click("Pause")
    seen.until(seen.hears_nothing, "a paused page sends nothing")
    seen.page.evaluate(HIDE, True)
    assert seen.page.locator("#start").is_visible(), "no camera while nobody looks"
    seen.page.evaluate(HIDE, False)
    pressed = seen.page.locator("#pause[aria-pressed=true]")
    seen.until(pressed.is_visible, "the camera is on again, paused as before")
    seen.until(seen.hears_nothing, "it sends nothing")
    count = len(seen.heard)
    seen.click("Pause")
    seen.until(lambda: len(seen.heard) > count, "it goes on")
    seen.click("Stop")
    assert seen.page.locator("#start").is_visible()


def test_an_answer_is_one_headline_in_words(visit: Visitor) -> None:
    said = visit().page.evaluate(WORDS)
    assert said == ["–", "no digit here", "not sure: 1 or 7", "not sure: 1 or 4", "1", "3, 7 and 7"]


def test_an_answer_that_is_too_old_is_said_to_be_and_why(visit: Visitor) -> None:
    seen = has_models(visit())
    slow, held = list[bool](), list[tuple[WebSocketRoute, str | bytes]]()

    def between(page: WebSocketRoute) -> None:
        service = page.connect_to_server()
        service.on_message(lambda message: held.append((page, message)) if slow else page.send(message))

    seen.page.route_web_socket("**/v1/stream", between)
    seen.click("Start camera")
    seen.until_says("3")
    slow.append(True)
    sentence = re.compile(r"the server is too slow: [1-9]\d* of \d+ frames dropped")
    seen.until(lambda: sentence.fullmatch(seen.text("#label")), "what is wrong")
    assert (seen.text("#answer-age"), seen.text("#link-text")) == ("3, a while ago", "live, overloaded")
    assert "less to do" in (seen.page.locator(".evidence").text_content() or ""), "what helps"
    slow.clear()
    for page, message in held:
        page.send(message)
    seen.until_says("3")
    seen.click("Compare")
    seen.until(lambda: seen.text(".column strong") == "3", "the same camera")
    slow.append(True)
    seen.until(lambda: sentence.fullmatch(seen.text(".column .words").removeprefix("a while ago; ")), "what is wrong")


def test_several_things_have_a_box_and_a_label_each(visit: Visitor, before_the_camera: Show, tmp_path: Path) -> None:
    def card(turn: float) -> np.ndarray:
        frame, x, y = np.full((480, 640, 3), 226, np.uint8), round(8 * np.cos(turn)), round(6 * np.sin(turn))
        for left, word in ((100, "3"), (380, "2")):
            cv2.putText(frame, word, (left + x, 320 + y), cv2.FONT_HERSHEY_SIMPLEX, 7.0, (40, 36, 34), 24, cv2.LINE_AA)
        return frame

    seen = visit()
    before_the_camera(one_turn(card))
    has_models(seen).click("Start camera")
    boxes = seen.page.locator(".roi:visible")
    seen.until(lambda: {"3", "2"} <= set(boxes.all_text_contents()), "two boxes")
    seen.until_says("3 and 2")
    assert {"3", "2"} <= {one["label"] for m in seen.of("prediction") for one in m["objects"]}
    assert re.fullmatch("Evidence: [23], the leading object", seen.text("#trace-title"))
    assert seen.text("#inside-note") == "the likeliest object of each step"
    cv2.imwrite(str(tmp_path / "two.png"), card(0))
    seen.drop(tmp_path / "two.png")
    spike_train(seen)
    seen.until_says("3 and 2")
    assert boxes.all_text_contents() == ["3", "2"]


def test_inside_the_network_layers_light_up(visit: Visitor) -> None:
    seen = has_models(visit())
    page, inside = seen.page, seen.page.locator("#inside")
    seen.click("Play the recording digit 3")
    seen.until(lambda: len(seen.of("prediction")) > 20, "predictions")
    maps = inside.locator(".maps canvas")
    seen.until(lambda: min(maps.evaluate_all(LIT)) > 4, "every layer's map is lit")
    layers = seen.of("ready")[0]["maps"]
    names = [f"layer {n}, {one['channels']} channels" for n, one in enumerate(layers, 1)]
    assert inside.locator(".layers span").all_inner_texts() == names
    inside.locator("summary").click()
    seen.until(lambda: "inside" not in seen.of("prediction")[-1], "a closed pane asks for nothing")
    inside.locator("summary").click()
    seen.until(lambda: "inside" in seen.of("prediction")[-1], "an open one does")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_dropped_image_is_walked_through_in_every_code(visit: Visitor, digit: Path) -> None:
    seen = has_models(visit())
    page = seen.page
    seen.drop(digit)
    spike_train(seen)
    seen.until_says("3")
    seen.until(lambda: seen.colours("preview") > 5 and seen.colours("events") > 1, "its picture and its spikes")
    seen.until(lambda: seen.colours("trace") > 3, "the leading classes")
    steps, bars = int(page.locator("#at").get_attribute("max") or 0), page.locator("#classes meter")
    values = "meters => meters.map((meter) => meter.value)"
    page.locator("#at").fill("1")
    first = bars.evaluate_all(values)
    assert seen.text("#at-value") == f"1 / {steps}"
    page.locator("#at").fill(str(steps))
    assert bars.evaluate_all(values) != first
    for code in ("rate", "latency", "direct"):
        page.locator("#encoding").select_option(code)
        seen.until(lambda: page.locator("#at").get_attribute("max") == "16", f"{code} has 16 steps")
        seen.until(lambda: page.locator("#train-note").is_visible(), "who reads this code")
        seen.until(lambda: seen.colours("events") > 1 and seen.colours("raster") > 1, "its spikes")
    held: list[Route] = []
    page.route("**/v1/encode?*steps=17*", lambda route: held.append(route))
    page.locator("#steps").focus()
    page.keyboard.press("ArrowRight")
    seen.until(lambda: held, "one step more is waited for")
    page.keyboard.press("ArrowRight")
    seen.until(lambda: page.locator("#at").get_attribute("max") == "18", "two steps more")
    with page.expect_response("**/v1/encode?*steps=17*"):
        held[0].continue_()
    assert page.locator("#at").get_attribute("max") == "18", "what comes late is not shown"
    seen.click("Close")
    assert page.locator("#start").is_visible()


def test_a_dropped_recording_at_its_own_resolution(visit: Visitor, tmp_path: Path) -> None:
    seen = has_models(visit())
    held: list[Route] = []
    seen.page.route("**/v1/predict?*", lambda route: held.append(route), times=1)
    seen.drop(nmnist_file(tmp_path / "three.bin", "digit-3"))
    seen.until(lambda: held and "reading" in seen.text("#link-text"), "what is waited for")
    seen.click("Close")
    seen.click("Play the recording digit 3")
    seen.until(lambda: len(seen.of("prediction")) > 4, "predictions")
    with seen.page.expect_response("**/v1/predict?*"):
        held[0].fulfill(status=400, json={"error": "late"})
    count = len(seen.of("prediction"))
    seen.until(lambda: len(seen.of("prediction")) > count + 4, "a file's late answer changes nothing")
    assert seen.page.locator("#notice").is_hidden()
    seen.drop(nmnist_file(tmp_path / "three.bin", "digit-3"))
    spike_train(seen)
    seen.until(lambda: seen.colours("preview") > 5, "a long exposure")
    assert seen.page.evaluate("[preview.width, preview.height]") == [34, 34]
    assert "in 0.3" in seen.value("events")
    assert seen.window("preview") is None, "all of a small sensor is looked at"


def test_a_dropped_video(visit: Visitor, tmp_path: Path) -> None:
    path = tmp_path / "three.webm"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"VP80"), 30, (640, 480))
    for frame in one_turn(digit_on_paper):
        writer.write(frame)
    writer.release()
    seen = has_models(visit())
    seen.drop(path)
    seen.until(lambda: len(seen.of("prediction")) > 10, "predictions")
    seen.until(lambda: seen.colours("preview") > 20, "its picture")
    assert seen.text("#source-title") == "Video"
    seen.page.evaluate(LOOPS)
    seen.drop(path)
    seen.until(lambda: seen.page.evaluate("loops > 0"), "another one")
    seen.until(lambda: seen.page.evaluate("loops") == 1, "each frame is taken once")


def test_a_sample_is_played_stepped_and_answered_from_shorter_steps(visit: Visitor) -> None:
    seen = has_models(visit())
    seen.click("Play the recording digit 3")
    seen.until(lambda: len(seen.of("prediction")) >= 8, "most of a recording's steps")
    seen.page.locator("#speed").select_option("1")
    seen.until(lambda: any(m["reset"] for m in seen.of("prediction")), "the next round begins with membranes at rest")
    assert [m["step"] for m in seen.of("prediction")][:8] == list(range(1, 9)), "no step is lost"
    seen.until(lambda: seen.colours("preview") > 5 and seen.colours("events") > 2, "its pictures")
    seen.click("Pause")
    seen.until(seen.hears_nothing, "a paused page sends nothing")
    count = len(seen.heard)
    seen.until(lambda: (seen.click("Step"), len(seen.heard) > count)[1], "one step at a time")
    seen.click("Stop")
    seen.click("Settings")
    seen.page.locator("#bin").select_option("5")
    seen.click("Done")
    seen.forget()
    seen.click("Play the recording digit 3")
    seen.page.locator("#answer summary").click()
    left, said = set[int](), [""]

    def crossed_out() -> bool:
        left.add(seen.page.locator("#classes li:not(.out)").count())
        return max(left) > min(left)

    def committed() -> bool:
        said.append(seen.text("#committed"))
        return any(m["commitment"]["label"] for m in seen.of("prediction")) and "Committed to 3" in said[-1]

    seen.until(crossed_out, "what is ruled out is crossed out, one after the other")
    seen.until(committed, "a commitment, and when it was made")
    times = list[str]()
    for m in seen.of("prediction"):
        assert m["end_us"] - m["start_us"] == 5000
        if m["commitment"]["label"] == "3":
            since_ms = round((m["end_us"] - m["commitment"]["at_us"]) / 1000)
            times.append(
                f"Committed to 3 for {since_ms} ms: of all objects that come into view, in each class, at most 5 % are "
                "committed to wrongly, if they are like those of the calibration."
            )
    assert said[-1] in times


def test_a_camera_of_the_server_from_beginning_to_end(visit: Visitor, tmp_path: Path) -> None:
    path = nmnist_file(tmp_path / "three.bin", "digit-3")
    with served("nmnist", cameras=(f"file:{path}?loop=1", f"file:{path}?speed=0.1")) as url:
        seen = has_models(visit(url))
        buttons = seen.page.get_by_role("button", name="Watch file:three.bin")
        seen.until(lambda: buttons.count() == 2, "both cameras are offered")
        looped, once = buttons.all()
        looped.click()
        seen.until(lambda: len(seen.of("prediction")) > 20, "predictions")
        seen.until(lambda: seen.colours("events") > 4, "an event picture")
        seen.until(lambda: seen.value("latency")[:1].isdigit(), "how long an answer takes")
        assert seen.page.evaluate(COMMITTED).startswith("Committed to 3 for 60 ms"), "who comes late knows since when"
        seen.click("Stop")
        once.click()
        seen.until(lambda: "The camera has ended." in seen.notice(), "its end")


# What goes wrong.


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--use-fake-device-for-media-stream", "--deny-permission-prompts"], "Camera permission denied."),
        (["--use-fake-ui-for-media-stream"], "No camera found."),
    ],
)
def test_a_camera_that_is_denied_or_absent(playwright: Playwright, service: str, flags: list[str], reason: str) -> None:
    with playwright.chromium.launch(executable_path=chromium.CHROMIUM, args=[*chromium.QUIET, *flags]) as browser:
        seen = has_models(Visit.opened(browser.new_context(), service))
        seen.click("Start camera")
        seen.until(lambda: reason in seen.notice(), "the reason")
        assert seen.page.locator("#start").is_enabled()


def test_a_camera_that_is_allowed_late_or_unplugged(visit: Visitor) -> None:
    seen = has_models(visit())
    page = seen.page
    page.evaluate(ASKED)
    seen.click("Start camera")
    seen.until(lambda: page.evaluate("Boolean(window.allow)"), "the user is asked")
    seen.click("Play the recording digit 3")
    seen.until(lambda: seen.of("prediction"), "predictions")
    page.evaluate("allow()")
    off = "given.length > 0 && given.every((media) => media.getTracks().every((track) => track.readyState == 'ended'))"
    seen.until(lambda: page.evaluate(off), "the camera is off again")
    assert seen.text("#source-title") == "Recording"
    seen.click("Stop")
    page.evaluate("document.getElementById('device').replaceChildren(new Option('unplugged', 'unplugged'))")
    seen.click("Start camera")
    page.evaluate("allow()")
    seen.until(lambda: "not there any more" in seen.notice(), "the reason")
    seen.click("Try again")
    page.evaluate("allow()")
    seen.until(lambda: seen.text("#source-title") == "Camera" and seen.of("prediction"), "any other camera")


def test_an_address_that_is_not_secure(visit: Visitor, service: str) -> None:
    seen = has_models(visit(service.replace("localhost", "demo.test")))
    assert "not secure" in seen.notice()
    seen.click("Start camera")
    seen.until(lambda: "https://" in seen.notice(), "the way out")
    seen.click("Play the recording digit 3")
    seen.until(lambda: seen.of("prediction"), "recordings play all the same")


def test_files_that_are_none_and_a_model_that_is_gone(visit: Visitor, tmp_path: Path) -> None:
    seen = has_models(visit())
    for name, reason in (("letter.txt", "neither an image"), ("no.webm", "This video cannot be shown.")):
        (tmp_path / name).write_text("dear network")
        seen.drop(tmp_path / name)
        seen.until(lambda reason=reason: reason in seen.notice(), "the reason")
        assert seen.page.locator("#start").is_visible()
    seen.page.evaluate("document.getElementById('model').options[0].value = 'gone'")
    seen.click("Start camera")
    seen.until(lambda: "No model of that name" in seen.notice(), "the reason")
    assert seen.page.locator("#link").get_attribute("data-state") == "refused"


def test_token_then_busy_then_gone_then_back(visit: Visitor) -> None:
    token = "a-token-for-the-test"

    def enter(page: Page) -> None:
        page.locator("#token").fill(token)
        page.locator("#token").press("Tab")
        page.get_by_role("button", name="Done").click()

    with ExitStack() as running:
        url = running.enter_context(served("nmnist", max_sessions=1, token=token))
        seen = visit(url)
        seen.until(lambda: "asks for a token" in seen.notice(), "the token is asked for")
        seen.page.locator("#notice-action").click()
        enter(seen.page)
        has_models(seen)
        seen.click("Play the recording digit 3")
        seen.until(lambda: seen.of("prediction"), "predictions")
        other = visit(url)
        other.page.locator("#settings-open").click()
        enter(other.page)
        other.click("Play the recording digit 3")
        other.until(lambda: "The server is busy." in other.notice(), "no room for another")
        other.page.close()
        running.close()
        seen.until(lambda: "The server is gone." in seen.notice(), "the reason")
        seen.until(lambda: "from before" in seen.text("#answer-age"), "the old answer fades")
        count = len(seen.of("prediction"))
        port = int(url.rstrip("/").rpartition(":")[2])
        running.enter_context(served("nmnist", token=token, port=port))
        seen.until(lambda: len(seen.of("prediction")) > count, "it reconnects by itself")
        seen.until(lambda: not seen.page.locator("#notice").is_visible(), "nothing is wrong any more")
        seen.until(lambda: not seen.text("#answer-age"), "a new answer")
