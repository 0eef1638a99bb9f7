"""The table of docs/results/measuring.md: of small faults, how many the tests notice, by `benchmarks.mutants`."""

import json
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAD = "| package | mutants | noticed | of them hung | rate, 95 % interval |\n|---|---|---|---|---|\n"


def page() -> str:
    """The page as it stands, with its table made anew."""
    text = (ROOT / "docs" / "results" / "measuring.md").read_text()
    before, _, after = text.partition(HEAD)
    _, gap, rest = after.partition("\n\n")
    return before + HEAD + "\n".join(rows()) + gap + rest


def rows() -> Iterator[str]:
    """A line each package, and where it was measured."""
    for path in sorted((ROOT / "benchmarks" / "results").glob("mutants-*.json")):
        found = json.loads(path.read_text())
        for table in found["tables"]:
            for package, count, noticed, hung, low, high in table["rows"]:
                rate = f"{noticed / count:.0%} ({low:.0%} to {high:.0%})"
                yield f"| {package} | {count} | {noticed} | {hung} | {rate} |"
            command = table["command"].replace(".__main__", "")
            yield f"| `{command}` | | | | {found['processor']}, load {table['load']} |"
