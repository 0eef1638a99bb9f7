"""Compare networks and other methods on the same windows, one row each with its command: see DESCRIPTION."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spikesight.training.compare.board import BOARD, chosen, difference, keep, measure, pairs, read_board
from spikesight.training.progress import say

DESCRIPTION = """\
What networks and other methods get right on the same windows: a row each, with the command that measures it.

  python -m benchmarks.board.rows                                      the rows
  python -m benchmarks.board.rows check --root data                    run each row again: within the printed intervals?
  python -m benchmarks.board.rows check "parts: ridge" --root data     the same of one row, or several
  python -m benchmarks.board.rows check motions emulated-days          the same of all rows of these sets
  python -m benchmarks.board.rows run "parts: ridge" --root data       run it, and keep its figures in the file
  python -m benchmarks.board.rows --file mine.json                     rows of one's own

A row's command is run from here; most are of the repository, which has to be the working directory. `check` ends with 1
where a row is outside its interval or was asked other windows than the printed ones."""


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=DESCRIPTION, formatter_class=shape)
    add = parser.add_argument
    add("action", nargs="?", default="list", choices=("list", "run", "check"), help="what to do (default list)")
    add("rows", nargs="*", metavar="ROW", help="names of rows, or of sets (default all that have figures)")
    add("--root", default="data", metavar="FOLDER", help="where data sets lie (default data)")
    add("--file", type=Path, metavar="FILE", help="the board (default the one of this version)")
    add("--json", action="store_true", help="rows as one line of JSON")
    return parser.parse_args(words)


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
    """Run the command; return its exit code, 2 for an error."""
    try:
        return run(parsed(words))
    except (ValueError, OSError) as error:
        print(f"board: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
