"""The strip of moments in doubt: a clip is seen, one click says what it was, and the answer follows."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from spikesight.models.classifier import Classifier
from spikesight.service.api import create_app
from tests.service.teach.drawn import ASLANT, before_a_camera, swaying, taught_folder
from tests.support.chromium import Visit, Visitor, has_models, needs_chromium
from tests.support.serving.servers import running, settings

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytest.importorskip("playwright", reason="playwright is not installed: pip install 'spikesight[dev]'")

pytestmark = needs_chromium
PAINTED = "getComputedStyle(document.querySelector('.clip')).backgroundImage"


def test_a_moment_is_named_by_a_click(visit: Visitor, for_all: Callable[[Visit], None], tmp_path: Path) -> None:
    model = Classifier.load(taught_folder(tmp_path / "door"))
    camera = before_a_camera(swaying(ASLANT, 6, 3))
    with running(create_app(settings(ask=4), (model,), (camera,))) as port:
        seen = has_models(visit(f"http://localhost:{port}/", bypass_csp=True, reduced_motion="reduce"))
        moments = seen.page.locator(".moment")
        seen.until(lambda: moments.count() and "blob:" in seen.page.evaluate(PAINTED), "a clip of a moment")
        for_all(seen)
        first = moments.first
        assert first.get_by_role("button").all_inner_texts()[-1] == "✕"
        late: list[Route] = []
        seen.page.route("**/v1/moments/*", lambda route: late.append(route), times=1)
        first.get_by_role("button", name="Let it go").click()
        seen.until(lambda: late, "a slow network")
        assert first.evaluate("(moment) => moment.inert"), "a second click asks for no more"
        late.pop().abort()
        seen.until(lambda: "does not answer" in seen.notice(), "the reason")
        seen.click("Watch udp://127.0.0.1:3333")
        first.get_by_role("button", name="It was standing").click()
        seen.until(lambda: "that was standing" in seen.text("#moments-live"), "that it has learnt")

        def all_are(name: str) -> None:
            """Answer all other moments: how much of the swaying one of them shows is a matter of timing."""
            answers = seen.page.locator(".moment:not([inert])").get_by_role("button", name=name)
            answers.evaluate_all("(buttons) => buttons.forEach((button) => button.click())")

        def follows() -> bool:
            all_are("It was standing")
            return seen.text("#label") == "standing"

        def is_hidden() -> bool:
            all_are("Let it go")
            return seen.page.locator("#moments").is_hidden()

        seen.until(follows, "the answer")
        seen.until(is_hidden, "nothing is left in doubt")
