"""The colours of the page lie in one file: what asks for one finds it there, and nothing else brings its own."""

import re

import numpy as np
import pytest

from spikesight.app.webcam.overlay import luminance
from spikesight.service.page.colours import COLOURS
from spikesight.service.page.routes import PAGE

SHEET = PAGE / "shared" / "colours.css"
FILES = [path for path in PAGE.rglob("*") if path.suffix in {".css", ".js", ".html"} and path != SHEET]


def test_every_colour_that_is_asked_for_is_there() -> None:
    asked = {name for path in FILES for name in re.findall(r"(?:var\(|\")--([\w-]+)", path.read_text())}
    assert asked - set(COLOURS) == {"font", "gap", "mono", "radius", "steps", "tone"}, (
        "which are no colours, or set beside them"
    )
    assert {"event-ground", "event-on", "paper"} <= asked


@pytest.mark.parametrize("dim", ["event-on-dim", "event-off-dim"])
def test_a_dim_event_picture_cannot_flash(dim: str) -> None:
    light, ground = (luminance(np.array(COLOURS[name])) for name in (dim, "event-ground"))
    assert abs(light - ground) < 0.09  # WCAG 2.3.1 counts from 0.1 on
