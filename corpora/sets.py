"""The corpora as data sets of trainings: `digits`, N-MNIST's recordings among made ones, and `digit-images`, MNIST's
images among printed and drawn ones.

A corpus lists the recordings or images of a named set, and adds to them what it makes once they are loaded.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from corpora.digits import other_digits, training_images, training_samples, validation_samples
from corpora.others import KINDS
from spikesight.training.config import TrainConfig
from spikesight.training.data import Data
from spikesight.training.data.images import IMAGES
from spikesight.training.data.recordings import RECORDED
from spikesight.training.data.sets import DataError, Frames, ImageSet, Item, Listing, WindowShape
from spikesight.training.data.tonic_sets import list_named

DIGITS, DIGIT_IMAGES = "digits", "digit-images"
EMULATED = 110  # recordings of each digit that calibrate prediction sets, beside the real ones


def register() -> None:
    """Let trainings and calibrations find the corpora by name."""
    RECORDED[DIGITS], IMAGES[DIGIT_IMAGES] = list_digits, list_images


def list_digits(root: Path) -> Listing:
    """List N-MNIST's recordings, to which the corpus is added. Raises MissingDataError."""
    listing = list_named(TrainConfig(data="nmnist", root=str(root)))
    return replace(listing, name=DIGITS, complete=partial(with_digits, window=listing.window))


def list_images(root: Path) -> ImageSet:
    """List MNIST's images, to which the corpus is added. Raises MissingDataError."""
    return replace(IMAGES["mnist"](root), name=DIGIT_IMAGES, complete=with_images)


def shown_images(names: Iterable[str]) -> frozenset[int]:
    """Return the numbers of the MNIST images in N-MNIST recordings of these names: 00001.bin shows image 0."""
    return frozenset(int(Path(name).stem) - 1 for name in names if Path(name).stem.isdigit())


def with_digits(data: Data, window: WindowShape) -> Data:
    """Return N-MNIST's data with the corpus's samples, made in this `window`. Raises DataError for another."""
    config, contract, w = data.config, data.contract, window
    if (config.steps, config.bin_us, contract.shape) != (w.steps, w.bin_us, (2, w.height, w.width)):
        raise DataError(f"{DIGITS} has {w.steps} bins of {w.bin_us} us, {w.height} x {w.width}, as it is made")
    root, cache, seed = Path(config.root), Path(config.cache), config.seed
    train, outliers = training_samples(root, cache, data.train, shown_images(data.split["val"]), seed)
    made = validation_samples(root, cache, seed)
    others = other_digits(root, shown_images(data.split["train"]), EMULATED)
    return replace(
        data, train=train, outliers=outliers, outlier_kinds=tuple(KINDS), made=made,
        val=data.val.concatenated(Frames(made[:], made.labels)),
        calibration=tuple(Item(Path("aside", f"{n}"), label, read=read) for n, (read, label) in enumerate(others)),
    )  # fmt: skip


def with_images(data: Data) -> Data:
    """Return MNIST's data with the corpus's images."""
    train, outliers = training_images(data.train, Path(data.config.cache), data.config.seed)
    return replace(data, train=train, outliers=outliers, outlier_kinds=tuple(KINDS), recorded=len(train))
