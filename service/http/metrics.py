"""Prometheus metrics, one registry an app."""

from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest


@dataclass(frozen=True, slots=True)
class Tick:
    """What one tick did."""

    batch: int
    steps: int  # of each job, one after the other
    step_s: float  # of all of them
    queue_s: list[float]
    synops: int
    spikes: int


SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
BATCH = (1, 2, 4, 8, 16, 32, 64, 128)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """What the service counts about itself."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter("spikesight_requests_total", "HTTP requests", ["route", "status"], registry=registry)
        self.request_s = Histogram(
            "spikesight_request_seconds", "request to answer", ["route"], registry=registry, buckets=SECONDS
        )
        self.queue_s = Histogram(
            "spikesight_queue_seconds", "input to step", ["model"], registry=registry, buckets=SECONDS
        )
        self.step_s = Histogram(
            "spikesight_step_seconds", "one step of a batch", ["model"], registry=registry, buckets=SECONDS
        )
        self.decode_s = Histogram(
            "spikesight_decode_seconds", "bytes to input", ["model"], registry=registry, buckets=SECONDS
        )
        self.batch = Histogram("spikesight_batch_size", "streams a step", ["model"], registry=registry, buckets=BATCH)
        self.steps = Counter("spikesight_steps_total", "steps of streams and requests", ["model"], registry=registry)
        self.synops = Counter("spikesight_synops_total", "synaptic operations", ["model"], registry=registry)
        self.spikes = Counter("spikesight_spikes_total", "spikes", ["model"], registry=registry)
        self.sessions = Gauge("spikesight_sessions", "live streams", ["model"], registry=registry)
        self.depth = Gauge("spikesight_queue_depth", "requests waiting or running", ["model"], registry=registry)
        self.dropped = Counter(
            "spikesight_dropped_steps_total", "inputs of streams that were skipped", ["model"], registry=registry
        )
        self.events = Counter(
            "spikesight_events_total", "events of streams, kept or dropped by the filter", ["model", "filter"],
            registry=registry,
        )  # fmt: skip
        self.refused = Counter("spikesight_refused_total", "requests refused", ["reason"], registry=registry)

    def ticker(self, model: str) -> Callable[[Tick], None]:
        """Counts one model's ticks; its labels are looked up once."""
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
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class ProxyMetrics:
    """What the proxy counts about itself; the replicas count the rest."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "spikesight_front_requests_total", "HTTP requests", ["route", "status"], registry=registry
        )
        self.request_s = Histogram(
            "spikesight_front_request_seconds", "request to answer", ["route"], registry=registry, buckets=SECONDS
        )
        self.replicas = Gauge("spikesight_front_replicas", "replicas that answer", registry=registry)
        self.missing = Gauge(
            "spikesight_front_replicas_missing",
            "replicas that are not in these sums: they did not answer",
            registry=registry,
        )
        self.retried = Counter(
            "spikesight_front_retried_total", "requests given to a further replica", registry=registry
        )
        self.moved = Counter("spikesight_front_moved_total", "streams moved to another replica", registry=registry)
