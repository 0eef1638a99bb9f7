"""Generate the table of docs/results/measuring.md from the results of mutation testing (`benchmarks.mutants`)."""

import json
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAD = "| package | seed | mutants | noticed | of them hung | rate, 95 % interval | noticed without a fault | |\n"
HEAD += "|---|---|---|---|---|---|---|---|\n"


def page() -> str:
    """Return the present page with its table generated anew."""
    text = (ROOT / "docs" / "results" / "measuring.md").read_text()
    before, _, after = text.partition(HEAD)
    _, gap, rest = after.partition("\n\n")
    return before + HEAD + "\n".join(rows()) + gap + rest


def rows() -> Iterator[str]:
    """Yield one row for each package and seed, with the machine that measured it."""
    for path in sorted((ROOT / "benchmarks" / "results").glob("mutants-*.json")):
        found = json.loads(path.read_text())
        for table in found["tables"]:
            seed = table["title"].rpartition(" ")[2]
            for package, count, noticed, hung, low, high, controls, false in table["rows"]:
                rate = f"{noticed / count:.0%} ({low:.0%} to {high:.0%})"
                where = f"{found['processor']}, load {table['load']}"
                cells = (package, seed, count, noticed, hung, rate, f"{false} of {controls}", where)
                yield f"| {' | '.join(map(str, cells))} |"
