"""Settings of `spikesight compare`."""

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class CompareConfig:
    """Settings of a comparison: data, networks, methods and amount of training."""

    data: Annotated[str, "a set of images by name, or a folder of pictures <class>/<file>"] = "mnist"
    root: Annotated[str, "where named sets lie"] = "data"
    output: Annotated[str, "folder of results and report"] = "runs/compare"
    network: Annotated[str, "shape of the ANN and of the direct network"] = "cifar-resnet8"
    weights: Annotated[str, "state dictionary of the ANN; empty: train it"] = ""
    tune_epochs: Annotated[int, "fine-tune given weights on the training images for this many epochs"] = 0
    tune_images: Annotated[int, "how many training images these epochs see"] = 50_000
    train_images: Annotated[int, "training images of the ANN and the direct networks"] = 60_000
    ann_epochs: Annotated[int, "epochs of the ANN's training"] = 3
    direct_epochs: Annotated[int, "epochs of each direct network's training"] = 3
    direct: Annotated[tuple[str, ...], "direct training: encoding/surrogate/T"] = (
        "direct/arctan/4",
        "direct/arctan/10",
    )
    methods: Annotated[tuple[str, ...], "conversion methods"] = (
        "rueckauer-max", "rueckauer", "hard-reset", "sengupta", "ltb", "ours", "bounded",
    )  # fmt: skip
    held: Annotated[int, "training images that no network learns from: the best method is chosen on them"] = 1000
    steps: Annotated[int, "T of every conversion curve"] = 64
    aim: Annotated[int, "T that thresholds and calibration are made for, and that a method is chosen at"] = 32
    aims: Annotated[tuple[int, ...], "further T that the chosen method is made for"] = (4, 8, 16)
    images: Annotated[int, "test images of a curve, the first of a seeded order"] = 2000
    chosen_images: Annotated[int, "test images that the chosen method is read on, up to `aim`"] = 10_000
    long: Annotated[tuple[str, ...], "methods followed to `long_steps`"] = ("rueckauer", "ours")
    long_steps: Annotated[int, "T of the long curves"] = 2500
    long_images: Annotated[int, "test images of a long curve"] = 200
    calibration: Annotated[int, "unlabelled training images that conversions are calibrated on"] = 512
    stdp_neurons: Annotated[int, "neurons of the STDP layer (grey images only); 0 leaves it out"] = 100
    stdp_images: Annotated[int, "training images of STDP"] = 20_000
    stdp_seeds: Annotated[tuple[int, ...], "one STDP network a seed"] = (0, 1, 2)
    seed: Annotated[int, "seed of everything else that is drawn"] = 0


QUICK = {
    "train_images": 6000,
    "direct": ("direct/arctan/4",),
    "methods": ("rueckauer", "ltb", "ours"),
    "held": 500,
    "steps": 32,
    "aims": (8,),
    "images": 500,
    "chosen_images": 500,
    "long": ("rueckauer",),
    "long_steps": 500,
    "long_images": 50,
    "calibration": 256,
    "stdp_images": 3000,
    "stdp_seeds": (0,),
}
"""Settings that `--quick` changes: minutes on two cores instead of an hour."""
