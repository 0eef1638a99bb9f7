"""The compiled loops of score.py and of the steady label in models/steps.py: microseconds beside a step of the network.

Imported where they are first needed, since numba takes its time. Inner loops run over contiguous memory and no sum is
reordered, so that the compiler uses vectors and every machine gets the same bits.
"""

import numpy as np

from spikesight.encoders.kernels.loop import loop

FAR = 60.0  # of a logistic's exponent: beyond it nothing changes


@loop
def mean_of(rows, out):
    """out [V], the mean of rows [n, V], summed one after another as numpy does."""
    for row in rows:
        for k in range(len(out)):
            out[k] += row[k]
    for k in range(len(out)):
        out[k] /= len(rows)


@loop
def softmax(logits, temperature, out):
    """out [K] from the logits [K]."""
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
    """The sum of both standardised scores; whiten [from, to] and placed [to, class] lie as they are walked through.

    mean [V] holds `classes` logits and the rates; line is a row of Lines: temperature, mean and spread of the log
    distance, mean and spread of the energy, ...
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
    """Probabilities into out [classes]; `known`, or -1 where there is nothing. The count of active inputs ends mean."""
    softmax(mean, line[0], out)
    if mean[len(mean) - 1] < line[7]:
        return -1.0
    exponent = slope * (strangeness(mean, classes, whiten, placed, line) - line[6]) / (line[6] - line[5])
    return 1 / (1 + np.exp(min(max(exponent, -FAR), FAR)))


@loop
def weigh(probabilities, known, old, before, index, smoothing, margin, inertia, least, lull, mean, evidence):
    """One step of `StableLabel`: the new mean and evidence [K + 2] of every hypothesis; the one with most evidence.

    known -1 says that there is nothing; index -1 that no label is shown yet. Nothing is no label either: what comes
    behind it must beat the other hypotheses, "unknown" among them, not only nothing, which anything does.
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
