"""Generate docs/results/board.html and results.csv: sortable rows of training/results/board.json, with tests of them."""

import csv
import io
from collections.abc import Callable, Iterator
from html import escape
from typing import Any

import corruptions_page
import numpy as np
import performance_page

from benchmarks.board.rows import BOARD, SIGNIFICANT, pairs, read_board
from spikesight.encoders.emulator.sensors import CAMERAS
from spikesight.models.networks.energy import PICOJOULES

COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "right, %": ("accuracy", lambda value: f"{100 * value:.2f}"),
    "from": ("low", lambda value: f"{100 * value:.1f}"),
    "to": ("high", lambda value: f"{100 * value:.1f}"),
    "windows": ("count", str),
    "recordings": ("recordings", str),
    "models, % each": ("by_seed", lambda values: ", ".join(f"{100 * value:.1f}" for value in values)),
    "steps at 5 %": ("steps_at_5", "{:.2f}".format),
    "ms at 5 %": ("ms_at_5", "{:g}".format),
    "steps at 1 %": ("steps_at_1", "{:.2f}".format),
    "ms at 1 %": ("ms_at_1", "{:g}".format),
    "p95 a step, ms": ("p95_step_ms", "{:.3f}".format),
    "MAC": ("macs", "{:.0f}".format),
    "AC": ("acs", "{:.0f}".format),
    "bytes": ("bytes", str),
    "uJ, counted": ("microjoules", "{:.3g}".format),
    "uJ, RAPL": ("measured_microjoules", "{:.3g}".format),
    "near AUROC": ("near_auroc", "{:.3f}".format),
    "far AUROC": ("far_auroc", "{:.3f}".format),
    "corrupted, points lost": ("corruption_loss", "{:.2f}".format),
    "other cameras, %": ("other_cameras", lambda value: f"{100 * value:.1f}"),
}
"""Columns: title -> (key of the figure, function that formats it); a cell is empty if a row lacks the figure."""
SHIPPED = {"nmnist: nmnist": "nmnist", "motions: motions": "motions"}  # rows of models that other commands measured
STYLE = """body { font: 15px/1.5 system-ui, sans-serif; margin: 2em; max-width: 110em }
table { border-collapse: collapse; display: block; overflow-x: auto }
th, td { padding: .2em .6em; border-bottom: 1px solid #8886; text-align: right; white-space: nowrap }
th:first-child, td:first-child, td:nth-child(2), td:nth-child(3), td:last-child { text-align: left }
th button { all: unset; cursor: pointer; font-weight: 600 }
th button:focus-visible { outline: 2px solid }"""
SCRIPT = """for (const head of document.querySelectorAll("th")) head.firstChild.onclick = () => {
  const at = head.cellIndex, body = document.querySelector("tbody"), up = head.ariaSort !== "ascending"
  const of = row => row.cells[at].textContent, number = row => of(row) === "" ? NaN : Number(of(row))
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [number(a), number(b)]
    if (of(a) === "" || of(b) === "") return (of(a) === "") - (of(b) === "")
    return (up ? 1 : -1) * (isNaN(x) || isNaN(y) ? of(a).localeCompare(of(b)) : x - y)
  })
  for (const other of document.querySelectorAll("th")) other.ariaSort = null
  head.ariaSort = up ? "ascending" : "descending"
  body.append(...rows)
}"""
ABOUT = f"""Each row is a command; <code>spikesight board check --root DATA</code> runs all of them again and says which
accuracies leave the printed intervals. Intervals are Wilson's at 95 % for the effective number of independent windows: windows
of one recording are correlated, and with several models the spread between their seeds is included.
Rows are compared on the same windows by recordings (McNemar, exact; Holm among the rows of a set); differences with p below
{SIGNIFICANT:g} are significant. Steps and milliseconds are those to a conformal commitment at error rates of 5 and 1 %: the mean
number of steps (all steps without a commitment), and the time by which half are committed (empty if fewer ever are). MAC and AC are
multiply-adds and additions a window, with zeros skipped except in dense ANNs; counted microjoules are
{PICOJOULES["fp32"][0]} pJ a MAC and {PICOJOULES["fp32"][1]} pJ an AC in float32, {PICOJOULES["int8"][0]} pJ a MAC in int8 (45 nm,
Horowitz 2014), without memory and not of a real chip; the RAPL column is empty if the machine has no energy
meters, as all so far. p95 a step is processor time of one stream. Lost points are the mean over the corruptions of
<code>evaluate --corrupt</code>; other cameras are the emulated ones of <code>benchmarks.shifts --only digits</code>, all
together, each with its own digits. Both were measured only for shipped models."""


