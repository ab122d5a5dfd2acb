"""Traces, as a collector gets them: a real OTLP/HTTP receiver on loopback that reads the protobuf."""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

pytest.importorskip("opentelemetry.sdk")
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

PATIENCE = 300.0
QUERY = "When was it finished?"
PASSAGES = ["It was finished in 1889. Bread needs flour.", "The oven must be hot."]
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Collector:
    """Receives spans over HTTP and keeps them."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resources: list[dict[str, Any]] = []
        self.raw = b""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert self.path == "/v1/traces"
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.raw += body
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    collector.resources.append(attributes(resource.resource))
                    for scope in resource.scope_spans:
                        collector.spans += scope.spans
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def trace(self, id: str, spans: int) -> dict[str, Span]:
        """Return the spans of a trace by their names, once there are so many."""
        deadline = time.monotonic() + PATIENCE
        while len(found := [span for span in self.spans if span.trace_id.hex() == id]) < spans:
            assert time.monotonic() < deadline, [span.name for span in self.spans]
            time.sleep(0.02)
        assert len(found) == spans
        return {span.name: span for span in found}

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def attributes(of: Any) -> dict[str, Any]:
    """Return a span's or a resource's attributes as a dict."""
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in of.attributes}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    collector = Collector()
    yield collector
    collector.close()


def post(server: Any, trace: str = TRACE, **body: Any) -> httpx.Response:
    return httpx.post(
        f"{server.url}/v1/prune",
        json={"query": QUERY, "passages": PASSAGES, **body},
        headers={"traceparent": f"00-{trace}-{PARENT}-01"},
        timeout=PATIENCE,
    )


@pytest.mark.slow
def test_a_request_is_a_trace_with_a_reranker_and_its_stages(start_server: Any, collector: Collector) -> None:
    with start_server("--otlp-endpoint", collector.url) as server:
        response = post(server, top_n=1)
        spans = collector.trace(TRACE, 5)
        probes = [span for span in collector.spans if "health" in span.name]
    assert probes == []
    root, prune = spans["POST /v1/prune"], spans["prune"]
    assert root.parent_span_id.hex() == PARENT
    assert root.kind == Span.SPAN_KIND_SERVER
    assert attributes(root)["http.response.status_code"] == 200
    assert attributes(root)["http.route"] == "/v1/prune"
    assert attributes(root)["secateur.request_id"] == response.headers["x-request-id"]
    assert prune.parent_span_id == root.span_id
    found = attributes(prune)
    assert found["openinference.span.kind"] == "RERANKER"
    assert found["reranker.model_name"] == response.json()["model"]
    assert found["reranker.top_k"] == 1
    assert found["secateur.input_tokens"] == response.json()["usage"]["input_tokens"]
    assert found["reranker.output_documents.0.document.score"] == response.json()["results"][0]["score"]
    timings = response.json()["timings"]
    for stage in ("tokenize", "queue", "inference"):
        assert spans[stage].parent_span_id == prune.span_id
        took = (spans[stage].end_time_unix_nano - spans[stage].start_time_unix_nano) / 1e6
        assert took == pytest.approx(timings[f"{stage}_ms"], abs=0.01)
    assert root.start_time_unix_nano < prune.start_time_unix_nano < prune.end_time_unix_nano < root.end_time_unix_nano
    assert collector.resources[0]["service.name"] == "secateur"
    for text in (QUERY, "1889", "oven"):
        assert text.encode() not in collector.raw


@pytest.mark.slow
def test_text_is_traced_where_that_is_switched_on_and_errors_are_no_reranker(
    start_server: Any, collector: Collector
) -> None:
    with start_server("--otlp-endpoint", f"{collector.url}/v1/traces", "--log-text") as server:
        response = post(server, threshold=0.0)
        found = attributes(collector.trace(TRACE, 5)["prune"])
        assert found["reranker.query"] == QUERY
        assert found["reranker.input_documents.1.document.content"] == PASSAGES[1]
        results = response.json()["results"]
        assert found["reranker.output_documents.1.document.content"] == results[1]["text"]
        other = "ab" * 16
        assert post(server, trace=other, top_n=0).status_code == 422
        (span,) = collector.trace(other, 1).values()
        assert attributes(span)["http.response.status_code"] == 422
        assert span.status.code == Status.STATUS_CODE_UNSET


@pytest.mark.slow
def test_a_batch_has_a_reranker_for_each_line(start_server: Any, collector: Collector) -> None:
    line = json.dumps({"query": QUERY, "passages": PASSAGES})
    with start_server("--otlp-endpoint", collector.url) as server:
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "Content-Type": "application/x-ndjson"}
        httpx.post(f"{server.url}/v1/prune/batch", content=f"{line}\n" * 3, headers=headers, timeout=PATIENCE)
        collector.trace(TRACE, 1 + 3 * 4)
        root = next(span for span in collector.spans if span.name == "POST /v1/prune/batch")
        assert [span.parent_span_id for span in collector.spans if span.name == "prune"] == [root.span_id] * 3


@pytest.mark.slow
def test_a_dead_collector_fails_no_request_and_holds_up_no_end(start_server: Any, collector: Collector) -> None:
    collector.close()
    with start_server("--otlp-endpoint", collector.url) as server:
        assert [post(server).status_code for _ in range(5)] == [200] * 5
        started = time.monotonic()
        server.process.terminate()
        assert server.process.wait(PATIENCE) == 0
        assert time.monotonic() - started < 30
