"""The folder without a server, in a real browser: served by Python's http.server, with no Spikesight running.

Needs a Chromium and the playwright package, as test_live.py does; skips where there is none.
"""

import base64
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from spikesight.encoders.events import SensorSize, make_events
from spikesight.models.classifier import Classifier, Stepper, binner_for
from spikesight.models.classifier.session import Session, luma
from spikesight.models.shipped import find
from tests.support.browsers.chromium import digit_on_paper, needs_chromium
from tests.support.exporting import require_onnx
from tests.support.gallery import run
from tests.support.serving.static import static
from tests.support.waiting import until

pytest.importorskip("playwright", reason="playwright is not installed: pip install 'spikesight[dev]'")
from playwright.sync_api import Browser, Page

pytestmark = needs_chromium

RUN = """async ({ frames, times }) => {
  const [{ loadFacts, Network }, { Emulator }, { StreamBinner }] = await Promise.all(
    ["network", "emulator", "events"].map((name) => import(`/offline/${name}.js`)));
  const { facts, pixels } = await loadFacts();
  const network = await Network.load(facts, "/model.onnx");
  const emulator = new Emulator(pixels), binner = new StreamBinner(facts.contract, pixels.width, pixels.height);
  const all = Uint8Array.from(atob(frames), (c) => c.charCodeAt(0)), size = pixels.width * pixels.height;
  const steps = [];
  let events = 0;
  for (let i = 0; i < times.length; i++) {
    const seen = emulator.push(all.subarray(i * size, (i + 1) * size), times[i]);
    events += seen.n;
    for (const { x, startUs, endUs, nEvents, reset } of [...binner.push(seen), ...binner.look(times[i])]) {
      steps.push({ x: Array.from(x), startUs, endUs, nEvents, ...(await network.run(x, reset)) });
    }
  }
  return { steps, events };
}"""
WATCH = """async (count) => {
  const { Camera, FRAME } = await import("/shared/sources/camera.js"), { luma } = await import("/offline/emulator.js");
  const camera = new Camera(), greys = [], times = [];
  await new Promise((done) => camera.start("", (canvas, ms) => {
    if (times.length === count) return;
    greys.push(luma(canvas.getContext("2d").getImageData(0, 0, FRAME.width, FRAME.height).data));
    times.push(Math.round(ms * 1000));
    if (times.length === count) done();
  }, () => {}));
  camera.stop();
  const text = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  return { greys: greys.map(text), times };
}"""


