"""What Prometheus is told, under ``secateur_``."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from secateur.models.types import PruneResult

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_TOKENS = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
_SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Metrics:
    """The service's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "secateur_requests", "Requests answered, by route and status", ["route", "status"], registry=registry
        )
        self._failures = Counter("secateur_failures", "Requests not answered, by kind", ["kind"], registry=registry)
        self._durations = Histogram(
            "secateur_duration_seconds",
            "Seconds of each stage of a request",
            ["model", "stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._batch_tokens = Histogram(
            "secateur_batch_tokens", "Tokens of a step of the engine", ["model"], buckets=_TOKENS, registry=registry
        )
        self._batch_fill = Histogram(
            "secateur_batch_fill", "Share of a step's room that was used", ["model"], buckets=_SHARES, registry=registry
        )
        self._batch_requests = Histogram(
            "secateur_batch_requests",
            "Requests that share a step",
            ["model"],
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self._queue_tokens = Gauge(
            "secateur_queue_tokens", "Tokens of requests on which work has not ended", ["model"], registry=registry
        )
        self._kept = Histogram(
            "secateur_kept_ratio",
            "Share of a request's tokens that is kept",
            ["model"],
            buckets=_SHARES,
            registry=registry,
        )
        self._saved = Counter("secateur_tokens_saved", "Tokens pruned away", ["model"], registry=registry)
        self._cache = Counter(
            "secateur_cache_lookups", "Passages looked up in the cache", ["model", "result"], registry=registry
        )

    def watch(self, model: str, queue_tokens: Callable[[], int]) -> None:
        """Ask for the length of a queue whenever metrics are read."""
        self._queue_tokens.labels(model).set_function(queue_tokens)

    def ran(self, model: str, tokens: int, fill: float, requests: int) -> None:
        """Take note of a step of an engine."""
        self._batch_tokens.labels(model).observe(tokens)
        self._batch_fill.labels(model).observe(fill)
        self._batch_requests.labels(model).observe(requests)

    def looked_up(self, model: str, hits: int, misses: int, invalid: int) -> None:
        """Take note of cache lookups; invalid values are among the misses."""
        self._cache.labels(model, "hit").inc(hits)
        self._cache.labels(model, "miss").inc(misses)
        if invalid:
            self._cache.labels(model, "invalid").inc(invalid)

    def answered(self, model: str, result: PruneResult) -> None:
        """Take note of a result."""
        for stage in ("queue", "tokenize", "inference", "total"):
            self._durations.labels(model, stage).observe(getattr(result.timings, f"{stage}_ms") / 1e3)
        usage = result.usage
        if usage.input_tokens:
            self._kept.labels(model).observe(usage.output_tokens / usage.input_tokens)
            self._saved.labels(model).inc(max(0, usage.input_tokens - usage.output_tokens))

    def responded(self, route: str, status: int) -> None:
        """Take note of an HTTP response."""
        self._requests.labels(route, str(status)).inc()

    def failed(self, kind: str) -> None:
        """Take note of a request that was not answered."""
        self._failures.labels(kind).inc()

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)
