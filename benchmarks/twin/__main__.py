"""Train the digit network as SNN and as ANN on the same samples, and ask all of them the same.

    OMP_NUM_THREADS=1 taskset -c 1 python -m benchmarks.twin --root DATA --to runs/twin

Finished runs are not trained again, so that the command goes on where it was stopped; `--seeds 0 1` trains these alone.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.common import report
from benchmarks.twin.train import TWINS, load_samples, settings, train_together, wanted


def main(argv: Sequence[str]) -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"), help="where nmnist/ and mnist/ lie")
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help="folder of drawn pictures")
    parser.add_argument("--to", type=Path, default=Path("runs/twin"), help="folder of the trained networks")
    parser.add_argument("--steps", type=int, default=400, help="optimiser steps of a run")
    parser.add_argument("--seeds", type=int, nargs="*", default=list(range(5)), help="seeds to train")
    args = parser.parse_args(argv)
    config = settings(args.root, args.cache, args.steps)
    if missing := wanted(args.to, args.seeds):
        data = load_samples(config)
        for seed, names in missing.items():
            begin = time.monotonic()
            train_together(names, seed, data, args.to)
            words = ", ".join(TWINS[name].words for name in names)
            print(f"seed {seed}: {words}: {(time.monotonic() - begin) / 60:.1f} min", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
