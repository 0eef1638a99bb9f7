"""Statistics used by more than one folder: of logits, weighted samples and proportions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def softmax(logits: Floats) -> Floats:
    """Return the softmax along the last axis."""
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def energy(logits: Floats) -> Floats:
    """Return -log sum exp along the last axis (Liu et al. 2020)."""
    most = logits.max(-1)
    return -most - np.log(np.exp(logits - most[..., None]).sum(-1))


def running_mean(steps: NDArray) -> Floats:
    """Return the running means of [M, T, ...] along T."""
    shape = (1, -1, *[1] * (steps.ndim - 2))
    return np.cumsum(steps, 1, dtype=np.float64) / np.arange(1, steps.shape[1] + 1).reshape(shape)


def moments(values: Floats, weights: Floats) -> tuple[float, float]:
    """Return the weighted mean and standard deviation, the latter at least 1e-6."""
    mean = np.average(values, weights=weights)
    return float(mean), max(1e-6, float(np.sqrt(np.average((values - mean) ** 2, weights=weights))))


def quantile(values: Floats, weights: Floats, share: float) -> float:
    """Return the smallest value v such that the values up to v have at least this share of the weight."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(values[order[min(len(order) - 1, int(np.searchsorted(reached, share - 1e-12)))]])


def fit_temperature(logits: Floats, labels: NDArray[np.int64], weights: Floats, smoothing: float = 0.0) -> float:
    """Fit the temperature in [0.05, 20] of least cross-entropy (Guo et al. 2017), by golden section on its logarithm.

    `smoothing`: label smoothing, the share of each sample that counts for all labels alike; it keeps the temperature
    away from 0 when all samples are classified correctly.
    """
    rows = np.arange(len(labels))

    def loss(log_t: float) -> float:
        scaled = logits / np.exp(log_t)
        wanted = (1 - smoothing) * scaled[rows, labels] + smoothing * scaled.mean(1)
        return float(np.average(-energy(scaled) - wanted, weights=weights))

    low, high, ratio = np.log(0.05), np.log(20.0), (np.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if loss(left) < loss(right) else (left, high)
    return float(np.exp((low + high) / 2))


def interval(correct: float, count: float, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % confidence interval of a proportion (Wilson 1927), 0 to 1.

    >>> tuple(round(v, 3) for v in interval(900, 1000))
    (0.88, 0.917)
    """
    p, zz = correct / count, z * z / count
    centre, half = (p + zz / 2) / (1 + zz), z * (p * (1 - p) / count + zz / (4 * count)) ** 0.5 / (1 + zz)
    return max(0.0, centre - half), min(1.0, centre + half)


def accuracy_of(correct: int, count: int) -> dict[str, Any]:
    """Return `accuracy`, `correct`, `count` and `interval`, ready for JSON; None if nothing was counted."""
    accuracy, around = (correct / count, list(interval(correct, count))) if count else (None, None)
    return {"accuracy": accuracy, "correct": correct, "count": count, "interval": around}


def mcnemar(won: int, lost: int) -> float:
    """Return the exact two-sided p of McNemar's test (1947) for `won` and `lost` discordant pairs; 1 without any.

    >>> mcnemar(0, 0), round(mcnemar(1, 9), 3)
    (1.0, 0.021)
    """
    from scipy.stats import binomtest  # takes half a second to import and is rarely needed

    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def calibration_error(probabilities: np.ndarray, labels: np.ndarray, weights: np.ndarray, bins: int = 15) -> float:
    """Return the expected calibration error (Naeini et al. 2015) of probabilities [M, K] with sample weights [M]."""
    sure, right = probabilities.max(1), probabilities.argmax(1) == labels
    at = np.minimum((sure * bins).astype(int), bins - 1)
    share = weights / weights.sum()
    return float(sum(abs((share * (sure - right))[at == b].sum()) for b in range(bins)))
