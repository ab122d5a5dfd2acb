from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmarks.http import HEADER, HttpOptions, _start, measure_http
from benchmarks.infinity import infinity_server
from benchmarks.server import Connection, Server, running, secateur_server
from benchmarks.workload import BenchRequest
from secateur.models.errors import InputError, SecateurError

REQUEST = BenchRequest("When was the tower completed?", ("It was completed in 1889.", "Cats sleep."))

# Speaks the part of infinity-emb's command line and REST API that the benchmark uses.
FAKE = """
import json, sys

if sys.argv[1] == "-c":
    print("infinity-emb 0.0.0")
    sys.exit()

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

assert sys.argv[1:4] == ["-m", "infinity_emb.cli", "v2"], sys.argv
options = dict(zip(sys.argv[4::2], sys.argv[5::2]))
config = json.loads((Path(options["--model-id"]) / "config.json").read_text())
assert config["architectures"] == ["BertForSequenceClassification"]
assert options["--engine"] == "torch"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = self.path == "/rerank" and body["model"] == options["--served-model-name"] and body["query"]
        results = [{"index": i, "relevance_score": 0.5} for i in range(len(body["documents"]))]
        answer = json.dumps({"object": "rerank", "results": results}).encode()
        self.send_response(200 if known else 404)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


ThreadingHTTPServer((options["--host"], int(options["--port"])), Handler).serve_forever()
"""


def script(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    # Called as a Python is: its arguments begin with -m.
    launcher = path.with_suffix("")
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{path}" "$@"\n', encoding="utf-8")
    launcher.chmod(0o755)
    return launcher


@pytest.mark.slow
def test_our_service_alone(bench_data: Path) -> None:
    no_infinity = Path(sys.executable)
    options = HttpOptions(clients=(2, 1), passages=3, requests=2, rounds=1, infinity_python=no_infinity)
    table = measure_http(bench_data, options)
    assert [row[:3] for row in table.rows] == [
        [name, n, "prunes and ranks"] for name, n in (("Secateur", "1"), ("Secateur", "2"))
    ]
    assert {len(row) for row in table.rows} == {len(HEADER)}
    assert all(row[HEADER.index("peak memory")].endswith(" MB") for row in table.rows)
    assert "is not the Python of an environment with infinity-emb (" in table.note
    assert "pip install 'infinity-emb" in table.note
    assert "4 requests of 1 clients and 8 requests of 2 clients" in table.note


@pytest.mark.slow
def test_infinity_beside_our_service(bench_data: Path, tmp_path: Path) -> None:
    python = script(tmp_path / "fake.py", FAKE)
    table = measure_http(
        bench_data, HttpOptions(clients=(2,), passages=2, requests=2, rounds=2, infinity_python=python)
    )
    assert [row[0] for row in table.rows] == ["Secateur", "infinity-emb"], table.note
    assert "(infinity-emb 0.0.0)" in table.note
    ours, infinity = table.rows
    assert (ours[2], infinity[2]) == ("prunes and ranks", "ranks")
    assert ours[HEADER.index("its time / ours")] == "1"
    low, high = infinity[HEADER.index("range")].split(" to ")
    assert float(low) <= float(infinity[HEADER.index("its time / ours")]) <= float(high)


def test_without_an_environment_the_note_says_how_to_make_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.http.running", lambda server, first: nullcontext())
    with ExitStack() as stack:
        _, said = _start(stack, HttpOptions(), REQUEST)
    assert "infinity-emb was not measured; to measure it: python -m venv" in said


@pytest.fixture
def refusing() -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_error(429, "queue full")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def test_an_error_answer_is_no_measurement(refusing: int) -> None:
    with pytest.raises(SecateurError, match="POST /v1/prune was answered with 429: "):
        Connection(refusing, "/v1/prune").post(b"{}")


def test_a_server_that_ends_says_why() -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no model')"]
    server = Server("Nobody", "ranks", lambda port: command, "/", lambda request: {})
    message = "Nobody ended with code 1 before it answered: no model"
    with pytest.raises(SecateurError, match=message), running(server, REQUEST):
        pass


def test_a_server_that_cannot_be_started() -> None:
    server = Server("Nobody", "ranks", lambda port: ["/no/such/program", str(port)], "/", lambda request: {})
    with pytest.raises(SecateurError, match="Nobody cannot be started"), running(server, REQUEST):
        pass


def test_bodies_hold_the_request() -> None:
    ours = secateur_server().body(REQUEST)
    assert (ours["query"], ours["passages"]) == (REQUEST.query, list(REQUEST.passages))
    body = json.loads(json.dumps(infinity_server(Path("p"), Path("m")).body(REQUEST)))
    assert (body["query"], body["documents"]) == (REQUEST.query, list(REQUEST.passages))


@pytest.mark.parametrize("options", [{"clients": ()}, {"clients": (0,)}, {"rounds": 0}, {"requests": 0}])
def test_senseless_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        HttpOptions(**options)  # type: ignore[arg-type]


def test_every_client_of_a_block_makes_as_many_requests() -> None:
    assert HttpOptions(requests=20).block(1) == 20
    assert HttpOptions(requests=20).block(16) == 64
    assert HttpOptions(requests=20).block(3) == 21
