"""The folder without a server, in a real browser: served by Python's http.server, with no Spikesight running."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from spikesight.app.c_folder import alignment, c_compiler, gate_from_hz
from spikesight.app.standalone import write_folder
from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.native.build import build
from spikesight.models.checkpoint import load
from spikesight.models.classifier import Classifier, Stepper
from spikesight.models.classifier.inputs import InputPipeline, QuietReset
from spikesight.models.classifier.session import Session
from spikesight.models.contract import Card, Contract
from spikesight.models.conversion.ann_to_snn import convert
from spikesight.models.engine.engine import Engine
from spikesight.models.networks.ann import CifarResNet
from spikesight.models.networks.taught import TaughtConfig, TaughtNetwork
from spikesight.models.neurons.config import CLIF
from spikesight.models.shipped import find
from spikesight.models.steps import Answer, Input
from tests.support import c_folder
from tests.support.c_folder import CONFIG, assert_same, c_answers, calibrated, camera_words, decoded, python_answers
from tests.support.chromium import Visit, Visitor, needs_chromium
from tests.support.gallery import run
from tests.support.inputs.things import digit_on_paper
from tests.support.models import lively, some_known
from tests.support.serving.static import static

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = needs_chromium

FRAMES = """async ({ frames, times }) => {
  const modules = ["network", "frames", "events"].map((name) => import(`/web/${name}.js`));
  const [{ loadFacts, loadNetworks }, { MovedFrames }, { StreamBinner }] = await Promise.all(modules);
  const { facts, pixels } = await loadFacts(), { view } = await loadNetworks(facts);
  const eye = new MovedFrames(facts.view, pixels), { width, height } = eye.size;
  const binner = new StreamBinner({ ...facts, ...facts.view }, width, height), events = [], steps = [];
  const all = Uint8Array.from(atob(frames), (c) => c.charCodeAt(0)), size = 4 * 320 * 240;
  for (let i = 0; i < times.length; i++) {
    const seen = eye.push(all.subarray(i * size, (i + 1) * size), 320, 240, times[i]);
    events.push(Array.from(seen));
    for (const { x, startUs, endUs, nEvents, reset } of [...binner.push(seen), ...binner.look(times[i])]) {
      steps.push({ bin: [startUs, endUs, nEvents], ...view.run(x, reset) });
    }
  }
  return [events, steps];
}"""
INPUTS = """async (inputs) => {
  const { loadFacts, loadNetworks } = await import("/web/network.js");
  const { facts } = await loadFacts(), { whole: network } = await loadNetworks(facts);
  network.probe = true;
  return inputs.map((x) => network.run(Uint8Array.from(x))).map(({ inside, ...step }) => {
    return { ...step, inside: [[...inside.input], [...inside.fired]] };
  });
}"""
BINS = """async ({ facts, sensor, packets }) => {
  const { StreamBinner } = await import("/web/events.js");
  const binner = new StreamBinner(facts, ...sensor);
  return packets.flatMap((given) => binner.push(Uint8Array.from(given)))
    .map(({ x, startUs, endUs, nEvents, reset }) => {
      return [[...x.entries()].filter(([, count]) => count), [startUs, endUs, nEvents, reset]];
    });
}"""
STREAM = """async ({ sensor, packets }) => {
  const modules = ["network", "events"].map((name) => import(`/web/${name}.js`));
  const [{ loadFacts, loadNetworks }, { StreamBinner }] = await Promise.all(modules);
  const { facts } = await loadFacts(), { whole } = await loadNetworks(facts);
  const binner = new StreamBinner(facts, ...sensor);
  const bins = packets.flatMap((given) => binner.push(Uint8Array.from(given)));
  return bins.map(({ x, endUs, reset }) => ({ endUs, ...whole.run(x, reset) }));
}"""
CONTRACT = replace(c_folder.CONTRACT, filter_us=0)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What the gallery's command writes, behind a static host; its address."""
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


def by_events(network: nn.Module, card: Card) -> Classifier:
    """A classifier whose sums are in the page's order: a matrix unit has another."""
    layers = 0 if card.novelty is None else card.novelty.layers
    return Classifier(network, card, engine=Engine(network, *card.contract.shape[1:], choice="events", rates=layers))


