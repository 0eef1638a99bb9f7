"""Compiled loops for score.py, and for the read-out and the stable label in models/steps.py; they take microseconds.

Import this module only when needed, since importing numba is slow. Inner loops run over contiguous memory, so that the
compiler vectorises them; no sum is reordered, so that every machine gets the same bits.
"""

import numpy as np

from spikesight.encoders.kernels.loop import loop

FAR = 60.0  # bound of the logistic function's exponent, against overflow


@loop
def mean_of(rows, out):
    """Write the mean of rows [n, V] into out [V], which holds zeros; rows are summed in order, as numpy does."""
    for row in rows:
        for k in range(len(out)):
            out[k] += row[k]
    for k in range(len(out)):
        out[k] /= len(rows)


@loop
def softmax(logits, temperature, out):
    """Write softmax(logits / temperature) into out [K]; logits [K]."""
    most, total = logits[0], 0.0
    for k in range(len(out)):
        most = max(most, logits[k])
    for k in range(len(out)):
        out[k] = np.exp((logits[k] - most) / temperature)
        total += out[k]
    for k in range(len(out)):
        out[k] /= total


@loop
def strangeness(mean, classes, whiten, placed, line):
    """Return the sum of the standardised log distance to the nearest class and energy: the larger, the less familiar.

    mean [V] holds `classes` logits, then R rates. whiten [R, R] is the transposed whitening matrix, placed [R, classes]
    the whitened class means; both are in the order in which the loops read memory. line [8] is in the order of ROWS.
    """
    width = len(whiten)
    at, distances = np.zeros(width), np.zeros(placed.shape[1])
    for source in range(width):
        x = np.sqrt(mean[classes + source])
        for target in range(width):
            at[target] += whiten[source, target] * x
    for target in range(width):
        for k in range(len(distances)):
            distances[k] += (at[target] - placed[target, k]) ** 2
    most, total = mean[0], 0.0
    for k in range(classes):
        most = max(most, mean[k])
    for k in range(classes):
        total += np.exp(mean[k] - most)
    cold = -most - np.log(total)
    return (np.log(max(distances.min(), 1e-12)) - line[1]) / line[2] + (cold - line[3]) / line[4]


@loop
def judge(mean, classes, whiten, placed, line, slope, out):
    """Write probabilities into out [classes]; return `known`, or -1 if the active inputs, mean[-1], are too few."""
    softmax(mean, line[0], out)
    if mean[len(mean) - 1] < line[7]:
        return -1.0
    exponent = slope * (strangeness(mean, classes, whiten, placed, line) - line[6]) / (line[6] - line[5])
    return 1 / (1 + np.exp(min(max(exponent, -FAR), FAR)))


@loop
def weigh(probabilities, known, old, before, index, smoothing, margin, inertia, least, lull, mean, evidence):
    """Advance `StableLabel` a step: fill mean and evidence [K + 2] from old and before; return the best hypothesis.

    Hypotheses: K classes, "unknown", "nothing". known -1: nothing to see; index: the shown one, -1 for none. After
    "nothing", as after none, a hypothesis must beat the best other one, "unknown" included: any input beats "nothing".
    """
    classes, best = len(probabilities), 0
    shown = index if index <= classes else -1
    for k in range(classes + 2):
        if k < classes:
            share = probabilities[k] * max(known, 0.0)
        elif k == classes:
            share = 1 - known if known >= 0 else 0.0
        else:
            share = 1.0 if known < 0 else 0.0
        mean[k] = smoothing * old[k] + (1 - smoothing) * share
    most, second = -1.0, -1.0
    for k in range(classes + 2):
        most, second = max(most, mean[k]), max(second, min(most, mean[k]))
    for k in range(classes + 2):
        rival = mean[shown] if shown >= 0 else second if mean[k] == most else most
        gained = np.log(max(mean[k], least) / max(rival, least)) / inertia
        if k == index or (gained > 0 and mean[k] - rival <= margin):
            gained = 0.0
        if gained > 0 and k == classes + 1:
            gained *= lull
        evidence[k] = max(before[k] + gained, 0.0)
        if evidence[k] > evidence[best]:
            best = k
    return best
