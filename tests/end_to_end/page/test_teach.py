"""Teach: two things shown to a fake camera are recognised in other clips; cards, keys, files, saving, all screens."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.recordings.files import write_recording
from spikesight.models.classifier import Classifier
from tests.support.browsers.chromium import (
    Nearby,
    Visit,
    Visitor,
    drop,
    has_models,
    mjpeg,
    needs_chromium,
    nmnist_file,
    violations,
)
from tests.support.inputs.things import clip

pytest.importorskip("playwright", reason="playwright is not installed: pip install 'spikesight[dev]'")

pytestmark = needs_chromium

FRAMES = 120  # of a clip, that is played again and again
EXAMPLES = 6  # of each go
ANSWERED = "[document.getElementById('label').textContent, document.querySelector('.card.answered input')?.value]"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("saved")


@pytest.fixture(scope="module")
def school(saved: Path) -> Iterator[Nearby]:
    """A service that keeps models."""
    served = Nearby("nmnist", save_to=saved, max_lessons_per_client=16)
    yield served
    served.stop()


@pytest.fixture
def pupil(visit: Visitor, school: Nearby) -> Visit:
    """The page, ready to be taught."""
    seen = has_models(visit(school.url))
    seen.click("Teach")
    return seen


def watch(seen: Visit, camera_file: Path, kind: str, seed: int) -> None:
    """Another clip before the camera."""
    if seen.page.locator("#stop").is_visible():
        seen.click("Stop")
    mjpeg(camera_file, clip(kind, seed, FRAMES))
    seen.click("Start camera")
    seen.until(lambda: seen.page.locator("#link-text").inner_text() == "live", "a stream")


def examples(seen: Visit, number: int) -> int:
    return seen.page.locator(f".card:nth-child({number}) .examples img").count()


def name(seen: Visit, number: int, label: str) -> None:
    box = seen.page.get_by_label(f"Name of class {number}")
    box.fill(label)
    box.press("Enter")


def show(seen: Visit, number: int, count: int = EXAMPLES) -> None:
    """Hold a class's key until it has so many examples more."""
    wanted = examples(seen, number) + count
    seen.page.keyboard.down(str(number))
    seen.until(lambda: examples(seen, number) >= wanted, f"{count} examples of class {number}")
    seen.page.keyboard.up(str(number))


def test_two_things_are_taught_and_recognised_in_another_clip(pupil: Visit, camera_file: Path) -> None:
    seen, page = pupil, pupil.page
    assert page.locator(".card").count() == 3
    assert page.locator("#answer .waiting").is_visible()
    for number, kind in ((1, "mug"), (2, "key")):
        name(seen, number, kind)
    for seed in (0, 1):
        for number, kind in ((1, "mug"), (2, "key")):
            watch(seen, camera_file, kind, seed)
            show(seen, number)
    seen.until(lambda: page.locator("#classes li").count() == 2, "answers")
    seen.until(lambda: "Recognises" in page.locator("#teach-score").inner_text(), "how well it does")
    for kind, seed in (("mug", 5), ("key", 6)):
        watch(seen, camera_file, kind, seed)
        seen.until(lambda kind=kind: page.evaluate(ANSWERED) == [kind, kind], f"another {kind}, its card marked")
    assert page.locator("#meters").is_hidden()
    assert seen.errors == []
    assert seen.hosts == {"localhost"}


def test_a_button_is_held_by_hand_by_key_and_by_click(pupil: Visit, camera_file: Path) -> None:
    seen, page = pupil, pupil.page
    hold = page.locator(".card:nth-child(2) .hold")
    hold.dispatch_event("pointerdown", {"button": 0, "pointerId": 1})
    assert "Nothing is seen yet" in seen.notice()
    watch(seen, camera_file, "star", 0)
    assert page.locator("#notice").is_hidden()
    box = hold.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    seen.until(lambda: examples(seen, 2) >= 2, "by hand")
    assert hold.get_attribute("aria-pressed") == "true"
    page.mouse.up()
    assert hold.get_attribute("aria-pressed") == "false"
    hold.focus()
    page.keyboard.down("Enter")
    seen.until(lambda: examples(seen, 2) >= 4, "by its own key")
    page.keyboard.up("Enter")
    assert hold.get_attribute("aria-pressed") == "false"
    hold.evaluate("(button) => button.click()")  # as a screen reader does
    seen.until(lambda: examples(seen, 2) >= 6, "by a click")
    hold.evaluate("(button) => button.click()")
    assert hold.get_attribute("aria-pressed") == "false"
    assert "examples" in page.locator("#teach-live").inner_text()
    page.get_by_label("Name of class 1").press("3")
    assert page.locator(".card.showing").count() == 0, "a digit in a name is no key"
    assert seen.errors == []


def test_cards_are_corrected(pupil: Visit, camera_file: Path) -> None:
    seen, page = pupil, pupil.page
    watch(seen, camera_file, "star", 0)
    show(seen, 1, 4)
    seen.until(lambda: page.locator("#teach-score").inner_text(), "the state")
    first = page.get_by_label("Take example 1 of Class 1 back")
    first.click()
    seen.until(lambda: first.count() == 0, "it is gone")
    name(seen, 1, "star")
    name(seen, 2, "star")
    assert page.get_by_label("Name of class 2").input_value() == "Class 2", "two cannot have one name"
    seen.click("Add a class")
    assert page.locator(".card").count() == 4
    assert page.evaluate("document.activeElement.value") == "Class 4"
    seen.click("Take Class 4 back")
    seen.click("Take star back")
    seen.until(lambda: page.locator(".card").count() == 2, "two cards")
    seen.click("Start over")
    seen.until(lambda: page.locator(".card").count() == 3, "three new cards")
    assert page.locator(".examples img").count() == 0
    seen.click("Teach")
    assert page.locator("#teach").is_hidden()
    assert seen.errors == []


