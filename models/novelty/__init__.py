"""How familiar an input is: `known` in [0, 1], the labels "unknown" and "nothing", and calibrated probabilities.

`score` fits and judges; `rates` reads what it judges by off a network's first layers; `compiled` holds its loops.
"""

from spikesight.models.novelty.score import (
    CAMERA,
    KEPT,
    NOTHING,
    RECORDED,
    SHOWN,
    UNKNOWN,
    WEBCAM,
    ClassDistance,
    Judged,
    NoveltyDetector,
    Windows,
    fit_novelty,
    fit_temperature,
    interval,
    running_mean,
    softmax,
)

__all__ = [
    "CAMERA",
    "KEPT",
    "NOTHING",
    "RECORDED",
    "SHOWN",
    "UNKNOWN",
    "WEBCAM",
    "ClassDistance",
    "Judged",
    "NoveltyDetector",
    "Windows",
    "fit_novelty",
    "fit_temperature",
    "interval",
    "running_mean",
    "softmax",
]
