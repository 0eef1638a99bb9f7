"""Run the most important benchmarks in a few minutes, then generate the performance page anew.

    python -m benchmarks [--minutes 10] [--root FOLDER]

Each benchmark runs in its own process, with one thread, and writes its rows to benchmarks/results/.
No benchmark begins after `--minutes`. Libraries that are not installed are left out: pip install openvino snntorch
spikingjelly. `make bench` runs every benchmark with its own settings instead, for an hour or two.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PLAN = (
    "engine --tables sweep --networks resnet18 --sizes 224 --rates 2 7 15 30 50",
    "engine --tables streams",
    "neurons --rounds 3",
    "training --rounds 3",
    "events binning reading --rounds 5",
    "engine --tables converted --rounds 3",
    "engine --tables sweep --networks resnet18 --sizes 224 --rates 7 --compile",
    "gpu --root {root}",
)
"""Benchmarks with their options, the most informative first."""


def run_all(minutes: float, root: Path) -> int:
    """Run the benchmarks of PLAN; return the exit status: 0 if all that were started succeeded, else 1."""
    begin, environment = time.monotonic(), {**os.environ, "OMP_NUM_THREADS": "1"}
    failed = 0
    for words in PLAN:
        if time.monotonic() - begin > minutes * 60:
            print(f"no time is left for {words}", flush=True)
            continue
        name, *options = (word.format(root=root) for word in words.split())
        print(f"\n=== {name} {' '.join(options)}", flush=True)
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options], cwd=ROOT, env=environment)
        failed += done.returncode != 0
    subprocess.run([sys.executable, "docs/make/make_docs.py"], cwd=ROOT, check=True)
    return int(failed > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--root", type=Path, default=ROOT.parent / "shared" / "data", help="where data sets lie")
    args = parser.parse_args()
    raise SystemExit(run_all(args.minutes, args.root.resolve()))
