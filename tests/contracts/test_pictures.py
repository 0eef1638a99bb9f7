"""The documents' pictures show the true label: shown.json beside them says what each shows and what is answered."""

import hashlib
import json
import re
from importlib import import_module

import pytest

import spikesight
from spikesight.app.webcam.demo import default_model
from spikesight.encoders.sources.samples import listing
from tests.support.processes import ROOT

PICTURES = ROOT / "docs" / "pictures"
SHOWN = json.loads((PICTURES / "shown.json").read_text())
LARGEST = 1 << 20  # bytes of the animation that leads the README


def truth(source: str) -> str:
    """What a recording ("digit-3") or a drawing ("drawn-3") is of."""
    labels = {sample.name: sample.label.split()[-1] for sample in listing()}  # "digit 3"; "circle, to the right"
    return labels.get(source) or re.fullmatch(r"drawn-(\w+)", source)[1]  # type: ignore[index]


@pytest.mark.parametrize("name", SHOWN)
def test_its_label_is_the_true_one(name: str) -> None:
    source, says = SHOWN[name]["source"], SHOWN[name]["says"]
    assert says == truth(source)
    assert hashlib.sha256((PICTURES / name).read_bytes()).hexdigest() == SHOWN[name]["sha256"], "take it with take.py"
    if not source.startswith("drawn"):
        *_, last = spikesight.load(default_model(source)).stream(source)
        assert last.label == says, "what the page shows today"


def test_every_picture_is_used_and_accounted_for() -> None:
    files = {path.name for path in PICTURES.iterdir() if path.suffix in (".png", ".webp")}
    assert files == {*SHOWN, "encodings.png"}
    pages = "".join(page.read_text() for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")))
    assert not [name for name in files if name not in pages]
    assert (PICTURES / "page.webp").stat().st_size <= LARGEST


def test_the_pictures_of_results_show_the_numbers_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs" / "make")
    draw = import_module("draw_results")
    for name, numbers in {"accuracy": draw.accuracies(), "speed": draw.times()}.items():
        picture = (draw.PICTURES / f"{name}.png").read_bytes()
        assert draw.digest(numbers).encode() in picture, "python docs/make/draw_results.py"