def check(found: list[dict[str, Any]], expected: list[Answer], atol: float = 0.0) -> None:
    """The page's steps are those of Python: logits to the bit, unless a head sums otherwise by `atol`."""
    if build().isa in ("none", "portable"):
        pytest.skip("multiply-adds are rounded twice here, in the page once")
    for step, answer in zip(found, expected, strict=True):
        own = answer.prediction
        assert np.allclose(np.array(step["logits"], np.float32), own.logits, rtol=0, atol=atol)
        assert step["probabilities"] == pytest.approx(list(own.probabilities), abs=1e-4)
        assert (step["in_distribution"] is None) == (own.in_distribution is None)
        assert (step["in_distribution"] or 0) == pytest.approx(own.in_distribution or 0, abs=1e-3)
    assert [step["label"] for step in found] == [answer.prediction.label for answer in expected]


def test_things_in_frames_are_found_as_in_the_service(seen: Visit) -> None:
    """Two sheets, then none for a while, then one elsewhere; a clock leaps and restarts."""
    classifier, generator = Classifier(*load(find("nmnist"))), np.random.default_rng(0)
    frames = np.full((48, 240, 320, 3), 90, np.uint8)
    for n in (*range(36), *range(40, 48)):
        sheet = cv2.resize(digit_on_paper(n / 7), (160, 120))
        frames[n, 60:180] = np.hstack([sheet, sheet if n < 36 else frames[n, 60:180, 160:]])
    frames[42:] = np.roll(frames[42:], (-30, 60), (1, 2))
    frames = np.clip(frames + generator.integers(-4, 5, frames.shape), 0, 255).astype(np.uint8)
    times = 1_000_000 + np.cumsum(generator.integers(25_000, 45_000, len(frames)))
    times[30:] += 700_000
    times[38:] += 700_000
    times[46:] -= 3_000_000
    session = Session(classifier, SensorSize(320, 240))
    stepper, given, events = Stepper(classifier, session.readout), list[Input](), list[Any]()
    for frame, t in zip(frames, times.tolist()):
        given += session.frame(frame, t)
        events.append(list(session.seen.tobytes()))
    rgba = np.concatenate([frames, np.full((*frames.shape[:3], 1), 255, np.uint8)], 3)
    shown = {"frames": base64.b64encode(rgba.tobytes()).decode(), "times": times.tolist()}
    found_events, found = seen.page.evaluate(FRAMES, shown)
    assert found_events == events
    assert [step["bin"] for step in found] == [[one.start_us, one.end_us, one.n_events] for one in given]
    answers = [stepper.step(one) for one in given]
    check(found, answers, 1e-4)  # a processor with a matrix unit sums in another order
    for step, answer in zip(found, answers):
        objects = answer.prediction.objects or ()
        assert [(one["id"], one["label"]) for one in step["objects"]] == [(one.id, one.label) for one in objects]
        for one, own in zip(step["objects"], objects):
            assert one["box"] == pytest.approx(own.box, abs=0.02)
    assert {len(step["objects"]) for step in found} >= {0, 2}
    assert {one["label"] for step in found for one in step["objects"]} == {"3"}


def taught() -> tuple[nn.Module, Contract]:
    """A network with a head of its own, which takes what moves."""
    backbone = replace(CONFIG, widths=(4, 8))
    config = TaughtConfig(backbone, 3, 6, slices=3, places=2, input_places=4, height=16, width=16)
    network = TaughtNetwork(config).eval()
    network.backbone.load_state_dict(lively(backbone).state_dict())
    nn.init.normal_(network.head.weight, generator=torch.Generator().manual_seed(1))
    return network, Contract("events", 2, 16, 16, 6, "binary", 45, 38, 10_000, frame="object", readout=1)


def converted() -> tuple[nn.Module, Contract]:
    """An ANN's twin."""
    torch.manual_seed(0)
    images = (torch.rand(16, 2, 17, 13) < 0.2).float()
    return convert(CifarResNet(1, 2, 3).eval(), [images], "ours", steps=8), replace(CONTRACT, encoding="binary")


