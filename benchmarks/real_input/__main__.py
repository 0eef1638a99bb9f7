"""Digits on paper as people hold them, one picture each, shown to the shipped digit models.

    python -m benchmarks.real_input --root shared/data --seed 11

Digits are MNIST's test images, desks are the photographs below <root>/imagenet_1perclass; the seed draws all else.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from benchmarks.common import report
from benchmarks.real_input.motions import rows as rows_of_motions
from benchmarks.real_input.scenes import HARDER, pen, scenes
from benchmarks.real_input.unknown import rows as rows_of_unknown
from models.classifier import Classifier
from models.shipped import find
from training.data.images import read_idx
from training.run.evaluate import interval

MODELS = ("nmnist", "mnist-direct")
STYLES = ("thin pen", "uneven light", "stretched wide", "stretched tall", "noisy")


def drawing(style: str, digit: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A digit, uint8 [28, 28], drawn in one way: uint8 [H, W]."""
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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("data"), help="where mnist/ and imagenet_1perclass/ lie")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=60, help="pictures a row")
    parser.add_argument("--clips", type=int, default=5, help="clips of each motion")
    report.option(parser)
    args = parser.parse_args()
    digits = read_idx(args.root / "mnist" / "t10k-images-idx3-ubyte.gz")
    labels = read_idx(args.root / "mnist" / "t10k-labels-idx1-ubyte.gz")
    photos = sorted((args.root / "imagenet_1perclass").glob("*.jpg"))
    random = np.random.default_rng(args.seed)
    chosen = random.permutation(len(digits))[: args.count]

    def paper(*, harder: bool) -> list[np.ndarray]:
        return [scene.frame(0.3) for scene in scenes(digits[chosen], photos, args.seed, harder=harder)]

    rows = {
        "digit on paper, plain": [s.frame(0.3) for s in scenes(digits[chosen], photos, args.seed)],
        f"the same: {', '.join(HARDER)}": [
            s.frame(0.3) for s in scenes(digits[chosen], photos, args.seed, harder=True)
        ],
        **{f"drawing, {style}": [drawing(style, digits[i], random) for i in chosen] for style in STYLES},
    }
    classifiers = [Classifier.load(find(name)) for name in MODELS]
    report.table("digits on paper", "input", "model", "right", "of", "low", "high")
    print(f"| input, {args.count} pictures, seed {args.seed} | {' | '.join(MODELS)} |\n|---|---|---|")
    for name, pictures in rows.items():
        cells = []
        for classifier in classifiers:
            right = sum(classifier.predict_image(p)[-1].label == str(labels[i]) for p, i in zip(pictures, chosen))
            low, high = interval(right, len(pictures))
            report.row(name, classifier.name, right, len(pictures), low, high)
            cells.append(f"{right} ({low:.0f} to {high:.0f} %)")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    for name in (*MODELS, "motions"):
        rows_of_unknown(Classifier.load(find(name)), args.root, 5 * args.count, args.seed)
    rows_of_motions(Classifier.load(find("motions")), args.root, args.clips, args.seed)
    report.write("real_input", args.json)


if __name__ == "__main__":
    main()
