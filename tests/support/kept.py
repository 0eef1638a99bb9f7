"""Numbers that must stay what they were, in JSON files beside the tests; SPIKESIGHT_KEEP=1 writes them anew."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest


def compare(path: Path, made: Mapping[str, Sequence[Any]], *, rel: float = 0.005, abs: float = 0.01) -> None:
    """Every entry is as it was, numbers up to rounding on other processors."""
    if os.environ.get("SPIKESIGHT_KEEP"):
        lines = [f"{json.dumps(name)}: {json.dumps(list(values))}" for name, values in made.items()]
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    before = json.loads(path.read_text())
    assert list(made) == list(before)
    for name, values in made.items():
        (numbers, words), (numbers_before, words_before) = divided(values), divided(before[name])
        assert numbers == pytest.approx(numbers_before, rel=rel, abs=abs), name
        assert words == words_before, name


def divided(values: Sequence[Any]) -> tuple[list[float], list[str]]:
    """Numbers and words."""
    return [v for v in values if not isinstance(v, str)], [v for v in values if isinstance(v, str)]


def of_events(events: np.ndarray) -> list[float]:
    """How many there are; mean and spread of t, x and y; share of ON."""
    if not len(events):
        return [0.0]
    columns = [events[name].astype(np.float64) for name in "txy"]
    values = [len(events), *(f(column) for column in columns for f in (np.mean, np.std)), events["p"].mean()]
    return [round(float(value), 4) for value in values]


def of_picture(picture: np.ndarray, side: int = 5) -> list[float]:
    """Its mean in side x side fields."""
    fields = cv2.resize(np.asarray(picture, np.float32), (side, side), interpolation=cv2.INTER_AREA)
    return [round(float(value), 2) for value in fields.ravel()]
