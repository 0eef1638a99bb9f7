"""Compute the columns of the leaderboard from a method's answers."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from experiments.common.energy import PICOJOULES, spiking_energy
from experiments.common.metering import measure
from spikesight.models.statistics import interval

RAPL = Path("/sys/class/powercap")
INT8_PICOJOULES = 0.23  # of a multiply-accumulate (Horowitz, ISSCC 2014); of n bits by the square of n / 8
METERED, TIMED = 64, 200  # windows to count operations on; calls to time


@dataclass
class Answers:
    """Whether a method, or several models of it with different seeds, classified windows of recordings correctly."""

    split: str  # hash of the training and test data
    parts: list[tuple[NDArray[np.int64], NDArray[np.bool_]]] = field(default_factory=list)  # recordings, right or not

    def add(self, recording: NDArray[np.int64], right: NDArray[np.bool_]) -> None:
        """Add the results of one model: for each window the number of its recording, and whether it is right."""
        self.parts.append((recording, right))

    def figures(self) -> dict[str, Any]:
        """Return `accuracy`, `interval`, `count` of windows, `recordings` and `split`; `by_seed` of several models;
        `wrong`: the number of wrong windows of each recording that has any.
        """
        recording, right = (np.concatenate(parts) for parts in zip(*self.parts))
        by_seed = [float(one.mean()) for _, one in self.parts]
        found: dict[str, Any] = {
            "accuracy": float(right.mean()), "interval": clustered(recording, right, by_seed), "count": len(right),
            "recordings": len(np.unique(recording)), "split": self.split,
        }  # fmt: skip
        if len(by_seed) > 1:
            found["by_seed"] = by_seed
        wrong = np.bincount(recording, ~right)
        return {**found, "wrong": {str(n): int(wrong[n]) for n in np.flatnonzero(wrong)}}


def clustered(recording: NDArray[np.int64], right: NDArray[np.bool_], by_seed: list[float]) -> list[float]:
    """Return Wilson's 95 % interval for the effective number of independent windows: windows of one recording are
    correlated, and models of several seeds differ.

    >>> several = clustered(np.arange(4) // 2, np.array([True, True, False, False]), [0.5])
    >>> [round(side, 2) for side in several] == [round(side, 2) for side in interval(1, 2)]
    True
    """
    count, groups, share = len(right), len(np.unique(recording)), float(right.mean())
    sums = np.bincount(recording, right - share)
    spread = float((sums**2).sum()) / count**2
    if len(by_seed) > 1:
        spread += float(np.var(by_seed, ddof=1)) / len(by_seed)
    independent = min(count, share * (1 - share) / spread) if spread else groups
    return list(interval(share * independent, independent))


def work(network: nn.Module, x_seq: Tensor, still: bool = False, steps: int | None = None) -> dict[str, Any]:
    """Count operations on some windows [T, N, C, H, W]: `macs` and `acs` a window, `bytes` of the weights, and
    `microjoules` of the operations by experiments/common/energy.py.
    """
    report = measure(network, x_seq[:, :METERED], still=still, steps=steps)
    counted = {"macs": report.work.effective_macs, "acs": report.work.effective_acs}
    weights = sum(weight.nbytes for weight in network.parameters())
    return {**counted, "bytes": weights, "microjoules": spiking_energy(report.work).compute}


def dense_work(macs: float, weights: int, bits: int = 32) -> dict[str, Any]:
    """Return the same figures for a dense network, in float32 or with integers of `bits` bits."""
    picojoules = PICOJOULES[0] if bits == 32 else INT8_PICOJOULES * (bits / 8) ** 2
    return {"macs": macs, "acs": 0, "bytes": weights * bits // 8, "microjoules": picojoules * macs * 1e-6}


def p95_ms(call: Callable[[], object]) -> float:
    """Return the 95th percentile of a call's processor time, in milliseconds."""
    spent = []
    for _ in range(TIMED):
        begin = time.process_time()
        call()
        spent.append(time.process_time() - begin)
    return 1e3 * float(np.quantile(spent, 0.95))


class Joules:
    """Energy that the processor's meters (RAPL) report since this object was made."""

    def __init__(self) -> None:
        self._begin = self._read()

    def _read(self) -> dict[Path, int]:
        found = {}
        for meter in RAPL.glob("intel-rapl:*/energy_uj"):
            if meter.parent.name.count(":") == 1:  # a whole package
                with suppress(OSError):  # some machines let only root read them
                    found[meter] = int(meter.read_text())
        return found

    def microjoules(self, windows: int) -> dict[str, float]:
        """Return `measured_microjoules` a window, for all processes of the machine; empty if it has no meters."""
        now = self._read()
        spent = sum(now[meter] - before for meter, before in self._begin.items() if meter in now)
        return {"measured_microjoules": spent / windows} if spent > 0 else {}
