"""The stable names of each folder: few, all there, on the page on Python, and imported at first use."""

import re
from importlib import import_module

import pytest

from tests.support.processes import ROOT, in_fresh_process

FACES = [
    ".".join(("spikesight", *stub.parent.relative_to(ROOT).parts))
    for top in ("encoders", "models", "training")
    for stub in sorted((ROOT / top).rglob("__init__.pyi"))
]


@pytest.mark.parametrize("face", FACES)
def test_a_face_is_small_and_each_of_its_names_is_there_and_on_the_page(face: str) -> None:
    names = import_module(face).__all__
    assert 0 < len(names) <= 10
    row = re.search(rf"^\| `{re.escape(face)}` \| (.*) \|$", (ROOT / "docs" / "python.md").read_text(), re.MULTILINE)
    assert row
    assert sorted(re.findall(r"`(\w+)`", row[1])) == sorted(names)
    for name in names:
        assert getattr(import_module(face), name) is not None


def test_a_face_costs_nothing_before_it_is_used() -> None:
    program = f"import sys, {', '.join(FACES)}; print(sorted({{'numba', 'numpy', 'torch'}} & {{*sys.modules}}))"
    assert in_fresh_process(program) == "[]"
