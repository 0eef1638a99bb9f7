"""Write the table of wheels in docs/service/deployment.md: for which Pythons and systems every dependency has a wheel.

    python .ci/wheels.py            ask the package index (uv and a network are needed), and write the table
    python .ci/wheels.py --check    compare the table's rows with the extras of pyproject.toml, offline

An extra counts as there only if all that it needs, down to the last package, can be had without compiling.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "service" / "deployment.md"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SYSTEMS = {
    "Linux x86-64": "x86_64-manylinux_2_34",
    "Linux arm64": "aarch64-manylinux_2_34",
    "macOS arm64": "aarch64-apple-darwin",
}
BEGIN, END = "<!-- wheels -->", "<!-- /wheels -->"


def extras() -> tuple[str, ...]:
    """Every extra a user may ask for, the bare installation first."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        names = tomllib.load(file)["project"]["optional-dependencies"]
    return ("", *sorted(set(names) - {"dev"}))


def missing(extra: str, python: str, platform: str) -> str:
    """The package that has no wheel, or nothing."""
    command = ["uv", "pip", "compile", "-q", "--only-binary", ":all:", "--python-version", python]
    command += ["--python-platform", platform, *(["--extra", extra] if extra else []), "pyproject.toml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    if done.returncode == 0:
        return ""
    named = re.search(r"(?:for|Because|because) `?([a-z0-9-]+)[`>=<]", done.stderr)
    return named[1] if named else "?"


def table() -> str:
    """The rows, a system and an extra each."""
    lines = [f"| installation | {' | '.join(SYSTEMS)} |", "|---" * (1 + len(SYSTEMS)) + "|"]
    for extra in extras():
        cells = []
        for platform in SYSTEMS.values():
            lacking = {python: missing(extra, python, platform) for python in PYTHONS}
            bad = {python: name for python, name in lacking.items() if name}
            if not bad:
                cells.append("yes")
            elif len(bad) == len(PYTHONS):
                cells.append(f"no: {', '.join(sorted(set(bad.values())))}")
            else:
                cells.append("; ".join(f"not on {python}: {name}" for python, name in bad.items()))
        lines.append(f"| `spikesight{f'[{extra}]' if extra else ''}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> int:
    """Write, or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only compare the rows with pyproject.toml")
    args = parser.parse_args()
    text = PAGE.read_text()
    before, rest = text.split(BEGIN)
    old, after = rest.split(END)
    if args.check:
        absent = [extra for extra in extras() if f"`spikesight{f'[{extra}]' if extra else ''}`" not in old]
        print("the table is complete" if not absent else f"run .ci/wheels.py: no row for {', '.join(absent)}")
        return 1 if absent else 0
    PAGE.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}")
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
