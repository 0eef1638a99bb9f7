"""The page for all: no label where there is nothing, no flashing, still views, the keyboard alone, every screen."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tests.support.chromium import Check, Show, Visit, Visitor, has_models, needs_chromium
from tests.support.inputs.samples import empty_desk
from tests.support.inputs.things import one_turn

pytestmark = needs_chromium


def test_no_label_where_there_is_no_digit(visit: Visitor, before_the_camera: Show) -> None:
    seen = has_models(visit())
    before_the_camera(one_turn(empty_desk))
    seen.click("Start camera")
    seen.until(lambda: len(seen.of("prediction")) > 90, "predictions, though there is no digit")
    said = [message["label"] for message in seen.of("prediction")]
    assert sum(label in ("", "unknown", "nothing") for label in said) >= 0.98 * len(said), said
    silent = re.compile("nothing to see|no digit here|the server is too slow.*")  # as a busy machine may be
    seen.until(lambda: silent.fullmatch(seen.text("#label")), "no label")
    for other in ("#classes", "#committed", "#guide"):
        assert not seen.page.locator(other).is_visible(), "nothing else is said"
    assert "Take paper" in seen.text("#advice") or "slow" in seen.text("#label"), "but what to do"


def linear(values: np.ndarray) -> np.ndarray:
    """Linear light in [0, 1] of sRGB values in [0, 255] (IEC 61966-2-1)."""
    shares = np.asarray(values, np.float64) / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def watch(seen: Visit, canvases: list[str], seconds: float) -> list[tuple[np.ndarray, np.ndarray]]:
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
    return [(times, linear(pixels[:, n]) @ [0.2126, 0.7152, 0.0722]) for n in range(len(canvases))]


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


def most_flashes(times: np.ndarray, light: np.ndarray) -> float:
    """The most flashes in any second that at least a quarter of the pixels make; one flash is two opposing swings."""
    every = [np.array(swing_times(times, pixel)) for pixel in light.T]
    counts = [np.searchsorted(swings, times + 1000) - np.searchsorted(swings, times) for swings in every]
    return float(np.quantile(counts, 0.75, axis=0).max()) / 2


def test_a_lamp_of_15_hz_before_the_camera_makes_no_flash(visit: Visitor, before_the_camera: Show) -> None:
    seen = has_models(visit())
    before_the_camera([np.full((240, 320, 3), value, np.uint8) for value in (16, 235)] * 15)
    seen.click("Start camera")
    seen.until(lambda: len(seen.of("prediction")) > 5, "predictions")
    for times, light in watch(seen, ["events", "preview"], 3):
        assert most_flashes(times, light) <= 3
    times = np.arange(0, 3000, 1000 / 60)
    assert most_flashes(times, (times // (500 / 15) % 2)[:, None]) == pytest.approx(15, abs=0.6), "the lamp's own"


def test_reduced_motion_is_a_still_view(visit: Visitor) -> None:
    seen = has_models(visit(reduced_motion="reduce"))
    assert seen.page.locator("#still").is_checked()
    seen.click("Start camera")
    seen.until(lambda: seen.of("prediction"), "predictions")
    ((_, light),) = watch(seen, ["events"], 2.5)
    assert np.count_nonzero((np.diff(light, axis=0) != 0).any(1)) <= 3
    before = len(seen.heard)
    seen.until(lambda: len(seen.heard) > before, "predictions go on")


def test_the_keyboard_alone(visit: Visitor) -> None:
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
    before = seen.text("#threshold-value")
    page.keyboard.press("ArrowRight")
    assert float(seen.text("#threshold-value")) > float(before)
    page.keyboard.press("Escape")
    assert not page.locator("#settings").is_visible()
    assert focused() == "settings-open"
    page.locator("#stop").focus()
    page.keyboard.press("Enter")
    seen.until(lambda: focused() == "start", "it stops")


def test_one_model_is_for_all(visit: Visitor, for_all: Check, digit: Path) -> None:
    seen = has_models(visit(bypass_csp=True, reduced_motion="reduce"))
    for_all(seen)
    seen.click("Start camera")
    seen.until(lambda: len(seen.of("prediction")) > 10, "predictions")
    seen.click("Pause")
    for_all(seen)
    seen.click("Settings")
    for_all(seen)
    seen.click("Done")
    seen.drop(digit)
    seen.until(lambda: seen.page.locator("#train-controls").is_visible(), "a spike train")
    for_all(seen)