def recording(path: Path, lying: bool) -> Path:
    """Two seconds of a line that sways, as a file."""
    random = np.random.default_rng(lying)
    t = np.sort(random.integers(0, 2_000_000, 12_000))
    line, thin, sway = random.uniform(-14, 14, len(t)), random.normal(0, 0.8, len(t)), 8 * np.sin(t / 2e5)
    x, y = (line, thin) if lying else (thin, line)
    xs, ys = (48 + x + sway).astype(int), (32 + y + sway / 2).astype(int)
    write_recording(path, make_events(t, xs, ys, t % 2), SensorSize(96, 64), "npz")
    return path


def test_recordings_are_shown_saved_and_downloaded(pupil: Visit, saved: Path, tmp_path: Path) -> None:
    seen, page = pupil, pupil.page
    drop(seen, recording(tmp_path / "lying.npz", True), "application/octet-stream")
    seen.until(lambda: examples(seen, 1) == 6, "six examples")
    page.locator(".card:nth-child(2) input[type=file]").set_input_files(recording(tmp_path / "standing.npz", False))
    seen.until(lambda: page.locator("#teach-save").is_enabled(), "a head")
    page.get_by_label("Name of the model").fill("lines")
    with page.expect_download() as fetched:
        seen.click("Download")
    with zipfile.ZipFile(fetched.value.path()) as archive:
        archive.extractall(tmp_path)
    assert Classifier.load(tmp_path / "lines").labels == ("Class 1", "Class 2")
    seen.click("Save and serve")
    seen.until(lambda: "Saved and served" in seen.notice(), "it is saved")
    assert (saved / "lines" / "config.json").is_file()
    seen.click("Teach")
    seen.until(lambda: "lines" in page.locator("#model option").all_inner_texts(), "its name among the models")
    seen.until(lambda: page.locator("#model").input_value() == "lines", "it is chosen")
    (tmp_path / "bad.npz").write_bytes(b"PK\3\4 nothing")
    seen.click("Teach")
    drop(seen, tmp_path / "bad.npz", "application/octet-stream")
    seen.until(lambda: "damaged" in seen.notice(), "what is wrong with it")


def test_a_session_that_was_forgotten_begins_again(pupil: Visit, camera_file: Path) -> None:
    seen, page = pupil, pupil.page
    watch(seen, camera_file, "star", 0)
    show(seen, 1, 2)
    with page.expect_response(lambda answer: "/v1/teach" in answer.url) as begun:
        page.evaluate("""() => fetch('v1/teach/' + performance.getEntriesByType('resource')
            .map((entry) => entry.name.match(/lesson-[0-9a-f]+/)).find(Boolean)[0], { method: 'DELETE' })""")
    assert begun.value.ok
    seen.until(lambda: examples(seen, 1) == 0, "nothing is left")
    seen.until(lambda: page.locator("#link-text").inner_text() == "live", "it goes on")
    show(seen, 1, 2)


def test_axe_finds_nothing_and_screens_are_filled(visit: Visitor, school: Nearby, axe: str, tmp_path: Path) -> None:
    seen = visit(school.url, bypass_csp=True, reduced_motion="reduce")
    page = seen.page
    seen.until(lambda: page.locator("#samples button").count(), "the page has its models")
    page.add_script_tag(content=axe)
    seen.click("Teach")

    def check() -> None:
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            assert violations(seen) == []
        for width in (320, 390, 768, 1024):
            page.set_viewport_size({"width": width, "height": 844})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.set_viewport_size({"width": 1280, "height": 900})

    check()
    for number, lying in ((1, True), (2, False)):
        path = recording(tmp_path / f"{number}.npz", lying)
        page.locator(f".card:nth-child({number}) input[type=file]").set_input_files(path)
        seen.until(lambda number=number: examples(seen, number) == 6, "examples")
    seen.click("Start camera")
    seen.until(lambda: page.locator("#classes li").count() == 2, "answers")
    seen.click("Pause")
    check()


def test_a_camera_of_the_server_is_taught(visit: Visitor, tmp_path: Path) -> None:
    cameras = tuple(f"file:{nmnist_file(tmp_path / f'{name}.bin', name)}?loop=1" for name in ("digit-3", "digit-7"))
    served = Nearby("nmnist", cameras=cameras)
    try:
        seen = has_models(visit(served.url))
        seen.click("Teach")
        for number, source in ((1, "digit-3"), (2, "digit-7")):
            name(seen, number, source)
            seen.click(f"Watch file:{source}.bin")
            seen.until(lambda: seen.page.locator("#link-text").inner_text() == "live", "a stream")
            show(seen, number)
            seen.click("Stop")
        for source in ("digit-3", "digit-7"):
            seen.click(f"Watch file:{source}.bin")
            seen.until(
                lambda source=source: seen.page.locator("#label").inner_text() == source, f"{source} is recognised"
            )
            seen.click("Stop")
        assert seen.errors == []
    finally:
        served.stop()
