"""Prometheus metrics, all named ``secateur_...``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from secateur.models.types import PruneResult

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_TOKENS = (64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
_SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


class Metrics:
    """The metrics of the service, in their own registry."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()

        def counter(name: str, help: str, *labels: str) -> Counter:
            return Counter(f"secateur_{name}", help, labels, registry=registry)

        def histogram(name: str, help: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(f"secateur_{name}", help, ["model", *labels], buckets=buckets, registry=registry)

        self.requests = counter("requests", "Responses by route and status", "route", "status")
        self.failures = counter("failures", "Failed requests by kind", "kind")
        self._durations = histogram("duration_seconds", "Duration of each stage of a request", _SECONDS, "stage")
        self._step_tokens = histogram("batch_tokens", "Tokens per step of the engine", _TOKENS)
        self._step_fill = histogram("batch_fill", "Used share of a step's token limit", _SHARES)
        self._step_requests = histogram("batch_requests", "Requests per step of the engine", (1, 2, 4, 8, 16, 32, 64))
        self._queue_tokens = Gauge(
            "secateur_queue_tokens", "Tokens of unfinished requests", ["model"], registry=registry
        )
        self._kept = histogram("kept_ratio", "Kept share of the tokens of a request", _SHARES)
        self._saved = counter("tokens_saved", "Dropped tokens", "model")
        self._lookups = counter("cache_lookups", "Passages looked up in the cache, by result", "model", "result")

    def watch_queue(self, model: str, tokens: Callable[[], int]) -> None:
        """Read the length of a queue whenever metrics are read."""
        self._queue_tokens.labels(model).set_function(tokens)

    def record_step(self, model: str, tokens: int, fill: float, requests: int) -> None:
        """Record a step of an engine."""
        self._step_tokens.labels(model).observe(tokens)
        self._step_fill.labels(model).observe(fill)
        self._step_requests.labels(model).observe(requests)

    def record_lookups(self, model: str, hits: int, misses: int, invalid: int) -> None:
        """Record cache lookups; invalid values are also misses."""
        for result, count in (("hit", hits), ("miss", misses), ("invalid", invalid)):
            if count or result != "invalid":
                self._lookups.labels(model, result).inc(count)

    def record_result(self, model: str, result: PruneResult) -> None:
        """Record the timings and the token counts of a result."""
        for stage in ("queue", "tokenize", "inference", "total"):
            self._durations.labels(model, stage).observe(getattr(result.timings, f"{stage}_ms") / 1e3)
        usage = result.usage
        if usage.input_tokens:
            self._kept.labels(model).observe(usage.output_tokens / usage.input_tokens)
            self._saved.labels(model).inc(max(0, usage.input_tokens - usage.output_tokens))

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self._registry)
