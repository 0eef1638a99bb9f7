"""Numbers that must stay what they were, in JSON files beside the tests; SPIKESIGHT_KEEP=1 writes them anew."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
