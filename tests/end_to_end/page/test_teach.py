"""Teach: two things shown to a fake camera are recognised in other clips; cards, keys, files, saving, all screens."""

from __future__ import annotations  # playwright's names are there for the types alone

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from spikesight.encoders.events import SensorSize, make_events
from spikesight.encoders.recordings.files import write_recording
from spikesight.models.classifier import Classifier
from tests.support.chromium import Check, Show, Visit, Visitor, has_models, needs_chromium, served
from tests.support.inputs.things import clip

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = needs_chromium
ANSWERED = "[document.getElementById('label').textContent, document.querySelector('.card.answered input')?.value]"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("saved")


@pytest.fixture(scope="module")
def service(saved: Path) -> Iterator[str]:
    """One that keeps models."""
    with served("nmnist", save_to=saved, max_teaching_per_client=16) as url:
        yield url


@pytest.fixture
def pupil(visit: Visitor) -> Visit:
    """The page, ready to be taught."""
    seen = has_models(visit(bypass_csp=True))
    seen.click("Teach")
    return seen


def until_live(seen: Visit) -> None:
    seen.until(lambda: seen.text("#link-text") == "live", "a stream")


def watch(seen: Visit, before_the_camera: Show, kind: str, seed: int) -> None:
    """Another clip before the camera."""
    if seen.page.locator("#stop").is_visible():
        seen.click("Stop")
    before_the_camera(clip(kind, seed, 120))
    seen.click("Start camera")
    until_live(seen)


def examples(seen: Visit, number: int) -> int:
    return seen.page.locator(f".card:nth-child({number}) .examples img").count()


def name(seen: Visit, number: int, label: str) -> None:
    box = seen.page.get_by_label(f"Name of class {number}")
    box.fill(label)
    box.press("Enter")


def names(seen: Visit) -> list[str]:
    return seen.page.locator(".card-head input").evaluate_all("(boxes) => boxes.map((box) => box.value)")


def until_shown(seen: Visit, number: int, count: int) -> None:
    seen.until(lambda: examples(seen, number) >= count, f"{count} examples of class {number}")


def show(seen: Visit, number: int, count: int = 6) -> None:
    """Hold a class's key until it has so many examples more."""
    seen.page.keyboard.down(str(number))
    until_shown(seen, number, examples(seen, number) + count)
    seen.page.keyboard.up(str(number))


def settled(seen: Visit) -> None:
    """Everything that was shown is learnt, and on the page."""
    wait = "async (id) => (await (await fetch(`v1/teach/${id}?wait=1`)).json()).classes.flatMap((one) => one.examples)"
    numbers = seen.page.evaluate(wait, seen.of("teaching")[-1]["id"])
    seen.until(lambda: seen.page.locator(".card .examples img").count() == len(numbers), "all examples")


def test_two_things_are_taught_and_recognised_in_another_clip(pupil: Visit, before_the_camera: Show) -> None:
    assert pupil.page.locator(".card").count() == 3
    for number, kind in ((1, "mug"), (2, "key")):
        name(pupil, number, kind)
    for seed in (0, 1):
        for number, kind in ((1, "mug"), (2, "key")):
            watch(pupil, before_the_camera, kind, seed)
            show(pupil, number)
    pupil.until(lambda: pupil.page.locator("#classes li").count() == 2, "answers")
    pupil.until(lambda: pupil.text("#teach-score").startswith("On another day"), "how well it does")
    for kind, seed in (("mug", 5), ("key", 6)):
        watch(pupil, before_the_camera, kind, seed)
        pupil.until(lambda kind=kind: pupil.page.evaluate(ANSWERED) == [kind, kind], f"another {kind}, its card marked")