@pytest.mark.parametrize("kind", ["motions", "taught", "converted", "counts"])
def test_any_network_steps_to_the_bits_of_the_engine(kind: str, visit: Visitor, tmp_path: Path) -> None:
    if kind == "motions":
        network, card = load(find("motions"))
    else:
        sums = lively(replace(CONFIG, block="sew", neuron=CLIF)), CONTRACT
        network, contract = taught() if kind == "taught" else converted() if kind == "converted" else sums
        card = Card(contract, ("a", "b", "c"), novelty=some_known(network, contract))
    write_folder(tmp_path / "site", network, card, kind)
    shape, generator = card.contract.shape, np.random.default_rng(0)
    x_seq = (generator.random((30, *shape)) < generator.choice([0.02, 0.05, 0.3], (30, 1, 1, 1))).astype(np.uint8)
    if kind == "counts":
        x_seq *= generator.integers(1, 5, x_seq.shape).astype(np.uint8)
    rest, classifier = QuietReset.of(card), by_events(network, card)
    stepper = Stepper(classifier)
    given = [rest.push(Input(x, t, t + 1, int(x.sum()), False)) for t, x in enumerate(x_seq)]
    with static(tmp_path / "site") as origin:
        found = visit(f"{origin}/").page.evaluate(INPUTS, x_seq.reshape(len(x_seq), -1).tolist())
    check(found, [stepper.step(one) for one in given], 1e-4 if kind == "taught" else 0.0)
    assert any(any(step["inside"][1]) for step in found)
    state = classifier.initial_state()
    for one, step in zip(given, found):
        state = classifier.initial_state() if one.reset else state
        made = classifier.step(torch.from_numpy(one.x[None]), state, [True])
        inside, state = classifier.inside(one, made, 0, True), made.state
        assert step["inside"] == [inside.input.ravel().tolist(), inside.fired.tolist()]


def facts_of(contract: Contract) -> Mapping[str, Any]:
    """What the page knows of what lies before the network."""
    front = {"from_hz": gate_from_hz(contract), "shown": contract.shown_bins, **alignment(contract)}
    return {"contract": asdict(contract), "front": front}


def test_time_that_steps_back_or_leaps_gives_the_bins_of_the_service(seen: Visit) -> None:
    """Late by a microsecond, by all that is allowed and by one more; behind the longest pause, and a longer one."""
    generator = np.random.default_rng(0)
    steps = [0, 900, -1, 40_000, -100_000, 60_000, 41_000, -100_001, 5_000, 1_000_000, 1_000_001, 200_000, -50_000]
    times = 3_000_000 + np.cumsum(steps)
    t = np.concatenate([times, times[-1] + np.cumsum(generator.integers(-20_000, 40_000, 300))])
    t = np.concatenate([t, t[-1] + np.cumsum(generator.integers(0, 200, 3000))])  # noise, and much of it
    events = make_events(t, generator.integers(0, 34, len(t)), generator.integers(0, 34, len(t)), t % 2)
    packets = np.split(events, np.sort(generator.choice(len(t), 40, replace=False)))
    given = [list(packet.tobytes()) for packet in packets]
    own = load(find("nmnist"))[1].contract
    moving = replace(own, frame="object", task="classification", height=16, width=16)
    for contract in (replace(own, filter_us=0), own, own.at(10), moving, moving.at(10)):
        pipeline = InputPipeline(Card(contract, ("a",)), SensorSize(34, 34))
        expected = [one for packet in packets for one in pipeline.push(packet)]
        found = seen.page.evaluate(BINS, {"facts": facts_of(contract), "sensor": [34, 34], "packets": given})
        assert [of for _, of in found] == [[b.start_us, b.end_us, b.n_events, b.reset] for b in expected]
        for (cells, _), theirs in zip(found, expected):
            flat = theirs.x.ravel()
            assert cells == [[cell, flat[cell]] for cell in np.flatnonzero(flat)]
        assert any(b.reset for b in expected)


