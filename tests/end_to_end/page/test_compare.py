"""The page's compare mode: one input through several models side by side, and the sheet to draw on."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support.chromium import Check, Show, Visit, Visitor, has_models, needs_chromium, nmnist_file, served
from tests.support.inputs.things import one_turn

pytest.importorskip("playwright", reason="playwright is not installed: pip install 'spikesight[dev]'")
from playwright.sync_api import Locator

MODELS = ("nmnist", "mnist-direct", "mnist-converted", "mnist-ann", "motions")
TITLES = ["Direct SNN", "Converted SNN", "ANN", "Direct SNN, events"]
pytestmark = needs_chromium


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """Every shipped model."""
    with served(*MODELS) as url:
        yield url


def three(turn: float = 0) -> np.ndarray:
    """Light paper with a 3 that moves on a small circle; uint8 [480, 640, 3]."""
    frame = np.full((480, 640, 3), (225, 228, 230), np.uint8)
    x, y = round(320 + 30 * np.cos(turn)), round(240 + 20 * np.sin(turn))
    cv2.putText(frame, "3", (x - 82, y + 95), cv2.FONT_HERSHEY_SIMPLEX, 8.5, (40, 36, 34), 34, cv2.LINE_AA)
    return frame


@pytest.fixture(scope="module")
def digit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "three.png"
    cv2.imwrite(str(path), three())
    return path


def comparing(seen: Visit) -> Visit:
    has_models(seen).click("Compare")
    return seen


def column(seen: Visit, title: str) -> Locator:
    return seen.page.get_by_role("region", name=f"{title}: ")


def answers(seen: Visit) -> dict[str, str]:
    """The answer of every column, or the sentence it says instead."""
    return seen.page.evaluate(
        """Object.fromEntries([...document.querySelectorAll(".column")].map((c) => [c.querySelector("h3").textContent,
           c.querySelector(c.matches(".silent") ? ".words" : "strong").textContent]))"""
    )


def until_all(seen: Visit, label: str, titles: list[str] = TITLES) -> None:
    """Every column of these gives this answer."""
    seen.until(lambda: all(answers(seen).get(title) == label for title in titles), f"{label}, not {answers(seen)}")


def fact(seen: Visit, title: str, name: str) -> str:
    return column(seen, title).locator(f"dt:text-is('{name}') + dd").inner_text()


def test_a_dropped_digit_through_all_models(visit: Visitor, digit: Path) -> None:
    seen = comparing(visit())
    seen.drop(digit)
    until_all(seen, "3")
    page = seen.page
    assert list(answers(seen)) == TITLES
    assert [fact(seen, "ANN", name) for name in ("Step", "Spikes", "Of the ANN")] == ["1 pass", "none", "100 %"]
    assert int(fact(seen, "Direct SNN", "Of the ANN").split()[0]) < 100
    assert "ms" in fact(seen, "Converted SNN", "Time")
    assert column(seen, "Converted SNN").locator(".bars i").count() > 2
    whole, steps = fact(seen, "Converted SNN", "Spikes"), page.locator("#compare-at").get_attribute("max")
    page.locator("#compare-at").fill("1")
    assert seen.text("#compare-at-value") == f"1 / {steps}"
    assert fact(seen, "Converted SNN", "Step").startswith("1 of")
    assert fact(seen, "Converted SNN", "Spikes") != whole
    assert fact(seen, "ANN", "Step") == "1 pass"
    seen.until(lambda: seen.text("#compare-live").startswith("Direct SNN: 3. Converted SNN: "), "it is said aloud")
    page.get_by_role("checkbox", name="mnist-ann").focus()
    page.keyboard.press("Space")
    assert page.evaluate("document.activeElement.value") == "mnist-ann", "the keyboard stays where it is"
    seen.until(lambda: "ANN" not in answers(seen) and answers(seen).get("Direct SNN") == "3", "three columns are left")
    seen.until(lambda: "Of an ANN" in column(seen, "Direct SNN").first.inner_text(), "an ANN of its own shape")


def test_a_webcam_through_pictures_and_events(visit: Visitor, before_the_camera: Show) -> None:
    seen = comparing(visit())
    before_the_camera(one_turn(three, 30))
    seen.click("Start camera")
    until_all(seen, "3", TITLES[:3])
    said = {*"0123456789", "no digit here", "nothing to see"}  # as a busy machine may be
    seen.until(lambda: answers(seen)["Direct SNN, events"] in said, "an answer to its events")
    seen.until(lambda: seen.colours("events") > 4 and seen.colours("preview") > 20, "both pictures")
    around = pytest.approx([seen.page.evaluate("preview.width / 2"), seen.page.evaluate("preview.height / 2")], abs=40)
    seen.until(lambda: (seen.window("preview") or [])[:2] == around, "the window that the digit model looks through")
    seen.click("Compare")
    seen.until(lambda: seen.text("#label") != "–", "one model goes on with the same camera")


def test_a_picture_through_an_ann_is_one_step_at_its_whole_cost(visit: Visitor, digit: Path) -> None:
    seen = has_models(visit())
    seen.page.locator("#model").select_option("mnist-ann")
    seen.drop(digit)
    seen.until(lambda: "100 % of an ANN" in seen.value("synops"), "its cost")
    seen.until(lambda: seen.text("#at-value") == "1 / 1", "its step")


def test_a_recording_through_event_models(visit: Visitor, tmp_path: Path) -> None:
    seen = has_models(visit())
    seen.page.locator("#model").select_option("motions")
    seen.click("Play the recording digit 3")
    seen.until(lambda: seen.of("prediction"), "predictions")
    assert seen.page.locator("#model").input_value() == "nmnist", "a model that knows it"
    seen.click("Stop")
    seen.forget()
    seen.click("Compare")
    seen.click("Play the recording digit 3")
    seen.until(lambda: {m["model"] for m in seen.of("ready")} == {"nmnist", "motions"}, "every event model, no other")
    seen.until(lambda: len(seen.of("prediction")) > 4 and seen.colours("events") > 2, "predictions and a picture")
    seen.page.get_by_role("checkbox", name="mnist-ann").check()
    seen.until(lambda: "Takes pictures" in answers(seen).get("ANN", ""), "why an image model has no answer")
    seen.click("Stop")
    seen.drop(nmnist_file(tmp_path / "three.bin", "digit-3"))
    seen.until(lambda: "takes images" in answers(seen).get("ANN", ""), "the server says so of files")
    seen.until(lambda: seen.colours("preview") > 5, "a long exposure")
    assert seen.window("preview") is None, "all of a small sensor is looked at"


def test_draw_with_the_mouse_and_with_the_keyboard(visit: Visitor) -> None:
    seen = has_models(visit())
    page = seen.page
    page.get_by_role("button", name="draw a digit").focus()
    page.keyboard.press("Enter")
    for _ in range(7):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    seen.until_says("7")
    seen.click("Compare")
    until_all(seen, "7")
    seen.click("Clear")
    box = page.locator("#pad").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y - box["height"] / 3)
    page.mouse.down()
    page.mouse.move(x - 2, y + box["height"] / 3, steps=8)
    page.mouse.up()
    until_all(seen, "1")
    seen.click("Compare")
    seen.until_says("1")


def test_a_model_that_is_gone_says_so_and_the_page_is_for_all(visit: Visitor, for_all: Check, digit: Path) -> None:
    seen = visit(bypass_csp=True, reduced_motion="reduce")
    seen.page.route("**/v1/predict?*model=mnist-ann*", lambda route: route.fulfill(status=503, json={"error": "busy"}))
    comparing(seen).drop(digit)
    seen.until(lambda: answers(seen).get("ANN") == "Busy.", "the server's own sentence")
    until_all(seen, "3", ["Direct SNN", "Converted SNN"])
    for_all(seen)
    seen.click("Close")
    seen.page.locator("#draw").click()
    for_all(seen)
