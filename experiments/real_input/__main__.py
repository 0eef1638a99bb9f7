"""The shipped models on realistic input: pictures, clips of a few seconds, noisy and out-of-distribution input.

    python -m experiments.real_input --root shared/data --seed 11
    python -m experiments.real_input --root shared/data --seed 11 --only clips --count 20

Digits are MNIST's test images; desks are every second photograph below <root>/imagenet_1perclass; the seed determines
everything else. `--tuning` uses other digits and the other photographs: use it whenever results guide a choice.
"""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.common import report
from experiments.motions import videos
from experiments.real_input.judge import noisy_right, watch
from experiments.real_input.motions import rows as rows_of_motions
from experiments.real_input.scenes import HARDER, THINGS, Kind, clips, pen
from experiments.real_input.unknown import rows as rows_of_unknown
from experiments.real_input.unknown import rows_of_near
from spikesight.models.classifier import Classifier
from spikesight.models.shipped import find
from spikesight.models.statistics import interval
from spikesight.training.config import TrainConfig
from spikesight.training.data import read_item
from spikesight.training.data.images import read_idx
from spikesight.training.data.tonic_sets import list_named

MODELS = ("nmnist", "mnist-direct")
TABLES = ("pictures", "clips", "noise", "unknown", "near", "motions")
STYLES = ("thin pen", "uneven light", "stretched wide", "stretched tall", "noisy")
KINDS: tuple[Kind, ...] = ("plain", "harder", "things", "tidy")
NAMES = {"plain": "digit on paper, plain", "harder": f"the same: {', '.join(HARDER)}", "tidy": "as the tip asks"}
NAMES["things"] = f"on other things: {', '.join(THINGS)}"
RATES_HZ, HOT = (0.0, 1.0, 2.0, 3.0, 5.0, 10.0), (0.01, 0.03)
RIGHT = ("of", "right, %", "low", "high")  # columns that `shares` returns
Digits = tuple[np.ndarray, np.ndarray]  # uint8 [N, 28, 28], labels [N]


