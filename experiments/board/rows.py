"""The leaderboard: rows of a file, each with the command that measures it, and significance tests between rows.

A command's last line is JSON: {row: figures}. Figures have `accuracy`, `interval` (0 to 1), `count`, `split` (a hash of
the training and test data) and `wrong`, the number of wrong windows of each recording by its number; others are free.
"""

import argparse
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

from benchmarks.common.report import processor_name
from spikesight.models.statistics import mcnemar
from spikesight.training.progress import say

BOARD = Path(__file__).resolve().parents[2] / "training" / "results" / "board.json"
DESCRIPTION = """\
What networks and other methods get right on the same windows: a row each, with the command that measures it.

  python -m experiments.board.rows                              the rows
  python -m experiments.board.rows check --root data            every row's command again: within the printed intervals?
  python -m experiments.board.rows check "parts: ridge"         the same of one row, or several
  python -m experiments.board.rows check motions emulated-days  the same of all rows of these sets
  python -m experiments.board.rows run "parts: ridge"           run it, and keep its figures in the file
  python -m experiments.board.rows --file mine.json             rows of one's own

A row's command is run from here; most are of the repository, which has to be the working directory. `check` ends with 1
where a row is outside its interval or was asked other windows than the printed ones."""
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
        raise ValueError(f"there is no row {unknown[0]!r}: `python -m experiments.board.rows` lists them")
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


def _line(row: dict[str, Any]) -> str:
    figures = row["figures"]
    if not figures:
        return f"{row['name']:34} not run   {row['command']}"
    low, high = figures["interval"]
    right, by = f"{figures['accuracy']:7.2%}   {low:.2%} to {high:.2%}", row.get("by", "")
    return f"{row['name']:34} {right}   {figures['count']:6}   {by}"


def run(args: argparse.Namespace) -> int:
    """List, measure or check the rows; return 1 if a row falls outside its interval."""
    file = args.file or BOARD
    board = read_board(file)
    rows = chosen(board, args.rows) if args.action != "list" or args.rows else board["rows"]
    if args.action == "check" and not (rows := [row for row in rows if row["figures"]]):
        raise ValueError("nothing to compare with: no figures are printed of these rows")
    if not rows and args.action == "run":
        raise ValueError("no row has figures yet: name those to run")
    if args.action == "list":
        if args.json:
            print(json.dumps(rows))
            return 0
        print(f"{'row':34} {'right':>7}   95 % interval      windows   whose code")
        print("\n".join(map(_line, rows)))
        print("\n".join(f"- {pair.sentence()}" for pair in pairs(rows)))
        return 0
    failed = 0
    for command in dict.fromkeys(row["command"] for row in rows):
        found = measure(command, args.root)
        if args.action == "run":
            say("\n".join(map(_line, keep(file, found))))
            absent = [row["name"] for row in rows if row["command"] == command and row["name"] not in found]
            if absent:
                raise ValueError(f"{command} prints no figures of {absent[0]!r}, but of {', '.join(found) or 'no row'}")
            continue
        for row in (row for row in rows if row["command"] == command):
            why = difference(row["figures"], found[row["name"]]) if row["name"] in found else "not measured"
            failed += bool(why)
            now = "" if row["name"] not in found else f"{found[row['name']]['accuracy']:.2%} now, "
            say(f"{_line(row)}: {now}{why or 'within'}", file=sys.stderr if why else sys.stdout)
    return int(failed > 0)


def main(words: Sequence[str] | None = None) -> int:
    """Read the command line; return the exit code, 2 for what makes no sense."""
    parser = argparse.ArgumentParser(description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("action", nargs="?", default="list", choices=("list", "run", "check"), help="what to do (default list)")
    add("rows", nargs="*", metavar="ROW", help="names of rows, or of sets (default all that have figures)")
    add("--root", default="data", metavar="FOLDER", help="where data sets lie (default data)")
    add("--file", type=Path, metavar="FILE", help="the board (default the one of this version)")
    add("--json", action="store_true", help="rows as one line of JSON")
    try:
        return run(parser.parse_args(words))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
