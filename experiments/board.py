"""The board: what networks and other methods get right on the same windows, and which of them differ.

    python -m experiments.board [ROW OR SET ...]

training/results/board.json holds the rows, docs/results/results.csv shows them. The commands that rows name are at
commit c8d0a246. `wrong` of a row is the number of wrong windows of each recording.
"""

import argparse
import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from spikesight.models.statistics import mcnemar

BOARD = Path(__file__).resolve().parents[1] / "training" / "results" / "board.json"
SIGNIFICANT = 0.05  # two rows differ if p is smaller
Row = dict[str, Any]  # name, by, about, command; figures and measured, both null if it was not run


class Pair(NamedTuple):
    """A comparison of two rows on the same windows, by recordings."""

    first: str
    second: str
    better: int  # recordings of which the first row has fewer windows wrong
    worse: int  # recordings of which it has more windows wrong
    p: float  # McNemar's exact test, with Holm's correction for all pairs on these windows


def rows() -> list[Row]:
    """Return the rows of the board."""
    return json.loads(BOARD.read_text())["rows"]


def pairs(found: Sequence[Row]) -> list[Pair]:
    """Compare every two rows that were tested on the same windows."""
    groups: dict[tuple[str, int], list[tuple[float, Row, Row, int, int]]] = {}
    for first, second in combinations([row for row in found if row["figures"]], 2):
        one, other = first["figures"], second["figures"]
        if (key := (one["split"], one["count"])) == (other["split"], other["count"]):
            numbers = one["wrong"].keys() | other["wrong"].keys()
            ahead = [other["wrong"].get(n, 0) - one["wrong"].get(n, 0) for n in numbers]
            better, worse = sum(n > 0 for n in ahead), sum(n < 0 for n in ahead)
            groups.setdefault(key, []).append((mcnemar(better, worse), first, second, better, worse))
    made = []
    for group in groups.values():
        least = 0.0
        for rank, (p, first, second, better, worse) in enumerate(sorted(group, key=lambda one: one[0])):
            least = max(least, min(1.0, p * (len(group) - rank)))  # Holm 1979
            made.append(Pair(first["name"], second["name"], better, worse, least))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="names of rows, or of sets (default all that were run)")
    named = parser.parse_args().rows
    found = [row for row in rows() if row["figures"]]
    found = [row for row in found if not named or {row["name"], row["name"].partition(": ")[0]} & {*named}]
    for row in found:
        figures = row["figures"]
        low, high = figures["interval"]
        print(
            f"{row['name']:34} {figures['accuracy']:7.2%}   {low:.2%} to {high:.2%}   {figures['count']:6} {row['by']}"
        )
    for pair in pairs(found):
        so = "differ" if pair.p < SIGNIFICANT else "no difference can be told"
        print(f"{pair.first} and {pair.second}: {pair.better} better, {pair.worse} worse, p = {pair.p:.2g}: {so}")


if __name__ == "__main__":
    main()
