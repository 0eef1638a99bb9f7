"""The folder without a server, in a real browser: served by Python's http.server, with no Spikesight running."""

import base64
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from spikesight.encoders.events import SensorSize, make_events
from spikesight.models.classifier import Classifier, Stepper, binner_for
from spikesight.models.classifier.session import Session, luma
from spikesight.models.shipped import find
from tests.support.chromium import Visit, Visitor, needs_chromium
from tests.support.exporting import require_onnx
from tests.support.gallery import run
from tests.support.inputs.things import digit_on_paper
from tests.support.serving.static import static

pytestmark = needs_chromium

RUN = """async ({ frames, times }) => {
  const [{ loadFacts, Network }, { Emulator }, { StreamBinner }] = await Promise.all(
    ["network", "emulator", "events"].map((name) => import(`/offline/${name}.js`)));
  const { facts, pixels } = await loadFacts();
  const network = await Network.load(facts, "/model.onnx");
  const emulator = new Emulator(pixels), binner = new StreamBinner(facts.contract, pixels.width, pixels.height);
  const all = Uint8Array.from(atob(frames), (c) => c.charCodeAt(0)), size = pixels.width * pixels.height;
  const steps = [];
  for (let i = 0; i < times.length; i++) {
    const seen = emulator.push(all.subarray(i * size, (i + 1) * size), times[i]);
    for (const { x, startUs, endUs, nEvents, reset } of [...binner.push(seen), ...binner.look(times[i])]) {
      steps.push({ x: Array.from(x), bin: [startUs, endUs, nEvents], ...(await network.run(x, reset)) });
    }
  }
  return steps;
}"""
BINS = """async ({ contract, packets }) => {
  const { StreamBinner } = await import("/offline/events.js");
  const binner = new StreamBinner(contract, contract.sensor_width, contract.sensor_height);
  return packets.flatMap(([t, x, y, p]) => binner.push({ n: t.length, t, x, y, p }))
    .map(({ x, startUs, endUs, nEvents, reset }) => [Array.from(x), [startUs, endUs, nEvents, reset]]);
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
def seen(visit: Visitor, site: str) -> Visit:
    """The page with its network loaded."""
    seen = visit(site)
    seen.until(lambda: seen.page.locator("#start").is_enabled(), "the network is loaded")
    return seen


def test_the_same_steps_as_the_service(seen: Visit, classifier: Classifier) -> None:
    """Events, bins and times are equal, logits and read-out within rounding.

    A potential within rounding of its threshold may fire on one side alone: that shifts the logits of a few steps.
    """
    frames = np.stack([luma(cv2.resize(digit_on_paper(n / 7), (320, 240)).astype(np.uint8)) for n in range(40)])
    generator = np.random.default_rng(0)
    frames[::5] = (frames[::5] * generator.uniform(0.2, 1, (8, 240, 320))).astype(np.uint8)
    times = (1_000_000 + np.cumsum(generator.integers(5_000, 60_000, 40))).tolist()
    times[20:] = [t + 1_500_000 for t in times[20:]]  # a silence in which bins end
    times[30:] = [t - 2_000_000 for t in times[30:]]  # a clock that restarts
    session = Session(classifier, SensorSize(320, 240), raw=True)  # it has no window of its own
    stepper = Stepper(classifier, session.track)
    both = [(one, stepper.step(one)) for frame, t in zip(frames, times) for one in session.frame(frame, t)]
    given, expected = zip(*both)
    found = seen.page.evaluate(RUN, {"frames": base64.b64encode(frames.tobytes()).decode(), "times": times})
    assert [[*step["bin"], step["reset"]] for step in found] == [
        [one.start_us, one.end_us, one.n_events, one.reset] for one in given
    ]
    assert all(np.array_equal(step["x"], one.x.ravel()) for step, one in zip(found, given))
    assert sum(one.n_events for one in given) > 20_000
    assert any(one.reset for one in given)
    gaps = []
    for step, answer in zip(found, expected):
        own = answer.prediction
        gaps.append(np.abs(np.array(step["logits"]) - own.logits).max())
        assert step["probabilities"] == pytest.approx(list(own.probabilities), abs=0.05)
        assert (step["known"] is None) == (own.known is None)
        assert (step["known"] or 0) == pytest.approx(own.known or 0, abs=0.05)
    assert np.median(gaps) < 1e-4
    assert max(gaps) < 0.5
    same = [(s["label"] == a.prediction.label, s["steady"] == a.steady) for s, a in zip(found, expected)]
    assert (~np.array(same)).sum(0).max() <= 2, "a threshold tie may move a change by a step or two"
    spikes = np.array([step["spikes"] for step in found]), np.array([answer.raster for answer in expected])
    assert spikes[1].any()
    assert np.mean(spikes[0] == spikes[1]) > 0.995, "the raster's neurons fire as they do there"


def test_time_that_steps_back_or_leaps_gives_the_bins_of_the_service(seen: Visit, classifier: Classifier) -> None:
    """Late by a microsecond, by all that is allowed and by one more; behind the longest pause, and a longer one."""
    generator = np.random.default_rng(0)
    steps = [0, 900, -1, 40_000, -100_000, 60_000, 41_000, -100_001, 5_000, 1_000_000, 1_000_001, 200_000, -50_000]
    times = 3_000_000 + np.cumsum(steps)
    t = np.concatenate([times, times[-1] + np.cumsum(generator.integers(-20_000, 40_000, 300))])
    events = make_events(t, generator.integers(0, 34, len(t)), generator.integers(0, 34, len(t)), t % 2)
    packets = np.split(events, np.sort(generator.choice(len(t), 40, replace=False)))
    binner = binner_for(classifier.contract, SensorSize(34, 34))
    expected = [one for packet in packets for one in binner.push(packet)]
    given = [[packet[key].astype(int).tolist() for key in "txyp"] for packet in packets]
    found = seen.page.evaluate(BINS, {"contract": asdict(classifier.contract), "packets": given})
    assert [own for _, own in found] == [[b.start_us, b.end_us, b.n_events, b.reset] for b in expected]
    assert all(np.array_equal(x, theirs.x.ravel()) for (x, _), theirs in zip(found, expected))
    assert sum(b.reset for b in expected) == 2, "one restart, one gap"


def test_camera_recording_and_picture_are_classified(seen: Visit, tmp_path: Path) -> None:
    page = seen.page

    def step() -> int:
        return int((seen.text("#facts").split(",")[0].split() or ["", "0"])[1])

    seen.click("Start camera")
    seen.until(lambda: step() > 10, "ten steps of the camera")
    assert page.locator("#classes li > span:first-child").all_inner_texts() == list("0123456789")
    total = "meters => meters.reduce((sum, meter) => sum + meter.value, 0)"
    seen.until(lambda: page.locator("#classes meter").evaluate_all(total) > 0.99, "the bars of the camera")
    page.locator("#stop").click()
    seen.click("Play the recording digit 3")
    seen.until_says("3")
    seen.until(lambda: seen.colours("raster") > 2 and seen.colours("trace") > 2, "raster and trace are drawn")
    page.locator("#stop").click()
    picture = np.full((90, 90), 250, np.uint8)
    cv2.putText(picture, "0", (22, 72), cv2.FONT_HERSHEY_SIMPLEX, 2.4, 20, 8, cv2.LINE_AA)
    cv2.imwrite(str(tmp_path / "digit.png"), picture)
    page.locator("#file").set_input_files(tmp_path / "digit.png")
    seen.until_says("0")
    page.locator("#reset").click()
    seen.until(lambda: step() > 3, "it goes on")
    (tmp_path / "letter.png").write_text("dear network")
    page.locator("#file").set_input_files(tmp_path / "letter.png")
    seen.until(lambda: "cannot be shown" in seen.notice(), "the reason")
    assert page.locator("#start").is_visible()