@pytest.mark.skipif(not c_compiler(), reason="not here: a C compiler")
@pytest.mark.parametrize("sensor", [SensorSize(26, 34), SensorSize(67, 101)], ids=["filtered", "a larger camera"])
def test_python_c_and_the_page_answer_a_recording_alike(sensor: SensorSize, visit: Visitor, tmp_path: Path) -> None:
    """An edge in noise, late events, gaps, a clock that begins anew; some is unknown, and some nothing."""
    if build().isa in ("none", "portable"):
        pytest.skip("multiply-adds are rounded twice here, in the page once")
    network, contract = lively(CONFIG), replace(c_folder.CONTRACT, encoding="binary")
    card, words = calibrated(network, contract), camera_words("evt3", 6000, sensor.width, 4)
    events = decoded("evt3", words)
    expected = python_answers(network, card, events, sensor)
    assert_same(c_answers(c_folder.made(tmp_path / "c", network, card), "evt3", words, sensor), expected)
    write_folder(tmp_path / "site", network, card, "some")
    packets = [list(packet.tobytes()) for packet in np.array_split(events, 7)]
    with static(tmp_path / "site") as origin:
        given = {"sensor": [sensor.width, sensor.height], "packets": packets}
        said = visit(f"{origin}/").page.evaluate(STREAM, given)
    keys = ("endUs", "stepLabel", "label", "in_distribution", "logits")
    found = list[c_folder.Answer]()
    for end_us, step_label, label, known, logits in ([step[key] for key in keys] for step in said):
        single = tuple(np.array(logits, np.float32).tolist())
        found.append(c_folder.Answer(end_us, step_label, label or "-", "-", known, single))
    complete = [one._replace(committed="-") for one in expected][: len(found)]
    assert len(expected) - len(found) <= 1, "the page closes no bin that goes on"
    assert_same(found, complete)
    assert {one.step_label for one in complete} > {"unknown", "nothing"}


def steps_of(seen: Visit) -> int:
    return int((seen.text("#facts").split(",")[0].split() or ["", "0"])[1])


def test_camera_recording_and_picture_are_classified(seen: Visit, tmp_path: Path) -> None:
    page = seen.page
    seen.click("Start camera")
    seen.until_says("3")
    seen.until(lambda: seen.window("preview"), "the box around it")
    assert page.locator("#classes li > span:first-child").all_text_contents() == list("0123456789")
    total = "meters => meters.reduce((sum, meter) => sum + meter.value, 0)"
    seen.until(lambda: page.locator("#classes meter").evaluate_all(total) > 0.99, "the bars of the camera")
    page.locator("#stop").click()
    assert seen.window("preview") is None
    late: list[Route] = []
    page.route("**/digit-7.t64", lambda route: late.append(route))
    seen.click("Play the recording digit 7")
    seen.until(lambda: late, "a slow network")
    seen.click("Play the recording digit 3")
    seen.until(lambda: seen.text("#source-note").startswith("digit 3"), "the other recording")
    with page.expect_response("**/digit-7.t64"):
        late.pop().continue_()
    seen.until_says("3")
    seen.until(lambda: seen.colours("raster") > 2 and seen.colours("trace") > 2, "raster and trace are drawn")
    assert seen.text("#source-note").startswith("digit 3"), "the one that was chosen last"
    page.locator("#stop").click()
    seen.click("Play the recording digit 7")
    seen.until(lambda: late, "a slow network")
    late.pop().abort()
    seen.until(lambda: "did not load" in seen.notice(), "the reason")
    page.unroute("**/digit-7.t64")
    picture = np.full((90, 90), 250, np.uint8)
    cv2.putText(picture, "0", (22, 72), cv2.FONT_HERSHEY_SIMPLEX, 2.4, 20, 8, cv2.LINE_AA)
    cv2.imwrite(str(tmp_path / "digit.png"), picture)
    page.locator("#file").set_input_files(tmp_path / "digit.png")
    seen.until_says("0")
    page.locator("#reset").click()
    seen.until(lambda: steps_of(seen) > 3, "it goes on")
    (tmp_path / "letter.png").write_text("dear network")
    page.locator("#file").set_input_files(tmp_path / "letter.png")
    seen.until(lambda: "cannot be shown" in seen.notice(), "the reason")
    assert page.locator("#start").is_visible()


def test_a_slow_machine_sees_frames_slowly_and_loses_nothing(seen: Visit) -> None:
    seen.page.context.new_cdp_session(seen.page).send("Emulation.setCPUThrottlingRate", {"rate": 4})
    seen.click("Start camera")
    seen.until_says("3")
    first = steps_of(seen)
    seen.until(lambda: steps_of(seen) >= first + 20, "it goes on, without a reset")
    assert seen.text("#label") == "3"