BINS = """async ({ contract, packets }) => {
  const { StreamBinner } = await import("/offline/events.js");
  const binner = new StreamBinner(contract, contract.sensor_width, contract.sensor_height);
  return packets.flatMap(([t, x, y, p]) => binner.push({ n: t.length, t, x, y, p }))
    .map(({ x, startUs, endUs, nEvents, reset }) => [Array.from(x), startUs, endUs, nEvents, reset]);
}"""


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load(find("nmnist"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What the gallery's command writes, behind a static host; its address."""
    require_onnx()
    folder = tmp_path_factory.mktemp("web") / "site"
    run("A page with no server", site=str(folder))
    with static(folder) as origin:
        yield f"{origin}/"


@pytest.fixture
def page(browser: Browser, site: str) -> Iterator[Page]:
    """The page with its network loaded; fails where it said an error or asked another host."""
    context = browser.new_context(permissions=["camera"])
    opened = context.new_page()
    errors: list[str] = []
    hosts: set[str] = set()
    opened.on("console", lambda message: errors.extend([message.text] if message.type == "error" else []))
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("request", lambda request: hosts.add(request.url.split("/")[2].split(":")[0]))
    opened.goto(site)
    wait(opened, lambda: opened.locator("#start").is_enabled(), "the network is loaded")
    yield opened
    context.close()
    assert errors == []
    assert hosts <= {"localhost", ""}, "nothing is fetched from elsewhere"


def wait(page: Page, true: Any, what: str) -> None:
    def check() -> object:
        page.wait_for_timeout(50)
        return true()

    until(check, what)


def in_python(classifier: Classifier, frames: NDArray[np.uint8], times: list[int]) -> list[dict[str, Any]]:
    """The same frames through the service's session, as they are."""
    session, steps = Session(classifier, SensorSize(320, 240), raw=True), []  # it has no window of its own
    stepper = Stepper(classifier, session.track)
    for frame, t_us in zip(frames, times):
        for given in session.frame(frame, t_us):
            answer = stepper.step(given)
            steps.append(
                {
                    "x": given.x.ravel(),
                    "startUs": given.start_us,
                    "endUs": given.end_us,
                    "nEvents": given.n_events,
                    "reset": given.reset,
                    "logits": answer.prediction.logits,
                    "probabilities": answer.prediction.probabilities,
                    "known": answer.prediction.known,
                    "label": answer.prediction.label,
                    "steady": answer.steady,
                    "spikes": answer.raster.tolist(),
                }
            )
    return steps


def compare(page: Page, classifier: Classifier, frames: NDArray[np.uint8], times: list[int]) -> list[dict[str, Any]]:
    """Events, bins and times must be equal, logits and read-out within rounding; Python's steps.

    A potential within rounding of its threshold may fire on one side alone: that shifts the logits of a few steps.
    """
    expected = in_python(classifier, frames, times)
    seen = page.evaluate(RUN, {"frames": base64.b64encode(frames.tobytes()).decode(), "times": times})
    assert len(seen["steps"]) == len(expected)
    gaps = []
    for ours, theirs in zip(seen["steps"], expected):
        for key in ("startUs", "endUs", "nEvents", "reset"):
            assert ours[key] == theirs[key]
        assert np.array_equal(ours["x"], theirs["x"])
        gaps.append(np.abs(np.array(ours["logits"]) - theirs["logits"]).max())
        assert np.abs(np.array(ours["probabilities"]) - theirs["probabilities"]).max() < 0.05
        assert (ours["known"] is None) == (theirs["known"] is None)
        assert abs((ours["known"] or 0) - (theirs["known"] or 0)) < 0.05
    for key in ("label", "steady"):  # a threshold tie may move a change by a step or two
        assert sum(ours[key] != theirs[key] for ours, theirs in zip(seen["steps"], expected)) <= 2
    spikes = [np.array([step["spikes"] for step in steps]) for steps in (seen["steps"], expected)]
    assert spikes[1].any()
    assert np.mean(spikes[0] == spikes[1]) > 0.995, "the raster's neurons fire as they do there"
    assert np.median(gaps) < 1e-4
    assert max(gaps) < 0.5
    print(f"\n{len(gaps)} steps; logits differ by {np.median(gaps):.1e} in the middle, {max(gaps):.1e} at most")
    return expected


def test_the_same_steps_as_the_service(page: Page, classifier: Classifier) -> None:
    frames = np.stack([luma(cv2.resize(digit_on_paper(n / 7), (320, 240)).astype(np.uint8)) for n in range(40)])
    generator = np.random.default_rng(0)
    frames[::5] = (frames[::5] * generator.uniform(0.2, 1, (8, 240, 320))).astype(np.uint8)
    times = (1_000_000 + np.cumsum(generator.integers(5_000, 60_000, 40))).tolist()
    times[20:] = [t + 1_500_000 for t in times[20:]]  # a silence in which bins end
    times[30:] = [t - 2_000_000 for t in times[30:]]  # a clock that restarts
    steps = compare(page, classifier, frames, times)
    assert sum(step["nEvents"] for step in steps) > 20_000
    assert sum(step["reset"] for step in steps) >= 1


def test_time_that_steps_back_or_leaps_gives_the_bins_of_the_service(page: Page, classifier: Classifier) -> None:
    """Late by a microsecond, by all that is allowed and by one more; behind the longest pause, and a longer one."""
    generator = np.random.default_rng(0)
    steps = [0, 900, -1, 40_000, -100_000, 60_000, 41_000, -100_001, 5_000, 1_000_000, 1_000_001, 200_000, -50_000]
    times = 3_000_000 + np.cumsum(steps)
    t = np.concatenate([times, times[-1] + np.cumsum(generator.integers(-20_000, 40_000, 300))])
    events = make_events(t, generator.integers(0, 34, len(t)), generator.integers(0, 34, len(t)), t % 2)
    packets = np.split(events, np.sort(generator.choice(len(t), 40, replace=False)))
    contract = classifier.contract
    binner = binner_for(contract, SensorSize(34, 34))
    expected = [b for packet in packets for b in binner.push(packet)]
    given = [[packet[key].astype(int).tolist() for key in "txyp"] for packet in packets]
    found = page.evaluate(BINS, {"contract": asdict(contract), "packets": given})
    assert [bin_[1:] for bin_ in found] == [[b.start_us, b.end_us, b.n_events, b.reset] for b in expected]
    assert all(np.array_equal(ours[0], theirs.x.ravel()) for ours, theirs in zip(found, expected))
    assert sum(b.reset for b in expected) == 2, "one restart, one gap"


def test_the_frames_of_the_camera(page: Page, classifier: Classifier) -> None:
    seen = page.evaluate(WATCH, 25)
    frames = np.stack([np.frombuffer(base64.b64decode(grey), np.uint8).reshape(240, 320) for grey in seen["greys"]])
    steps = compare(page, classifier, frames, seen["times"])
    assert len(steps) > 5
    assert sum(step["nEvents"] for step in steps) > 1_000


def test_camera_recording_and_picture_are_classified(page: Page, tmp_path: Path) -> None:
    def step() -> int:
        return int((page.locator("#facts").inner_text().split(",")[0].split() or ["", "0"])[1])

    page.locator("#start").click()
    wait(page, lambda: step() > 10, "ten steps of the camera")
    assert "thick pen" in page.locator("#tip").inner_text()
    labels = page.locator("#classes li > span:first-child").all_inner_texts()
    assert labels == list("0123456789")
    total = "meters => meters.reduce((sum, meter) => sum + meter.value, 0)"
    wait(page, lambda: page.locator("#classes meter").evaluate_all(total) > 0.99, "the bars of the camera")
    page.locator("#stop").click()
    page.get_by_role("button", name="Play the recording digit 3").click()
    wait(page, lambda: page.locator("#label").inner_text() == "3", "the recording is a 3")
    for name in ("raster", "trace"):
        canvas = f"[...document.getElementById('{name}').getContext('2d').getImageData(0, 0, 2000, 400).data]"
        wait(page, lambda canvas=canvas: page.evaluate(f"new Set({canvas}).size > 2"), f"the {name} is drawn")
    page.locator("#stop").click()
    picture = np.full((90, 90), 250, np.uint8)
    cv2.putText(picture, "3", (22, 72), cv2.FONT_HERSHEY_SIMPLEX, 2.4, 20, 8, cv2.LINE_AA)
    cv2.imwrite(str(tmp_path / "digit.png"), picture)
    page.locator("#file").set_input_files(tmp_path / "digit.png")
    wait(page, lambda: page.locator("#label").inner_text() == "3", "the picture is a 3")
    page.locator("#reset").click()
    wait(page, lambda: step() > 3, "it goes on")
    (tmp_path / "letter.png").write_text("dear network")
    page.locator("#file").set_input_files(tmp_path / "letter.png")
    wait(page, lambda: "cannot be shown" in page.locator("#notice").inner_text(), "the reason")
    assert page.locator("#start").is_visible()
