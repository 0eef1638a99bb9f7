"""A folder of recordings as somebody might bring it, by `train-dvs` and `teach` with their defaults, beside baselines.

    python -m benchmarks.own_recordings --root ../shared/data --pictures <cifar10_jpeg_test.npz>

Each model, and ridge and an RBF kernel on log counts of its input, learn from one folder and are asked another. Clothes
are Fashion-MNIST by the emulated saccades, digits real N-MNIST recordings, motions are drawn, things are the cut-outs
of benchmarks/two_days.py before an emulated hand and camera on two days.
"""

import json
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import two_days
from benchmarks.common import report
from spikesight.encoders.emulator.motions import MOTIONS, SENSOR, motion_recording
from spikesight.encoders.emulator.saccades import saccades
from spikesight.encoders.events import NMNIST_SENSOR, Events, SensorSize
from spikesight.encoders.recordings.files import write_recording
from spikesight.training.data.images import list_fashionmnist

PARTS = {"learnt": 20, "asked": 30}  # recordings a class
COLUMNS = ("recordings", "windows", "right", "low", "high", "ridge", "RBF", "minutes")


def keep(file: Path, events: Events, sensor: SensorSize) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_recording(file, events, sensor)


def clothes(args: Namespace, to: Path) -> None:
    """Ten classes of pictures that no shipped model knows, by saccades."""
    images = list_fashionmnist(args.root).train
    random = np.random.default_rng([args.seed, 41])
    for label in range(10):
        rows = iter(random.permutation(np.flatnonzero(images.labels == label)))
        for part, count in PARTS.items():
            for row in (int(next(rows)) for _ in range(count)):
                events = saccades(np.ascontiguousarray(images.frames[row, 0, 0]), NMNIST_SENSOR, seed=row)
                keep(to / part / f"class {label}" / f"{row}.npz", events, NMNIST_SENSOR)


def digits(args: Namespace, to: Path) -> None:
    """Real recordings: some of N-MNIST's training split, and all of its test split that are at hand."""
    random = np.random.default_rng([args.seed, 42])
    for folder in sorted((args.root / "nmnist" / "Train").iterdir()):
        for file in random.permutation(sorted(folder.glob("*.bin")))[: PARTS["learnt"]]:
            (to / "learnt" / folder.name).mkdir(parents=True, exist_ok=True)
            (to / "learnt" / folder.name / file.name).symlink_to(file.resolve())
    (to / "asked").symlink_to((args.root / "nmnist" / "Test").resolve())


def motions(args: Namespace, to: Path) -> None:
    """Nine motions of drawn things: what tells them is time."""
    for motion in MOTIONS:
        for first, (part, count) in enumerate(PARTS.items()):
            for number in range(count):
                events = motion_recording(motion, seed=10_000_000 + 1_000 * (2 * args.seed + first) + number)
                keep(to / part / motion / f"{number}.npz", events, SENSOR)


def things(args: Namespace, to: Path) -> None:
    """Five things, a recording each, on two days."""
    made = two_days.pictures(args.pictures, args.seed)
    for day, part in enumerate(PARTS):
        two_days.record(to / part, made, 10 * args.seed + day, 20.0, 1)


MAKERS: dict[str, Callable[[Namespace, Path], None]] = {
    "digits, N-MNIST": digits, "clothes by saccades": clothes, "motions, drawn": motions, "things, two days": things,
}  # fmt: skip


def measured(learnt: Path, asked: Path, root: Path, *, taught: bool) -> None:
    """Learn from one folder, ask the other, add a row."""
    begin = time.monotonic()
    if taught:
        model = json.loads(two_days.command("teach", "--data", str(learnt), "--to", str(root / "taught"), "--json"))[
            "model"
        ]
    else:
        words = ("--data", str(learnt), "--output", str(root / "runs"), "--cache", str(root / "cache"), "--json")
        model = json.loads(two_days.command("train", *words))["run"] + "/model"
    minutes = (time.monotonic() - begin) / 60
    found = json.loads(two_days.command("evaluate", model, str(asked), "--baselines", str(learnt), "--json"))
    right, low, high = (100 * share for share in (found["accuracy"], *found["interval"]))
    baselines = [100 * row["accuracy"] for row in found["baselines"]]
    name, recordings = "teach" if taught else "train-dvs", sum(file.is_file() for file in learnt.rglob("*"))
    report.row(name, float(recordings), float(found["count"]), right, low, high, *baselines, minutes)
    print(f"{learnt.parent.name} by {name}: {right:.1f} ({low:.1f} to {high:.1f}), {baselines}", flush=True)


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--root", type=Path, required=True, help="where nmnist and Fashion-MNIST lie")
    parser.add_argument("--pictures", type=Path, metavar="FILE", help="CIFAR-10 as JPEG in an npz, for things")
    parser.add_argument("--folder", type=Path, help="where recordings are kept (default: a temporary one)")
    parser.add_argument("--seed", type=int, default=7, help="of the draws (default 7, on which nothing was chosen)")
    parser.add_argument("--only", nargs="+", default=list(MAKERS), choices=MAKERS, metavar="SET")
    args = parser.parse_args()
    with TemporaryDirectory() as temporary:
        root = args.folder or Path(temporary)
        for name in args.only:
            place = root / f"{name.split()[0].strip(',')}-{args.seed}"
            if not place.exists():
                MAKERS[name](args, place)
            report.table(f"Own recordings, {name}: % right with defaults", "learnt by", *COLUMNS)
            for taught in (True, False):
                measured(place / "learnt", place / "asked", root, taught=taught)
            report.write("own_recordings", args.json)


if __name__ == "__main__":
    main()
