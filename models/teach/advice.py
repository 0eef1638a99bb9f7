"""Report in figures and sentences how right a taught model will be, and whether its examples are enough."""

import math
from typing import Any

import numpy as np

from spikesight.models.statistics import accuracy_of
from spikesight.models.teach.few_shot import Taught

ENOUGH = 0.95  # judged accuracy
FEW_PIECES = 3  # a class of fewer pieces does not tell how it looks another time
CONFUSED = 0.05  # share of two classes' examples taken for each other from which on the pair is reported
THERE = "on another day about {another_day:.0%} will be right, in nine of ten cases {around[0]:.0%} to {around[1]:.0%}"
HELD_OUT = "{correct} of {count} held out, {interval[0]:.0%} to {interval[1]:.0%}"
SAME = f"of more of the same recordings {{accuracy:.0%}} ({HELD_OUT})"
SESSION = f"in another session about {{accuracy:.0%}} will be right (whole sessions: {HELD_OUT})"
OTHERS = "of things that were not taught about {:.0%} will be called unknown ({:.0%} to {:.0%}, by leaving out classes)"
NO_LINE = "nothing will be called unknown: these examples can't tell what was not taught; show that as a class, too"
EDGE = 0.02  # added to both sides of the odds, so that an accuracy of 1 lies within reach
DONE = "it is enough for this light, ground and distance; show some of another day, or evaluate on it: that may be less"


FITTED = {"start": 0.14, "slope": 0.84, "low": -1.75, "high": 1.54}
"""A regression of the accuracy on another day on that of held-out examples, both as log odds above chance's; `low` and
`high`: between which nine of ten other days lay beside it. Fitted to made pairs of days by
`python -m experiments.own --pairs 150`, which also tells how often that holds.
"""


def report(taught: Taught, *, sessions: bool = False) -> dict[str, Any]:
    """Return figures of how right a taught model will be, and advice; `sessions`: whole sessions are its pieces.

    `accuracy`, `correct`, `count`, `interval`: of examples, by heads that did not learn from their piece (None without
    any); `another_day`, `another_day_interval`: the accuracy to expect on another day, and where it lies in nine of ten
    cases; `expected`: that, the former and `noticed` as sentences; `confused`: class pairs with the share of
    examples taken for each other; `noticed`: share of left-out classes called unknown, with interval (0: none can be,
    None: two classes or too few examples); `advice`: sentences.
    """
    scores, truth, labels = taught.judged.scores, taught.truth, taught.labels
    seen, known = ~np.isnan(scores[:, 0]), taught.unknown if len(labels) > 2 else None
    chosen, own = scores[seen].argmax(1), truth[seen]
    found = accuracy_of(int((chosen == own).sum()), len(own))
    there = found["accuracy"], found["interval"]
    if len(own) and not sessions:
        there = another_day(found["correct"], len(own), len(labels))
    found |= dict(zip(("another_day", "another_day_interval"), there))
    found["noticed"] = [known.noticed, *known.interval] if known else None
    found["confused"] = _confused(chosen, own, labels)
    return found | {"expected": _expected(found, sessions=sessions), "advice": _advice(found, taught)}


def another_day(correct: int, count: int, classes: int, fitted: dict[str, float] = FITTED) -> tuple[float, list[float]]:
    """Return the accuracy to expect on another day, and its 90 % interval, by how many of `count` held-out examples are
    `correct`. All lie between chance and 1, and more correct ones never lower them.

    >>> expected, (low, high) = another_day(38, 40, classes=4)
    >>> 0.25 <= low < expected < high <= 1
    True
    """
    chance = log_odds(1 / classes)
    there = fitted["start"] + fitted["slope"] * above_chance(correct, count, classes)
    expected, low, high = (_share(chance + max(0.0, there + by)) for by in (0.0, fitted["low"], fitted["high"]))
    return expected, [low, high]


def above_chance(correct: float, count: int, classes: int) -> float:
    """Return how far the log odds of an accuracy lie above those of chance, at least 0; few examples never reach 1."""
    return max(0.0, log_odds((correct + 0.5) / (count + 1)) - log_odds(1 / classes))


def log_odds(share: float) -> float:
    """Return the log odds of a share, which EDGE keeps finite."""
    return math.log((share + EDGE) / (1 - share + EDGE))


def _share(odds: float) -> float:
    """Invert log_odds; at most 1."""
    return min(1.0, (1 + 2 * EDGE) / (1 + math.exp(-odds)) - EDGE)


def _expected(found: dict[str, Any], *, sessions: bool) -> list[str]:
    if not found["count"]:
        return []
    others = OTHERS.format(*found["noticed"]) if found["noticed"] and found["noticed"][0] else NO_LINE
    said, around = (SESSION, others) if sessions else (THERE, SAME, others), found["another_day_interval"]
    return [each.format(**found, around=around) for each in said]


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
    said = [f"show {', '.join(few)} {again} {FEW_PIECES} pieces"] if few else []
    if found["accuracy"] is None:
        return [*said, "nothing was held out to judge the head by: show every class at least twice"]
    said += [
        f"show more of {a} and {b}: {share:.0%} of them are taken for each other"
        for a, b, share in found["confused"][:3]
    ]
    return said or [DONE if found["accuracy"] >= ENOUGH else "show more pieces of every class"]
