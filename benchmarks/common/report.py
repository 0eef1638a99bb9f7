"""Results of a benchmark as JSON, beside its printed output: <package>/results/<name>-<processor>.json.

`table` begins a table, `row` adds to it, `write` saves all tables; docs/results/results.md has rows of them.
Tables that a run did not measure stay in the file, so that a single table can be repeated.
"""

import argparse
import json
import os
import platform
import re
import shlex
import subprocess
import sys
from contextlib import suppress
from datetime import date
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from spikesight.encoders.native.targets import cpu_flags

ROOT = Path(__file__).resolve().parents[2]
SETS = ("avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "sve")
PACKAGES = ("numpy", "torch", "spikingjelly", "snntorch", "norse", "sinabs", "openvino", "tonic", "eventcv", "faery")
PACKAGES += ("evt3", "expelliarmus", "evutils", "dv_processing")
"""Packages whose version is recorded if a run has loaded them."""

Cell = str | float
_tables: list[dict[str, Any]] = []  # of this run


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Return the argument parser of a benchmark with docstring `doc`; it has the option --json FILE."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = "results/<name>-<processor>.json"
    made.add_argument("--json", type=Path, metavar="FILE", help=f"where the rows go ({default})")
    return made


def table(title: str, *columns: str) -> None:
    """Begin a table; columns of text come first, and titles of numeric columns name the unit."""
    _tables.append({"title": title, "columns": list(columns), "rows": []})


def row(*cells: Cell) -> None:
    """Add a row to the current table; numbers are rounded to four digits."""
    assert len(cells) == len(_tables[-1]["columns"])
    _tables[-1]["rows"].append([float(f"{cell:.4g}") if isinstance(cell, float) else cell for cell in cells])


def instruction_sets() -> list[str]:
    """Return the instruction sets of SETS that this machine has."""
    has = cpu_flags()
    return [each for each in SETS if each in has]


def slug(name: str) -> str:
    """Return a name in a form for file names."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the PACKAGES that this run has loaded."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        if name in sys.modules:
            with suppress(PackageNotFoundError):
                found[name] = version(name)
    return found


def command(argv: list[str]) -> str:
    """Return the command that repeats a run, without --json and without the folders of absolute paths."""
    module = ".".join(Path(argv[0]).resolve().relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    words, skip = ["python", "-m", module], False
    for word in argv[1:]:
        if not skip and not word.startswith("--json"):
            words.append(f"<{Path(word).name}>" if Path(word).is_absolute() else word)
        skip = word == "--json"
    return shlex.join(words)


def write(name: str, file: Path | None = None, processor: str | None = None) -> Path:
    """Save this run's tables and return the file; tables of the same title are replaced, others in it stay.

    `processor`: the device that ran them, if it is not the CPU.
    """
    called, sets = processor or processor_name(), instruction_sets()
    package = Path(sys.argv[0]).resolve().relative_to(ROOT).parts[0]
    path = file or ROOT / package / "results" / f"{name}-{slug(called)}.json"
    before = json.loads(path.read_text())["tables"] if path.exists() else []
    fresh = {
        "date": date.today().isoformat(),
        "command": command(sys.argv),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "versions": versions(),
    }
    titles = {made["title"] for made in _tables}
    kept = [old for old in before if old["title"] not in titles]
    found = {"benchmark": name, "processor": called, "instruction_sets": sets}
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps({**found, "tables": kept + [{**made, **fresh} for made in _tables]}, indent=1)
    path.write_text(text + "\n")
    _tables.clear()
    print(f"\nwrote {path.name}")
    return path


@cache
def processor_name() -> str:
    """Return the processor's name, on Linux with family and model if known."""
    if sys.platform == "darwin":
        done = subprocess.run(("sysctl", "-n", "machdep.cpu.brand_string"), capture_output=True, text=True)
        return done.stdout.strip() or platform.machine()
    try:
        return named_in(Path("/proc/cpuinfo").read_text())
    except OSError:
        return platform.processor() or platform.machine()


def named_in(cpuinfo: str) -> str:
    """Return the processor's name from the text of /proc/cpuinfo.

    >>> named_in("model name\\t: Fast CPU\\ncpu family\\t: 6\\nmodel\\t\\t: 207\\n")
    'Fast CPU (family 6, model 207)'
    """
    facts = dict(re.findall(r"^([^\t:\n]+?)\s*:\s*(.*)$", cpuinfo.split("\n\n")[0], re.MULTILINE))
    name = facts.get("model name") or platform.processor() or platform.machine()
    return f"{name} (family {facts['cpu family']}, model {facts['model']})" if "cpu family" in facts else name