def test_a_button_is_held_by_hand_by_key_and_by_click(pupil: Visit, before_the_camera: Show) -> None:
    page, hold = pupil.page, pupil.page.locator(".card:nth-child(2) .hold")
    hold.dispatch_event("pointerdown", {"button": 0, "pointerId": 1})
    assert "Nothing is seen yet" in pupil.notice()
    watch(pupil, before_the_camera, "star", 0)
    assert page.locator("#notice").is_hidden()
    hold.hover()
    page.mouse.down()
    until_shown(pupil, 2, 2)
    assert hold.get_attribute("aria-pressed") == "true"
    page.mouse.up()
    assert hold.get_attribute("aria-pressed") == "false"
    hold.focus()
    page.keyboard.down("Enter")
    until_shown(pupil, 2, 4)
    page.keyboard.up("Enter")
    assert hold.get_attribute("aria-pressed") == "false"
    page.keyboard.down("2")
    page.keyboard.down("Shift")
    assert hold.get_attribute("aria-pressed") == "true"
    page.keyboard.up("Digit2")  # with Shift it has another name
    page.keyboard.up("Shift")
    assert hold.get_attribute("aria-pressed") == "false"
    hold.evaluate("(button) => button.click()")  # as a screen reader does
    until_shown(pupil, 2, 6)
    hold.evaluate("(button) => button.click()")
    assert hold.get_attribute("aria-pressed") == "false"
    assert "examples" in pupil.text("#teach-live")
    page.get_by_label("Name of class 1").press("3")
    assert page.locator(".card.showing").count() == 0, "a digit in a name is no key"


def test_cards_are_corrected(pupil: Visit, before_the_camera: Show) -> None:
    page, cards = pupil.page, pupil.page.locator(".card")
    watch(pupil, before_the_camera, "star", 0)
    show(pupil, 1, 4)
    settled(pupil)
    first = page.get_by_label("Take example 1 of Class 1 back")
    first.click()
    pupil.until(lambda: first.count() == 0, "it is gone")
    late: list[Route] = []
    page.route("**/classes?*", lambda route: late.append(route))
    page.keyboard.down("1")
    name(pupil, 1, "star")
    until_shown(pupil, 1, examples(pupil, 1) + 2)  # the server's messages have the old name still
    with page.expect_response("**/classes?*"):
        late[0].continue_()
    page.unroute("**/classes?*")
    until_shown(pupil, 1, examples(pupil, 1) + 2)
    page.keyboard.up("1")
    settled(pupil)
    assert names(pupil) == ["star", "Class 2", "Class 3"]
    name(pupil, 2, "star")
    assert page.get_by_label("Name of class 2").input_value() == "Class 2", "two cannot have one name"
    pupil.click("Show the background")
    until_shown(pupil, 2, 2)
    assert page.get_by_label("Name of class 2").input_value() == "background"
    pupil.click("Add a class")
    assert cards.count() == 4
    assert page.evaluate("document.activeElement.value") == "Class 4"
    pupil.click("Take Class 4 back")
    page.evaluate("document.activeElement.blur()")  # a digit in a name is no key
    page.keyboard.down("1")
    pupil.click("Take star back")
    pupil.until(lambda: cards.count() == 2, "two cards")
    count = len(pupil.of("prediction"))
    pupil.until(lambda: len(pupil.of("prediction")) > count + 60, "the camera goes on")
    page.keyboard.up("1")
    assert names(pupil) == ["background", "Class 3"], "what was shown as it was taken back does not come back"
    pupil.click("Start over")
    pupil.until(lambda: cards.count() == 3, "three new cards")
    assert page.locator(".examples img").count() == 0
    pupil.click("Teach")
    assert page.locator("#teach").is_hidden()


def recording(path: Path, lying: bool) -> Path:
    """Two seconds of a line that sways, as a file."""
    random = np.random.default_rng(lying)
    t = np.sort(random.integers(0, 2_000_000, 12_000))
    line, thin, sway = random.uniform(-14, 14, len(t)), random.normal(0, 0.8, len(t)), 8 * np.sin(t / 2e5)
    x, y = (line, thin) if lying else (thin, line)
    xs, ys = (48 + x + sway).astype(int), (32 + y + sway / 2).astype(int)
    write_recording(path, make_events(t, xs, ys, t % 2), SensorSize(96, 64), "npz")
    return path


