"""The leaderboard: rows of a file, each with the command that measures it, and significance tests between rows.

A command's last line is JSON: {row: figures}. Figures have `accuracy`, `interval` (0 to 1), `count`, `split` (a hash of
the training and test data) and `wrong`, the number of wrong windows of each recording by its number; others are free.
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
SIGNIFICANT = 0.05  # two rows differ if p is smaller
Row = dict[str, Any]  # name, by, about, command; figures and measured, both null if it was not run


def read_board(file: Path) -> dict[str, Any]:
    """Read a board: `sets`, each with a description, and `rows`. Raises ValueError for another file, and OSError."""
    try:
        found = json.loads(file.read_text())
        known = {row["name"]: (shlex.split(row["command"])[0], row["figures"]) for row in found["rows"]}
        if len(known) < len(found["rows"]) or not isinstance(found["sets"], dict):
            raise KeyError
        for _, figures in known.values():
            if figures is not None:
                check(figures, file.name)
    except (ValueError, LookupError, TypeError, AttributeError):
        raise ValueError(f"{file} is no board: it needs sets, and rows with a name, a command and figures") from None
    return found


def check(figures: Any, command: str) -> None:
    """Raise ValueError unless a command's figures have all NEEDED keys."""
    if not isinstance(figures, dict) or any(name not in figures for name in NEEDED):
        raise ValueError(f"{command}: its last line is no JSON of rows with {', '.join(NEEDED)}")


def chosen(board: dict[str, Any], names: Sequence[str]) -> list[Row]:
    """Return the rows of these names or sets; without names all that were run. Raises ValueError for unknown names."""
    rows: list[Row] = board["rows"]
    if unknown := [name for name in names if not any(_called(row, name) for row in rows)]:
        raise ValueError(f"there is no row {unknown[0]!r}: `spikesight board` lists them")
    return [row for row in rows if any(_called(row, name) for name in names) or (not names and row["figures"])]


def _called(row: Row, name: str) -> bool:
    """Return whether a row has this name, or belongs to this set: the word before the colon."""
    return name in (row["name"], row["name"].partition(": ")[0])


def measure(command: str, root: str) -> dict[str, Any]:
    """Run a row's command; return the figures that it prints, by row. Raises ValueError if it fails."""
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
    """Write figures into their rows of the file, which is read again before; return these rows."""
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
    """Return why new figures contradict a printed row; empty if the data match and the accuracy is in its interval."""
    if now["split"] != printed["split"]:
        return "other data"
    low, high = printed["interval"]
    return "" if low <= now["accuracy"] <= high else "outside the interval"


class Pair(NamedTuple):
    """A comparison of two rows on the same windows, by recordings."""

    first: str
    second: str
    better: int  # recordings of which the first row has fewer windows wrong
    worse: int  # recordings of which it has more windows wrong
    p: float  # McNemar's exact test, with Holm's correction for all pairs on these windows

    def sentence(self) -> str:
        """Describe the comparison in a sentence."""
        ahead, behind, more, fewer = self.first, self.second, self.better, self.worse
        if fewer > more:
            ahead, behind, more, fewer = behind, ahead, fewer, more
        counts = f"{more} better, {fewer} worse, p = {self.p:.2g}"
        if self.p >= SIGNIFICANT:
            return f"no difference can be told between {ahead} and {behind} ({counts})"
        return f"{ahead} is better than {behind} ({counts})"


def pairs(rows: Sequence[Row]) -> list[Pair]:
    """Compare every two rows that were tested on the same windows."""
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
