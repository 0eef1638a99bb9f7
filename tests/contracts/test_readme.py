"""The README's figures are those of the pages it links to; the tree of docs/structure.md is the disk's."""

import csv
import re
from collections.abc import Iterator
from importlib import import_module
from itertools import takewhile
from pathlib import Path

import pytest

from tests.contracts.test_docs import anchor
from tests.support.processes import ROOT

README = (ROOT / "README.md").read_text()
PACKAGES = ("app", "encoders", "models", "service", "spikesight", "training")


def tree() -> Iterator[Path]:
    """Every folder and module that the tree names, relative to the project; a module has no suffix there."""
    block = (ROOT / "docs" / "structure.md").read_text().split("```")[1]
    top = Path()
    for line in block.splitlines()[1:]:
        names = re.split(r"\s{2,}", line.strip())[0].split(", ")
        if not line.startswith(" "):
            assert len(names) == 1
            top = Path(names[0])
            yield top
        else:
            yield from (top / name if name.endswith("/") else (top / name).with_suffix(".py") for name in names)


def test_everything_in_the_tree_is_on_the_disk() -> None:
    named = list(tree())
    assert named
    assert not [path.as_posix() for path in named if not (ROOT / path).exists()]


def test_every_package_folder_is_in_the_tree() -> None:
    on_disk = {found.parent.relative_to(ROOT) for name in PACKAGES for found in (ROOT / name).rglob("__init__.py")}
    assert not sorted(path.as_posix() for path in on_disk - set(tree()))


def section(page: Path, fragment: str) -> str:
    """A page's text under the heading with this anchor, up to the next heading of its level or above."""
    lines = iter(page.read_text().splitlines())
    level = next(
        len(line) - len(line.lstrip("#")) for line in lines if line[:1] == "#" and anchor(line.lstrip("#")) == fragment
    )
    return "\n".join(takewhile(lambda line: not re.match(rf"#{{1,{level}}} ", line), lines))


def figures(text: str) -> set[str]:
    return set(re.findall(r"\d+(?:\.\d+)?", re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)))


def test_figures_of_the_results_are_those_of_their_pages() -> None:
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \| \[\w+\]\(([^)#]+)#([^)]+)\) \|$", README, re.MULTILINE)
    assert rows
    for result, page, fragment in rows:
        missing = figures(result) - figures(section(ROOT / page, fragment))
        assert not missing, f"{page}#{fragment} does not say {', '.join(sorted(missing))}"


def test_models_and_results_are_rows_of_the_board() -> None:
    with (ROOT / "docs/results/results.csv").open() as file:
        board = {row.pop("row"): " ".join(row.values()) for row in csv.DictReader(file)}
    models = re.findall(r"^\| \[`([\w-]+)`\]\([^)]+\) \| [^|]+ \| ([^|]+) \| [^|]+ \|$", README, re.MULTILINE)
    shown = [(row, right) for model, right in models for row in board if row.endswith(f": {model}")]
    assert len(shown) == len(models) > 0
    results = re.findall(r"^\| ([^|]+) \| ([^|]+) \| \[board\]", README, re.MULTILINE)
    assert results
    for what, right in (*results, *((f"`{row}`", right) for row, right in shown)):
        missing = figures(right) - figures(" ".join(board[row] for row in re.findall(r"`([^`]+)`", what)))
        assert not missing, f"{what}: the board does not say {', '.join(sorted(missing))}"


def test_the_paper_types_no_result() -> None:
    words = re.sub(r"\{[^{}]*\}", "", (ROOT / "docs/make/paper.md").read_text())
    typed = re.findall(r"\d+\.\d+|\d+ (?:%|points\b|uJ\b|times\b|of\b)", words)
    assert not typed, f"docs/make/paper.md: ask for {', '.join(typed)}"


@pytest.mark.parametrize("name", ["results", "performance"])
def test_a_page_begins_with_figures_of_its_tables_on_one_screen(name: str) -> None:
    page = ROOT / "docs" / "results" / f"{name}.md"
    summary = section(page, "summary")
    before, _, tables = page.read_text().partition(summary)
    assert len((before + summary).splitlines()) <= 45
    assert not figures(summary) - figures(tables)


def test_the_pictures_of_results_show_the_numbers_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs" / "make")
    draw = import_module("draw_results")
    numbers_of = {"accuracy": draw.accuracies(), "speed": draw.times(), "sparsity": draw.sparsity_tables()}
    for name, numbers in numbers_of.items():
        picture = (draw.PICTURES / f"{name}.png").read_bytes()
        assert draw.digest(numbers).encode() in picture, "python docs/make/draw_results.py"
