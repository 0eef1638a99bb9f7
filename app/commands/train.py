"""`spikesight train` and `train-dvs`: train a spiking classifier, on a GPU if there is one."""

import argparse
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from shlex import quote

from spikesight.training.progress import say

DESCRIPTION = """\
Train a spiking classifier on event recordings or images and report its accuracy.

  train-dvs --data nmnist --root data                    N-MNIST by Tonic, fetched into data/NMNIST if it is not there
  train-dvs --data tonic:POKERDVS --root data            any other of Tonic's sets
  train-dvs --data my_recordings                         a folder: <class>/<file>, <class>-1.raw, <session>/<class>.raw
  train-dvs --data my_pictures --flip                    pictures laid out <class>/<file>
  train-dvs --config mnist_ann --root data               a recipe by name
  train-dvs --resume runs/nmnist-event-medium            go on after a stop

Several GPUs: torchrun --nproc-per-node 4 $(which train-dvs) ...

A folder of your own begins with a head on the shipped things, a model at once, and trains on from there for --minutes
where that may help (--network event-medium: from random weights; --init-from: from another model, whose network and
input come along). An epoch is as many passes over it as make 50 steps.

The model is chosen on a validation split of the training recordings; the test split is read once, at the end.
Everything lands in runs/<name>/: settings, split, metrics, checkpoints, and model/, which `spikesight serve --model`
takes. Ctrl-C saves a checkpoint and the best model so far."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's own flags and one for each setting."""
    from spikesight.training.data.load import DATA_NAMES
    from spikesight.training.flags import add_settings

    parser.description = f"{parser.description}\n\nData sets by name: {', '.join(DATA_NAMES)}, tonic:NAME."
    parser.usage = f"{parser.prog} [--config FILE.yaml] [--data DATA] [--root ROOT] [further flags, below]"
    add = parser.add_argument
    add("--config", metavar="FILE.yaml", help="settings to start from, a file or a recipe's name; flags win")
    add("--resume", metavar="RUN", help="go on with the run in this folder ('auto': the newest)")
    add("--print-config", action="store_true", help="print the settings that are given, and the defaults, and stop")
    add("--plan", action="store_true", help="look at the data, print the complete settings that suit them, and stop")
    add("--dry-run", action="store_true", help="tell what the data are, train on one batch, then stop")
    add("--json", action="store_true", help="one line of JSON with the result at the end")
    add_settings(parser)


def _resumed(args: argparse.Namespace, output: str) -> Path:
    if args.resume != "auto":
        return Path(args.resume)
    found = sorted(Path(output).glob("*/checkpoints/last.safetensors"), key=lambda p: p.stat().st_mtime)
    if not found:
        raise ValueError(f"nothing to resume in {output}: no run there has a checkpoint")
    return found[-1].parent.parent


def _stopped(folder: Path) -> str:
    """Return what a stopped run has left, and the commands that go on with it."""
    lines = list[str]()
    if (folder / "checkpoints" / "last.safetensors").is_file():
        lines.append(f"stopped; go on with: train-dvs --resume {quote(str(folder))}")
    if (folder / "model" / "config.json").is_file():
        lines.append(f"the best so far, not tested: spikesight serve --model {quote(str(folder / 'model'))}")
    return "\n".join(lines) or "stopped before the first step: nothing is left"


def run(args: argparse.Namespace) -> int:
    """Train, resume, or only show what would be done; return the exit code."""
    from spikesight.training.data.load import settle
    from spikesight.training.flags import given_settings, resumed, to_yaml
    from spikesight.training.run.baselines import sentences
    from spikesight.training.run.fit import dry_run, fit, run_folder
    from spikesight.training.run.loop import TrainingError

    config = given_settings(args)
    folder = None
    if args.resume:
        folder = _resumed(args, config.output)
        if not (folder / "checkpoints" / "last.safetensors").is_file():
            raise ValueError(f"{folder} has no checkpoint to resume from")
        config = resumed(folder, args)
    if args.print_config or args.plan:
        print(to_yaml(settle(config)[1] if args.plan else config), end="")
        return 0
    if args.dry_run:
        print(f"one batch went through; loss {dry_run(config):.4f}")
        return 0
    first = os.environ.get("RANK", "0") == "0"  # whether this is the first process under torchrun
    folder = folder or (run_folder(config) if first else Path(config.output))  # the other processes write nothing
    try:
        metrics = fit(config, folder, resume=bool(args.resume))
    except KeyboardInterrupt:
        if first:
            say(_stopped(folder))
        return 128 + signal.SIGINT
    except TrainingError as error:
        print(f"train-dvs: {error}", file=sys.stderr)
        return 1
    finally:
        with suppress(OSError):
            folder.rmdir()  # if nothing was written to it
    if not metrics:  # not the first of several processes
        return 0
    print(f"model: {metrics['made']}")
    test, (low, high) = metrics["test"], metrics["test"]["interval"]
    print(
        f"test accuracy {test['accuracy']:.4f} ({test['correct']} of {test['count']}, "
        f"95 % interval {low:.4f} to {high:.4f}); model in {folder / 'model'}"
    )
    for line in sentences(metrics.get("baselines", [])):
        print(line)
    print(f"serve it with: spikesight serve --model {quote(str(folder / 'model'))}")
    if args.json:
        print(json.dumps({"run": os.fspath(folder), **metrics}))
    return 0
