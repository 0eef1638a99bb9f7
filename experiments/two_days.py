"""Train by one command on a folder of objects filmed on one day, and test on another day.

    python experiments/two_days.py --pictures ../shared/data/cifar10_jpeg/cifar10_jpeg_test.npz

Objects are pictures of CIFAR-10, one of each of five classes, cut to a soft outline. An emulated hand moves and turns
them before an emulated camera of 128 x 128 pixels. On the second day light, background, speed, distance, camera
threshold and noise differ. Each row compares the accuracy on validation windows with that on the other day.
"""

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.common import report
from corpora.films import Film, Layer, Matrix, placed
from spikesight.encoders.emulator.pixels import Emulator, PixelModel
from spikesight.encoders.events import Events, SensorSize
from spikesight.encoders.recordings.files import write_recording

SENSOR = SensorSize(128, 128)
RATE_HZ = 200
THINGS = {3: "cat", 1: "car", 9: "truck", 4: "deer", 8: "ship"}


def pictures(path: Path, seed: int) -> dict[str, NDArray[np.float32]]:
    """Draw one picture of each class, grey float32 [96, 96]."""
    packed = np.load(path)
    labels, offsets, data = packed["label"], packed["offsets"], packed["jpeg"]
    random = np.random.default_rng(seed)
    found = {}
    for label, name in THINGS.items():
        n = int(random.choice(np.flatnonzero(labels == label)))
        grey = cv2.imdecode(data[offsets[n] : offsets[n + 1]], cv2.IMREAD_GRAYSCALE)
        assert grey is not None
        found[name] = cv2.resize(grey, (96, 96), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    return found


def filmed(thing: NDArray[np.float32], seconds: float, day: int, seed: int) -> Iterator[Events]:
    """Yield events of an object that a hand moves, turns and tilts; `day` seeds the light, the speed and the camera."""
    of_day, random = np.random.default_rng([day, 7]), np.random.default_rng([day, seed])
    light, speed, far = of_day.uniform(0.5, 1.0), of_day.uniform(0.7, 1.6), of_day.uniform(0.65, 0.9)
    threshold, noise = of_day.uniform(0.15, 0.3, 2), of_day.uniform(0.05, 1.5)
    wall = of_day.uniform(60, 180) + 12 * cv2.resize(np.asarray(of_day.normal(0, 1, (6, 6)), np.float32), (128, 128))
    camera = Emulator(SENSOR, PixelModel(float(threshold[0]), float(threshold[1]), noise_hz=noise), seed)
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    mask = (1 / (1 + np.exp(((np.abs(x) ** 4 + np.abs(y) ** 4) - 0.8) * 25))).astype(np.float32)
    hertz, phase = speed * random.uniform(0.15, 0.7, (6, 3)), random.uniform(0, 2 * math.pi, (6, 3))

    def path(t: float) -> Matrix:
        dx, dy, turn, tilt, lean, near = np.sin(2 * math.pi * hertz * t + phase).mean(1)
        matrix = placed(thing.shape, 64 + 45 * dx, 64 + 45 * dy, turn, far * (1 + 0.35 * near))
        squeeze = np.array([1 - abs(0.7 * tilt), 1 - abs(0.5 * lean)])
        matrix[:, 2] += matrix[:, :2] @ ((1 - squeeze) * 48)
        matrix[:, :2] *= squeeze
        return matrix

    film = Film(
        np.asarray(wall, np.float32), [Layer(thing, mask, path)], seconds, rate_hz=RATE_HZ, light=lambda _: light
    )
    yield from (camera.push(grey, t_us) for t_us, grey, _ in film.frames())


def record(folder: Path, things: dict[str, NDArray[np.float32]], day: int, seconds: float, takes: int) -> None:
    """Record each object `takes` times, as <folder>/<object>-<take>.raw."""
    folder.mkdir(parents=True, exist_ok=True)
    for n, (name, thing) in enumerate(things.items()):
        for take in range(takes):
            parts = [part for part in filmed(thing, seconds, day, 100 * n + take) if len(part)]
            write_recording(folder / f"{name}-{take + 1}.raw", np.concatenate(parts), SENSOR)


def command(*words: str) -> str:
    """Run a spikesight command; return the last line that it prints."""
    done = subprocess.run([sys.executable, "-m", "spikesight", *words], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def measured(root: Path, name: str, train: Path, test: Path, flags: list[str] | None) -> None:
    """Train on one folder (flags None: teach in windows of 310 ms), test on the other, and add a row."""
    begin = time.monotonic()
    if flags is None:
        words = ["teach", "--to", str(root / "taught"), "--window-ms", "310"]
    else:
        words = ["train", "--output", str(root / "runs"), "--cache", str(root / "cache"), *flags]
    made = json.loads(command(*words, "--data", str(train), "--json"))
    minutes = (time.monotonic() - begin) / 60
    model = str(root / "taught") if flags is None else made["run"] + "/model"
    found = json.loads(command("evaluate", model, str(test), "--json"))
    own = [100 * made["accuracy"]] if flags is None else [100 * made["val_accuracy"], 100 * made["test"]["accuracy"]]
    right, guess = (100 * found[column]["accuracy"] for column in ("right", "best_guess"))
    low, high = found["right"]["interval"]
    report.row(name, *own, right, guess, float(found["right"]["count"]), 100 * low, 100 * high, minutes)
    print(f"{name:40} held out {own[0]:.1f}  right {right:.1f}  best guess {guess:.1f}  {minutes:.1f} min", flush=True)


def main() -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--pictures", type=Path, required=True, metavar="FILE", help="CIFAR-10 as JPEG in an npz")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of a recording (default 20)")
    parser.add_argument("--seed", type=int, default=0, help="of the things and the days")
    parser.add_argument("--folder", type=Path, help="where recordings are kept (default: a temporary one)")
    parser.add_argument("--flags", default="", help="further flags of train-dvs, in one word")
    parser.add_argument("--only", default="", help="one layout: one, many or sessions")
    parser.add_argument("--teach", action="store_true", help="spikesight teach in place of train-dvs")
    args = parser.parse_args()
    things = pictures(args.pictures, args.seed)
    title = "Things between two days: validation windows and recordings of another day, % (train-dvs)"
    columns = ["validation", "test", "right", "best guess right", "recordings", "low", "high", "minutes"]
    if args.teach:
        title, columns = title.replace("train-dvs", "teach"), [one for one in columns if one != "test"]
    report.table(title, "folder", *columns)
    with TemporaryDirectory() as temporary:
        root = args.folder or Path(temporary)
        days = [root / f"day{n}" for n in (1, 2)]
        for n, day in enumerate(days):
            if not day.exists():
                record(day, things, 10 * args.seed + n, args.seconds, 3)
        for name, there, back in (("day 1 to 2", *days), ("day 2 to 1", *reversed(days))):
            for kind, keep in (("one", 1), ("many", 3)):
                if args.only in ("", kind):
                    flat = root / f"{there.name}-{kind}"
                    flat.mkdir(exist_ok=True)
                    for take in range(1, keep + 1):
                        for file in there.glob(f"*-{take}.raw"):
                            if not (flat / file.name).exists():
                                (flat / file.name).symlink_to(file.resolve())
                    row = f"{name}, {keep} recordings a thing"
                    measured(root, row, flat, back, None if args.teach else args.flags.split())
    report.write("two_days", args.json)


if __name__ == "__main__":
    main()