def drawing(style: str, digit: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draw a digit, uint8 [28, 28], on a page in one of STYLES: uint8 [H, W]."""
    ink = pen(digit, 300, 0.4 if style == "thin pen" else 1.0)
    page = np.pad(245 - ink * 190, 60, constant_values=245)
    if style == "uneven light":
        y, x = np.mgrid[: page.shape[0], : page.shape[1]]
        page = page * (1 - 0.45 * np.hypot(x - 80, y - 80) / np.hypot(*page.shape))
    elif style.startswith("stretched"):
        page = cv2.resize(page, (1260, 420) if style.endswith("wide") else (420, 1260))
    elif style == "noisy":
        page = page + random.normal(0, 12, page.shape)
    return page.clip(0, 255).astype(np.uint8)


def shares(right: int, count: int) -> tuple[int, float, float, float]:
    """Return (count, percentage right, lower and upper end of its interval)."""
    low, high = interval(right, count)
    return count, 100 * right / count, 100 * low, 100 * high


def pictures(classifiers: Sequence[Classifier], digits: Digits, photos: list[Path], seed: int, count: int) -> None:
    """Test models on `count` pictures of each kind of scene and each style of drawing."""
    random = np.random.default_rng(seed)
    chosen = random.permutation(len(digits[0]))[:count]
    rows: dict[str, list[tuple[np.ndarray, int]]] = {
        NAMES[kind]: [(c.scenes[0].frame(0.3), c.labels[0]) for c in clips(*digits, photos, seed, count, kind)]
        for kind in KINDS
    }
    for style in STYLES:
        shown = [(drawing(style, digits[0][i], random), int(digits[1][i])) for i in chosen]
        rows[f"drawing, {style}"] = shown
    report.table("digits on paper", "input", "model", *RIGHT)
    names = [classifier.name for classifier in classifiers]
    print(f"| input, {count} pictures, seed {seed} | {' | '.join(names)} |\n{'|---' * (1 + len(names))}|")
    for name, row in rows.items():
        cells = []
        for classifier in classifiers:
            right = sum(classifier.predict_image(picture)[-1].label == str(truth) for picture, truth in row)
            low, high = interval(right, len(row))
            report.row(name, classifier.name, *shares(right, len(row)))
            cells.append(f"{right} ({low:.0%} to {high:.0%})")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def films(classifier: Classifier, digits: Digits, photos: list[Path], seed: int, count: int) -> None:
    """Test a model on clips of five seconds, by the label that it shows after the first second."""
    report.table("clips of digits on paper", "input", "seen as", "changes in 5 s", "steady, %", *RIGHT)
    print(f"\n| {count} clips, seed {seed}, {classifier.name} | seen as | right | steady | changes in 5 s |")
    print("|---|---|---|---|---|")
    for kind in KINDS:
        verdicts = [watch(clip, classifier) for clip in clips(*digits, photos, seed, count, kind)]
        for seen in ("frames", "events"):
            right, steady = (sum(getattr(v[seen], what) for v in verdicts) for what in ("right", "steady"))
            changes = float(np.mean([v[seen].changes for v in verdicts]))
            low, high = interval(right, count)
            report.row(NAMES[kind], seen, changes, 100 * steady / count, *shares(right, count))
            line = f"{right} ({low:.0%} to {high:.0%}) | {steady} | {changes:.1f}"
            print(f"| {NAMES[kind]} | {seen} | {line} |", flush=True)


def noise(classifier: Classifier, root: Path, *, tuning: bool) -> None:
    """Test a model on real N-MNIST recordings with added noise events and hot pixels."""
    listing = list_named(TrainConfig(data="nmnist", root=str(root)))
    items = listing.train[::4] if tuning else listing.test
    recordings = [(*read_item(item), listing.labels[item.label]) for item in items]
    report.table("N-MNIST with sensor noise", "noise", *RIGHT)
    print(f"\n| N-MNIST, {len(items)} recordings, noise | right |\n|---|---|")
    for name, right in noisy_right(classifier, recordings, RATES_HZ, HOT):
        low, high = interval(right, len(items))
        report.row(name, *shares(right, len(items)))
        print(f"| {name} | {right} ({low:.0%} to {high:.0%}) |", flush=True)


def main() -> None:
    """Measure and print the tables."""
    parser = report.parser(__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"), help="of mnist/, nmnist/ and imagenet_1perclass/")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=60, help="pictures, or clips, a row")
    parser.add_argument("--clips", type=int, default=5, help="clips of each motion")
    parser.add_argument("--only", choices=TABLES, help="one table")
    parser.add_argument("--tuning", action="store_true", help="what things are tried on, not what is reported")
    parser.add_argument("--model", help="in place of the shipped ones: a name or a folder; of motions with --only")
    args = parser.parse_args()
    mnist = args.root / "mnist"
    part = "train" if args.tuning else "t10k"
    digits = (read_idx(mnist / f"{part}-images-idx3-ubyte.gz"), read_idx(mnist / f"{part}-labels-idx1-ubyte.gz"))
    photos = sorted((args.root / "imagenet_1perclass").glob("*.jpg"))[not args.tuning :: 2]
    classifiers = [Classifier.load(find(name)) for name in ([args.model] if args.model else MODELS)]
    if args.only in (None, "pictures"):
        pictures(classifiers, digits, photos, args.seed, args.count)
    if args.only in (None, "clips"):
        films(classifiers[0], digits, photos, args.seed, args.count)
    if args.only in (None, "noise"):
        noise(classifiers[0], args.root, tuning=args.tuning)
    if args.only in (None, "unknown"):
        for name in (*MODELS, "motions"):
            rows_of_unknown(Classifier.load(find(name)), args.root, 5 * args.count, args.seed)
    if args.only in (None, "near"):
        for classifier in classifiers:
            rows_of_near(classifier, args.root, 2 * args.count, args.seed)
    if args.only in (None, "motions"):
        moving = Classifier.load(find(args.model if args.model and args.only else "motions"))
        rows_of_motions(moving, photos, args.clips, args.seed)
        if (args.root / "videos").is_dir() and not args.tuning:
            videos(moving, args.root / "videos")
    if args.json or not args.tuning:  # in the place of what is reported belongs nothing else
        report.write("real_input", args.json)


if __name__ == "__main__":
    main()
