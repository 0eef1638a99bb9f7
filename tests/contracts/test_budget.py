"""The size of the project is bounded, and the bounds only fall: a new capability names what it replaces."""

import pytest

from tests.support.sizes import PRODUCT, ROOT, settings, sizes

BUDGET = {
    "product": 21_710,
    "page, C, C++": 8_547,
    "tests": 20_560,
    "words": 26_246,
    "corpora": 1_857,
    "benchmarks": 1_505,
    "experiments": 2_533,
    "docs": 608,
}
"""Lines that hold code (docs: what makes tables and pictures), raw lines, and words of Markdown.

Lower a row when you delete.
"""

MOST_SETTINGS = {"training": 49, "service": 24}
MOST_LINES = 500  # of a file


@pytest.mark.parametrize("name", BUDGET)
def test_the_project_keeps_its_budget(name: str) -> None:
    size = sizes()[name]
    assert size <= BUDGET[name], f"{name}: {size - BUDGET[name]} more than the budget: delete first"
    assert size > 0.97 * BUDGET[name], f"{name} shrank to {size}: lower its row, so that it only falls"


def test_no_file_is_longer_than_a_reader_gains_by() -> None:
    lengths = {path: len(path.read_text().splitlines()) for name in PRODUCT for path in (ROOT / name).rglob("*.py")}
    assert not [f"{path}: {length}" for path, length in lengths.items() if length > MOST_LINES]


def test_settings_are_what_somebody_turns() -> None:
    assert settings() == MOST_SETTINGS, "a new setting names the one that it replaces; one that went lowers the bound"