def elsewhere(model: str) -> Iterator[tuple[str, float]]:
    """Yield the figures of a shipped model that other commands measured."""
    yield "corruption_loss", corruptions_page.kept(model)["mean_loss"]
    tables = (table for found in performance_page.measured() for table in found["tables"])
    for table in tables if model == "nmnist" else ():
        if table["title"] == "Other cameras: digits, as shipped":
            cameras = [(row[1], row[2]) for row in table["rows"] if row[0] in CAMERAS]
            counts, right = zip(*cameras, strict=True)
            yield "other_cameras", float(np.average(right, weights=counts)) / 100


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row's figures with the ends of its interval; empty if it was not run."""
    figures = row["figures"]
    if not figures:
        return {}
    more = dict(elsewhere(SHIPPED[row["name"]])) if row["name"] in SHIPPED else {}
    return {**more, **figures, "low": figures["interval"][0], "high": figures["interval"][1]}


def cells(row: dict[str, Any]) -> list[str]:
    """Return the formatted cells of a row."""
    figures = flat(row)
    values = [(figures.get(key), write) for key, write in COLUMNS.values()]
    written = ["" if value is None else write(value) for value, write in values]
    return [row["name"], row["by"], row["about"], *written, row["command"].replace("{root}", "DATA")]


def head() -> list[str]:
    return ["row", "whose code", "what", *COLUMNS, "command"]


def table() -> str:
    """Return docs/results/results.csv."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*head(), "split", "reads", "date", "processor"])
    for row in read_board(BOARD)["rows"]:
        figures, measured = row["figures"] or {}, row["measured"] or {}
        more = [
            figures.get("split", ""),
            figures.get("reads", ""),
            measured.get("date", ""),
            measured.get("processor", ""),
        ]
        writer.writerow([*cells(row), *more])
    return text.getvalue()


def said(board: dict[str, Any]) -> Iterator[str]:
    """Yield the HTML section of each set: its description, reads of its test split, and tests of differences."""
    for name, about in board["sets"].items():
        rows = [row for row in board["rows"] if row["name"].startswith(f"{name}:")]
        reads = max((row["figures"].get("reads") or 0 for row in rows if row["figures"]), default=0)
        counted = f" Read {reads} times since reads are counted." if reads else ""
        yield f"<h2>{escape(name)}</h2>\n<p>{escape(about)}{counted}</p>\n<ul>"
        yield from (f"<li>{escape(pair.sentence())}</li>" for pair in pairs(rows))
        yield "</ul>"


def page() -> str:
    """Return docs/results/board.html."""
    board = read_board(BOARD)
    titles = "".join(f"<th scope=col><button>{escape(title)}</button></th>" for title in head())
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in cells(row)) for row in board["rows"]]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f"""<!doctype html>
<html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width"><title>Board</title>
<style>
{STYLE}
</style>
<h1>Board</h1>
<p>Written by <code>docs/make/make_docs.py</code> from <code>training/results/board.json</code>. {ABOUT}</p>
<table><thead><tr>{titles}</tr></thead><tbody>
{body}
</tbody></table>
{chr(10).join(said(board))}
<script>
{SCRIPT}
</script>
</html>
"""
