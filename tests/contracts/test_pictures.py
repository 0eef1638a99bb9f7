"""The documents' pictures show the true label: shown.json beside them says what each shows and what is answered."""

import hashlib
import json
import re
from functools import cache
from typing import Any

import pytest

import spikesight
from spikesight.app.webcam.demo import default_model
from spikesight.encoders.sources.samples import listing
from tests.support.processes import ROOT

PICTURES = ROOT / "docs" / "pictures"
NOTES = {path.parent: json.loads(path.read_text()) for path in PICTURES.rglob("shown.json")}
SHOWN: dict[str, dict[str, Any]] = {
    (folder / name).relative_to(PICTURES).as_posix(): shown
    for folder, notes in NOTES.items()
    for name, shown in notes.items()
}
WITHOUT_AN_ANSWER = {"encodings.png", "encodings-trains.png", "latency.png"}
LARGEST = 1 << 20  # bytes of the animation that leads the README


def truth(source: str) -> str:
    """What a recording or a drawing is of."""
    labels = {sample.name: sample.label for sample in listing()}
    if source in labels:
        return labels[source].split()[-1]  # "digit 3"; "circle, to the right"
    drawn = re.fullmatch(r"drawn-(\w+)", source)
    assert drawn, f"nobody knows what {source} is"
    return drawn.group(1)


@cache
def answered(source: str) -> str:
    """What the shipped model says of a recording today."""
    *_, last = spikesight.load(default_model(source)).stream(source)
    return last.label


def test_every_picture_is_accounted_for() -> None:
    files = {path.relative_to(PICTURES).as_posix() for path in PICTURES.rglob("*") if path.suffix in (".png", ".webp")}
    assert files - WITHOUT_AN_ANSWER == set(SHOWN)
    assert (PICTURES / "page.webp").stat().st_size <= LARGEST


@pytest.mark.parametrize("name", sorted(SHOWN))
def test_its_label_is_the_true_one(name: str) -> None:
    source, says = SHOWN[name]["source"], SHOWN[name]["says"]
    assert says == truth(source)
    assert hashlib.sha256((PICTURES / name).read_bytes()).hexdigest() == SHOWN[name]["sha256"], "take it with take.py"
    if not source.startswith("drawn"):
        assert answered(source) == says, "what the page shows today"
