"""A user's folder of recordings, learnt by `train-dvs` and by `teach` with their defaults, against baselines.

    python -m benchmarks.own_recordings --root ../shared/data --pictures <cifar10_jpeg_test.npz>

Each model learns from one folder and is tested on another, as are ridge regression and an RBF kernel on log counts of
its input. Clothes are Fashion-MNIST by emulated saccades, also tested with other cameras' pixels. Digits are real
N-MNIST recordings. Motions are drawn. Things are the cut-outs of benchmarks/two_days.py before an emulated camera on
two days, real things two objects before a DVS128. `p`: McNemar's test of model and better baseline, by recordings.
"""

import json
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import two_days
from benchmarks.common import report
from spikesight.encoders.emulator.motions import MOTIONS, SENSOR, motion_recording
from spikesight.encoders.emulator.saccades import NMNIST, saccades
from spikesight.encoders.emulator.sensors import CAMERAS
from spikesight.encoders.events import NMNIST_SENSOR, Events, SensorSize
from spikesight.encoders.recordings.files import write_recording
from spikesight.training.data.images import list_fashionmnist

PARTS = {"learnt": 20, "asked": 30}  # recordings a class
OTHERS = ("davis346",)  # further cameras that clothes are tested with
COLUMNS = ("recordings", "asked", "right", "low", "high", "best guess", "ridge", "RBF", "p", "minutes")


def keep(file: Path, events: Events, sensor: SensorSize) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    write_recording(file, events, sensor)


def clothes(args: Namespace, to: Path) -> None:
    """Record ten classes of clothes, which no shipped model knows, by saccades."""
    images = list_fashionmnist(args.root).train
    random = np.random.default_rng([args.seed, 41])
    for label in range(10):
        rows = iter(random.permutation(np.flatnonzero(images.labels == label)))
        for part, count in PARTS.items():
            for row in (int(next(rows)) for _ in range(count)):
                image = np.ascontiguousarray(images.frames[row, 0, 0])
                for camera in ("", *(OTHERS if part == "asked" else ())):
                    seen = replace(NMNIST, **CAMERAS[camera].pixels()) if camera else NMNIST
                    events = saccades(image, NMNIST_SENSOR, movement=seen, seed=row)
                    place = to / f"{part} before {camera}" if camera else to / part
                    keep(place / f"class {label}" / f"{row}.npz", events, NMNIST_SENSOR)


def digits(args: Namespace, to: Path) -> None:
    """Link real N-MNIST recordings: some of the training split, all available ones of the test split."""
    random = np.random.default_rng([args.seed, 42])
    for folder in sorted((args.root / "nmnist" / "Train").iterdir()):
        for file in random.permutation(sorted(folder.glob("*.bin")))[: PARTS["learnt"]]:
            (to / "learnt" / folder.name).mkdir(parents=True, exist_ok=True)
            (to / "learnt" / folder.name / file.name).symlink_to(file.resolve())
    (to / "asked").symlink_to((args.root / "nmnist" / "Test").resolve())


def motions(args: Namespace, to: Path) -> None:
    """Record nine motions of drawn things; only the order in time tells them apart."""
    for motion in MOTIONS:
        for first, (part, count) in enumerate(PARTS.items()):
            for number in range(count):
                events = motion_recording(motion, seed=10_000_000 + 1_000 * (2 * args.seed + first) + number)
                keep(to / part / motion / f"{number}.npz", events, SENSOR)


def things(args: Namespace, to: Path, days: tuple[int, int]) -> None:
    """Record five things, one recording each, on two emulated days."""
    made = two_days.pictures(args.pictures, args.seed)
    for day, part in zip(days, PARTS):
        two_days.record(to / part, made, 10 * args.seed + day, 20.0, 1)


def real_things(args: Namespace, to: Path, days: tuple[int, int]) -> None:
    """Link real recordings of two things before a DVS128, one each, on two days."""
    to.mkdir(parents=True)
    for day, part in zip(days, PARTS):
        (to / part).symlink_to((args.root / "two_days" / f"day{1 + day}").resolve())


MAKERS: dict[str, Callable[[Namespace, Path], None]] = {
    "digits, N-MNIST": digits,
    "clothes by saccades": clothes,
    "motions, drawn": motions,
    **{
        f"{kind}, day {1 + days[0]} to {1 + days[1]}": partial(make, days=days)
        for kind, make in (("things", things), ("real things", real_things))
        for days in ((0, 1), (1, 0))
    },
}


def measured(place: Path, root: Path, flags: list[str], *, taught: bool) -> None:
    """Learn from the folder learnt/, test on each asked*/ folder, and add a row for each."""
    learnt, begin = place / "learnt", time.monotonic()
    if taught:
        words = ("--data", str(learnt), "--to", str(root / "taught"), "--json")
        model = json.loads(two_days.command("teach", *words))["model"]
    else:
        words = ("--data", str(learnt), "--output", str(root / "runs"), "--cache", str(root / "cache"), "--json")
        model = json.loads(two_days.command("train", *words, *flags))["run"] + "/model"
    minutes = (time.monotonic() - begin) / 60
    recordings = sum(file.is_file() for file in learnt.rglob("*"))
    for asked in sorted(place.glob("asked*")):
        found = json.loads(two_days.command("evaluate", model, str(asked), "--baselines", str(learnt), "--json"))
        right, low, high = (100 * share for share in (found["right"]["accuracy"], *found["right"]["interval"]))
        guess = 100 * found["windows"]["accuracy"]  # baselines answer the same windows, and refuse none
        baselines = [100 * row["accuracy"] for row in found["baselines"]]
        p = max(found["baselines"], key=lambda row: row["accuracy"])["p"]
        name = ("teach" if taught else "train-dvs") + asked.name.removeprefix("asked").replace(" before", ", before")
        report.row(
            name, float(recordings), float(found["right"]["count"]), right, low, high, guess, *baselines, p, minutes
        )
        print(f"{place.name} by {name}: {right:.1f} ({low:.1f} to {high:.1f}), {baselines}, p {p:.2g}", flush=True)


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--root", type=Path, required=True, help="where nmnist and Fashion-MNIST lie")
    parser.add_argument("--pictures", type=Path, metavar="FILE", help="CIFAR-10 as JPEG in an npz, for things")
    parser.add_argument("--folder", type=Path, help="where recordings are kept (default: a temporary one)")
    parser.add_argument("--seed", type=int, default=7, help="of the draws (default 7, on which nothing was chosen)")
    parser.add_argument("--flags", default="", help="further flags of train-dvs, in one word")
    parser.add_argument("--only", nargs="+", default=list(MAKERS), choices=MAKERS, metavar="SET")
    args = parser.parse_args()
    with TemporaryDirectory() as temporary:
        root = args.folder or Path(temporary)
        for name in args.only:
            place = root / f"{report.slug(name)}-{args.seed}"
            if not place.exists():
                MAKERS[name](args, place)
            report.table(f"Own recordings, {name}: % right", "learnt by", *COLUMNS)
            for taught in (True, False):
                measured(place, root, args.flags.split(), taught=taught)
            report.write("own_recordings", args.json)


if __name__ == "__main__":
    main()
