"""Digits found anywhere in a camera's view, and what is taken for one: made scenes, films, MNIST-DVS as streams.

    python -m experiments.finding --root shared/data --seed 31 [--only none] [--failed docs/results/failed.jpg]

Digits are MNIST's test images and OpenCV's print, photographs those below <root>/imagenet_1perclass. `clips` are the
films of one digit of experiments/real_input. Choose nothing on a seed that is reported.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.common import report
from experiments.finding.asked import TASKS, Asked, write_failed
from experiments.finding.films import Grey, Written
from experiments.finding.scenes import scenes, streams
from experiments.real_input.__main__ import films as clips
from spikesight.models.classifier import Classifier
from spikesight.models.shipped import find
from spikesight.training.data.images import find_idx, read_idx

SEEN = "events", "frames"
ALL = ("scenes", "streams", "clips", *TASKS)


def main(argv: Sequence[str]) -> None:
    parser = report.parser(__doc__)
    parser.add_argument("--root", type=Path, default=Path("data"))
    parser.add_argument("--model", default="nmnist")
    parser.add_argument("--seed", type=int, default=0, help="of films and clips")
    parser.add_argument("--count", type=int, default=20, help="films or clips of each kind; five times as many scenes")
    parser.add_argument("--only", nargs="+", choices=ALL, default=ALL)
    parser.add_argument("--seen", nargs="+", choices=SEEN, default=SEEN, help="of films")
    parser.add_argument("--failed", type=Path, help="a picture of films that failed")
    args: argparse.Namespace = parser.parse_args(argv)
    classifier = Classifier.load(find(args.model))
    images = read_idx(find_idx(args.root, "mnist", "t10k-images-idx3-ubyte"))
    labels = read_idx(find_idx(args.root, "mnist", "t10k-labels-idx1-ubyte")).astype(np.int64)
    photos = sorted((args.root / "imagenet_1perclass").glob("*.jpg"))
    if "scenes" in args.only:
        scenes(classifier, images, labels, 5 * args.count)
    if "streams" in args.only and (args.root / "mnist_dvs").is_dir():
        streams(classifier, args.root)
    if "clips" in args.only:
        clips(classifier, (images, labels), photos[1::2], args.seed, args.count)
    if set(TASKS) & set(args.only):
        report.table("films of several, and of none", "what", "seen as", "of", "right", "wrong", "low", "high", "false")
    failed = list[Grey]()
    for seen in args.seen:
        asked = Asked(classifier, seen, Written(images, labels), photos, args.seed, args.count)
        for task in TASKS:
            if task in args.only:
                getattr(asked, task)()
        failed += asked.failed
    if args.failed and failed:
        write_failed(args.failed, failed)
    report.write("finding", args.json)


if __name__ == "__main__":
    main(sys.argv[1:])
