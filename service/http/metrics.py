"""Prometheus metrics, with a registry of its own for each app."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily


@dataclass(frozen=True, slots=True)
class Tick:
    """Sizes, times and counts of one tick of the scheduler."""

    batch: int
    steps: int  # steps of each job
    step_s: float  # seconds that all steps took together
    queue_s: list[float]
    synops: int
    spikes: int


SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
BATCH = (1, 2, 4, 8, 16, 32, 64, 128)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """All metrics of the service."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        counter, gauge = partial(Counter, registry=registry), partial(Gauge, registry=registry)
        seconds = partial(Histogram, registry=registry, buckets=SECONDS)
        by_model = ["model"]
        self.requests = counter("spikesight_requests_total", "HTTP requests", ["route", "status"])
        self.request_s = seconds("spikesight_request_seconds", "request to answer", ["route"])
        self.queue_s = seconds("spikesight_queue_seconds", "input to step", by_model)
        self.step_s = seconds("spikesight_step_seconds", "one step of a batch", by_model)
        self.decode_s = seconds("spikesight_decode_seconds", "bytes to input", by_model)
        self.batch = Histogram("spikesight_batch_size", "streams a step", by_model, registry=registry, buckets=BATCH)
        self.steps = counter("spikesight_steps_total", "steps of streams and requests", by_model)
        self.synops = counter("spikesight_synops_total", "synaptic operations", by_model)
        self.spikes = counter("spikesight_spikes_total", "spikes", by_model)
        self.sessions = gauge("spikesight_sessions", "live streams", by_model)
        self.depth = gauge("spikesight_queue_depth", "requests waiting or running", by_model)
        self.dropped = counter("spikesight_dropped_steps_total", "inputs of streams that were skipped", by_model)
        events = "events of streams, kept or dropped by the filter"
        self.events = counter("spikesight_events_total", events, ["model", "filter"])

    def ticker(self, model: str) -> Callable[[Tick], None]:
        """Return a function that counts ticks of one model; it looks up the metrics' labels only once."""
        batch, step_s, queue_s = (h.labels(model) for h in (self.batch, self.step_s, self.queue_s))
        steps, synops, spikes = (c.labels(model) for c in (self.steps, self.synops, self.spikes))

        def count(tick: Tick) -> None:
            batch.observe(tick.batch)
            step_s.observe(tick.step_s / tick.steps)
            steps.inc(tick.batch * tick.steps)
            synops.inc(tick.synops)
            spikes.inc(tick.spikes)
            for seconds in tick.queue_s:
                queue_s.observe(seconds)

        return count

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


def counts_of(kind: str, counted: Iterable[tuple[str, Any]], texts: dict[str, str], gauges: str = "") -> Iterator[Any]:
    """Yield for Prometheus what objects of a kind count themselves, by their names; those in `gauges` may fall."""
    counted = list(counted)
    for name, text in texts.items():
        family = GaugeMetricFamily if name in gauges else CounterMetricFamily
        made = family(f"spikesight_{kind}_{name}", text, labels=[kind])
        for label, one in counted:
            made.add_metric([label], getattr(one, f"n_{name}"))
        yield made
