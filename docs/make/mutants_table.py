"""The table of docs/results/measuring.md: of small faults, how many the tests notice, by `benchmarks.mutants`."""

import json
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAD = "| package | seed | mutants | noticed | of them hung | rate, 95 % interval | noticed without a fault | |\n"
HEAD += "|---|---|---|---|---|---|---|---|\n"


def page() -> str:
    """The page as it stands, with its table made anew."""
    text = (ROOT / "docs" / "results" / "measuring.md").read_text()
    before, _, after = text.partition(HEAD)
    _, gap, rest = after.partition("\n\n")
    return before + HEAD + "\n".join(rows()) + gap + rest


def rows() -> Iterator[str]:
    """A line each sample of a package, and where it was measured."""
    for path in sorted((ROOT / "benchmarks" / "results").glob("mutants-*.json")):
        found = json.loads(path.read_text())
        for table in found["tables"]:
            seed = table["title"].rpartition(" ")[2]
            for package, count, noticed, hung, low, high, controls, false in table["rows"]:
                rate = f"{noticed / count:.0%} ({low:.0%} to {high:.0%})"
                where = f"{found['processor']}, load {table['load']}"
                cells = (package, seed, count, noticed, hung, rate, f"{false} of {controls}", where)
                yield f"| {' | '.join(map(str, cells))} |"
