"""Settings of `spikesight compare`."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CompareConfig:
    """What is compared, on which data, with how much training."""

    data: str = "mnist"  # a set of images by name, or a folder of pictures <class>/<file>
    root: str = "data"  # where named sets lie
    output: str = "runs/compare"  # folder of results and report
    network: str = "cifar-resnet8"  # the shape of ANN and direct network; one of `spikesight.models.networks.ann.ANNS`
    weights: str = ""  # the ANN's state dictionary; empty: train it
    tune_epochs: int = 0  # fine-tune given weights on the training images for this many epochs
    tune_images: int = 50_000  # how many of them
    train_images: int = 60_000  # for the ANN and the direct networks
    ann_epochs: int = 3
    direct_epochs: int = 3
    direct: tuple[str, ...] = ("direct/arctan/4", "direct/arctan/10")  # encoding/surrogate/T; none: ()
    methods: tuple[str, ...] = (
        "rueckauer-max", "rueckauer", "hard-reset", "half", "ltb", "mmse-light", "ours", "settled", "bounded",
    )  # fmt: skip
    multi: tuple[str, ...] = ("signed", "multi", "multi8", "multi-diff")  # more than one bit a spike
    held: int = 1000  # training images that no network learns from: the best methods are chosen on them
    steps: int = 64  # T of every conversion curve
    aim: int = 32  # T that thresholds and calibration are made for, and that a method is chosen at
    aims: tuple[int, ...] = (4, 8, 16)  # T that the chosen binary method is made for as well, each read at its own T
    multi_steps: int = 16
    multi_aim: int = 8
    images: int = 2000  # test images of a curve, the first of a seeded order
    chosen_images: int = 10_000  # test images that the chosen methods are read on, up to their aim
    long: tuple[str, ...] = ("rueckauer", "ours")  # methods followed to `long_steps`
    long_steps: int = 2500
    long_images: int = 200
    qcfs_epochs: int = 0  # QCFS fine-tuning; 0 leaves it out
    calibration: int = 512  # unlabelled training images
    stdp_neurons: int = 100  # 0 leaves STDP out (it needs grey images)
    stdp_images: int = 20_000
    stdp_seeds: tuple[int, ...] = (0, 1, 2)
    seed: int = 0


QUICK = {
    "train_images": 6000,
    "direct": ("direct/arctan/4",),
    "methods": ("rueckauer", "half", "ours"),
    "multi": ("multi",),
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
"""What `--quick` changes: minutes on two cores instead of an hour."""
