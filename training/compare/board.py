"""The board: rows of a file, each with the command that measures it, and what its figures say beside the others'.

A command's last line is JSON: {row: figures}. Figures have `accuracy`, `interval` (0 to 1), `count`, `split` (a hash of
what was learnt and asked) and `wrong`, how many windows of a recording are wrong, by its number; the rest is free.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from spikesight.models.native.targets import processor_name
from spikesight.models.statistics import mcnemar

BOARD = Path(__file__).resolve().parents[1] / "results" / "board.json"
NEEDED = ("accuracy", "interval", "count", "split", "wrong")
SIGNIFICANT = 0.05  # a p below which two rows differ
Row = dict[str, Any]  # name, by, about, command; figures and measured, both null where it was not run


def read_board(file: Path) -> dict[str, Any]:
    """`sets`, what each is in a sentence, and `rows`. Raises ValueError for anything else, and OSError."""
    try:
        found = json.loads(file.read_text())
        known = {row["name"]: (shlex.split(row["command"]), row["figures"]) for row in found["rows"]}
        if len(known) < len(found["rows"]) or not isinstance(found["sets"], dict):
            raise KeyError
        for _, figures in known.values():
            if figures is not None:
                check(figures, file.name)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{file} is no board: it needs sets, and rows with a name, a command and figures") from None
    return found


def check(figures: Any, command: str) -> None:
    """Raises ValueError where a command's figures are none."""
    if not isinstance(figures, dict) or any(name not in figures for name in NEEDED):
        raise ValueError(f"{command}: its last line is no JSON of rows with {', '.join(NEEDED)}")


def chosen(board: dict[str, Any], names: Sequence[str]) -> list[Row]:
    """The rows of these names, or of these sets, or all that were run. Raises ValueError for a name that is none."""
    rows: list[Row] = board["rows"]
    if unknown := [name for name in names if not any(_called(row, name) for row in rows)]:
        raise ValueError(f"there is no row {unknown[0]!r}: `spikesight board` lists them")
    return [row for row in rows if any(_called(row, name) for name in names) or (not names and row["figures"])]


def _called(row: Row, name: str) -> bool:
    """By its own name, or its set's: the word before the colon."""
    return name in (row["name"], row["name"].partition(": ")[0])


def measure(command: str, root: str) -> dict[str, Any]:
    """What a row's command prints, run here: figures by row. Raises ValueError where it fails."""
    words = [word.replace("{root}", root) for word in shlex.split(command)]
    words = [sys.executable, *words[1:]] if words[0] == "python" else words
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{command} failed: {(done.stderr.strip().splitlines() or ['it says nothing'])[-1]}")
    try:
        found = json.loads(done.stdout.strip().splitlines()[-1])
        for figures in found.values():
            check(figures, command)
    except (ValueError, IndexError, AttributeError):
        raise ValueError(f"{command}: its last line is no JSON of rows with {', '.join(NEEDED)}") from None
    return found


def keep(file: Path, found: dict[str, Any]) -> list[Row]:
    """Write figures into their rows of the file, which may have changed meanwhile; those rows."""
    board = read_board(file)
    measured = {"date": date.today().isoformat(), "processor": processor_name(), "load": round(os.getloadavg()[0], 1)}
    rows = [row for row in board["rows"] if row["name"] in found]
    for row in rows:
        row |= {"figures": found[row["name"]], "measured": measured}
    partial = file.with_name(f".{file.name}.partial")
    lines = ",\n".join(json.dumps(row) for row in board["rows"])
    partial.write_text(f'{{"sets": {json.dumps(board["sets"], indent=1)},\n"rows": [\n{lines}\n]}}\n')
    partial.replace(file)  # whole or not at all
    return rows


def difference(printed: dict[str, Any], now: dict[str, Any]) -> str:
    """Why a row does not stand; empty where it does: the same windows, and an accuracy within the printed interval."""
    if now["split"] != printed["split"]:
        return "other data"
    low, high = printed["interval"]
    return "" if low <= now["accuracy"] <= high else "outside the interval"


class Pair(NamedTuple):
    """Two rows on the same windows, by recordings: those of which the first has fewer and more windows wrong."""

    first: str
    second: str
    better: int
    worse: int
    p: float  # McNemar's, after Holm among all pairs of these windows

    def sentence(self) -> str:
        """What that says."""
        ahead, behind, more, fewer = self.first, self.second, self.better, self.worse
        if fewer > more:
            ahead, behind, more, fewer = behind, ahead, fewer, more
        counts = f"{more} better, {fewer} worse, p = {self.p:.2g}"
        if self.p >= SIGNIFICANT:
            return f"no difference can be told between {ahead} and {behind} ({counts})"
        return f"{ahead} is better than {behind} ({counts})"


def pairs(rows: Sequence[Row]) -> list[Pair]:
    """Every two rows that were asked the same windows."""
    found: dict[tuple[str, int], list[tuple[float, Row, Row, int, int]]] = {}
    for first, second in combinations([row for row in rows if row["figures"]], 2):
        one, other = first["figures"], second["figures"]
        if (key := (one["split"], one["count"])) == (other["split"], other["count"]):
            numbers = one["wrong"].keys() | other["wrong"].keys()
            ahead = [other["wrong"].get(n, 0) - one["wrong"].get(n, 0) for n in numbers]
            better, worse = sum(n > 0 for n in ahead), sum(n < 0 for n in ahead)
            found.setdefault(key, []).append((mcnemar(better, worse), first, second, better, worse))
    made = []
    for group in found.values():
        least = 0.0
        for rank, (p, first, second, better, worse) in enumerate(sorted(group, key=lambda one: one[0])):
            least = max(least, min(1.0, p * (len(group) - rank)))  # Holm 1979
            made.append(Pair(first["name"], second["name"], better, worse, least))
    return made
