"""How familiar an input is: `known` in [0, 1], the labels "unknown" and "nothing", and calibrated probabilities.

`score` fits and judges, `bins` at shorter bins; `conformal` gives sets of labels; `rates` reads firing rates off a
network's first layers; `compiled` holds the loops.
"""

from spikesight.models.novelty.score import KEPT, NOTHING, UNKNOWN, NoveltyDetector, fit_novelty

__all__ = ["KEPT", "NOTHING", "UNKNOWN", "NoveltyDetector", "fit_novelty"]
