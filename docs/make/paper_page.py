"""Generate docs/paper.md: the text of docs/make/paper.md with every figure looked up in the results.

{name words | words} calls a function of ASKED below, e.g. `{right parts: rbf}` or `{cell results/results.md | Conversion |
ResNet-20 | ANN, %}`.
"""

import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import board_page
import performance_page
import results_page
import sparsity_page

from benchmarks.board.rows import BOARD, pairs, read_board

ROOT = Path(__file__).resolve().parents[2]
ASK = re.compile(r"\{([a-z]+)(?: ([^{}]*))?\}")
WIDTH = 125


def lines(page: str, heading: str) -> Iterator[tuple[list[str], list[str]]]:
    """Yield (titles, cells) of every table row below a heading of a page of docs/, up to the next of its level."""
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
    """Return a table cell: `words` are the beginning of its row, then the title of its column."""
    *key, title = words
    found = ((titles, cells) for titles, cells in lines(page, heading) if title in titles)
    return next(cells[titles.index(title)] for titles, cells in found if " | ".join(cells).startswith(" | ".join(key)))


def board(name: str, title: str) -> str:
    """Return a cell of the leaderboard, by its row's name and its column's title."""
    row = next(row for row in read_board(BOARD)["rows"] if row["name"] == name)
    return dict(zip(board_page.head(), board_page.cells(row), strict=True))[title]


def right(name: str) -> str:
    return f"{board(name, 'right, %')} % ({board(name, 'from')} to {board(name, 'to')})"


def compared(first: str, second: str) -> str:
    """Return a sentence that says whether two rows of the leaderboard differ significantly."""
    pair = next(one for one in pairs(read_board(BOARD)["rows"]) if {one.first, one.second} == {first, second})
    return pair._replace(first=f"`{pair.first}`", second=f"`{pair.second}`").sentence()


def rows(names: str, *titles: str) -> str:
    """Return a table of rows of the leaderboard, chosen by set or by name, with the columns `titles`."""
    asked = [name.strip() for name in names.split(",")]
    made = [f"| row | {' | '.join(titles)} |", "|---" * (1 + len(titles)) + "|"]
    for row in read_board(BOARD)["rows"]:
        if row["name"] in asked or row["name"].partition(": ")[0] in asked:
            found = dict(zip(board_page.head(), board_page.cells(row), strict=True))
            found["right, %"] = right(row["name"]) if row["figures"] else "not run"
            made.append(f"| {row['name']} | {' | '.join(found[title] for title in titles)} |")
    return "\n".join(made)


def runs(name: str) -> str:
    """Return the test accuracies of a recipe's runs, in per cent, seed 0 first."""
    return ", ".join(f"{100 * one['test']['accuracy']:.2f}" for one in results_page.runs(name))


def sparsity() -> str:
    """Return comparisons of the engine with the fastest dense programs, by machine and number of threads."""
    made = []
    for found in performance_page.measured():
        for table in found["tables"] if found["benchmark"] == "sparsity" else ():
            made.append(f"{found['processor']}, {table['title']}, {', '.join(table['columns'][1:])}:\n")
            made += [*sparsity_page.compared(table), ""]
    return "\n".join(made).rstrip()


def cite() -> str:
    """Return the README's BibTeX entry."""
    return re.findall(r"^```bibtex.*?^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[0]


ASKED: dict[str, Callable[..., str]] = {
    one.__name__: one for one in (cell, board, right, compared, rows, runs, sparsity, cite)
}


def filled(block: str) -> str:
    """Wrap a paragraph or the items of a list at WIDTH; return other blocks unchanged."""
    if not re.match(r"[-*[\w]", block):
        return block
    points = re.split(r"\n(?=- )", block)
    indents = ("  " * one.startswith("- ") for one in points)
    return "\n".join(
        textwrap.fill(" ".join(one.split()), WIDTH, subsequent_indent=by) for one, by in zip(points, indents)
    )


def page() -> str:
    """Return docs/paper.md. Raises KeyError, ValueError or StopIteration if a figure does not exist."""

    def answer(match: re.Match[str]) -> str:
        words = [" ".join(word.split()) for word in match[2].split(" |")] if match[2] else []
        return ASKED[match[1]](*words)

    text = ASK.sub(answer, (ROOT / "docs" / "make" / "paper.md").read_text())
    return "\n\n".join(map(filled, text.rstrip().split("\n\n"))) + "\n"
