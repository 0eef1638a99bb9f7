"""Report in figures and sentences whether the examples of a taught model are enough."""

from typing import Any

import numpy as np

from spikesight.models.statistics import accuracy_of
from spikesight.models.teach.few_shot import Taught

ENOUGH = 0.95  # judged accuracy
FEW_PIECES = 3  # a class of fewer pieces does not tell how it looks another time
CONFUSED = 0.05  # share of two classes' examples taken for each other from which on the pair is reported
ANOTHER_DAY = 0.4  # share of the accuracy above chance that remains on most other days (docs/teach.md)
DONE = "it is enough for this light, ground and distance; show some of another day, or evaluate on it: that may be less"


def report(taught: Taught) -> dict[str, Any]:
    """Return the cross-validated figures of a taught model, and advice:

    `accuracy`, `correct`, `count`, `interval`: of examples, by heads that did not learn from their piece (None without
    any); `another_day`: a lower bound of the accuracy on most other days; `confused`: class pairs with the share of
    examples taken for each other; `noticed`: share of left-out classes called unknown, with interval (0: none can be,
    None: two classes or too few examples); `advice`: sentences.
    """
    scores, truth, labels = taught.judged.scores, taught.truth, taught.labels
    seen, found, chance = ~np.isnan(scores[:, 0]), score(taught), 1 / len(labels)
    around = found["interval"]
    known = taught.unknown if len(labels) > 2 else None
    found |= {
        "another_day": chance + ANOTHER_DAY * max(0.0, around[0] - chance) if around else None,
        "noticed": [known.noticed, *known.interval] if known else None,
        "confused": _confused(scores[seen].argmax(1), truth[seen], labels),
    }
    return found | {"advice": _advice(found, taught)}


def score(taught: Taught) -> dict[str, Any]:
    """Return the figures `accuracy`, `correct`, `count` and `interval` of `report`, which need no further fit."""
    scores = taught.judged.scores
    seen = ~np.isnan(scores[:, 0])
    return accuracy_of(int((scores[seen].argmax(1) == taught.truth[seen]).sum()), int(seen.sum()))


def _confused(chosen: np.ndarray, own: np.ndarray, labels: tuple[str, ...]) -> list[list[Any]]:
    """Return [class, class, share] of each confused pair, the worst first."""
    pairs = []
    for a in range(len(labels)):
        for b in range(a + 1, len(labels)):
            among = int(np.isin(own, (a, b)).sum())
            wrong = int(((own == a) & (chosen == b)).sum() + ((own == b) & (chosen == a)).sum())
            if wrong and wrong / among >= CONFUSED:
                pairs.append([labels[a], labels[b], wrong / among])
    return sorted(pairs, key=lambda pair: -pair[2])


def _advice(found: dict[str, Any], taught: Taught) -> list[str]:
    few = [label for label, count in taught.piece_counts.items() if count < FEW_PIECES]
    again = "again, turned, nearer and at another time: so far in fewer than"
    said = [f"show {_listed(few)} {again} {FEW_PIECES} pieces"] if few else []
    if found["accuracy"] is None:
        return [*said, "nothing was held out to judge the head by: show every class at least twice"]
    said += [
        f"show more of {a} and {b}: {share:.0%} of them are taken for each other"
        for a, b, share in found["confused"][:3]
    ]
    if found["noticed"] and not found["noticed"][0]:
        said.append("show what else comes before the camera as a class of its own: these examples can't tell it")
    if not said and found["accuracy"] < ENOUGH:
        said.append("show more pieces of every class")
    return said or [DONE]


def _listed(names: list[str]) -> str:
    """Join names to a phrase.

    >>> _listed(["cup"]), _listed(["cup", "key", "pen"])
    ('cup', 'cup, key and pen')
    """
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
