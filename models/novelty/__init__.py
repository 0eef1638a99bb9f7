"""Out-of-distribution detection: `in_distribution` in [0, 1], the labels "unknown" and "nothing", and calibrated
probabilities.

`score` fits and applies the detector, `conformal` gives commitments, `alarm` tests
for shift, `profile` compares cameras, `rates` reads a network's firing rates.
"""

from spikesight.models.novelty.score import KEPT, NOTHING, UNKNOWN, NoveltyDetector, fit_novelty

__all__ = ["KEPT", "NOTHING", "UNKNOWN", "NoveltyDetector", "fit_novelty"]