def test_slow_uploads_stay_with_their_card(pupil: Visit, tmp_path: Path) -> None:
    page = pupil.page
    late: list[Route] = []
    lying, standing = recording(tmp_path / "lying.npz", True), recording(tmp_path / "standing.npz", False)
    page.route("**/examples?*", lambda route: late.append(route))
    second = page.locator(".card:nth-child(2) input[type=file]")
    second.set_input_files([lying, standing])
    pupil.until(lambda: late, "a long upload")
    with page.expect_response(lambda answer: answer.request.method == "DELETE"):
        pupil.click("Start over")
    with page.expect_response("**/examples?*"):
        late.pop().continue_()
    second.set_input_files(standing)
    pupil.until(lambda: late, "another upload")
    name(pupil, 2, "standing")
    late.pop().continue_()
    until_shown(pupil, 2, 6)
    assert not late, "what was given before the start comes no more"
    assert names(pupil) == ["Class 1", "standing", "Class 3"]
    page.unroute("**/examples?*")
    pupil.drop(lying)
    until_shown(pupil, 1, 6)
    with page.expect_response(lambda answer: answer.status == 404):
        twice = "(button) => { button.click(); button.click(); }"
        page.get_by_role("button", name="Take example").first.evaluate(twice)
    assert page.locator("#notice").is_hidden()
    pupil.click("Teach")
    pupil.drop(standing)
    pupil.until(lambda: page.locator("#train-controls").is_visible(), "it is looked at")
    pupil.click("Teach")
    assert page.locator("#start").is_visible(), "a file is no example until it is given as one"


def test_recordings_are_shown_saved_and_downloaded(pupil: Visit, for_all: Check, saved: Path, tmp_path: Path) -> None:
    page = pupil.page
    for_all(pupil)
    pupil.drop(recording(tmp_path / "lying.npz", True))
    until_shown(pupil, 1, 6)
    page.locator(".card:nth-child(2) input[type=file]").set_input_files(recording(tmp_path / "standing.npz", False))
    pupil.until(lambda: page.locator("#teach-save").is_enabled(), "a head")
    page.get_by_label("Name of the model").fill("my lines")
    with page.expect_download() as fetched:
        pupil.click("Download")
    with zipfile.ZipFile(fetched.value.path()) as archive:
        archive.extractall(tmp_path)
    assert Classifier.load(tmp_path / "my-lines").labels == ("Class 1", "Class 2")
    pupil.click("Start camera")
    pupil.until(lambda: page.locator("#classes li").count() == 2, "answers")
    pupil.click("Pause")
    for_all(pupil)
    pupil.click("Save and serve")
    pupil.until(lambda: "Saved and served" in pupil.notice(), "it is saved")
    assert (saved / "my-lines" / "config.json").is_file()
    (tmp_path / "bad.npz").write_bytes(b"PK\3\4 nothing")
    pupil.drop(tmp_path / "bad.npz")
    pupil.until(lambda: "damaged" in pupil.notice(), "what is wrong with it")
    pupil.click("Teach")
    pupil.until(lambda: "my-lines" in page.locator("#model option").all_inner_texts(), "its name among the models")
    pupil.until(lambda: page.locator("#model").input_value() == "my-lines", "it is chosen")
    page.on("dialog", lambda dialog: dialog.accept())
    pupil.click("Settings")
    pupil.click("Remove")
    pupil.until(lambda: page.locator("#model").input_value() == "nmnist", "it is gone")
    assert list(saved.iterdir()) == []


def test_a_session_that_was_forgotten_begins_again(pupil: Visit, before_the_camera: Show) -> None:
    watch(pupil, before_the_camera, "star", 0)
    show(pupil, 1, 2)
    with pupil.page.expect_response(lambda answer: "/v1/teach" in answer.url) as begun:
        pupil.page.evaluate("""() => fetch('v1/teach/' + performance.getEntriesByType('resource')
            .map((entry) => entry.name.match(/teaching-[0-9a-f]+/)).find(Boolean)[0], { method: 'DELETE' })""")
    assert begun.value.ok
    pupil.until(lambda: examples(pupil, 1) == 0, "nothing is left")
    until_live(pupil)
    show(pupil, 1, 2)
