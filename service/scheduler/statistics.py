"""Request counts and times of one model, as in the statistics extension of the Open Inference Protocol."""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikesight.service.scheduler.request import Result

PHASES = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")


class Statistics:
    """Statistics as perf_analyzer reads them: queue and compute are counted only for requests that succeed."""

    def __init__(self) -> None:
        self._counts, self._ns = Counter[str](), Counter[str]()  # requests and nanoseconds, by phase
        self._inferences = self._executions = self._last_ms = 0
        self._last_tick = -1
        self._lock = threading.Lock()

    def success(self, results: "Sequence[Result]", begin: float, decoded: float) -> None:
        """Count an answered request, with one result per sample; `begin` and `decoded` are on time.perf_counter().

        Samples run side by side, so the times of the slowest count; the ticks that finished them count as executions.
        """
        slowest = max(results, key=lambda result: result.queue_ms + result.infer_ms)
        queue_s, infer_s = slowest.queue_ms / 1e3, slowest.infer_ms / 1e3
        rest = max(0.0, time.perf_counter() - decoded - queue_s - infer_s)
        phases = {"queue": queue_s, "compute_input": decoded - begin, "compute_infer": infer_s, "compute_output": rest}
        ticks = {result.tick for result in results}
        with self._lock:
            self._executions += len(ticks - {self._last_tick})
            self._last_tick = max(ticks)
            self._inferences += len(results)
            self._last_ms = int(time.time() * 1e3)
            self._add(success=sum(phases.values()), **phases)

    def fail(self, seconds: float) -> None:
        """Count a failed request that took `seconds`."""
        with self._lock:
            self._add(fail=seconds)

    def _add(self, **seconds: float) -> None:
        self._counts.update(seconds.keys())
        self._ns.update({phase: int(taken * 1e9) for phase, taken in seconds.items()})

    def body(self, name: str) -> dict[str, Any]:
        """Return the entry of `model_stats` for the model of this name."""
        with self._lock:
            return {
                "name": name,
                "version": "1",
                "last_inference": self._last_ms,
                "inference_count": self._inferences,
                "execution_count": self._executions,
                "inference_stats": {phase: {"count": self._counts[phase], "ns": self._ns[phase]} for phase in PHASES},
                "batch_stats": [],
            }
