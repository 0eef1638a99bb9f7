"""Whole pictures of the demo: every word, box and line stands where it stood."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from app.webcam import overlay
from app.webcam.overlay import Surface, draw
from encoders.gaze.window import Window
from models.known import UNKNOWN
from tests.app.webcam.test_overlay import SIZE, full_field, prediction
from tests.support.kept import compare, of_picture

HERE = Path(__file__).parent

SCENES: dict[str, dict[str, Any]] = {
    "alone": {"steady": "class 1"},
    "beside a camera": {"camera": (60, 80), "window": Window(10, 10, 30)},
    "of twelve classes": {"k": 12, "steady": "class 3", "width": 900},
    "with meters": {"meters": [("Events", "12 /s"), ("Step time", "1 ms"), ("Rate", "9 %")], "keys": "q quit"},
    "with its history": {"history": True, "steady": "3 1"},
    "unknown": {"steady": UNKNOWN, "window": Window(5, 5, 20)},
    "of a short word": {"steady": "on", "width": 700},
    "tall": {"camera": (90, 30)},
}


def plain(given: Any) -> Any:
    """Arguments without arrays."""
    if isinstance(given, np.ndarray):
        return given.tolist()
    return [plain(one) for one in given] if isinstance(given, list | tuple) else given


def scene(monkeypatch: pytest.MonkeyPatch, values: dict[str, Any]) -> tuple[np.ndarray, list[str]]:
    """A picture whose words are boxes, whatever the fonts of this machine; its words and all that was drawn."""
    said: list[str] = []

    def write(canvas: np.ndarray, text: str, left: int, baseline: int, size: int, colour: Any, **bold: bool) -> None:
        said.append(f"{text!r} at {left}, {baseline} of {size} in {colour}{' bold' * bold.get('bold', False)}")
        boxes(canvas, (left, baseline - size), (left + len(text) * size // 2, baseline), colour, -1)

    def noted(name: str, real: Any) -> Any:
        return lambda canvas, *given: said.append(f"{name} {plain(given)}") or real(canvas, *given)

    boxes = cv2.rectangle
    for name in ("rectangle", "line", "polylines"):
        monkeypatch.setattr(overlay.cv2, name, noted(name, getattr(cv2, name)))
    monkeypatch.setattr(overlay, "_text", write)
    monkeypatch.setattr(overlay, "_width", lambda text, size: len(text) * size // 2)
    values = dict(values)
    k, camera = values.pop("k", 4), values.pop("camera", None)
    if camera is not None:
        values["camera"] = np.full((*camera, 3), (200, 120, 40), np.uint8)
    if values.pop("history", False):
        values["history"] = np.random.default_rng(0).dirichlet(np.ones(k), 80)
    half = full_field(True, 0)
    surface = Surface.blank(SIZE).seen(half[half["x"] < 20], 0)
    labels = [f"class {n}" for n in range(k)]
    return draw(surface, prediction(1, k), labels, **values), said


@pytest.mark.parametrize("name", SCENES)
def test_everything_stands_where_it_stood(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture, said = scene(monkeypatch, SCENES[name])
    file = HERE / "scenes" / f"{name.replace(' ', '-')}.json"
    compare(file, {"picture": of_picture(picture, 12), "size": picture.shape, "words": said}, abs=0.6)
