"""docs/paper.md: the words of docs/make/paper.md, whose every figure is asked of what was measured.

{name words | words} asks one of ASKED below: `{right parts: rbf}`, `{cell results/results.md | Conversion | ResNet-20 |
ANN, %}`.
"""

import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import board_page
import performance_page
import results_page
import sparsity_page

from spikesight.training.compare.board import BOARD, pairs, read_board

ROOT = Path(__file__).resolve().parents[2]
ASK = re.compile(r"\{([a-z]+)(?: ([^{}]*))?\}")
WIDTH = 125


def lines(page: str, heading: str) -> Iterator[tuple[list[str], list[str]]]:
    """(titles, cells) of every line of the tables below a heading of a page of docs/, up to the next of its level."""
    text = (ROOT / "docs" / page).read_text()
    level, found = next(one for one in re.findall(r"^(#+) (.+)$", text, re.MULTILINE) if one[1].startswith(heading))
    below = re.split(rf"^#{{1,{len(level)}}} ", text.partition(f"{level} {found}\n")[2], flags=re.MULTILINE)[0]
    titles: list[str] = []
    for line in below.splitlines():
        cells = [one.strip() for one in line.strip("| ").split(" |")] if line.startswith("|") else []
        if not cells:
            titles = []
        elif not titles:
            titles = cells
        elif set(line) - set("|-"):
            yield titles, cells


def cell(page: str, heading: str, *words: str) -> str:
    """A column, named last, of the first line that begins with the words before it."""
    *key, title = words
    found = ((titles, cells) for titles, cells in lines(page, heading) if title in titles)
    return next(cells[titles.index(title)] for titles, cells in found if " | ".join(cells).startswith(" | ".join(key)))


def board(name: str, title: str) -> str:
    """A row of the board as its page writes it."""
    row = next(row for row in read_board(BOARD)["rows"] if row["name"] == name)
    return dict(zip(board_page.head(), board_page.cells(row), strict=True))[title]


def right(name: str) -> str:
    return f"{board(name, 'right, %')} % ({board(name, 'from')} to {board(name, 'to')})"


def compared(first: str, second: str) -> str:
    """Whether two rows differ; of the tests of their windows."""
    pair = next(one for one in pairs(read_board(BOARD)["rows"]) if {one.first, one.second} == {first, second})
    return pair._replace(first=f"`{pair.first}`", second=f"`{pair.second}`").sentence()


def rows(names: str, *titles: str) -> str:
    """Rows of the board, of a set or by name, with some of their columns; those that were not run say so."""
    asked = [name.strip() for name in names.split(",")]
    made = [f"| row | {' | '.join(titles)} |", "|---" * (1 + len(titles)) + "|"]
    for row in read_board(BOARD)["rows"]:
        if row["name"] in asked or row["name"].partition(": ")[0] in asked:
            found = dict(zip(board_page.head(), board_page.cells(row), strict=True))
            found["right, %"] = right(row["name"]) if row["figures"] else "not run"
            made.append(f"| {row['name']} | {' | '.join(found[title] for title in titles)} |")
    return "\n".join(made)


def runs(name: str) -> str:
    """The test accuracies of a recipe's runs, in per cent, seed 0 first."""
    return ", ".join(f"{100 * one['test']['accuracy']:.2f}" for one in results_page.runs(name))


def sparsity() -> str:
    """The engine beside the fastest dense programs, a machine and a number of threads at a time."""
    made = []
    for found in performance_page.measured():
        for table in found["tables"] if found["benchmark"] == "sparsity" else ():
            made.append(f"{found['processor']}, {table['title']}, {', '.join(table['columns'][1:])}:\n")
            made += [*sparsity_page.compared(table), ""]
    return "\n".join(made).rstrip()


def cite() -> str:
    """The entry of the README."""
    return re.findall(r"^```bibtex.*?^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[0]


ASKED: dict[str, Callable[..., str]] = {
    one.__name__: one for one in (cell, board, right, compared, rows, runs, sparsity, cite)
}


def filled(block: str) -> str:
    """A paragraph, or the points of a list, in lines of one length; other blocks as they are."""
    if not re.match(r"[-*[\w]", block):
        return block
    points = re.split(r"\n(?=- )", block)
    indents = ("  " * one.startswith("- ") for one in points)
    return "\n".join(
        textwrap.fill(" ".join(one.split()), WIDTH, subsequent_indent=by) for one, by in zip(points, indents)
    )


def page() -> str:
    """docs/paper.md. Raises KeyError, ValueError or StopIteration where a figure is asked for that is not there."""

    def answer(match: re.Match[str]) -> str:
        words = [" ".join(word.split()) for word in match[2].split(" |")] if match[2] else []
        return ASKED[match[1]](*words)

    text = ASK.sub(answer, (ROOT / "docs" / "make" / "paper.md").read_text())
    return "\n\n".join(map(filled, text.rstrip().split("\n\n"))) + "\n"
