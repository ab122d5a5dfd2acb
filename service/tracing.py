"""OpenTelemetry traces (extra ``otel``), configured by its own ``OTEL_`` variables.

A request has a span, and in it each answer of an engine one with OpenInference's attributes of a reranker.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Receive, Scope, Send

from secateur.models.errors import MissingExtraError
from secateur.models.types import PruneRequest, PruneResult
from secateur.service.exchange import Exchange, exchange_of
from secateur.service.middleware import HTTPMiddleware
from secateur.service.middleware.recording import PROBES, route_of

_DOCUMENTS = 20  # with score or text in a span: spans have at most 128 attributes, and the best come first
_STAGES = ("tokenize", "queue", "inference")
_TIMEOUT_S = 5  # of the collector


class Tracer:
    """Creates spans, with the text of queries and passages if ``with_text``, and sends them to a collector."""

    def __init__(self, endpoint: str, with_text: bool) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError as error:
            raise MissingExtraError("opentelemetry-sdk", "otel") from error
        name = os.environ.get("OTEL_SERVICE_NAME", "secateur")
        resource = Resource.create({"service.name": name, "service.version": version("secateur")})
        if urlsplit(endpoint).path in ("", "/"):
            endpoint = endpoint.rstrip("/") + "/v1/traces"  # OTLP's default
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint, timeout=_TIMEOUT_S)))
        self.tracer = self._provider.get_tracer("secateur", version("secateur"))
        self._with_text = with_text

    def __call__(self, exchange: Exchange, model: str, request: PruneRequest, result: PruneResult) -> None:
        """Record the spans of an answer that has just been given: the tracer is an observer."""
        from opentelemetry.trace import set_span_in_context

        end = time.time_ns()
        start = end - int(result.timings.total_ms * 1e6)
        attributes = dict(_attributes(model, request, result, self._with_text))
        span = self.tracer.start_span("prune", attributes=attributes, start_time=start)
        at = start
        for stage in _STAGES:
            child = self.tracer.start_span(stage, context=set_span_in_context(span), start_time=at)
            at += int(getattr(result.timings, f"{stage}_ms") * 1e6)
            child.end(at)
        span.end(end)

    async def close(self) -> None:
        """Send the remaining spans."""
        await asyncio.to_thread(self._provider.shutdown)


def _attributes(model: str, request: PruneRequest, result: PruneResult, with_text: bool) -> Iterator[tuple[str, Any]]:
    yield "openinference.span.kind", "RERANKER"
    yield "reranker.model_name", model
    yield "reranker.top_k", request.options.top_n or len(request.passages)
    yield "secateur.passages", len(request.passages)
    yield "secateur.input_tokens", result.usage.input_tokens
    yield "secateur.output_tokens", result.usage.output_tokens
    if with_text:
        yield "reranker.query", request.query
        for number, passage in enumerate(request.passages[:_DOCUMENTS]):
            yield f"reranker.input_documents.{number}.document.content", passage.text
    for number, item in enumerate(result.results[:_DOCUMENTS]):
        yield f"reranker.output_documents.{number}.document.score", item.score
        if with_text:
            yield f"reranker.output_documents.{number}.document.content", item.text


class TracingMiddleware(HTTPMiddleware):
    """Creates a span for every request except probes, within the trace of its headers."""

    def __init__(self, app: ASGIApp, tracer: Tracer) -> None:
        super().__init__(app)
        self._tracer = tracer.tracer

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on within a span."""
        if scope["path"] in PROBES:
            await self.app(scope, receive, send)
            return
        from opentelemetry.trace import SpanKind, StatusCode, use_span
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        exchange = exchange_of(scope)
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        span = self._tracer.start_span(
            scope["method"],
            context=TraceContextTextMapPropagator().extract(carrier),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": scope["method"], "url.scheme": scope["scheme"]},
        )
        # An exception's message may quote a text, so it is only logged.
        with use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                await self.app(scope, receive, send)
            except Exception:
                span.set_status(StatusCode.ERROR)
                raise
            finally:
                span.update_name(f"{scope['method']} {route_of(scope)}")
                span.set_attribute("http.route", route_of(scope))
                span.set_attribute("secateur.request_id", exchange.id)
                if exchange.status is not None:
                    span.set_attribute("http.response.status_code", exchange.status)
                    if exchange.status >= 500:
                        span.set_status(StatusCode.ERROR)
