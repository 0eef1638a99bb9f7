"""Counts of one model in the shape of the Open Inference Protocol's statistics extension."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Timer:
    """How often, and nanoseconds in all."""

    count: int = 0
    ns: int = 0

    def add(self, seconds: float) -> None:
        """One more."""
        self.count += 1
        self.ns += int(seconds * 1e9)

    def body(self) -> dict[str, int]:
        """As the protocol writes it."""
        return {"count": self.count, "ns": self.ns}


def timers() -> dict[str, Timer]:
    """One for each phase of a request."""
    names = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")
    return {name: Timer() for name in names}


@dataclass
class Statistics:
    """What perf_analyzer reads: the counts of queue and compute equal that of success."""

    _timers: dict[str, Timer] = field(default_factory=timers)
    _inferences: int = 0
    _executions: int = 0
    _last_ms: int = 0
    _last_tick: int = -1
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def success(
        self, samples: int, *, ticks: set[int], queue_s: float, input_s: float, infer_s: float, output_s: float
    ) -> None:
        """A request was answered; `ticks` are the steps that finished its samples: each is one execution."""
        with self._lock:
            self._executions += len(ticks - {self._last_tick})
            self._last_tick = max(ticks)
            self._inferences += samples
            self._last_ms = int(time.time() * 1e3)
            self._timers["success"].add(queue_s + input_s + infer_s + output_s)
            self._timers["queue"].add(queue_s)
            self._timers["compute_input"].add(input_s)
            self._timers["compute_infer"].add(infer_s)
            self._timers["compute_output"].add(output_s)

    def fail(self, seconds: float) -> None:
        """A request failed."""
        with self._lock:
            self._timers["fail"].add(seconds)

    def body(self, name: str) -> dict[str, Any]:
        """One entry of `model_stats`."""
        with self._lock:
            return {
                "name": name,
                "version": "1",
                "last_inference": self._last_ms,
                "inference_count": self._inferences,
                "execution_count": self._executions,
                "inference_stats": {key: timer.body() for key, timer in self._timers.items()},
                "batch_stats": [],
            }
