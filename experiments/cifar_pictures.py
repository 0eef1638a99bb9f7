"""Unpack CIFAR-10 from JPEG files in one .npz a split to the folders that `--data cifar10` reads.

    python -m experiments.cifar_pictures ../shared/data/cifar10_jpeg data      # data/cifar10/train/<class>/<number>.jpg

Each cifar10_jpeg_<split>.npz has the arrays jpeg (bytes), offsets [M + 1], label [M] and classes [K].
"""

import argparse
from itertools import pairwise
from pathlib import Path

import numpy as np


def unpack(source: Path, root: Path) -> None:
    """Write the pictures of both splits below root/cifar10."""
    for split in ("train", "test"):
        with np.load(source / f"cifar10_jpeg_{split}.npz", allow_pickle=False) as file:
            data, offsets, labels, classes = (file[name] for name in ("jpeg", "offsets", "label", "classes"))
        for number, ((begin, end), label) in enumerate(zip(pairwise(offsets.tolist()), labels.tolist())):
            path = root / "cifar10" / split / str(classes[label]) / f"{number:05}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data[begin:end].tobytes())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("root", type=Path)
    given = parser.parse_args()
    unpack(given.source, given.root)
