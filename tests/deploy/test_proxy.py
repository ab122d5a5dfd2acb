"""The shipped configuration under a real nginx: before two real servers, one of which is killed, and before stubs."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from live_server import PATIENCE, Server, running

from secateur.service.settings import Settings

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
CONFIG = (ROOT / "deploy/nginx/nginx.conf").read_text(encoding="utf-8")
NGINX = shutil.which("nginx") or ("/usr/sbin/nginx" if Path("/usr/sbin/nginx").exists() else None)
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

JSON = {"Content-Type": "application/json"}
GOOD = {
    "query": "When was the Eiffel Tower finished?",
    "passages": ["The Eiffel Tower is a lattice tower in Paris. It was completed in March 1889. Millions visit it."],
}
KEPT = "It was completed in March 1889."


def replaced(text: str, old: str, new: str) -> str:
    assert old in text, f"nginx.conf has no {old!r}"
    return text.replace(old, new)


def adapted(folder: Path, port: int, replicas: list[int]) -> str:
    """Return the shipped configuration with the addresses and the folder of a test.

    The name of the replicas becomes their addresses, and loses `resolve`, which a name has.
    """
    servers = " ".join(f"server 127.0.0.1:{replica} max_fails=0;" for replica in replicas)
    text = replaced(CONFIG, " /tmp/", f" {folder}/")
    text = replaced(text, "server replica:8080 resolve max_fails=0;", servers)
    text = replaced(text, "listen 8080;", f"listen 127.0.0.1:{port};")
    return replaced(text, "access_log /dev/stdout json;", f"access_log {folder}/access json;")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A running nginx."""

    url: str
    folder: Path

    @property
    def log(self) -> list[dict[str, object]]:
        """The lines of its access log."""
        return [json.loads(line) for line in (self.folder / "access").read_text(encoding="utf-8").splitlines()]


@contextmanager
def proxied(folder: Path, replicas: list[int]) -> Iterator[Proxy]:
    """Run nginx before replicas on these ports."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = folder / "nginx.conf"
    config.write_text(adapted(folder, port, replicas), encoding="utf-8")
    # As one user, as in the container; started by root, nginx would give its workers another.
    command = [str(NGINX), "-e", "stderr", "-c", str(config), "-g", "user root; daemon off;"]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
    with (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(command, stdout=errors, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            assert process.poll() is None, (folder / "errors").read_text()
            try:
                assert httpx.get(f"http://127.0.0.1:{port}/proxy/live", timeout=PATIENCE).text == "live\n"
                break
            except httpx.TransportError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield Proxy(f"http://127.0.0.1:{port}", folder)
    finally:
        process.send_signal(signal.SIGQUIT)
        process.wait(PATIENCE)


@contextmanager
def two_servers(folder: Path) -> Iterator[list[Server]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(running(folder / f"replica-{n}", "--threads", "1", "--trusted-proxies", "127.0.0.1"))
            for n in (0, 1)
        ]


def port_of(server: Server) -> int:
    return int(server.url.rpartition(":")[2])


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    with two_servers(tmp_path_factory.mktemp("servers")) as found:
        yield found


@pytest.fixture(scope="module")
def proxy(servers: list[Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with proxied(tmp_path_factory.mktemp("proxy"), [port_of(server) for server in servers]) as found:
        yield found


@needs_nginx
def test_a_replica_that_is_killed_under_load_fails_no_request(tmp_path: Path) -> None:
    """Requests without an answer go to the other one.

    An answer whose head was passed on cannot: the client asks again. A replica writes head and body of one answer after
    the other, so a kill cuts one at most.
    """
    workers, each = 8, 24
    answered = threading.Semaphore(0)
    killed = threading.Event()
    cut: list[tuple[bool, str]] = []
    with two_servers(tmp_path) as (doomed, other), proxied(tmp_path, [port_of(doomed), port_of(other)]) as proxy:

        def ask(worker: int) -> list[tuple[int, str]]:
            found = []
            with httpx.Client(base_url=proxy.url, timeout=PATIENCE) as client:
                for number in range(each):
                    body = GOOD | {"passages": [f"{GOOD['passages'][0]} This is number {worker * each + number}."] * 4}
                    try:
                        response = client.post("/v1/prune", json=body)
                    except httpx.RemoteProtocolError as error:
                        cut.append((killed.is_set(), str(error)))
                        response = client.post("/v1/prune", json=body)
                    found.append((response.status_code, response.text))
                    answered.release()
            return found

        with ThreadPoolExecutor(workers) as pool:
            asked = [pool.submit(ask, worker) for worker in range(workers)]
            for _ in range(workers * each // 4):
                assert answered.acquire(timeout=PATIENCE)
            killed.set()
            doomed.process.send_signal(signal.SIGKILL)
            answers = [answer for worker in asked for answer in worker.result(PATIENCE)]
        assert doomed.process.wait(PATIENCE) == -signal.SIGKILL
        failed = [answer for answer in answers if answer[0] != 200]
        assert (len(answers), failed) == (workers * each, [])
        assert len(cut) <= 1, cut
        assert all(after and "without sending complete message body" in error for after, error in cut), cut
        assert all(KEPT in json.loads(text)["results"][0]["text"] for _, text in answers)
        pruned = [line for line in proxy.log if line["path"] == "/v1/prune"]
    repeated = [line for line in pruned if "," in str(line["replicas"])]
    assert repeated, "no request had to be sent again"
    alone = {str(line["replicas"]) for line in pruned} - {str(line["replicas"]) for line in repeated}
    assert len(alone) == 2, "only one of the two had worked"


@needs_nginx
def test_the_largest_body_comes_through_unchanged_both_ways(proxy: Proxy) -> None:
    limit = Settings().max_body_bytes
    passage = {"text": GOOD["passages"][0], "metadata": {"blob": ""}}
    head = json.dumps(GOOD | {"passages": [passage]}, ensure_ascii=False).encode()
    blob = "naïve – 長い文 " * ((limit - len(head)) // len("naïve – 長い文 ".encode()))
    blob += "x" * (limit - len(head) - len(blob.encode()))
    passage["metadata"] = {"blob": blob}
    body = json.dumps(GOOD | {"passages": [passage]}, ensure_ascii=False).encode()
    assert len(body) == limit
    response = httpx.post(f"{proxy.url}/v1/prune", content=body, headers=JSON, timeout=PATIENCE)
    assert response.status_code == 200, response.text[:500]
    (result,) = response.json()["results"]
    assert result["metadata"] == {"blob": blob}

    refused = httpx.post(f"{proxy.url}/v1/prune", content=body + b" ", headers=JSON, timeout=PATIENCE)
    assert refused.status_code == 413
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["request_id"] == refused.headers["x-request-id"]


BAD = {
    "not JSON": ("POST", "/v1/prune", b'{"query": ', {}),
    "wrong fields": ("POST", "/v1/prune", b'{"query": 3, "passages": [{"text": "\\u00e9"}, 7], "threshold": 2}', {}),
    "unknown model": ("POST", "/v1/prune", json.dumps(GOOD | {"model": "nope"}).encode(), {}),
    "a form": ("POST", "/v1/prune", b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}),
    "compressed": ("POST", "/v1/prune", b"x", {"Content-Encoding": "gzip"}),
    "a dialect": ("POST", "/v2/rerank", b"{}", {}),
    "unknown path": ("GET", "/nope", None, {}),
    "wrong method": ("GET", "/v1/prune", None, {}),
    "a timeout that cannot be": ("POST", "/v1/prune", json.dumps(GOOD).encode(), {"X-Request-Timeout-Ms": "soon"}),
}


@needs_nginx
@pytest.mark.parametrize("case", BAD)
def test_an_error_comes_through_unchanged(proxy: Proxy, servers: list[Server], case: str) -> None:
    method, path, content, headers = BAD[case]
    direct, through = (
        httpx.request(method, base + path, content=content, headers=headers | {"X-Request-Id": "a-1"}, timeout=PATIENCE)
        for base in (servers[0].url, proxy.url)
    )
    assert 400 <= direct.status_code < 500
    assert (through.status_code, through.content) == (direct.status_code, direct.content)
    kept = direct.headers.keys() - {"date", "server", "connection", "keep-alive", "transfer-encoding"}
    assert {name: through.headers.get(name) for name in kept} == {name: direct.headers[name] for name in kept}


@needs_nginx
def test_a_batch_comes_through(proxy: Proxy) -> None:
    lines = [json.dumps(GOOD), "{", *[json.dumps(GOOD)] * 3]
    content = "\n".join(lines).encode()
    url = f"{proxy.url}/v1/prune/batch"
    headers = {"Content-Type": "application/x-ndjson"}
    response = httpx.post(url, content=content, headers=headers, timeout=PATIENCE)
    answers = [json.loads(line) for line in response.text.splitlines()]
    assert [answer["line"] for answer in answers] == [1, 2, 3, 4, 5]
    assert ["error" in answer for answer in answers] == [False, True, False, False, False]


@needs_nginx
@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/v1/prune", "max_body_bytes"),
        ("/v1/rerank", "max_body_bytes"),
        ("/v1/prune/batch", "max_batch_bytes"),
        ("/v1/prune/batch/", "max_batch_bytes"),
    ],
)
def test_a_body_is_refused_by_the_length_that_it_states(proxy: Proxy, path: str, limit: str) -> None:
    length = getattr(Settings(), limit) + 1
    host, port = proxy.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=PATIENCE) as raw:
        raw.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
        answer = raw.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"application/problem+json" in answer


@needs_nginx
def test_the_service_learns_who_asks_and_by_which_id(proxy: Proxy, servers: list[Server]) -> None:
    with httpx.Client(transport=httpx.HTTPTransport(local_address="127.0.0.7"), timeout=PATIENCE) as client:
        headers = {"X-Request-Id": "who-asks", "X-Forwarded-For": "203.0.113.9"}
        response = client.post(f"{proxy.url}/v1/prune", json=GOOD, headers=headers)
    assert response.headers["x-request-id"] == "who-asks"
    lines: list[str] = []
    deadline = time.monotonic() + PATIENCE
    while not lines:  # one is written once the answer is sent
        assert time.monotonic() < deadline
        lines = [line for server in servers for line in server.log.read_text().splitlines() if "who-asks" in line]
    assert [json.loads(line)["caller"] for line in lines] == ["127.0.0.7"]


@needs_nginx
def test_metrics_are_not_shown(proxy: Proxy) -> None:
    for path in ("/metrics", "/metrics/", "/metrics//", "//metrics/", "/./metrics", "/%6detrics/"):
        response = httpx.get(f"{proxy.url}{path}", timeout=PATIENCE)
        assert response.status_code == 404
        assert response.json()["detail"] == "the proxy does not show this path"


@needs_nginx
def test_the_playground_and_readiness_come_through(proxy: Proxy, servers: list[Server]) -> None:
    for path in ("/", "/health/ready", "/openapi.json"):
        direct, through = (httpx.get(base + path, timeout=PATIENCE) for base in (servers[0].url, proxy.url))
        assert (through.status_code, through.content) == (200, direct.content)


@dataclass
class Stub:
    """A replica that always answers the same, and keeps what it was asked."""

    status: int
    content: bytes = b'{"detail": "as it was"}'
    asked: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[int]:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                stub.asked.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(stub.status)
                self.send_header("Content-Type", "application/problem+json")
                self.send_header("Content-Length", str(len(stub.content)))
                self.send_header("Retry-After", "7")
                self.end_headers()
                self.wfile.write(stub.content)

            def log_message(self, *_: object) -> None:
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
            thread.start()
            try:
                yield server.server_address[1]
            finally:
                server.shutdown()
                thread.join()


@needs_nginx
@pytest.mark.parametrize("status", [429, 502, 503])
def test_what_one_replica_refuses_another_does_by_the_same_id(tmp_path: Path, status: int) -> None:
    refusing, willing = Stub(status), Stub(200, b"done")
    body = b"a body" * 100_000
    with refusing.running() as one, willing.running() as two, proxied(tmp_path, [one, two]) as proxy:
        for number in range(4):
            headers = {"X-Request-Id": f"id-{number}"} if number else {}
            response = httpx.post(f"{proxy.url}/v1/prune", content=body, headers=headers, timeout=PATIENCE)
            assert (response.status_code, response.content) == (200, b"done")
    assert [received for _, received in willing.asked] == [body] * 4
    assert refusing.asked, "the first is asked, too"
    ids = [headers["x-request-id"] for headers, _ in willing.asked]
    assert re.fullmatch("[0-9a-f]{32}", ids[0])
    assert ids[1:] == ["id-1", "id-2", "id-3"]
    assert {headers["x-request-id"] for headers, _ in refusing.asked} <= set(ids)


@needs_nginx
@pytest.mark.parametrize("status", [429, 503])
def test_what_all_replicas_refuse_comes_through_unchanged(tmp_path: Path, status: int) -> None:
    stubs = Stub(status), Stub(status)
    with stubs[0].running() as one, stubs[1].running() as two, proxied(tmp_path, [one, two]) as proxy:
        for _ in range(10):  # and no replica is put aside for it
            response = httpx.post(f"{proxy.url}/v1/prune", json=GOOD, timeout=PATIENCE)
            assert (response.status_code, response.content) == (status, stubs[0].content)
            assert response.headers["retry-after"] == "7"
            assert response.headers["content-type"] == "application/problem+json"
    assert [len(stub.asked) for stub in stubs] == [10, 10]


@needs_nginx
@pytest.mark.parametrize("status", [200, 500, 504])
def test_what_is_no_refusal_is_not_repeated(tmp_path: Path, status: int) -> None:
    stubs = Stub(status), Stub(status)
    with stubs[0].running() as one, stubs[1].running() as two, proxied(tmp_path, [one, two]) as proxy:
        response = httpx.post(f"{proxy.url}/v1/prune", json=GOOD, timeout=PATIENCE)
    assert (response.status_code, response.content) == (status, stubs[0].content)
    assert sum(len(stub.asked) for stub in stubs) == 1


@needs_nginx
def test_without_any_replica_it_is_a_problem(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        gone = [one.getsockname()[1], two.getsockname()[1]]
    with proxied(tmp_path, gone) as proxy:
        response = httpx.post(f"{proxy.url}/v1/prune", json=GOOD, headers={"X-Request-Id": 'a"b'}, timeout=PATIENCE)
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "1"
    assert response.json()["detail"] == "no replica can be reached"
    assert re.fullmatch("[0-9a-f]{32}", response.json()["request_id"])  # what the client sent is no id


def directive(name: str) -> list[str]:
    return re.findall(rf"^\s*{name} ([^;]+);", CONFIG, re.MULTILINE)


def test_its_limits_are_those_of_the_service() -> None:
    settings = Settings()
    assert directive("client_max_body_size") == [str(settings.max_body_bytes), str(settings.max_batch_bytes)]
    (patience,) = directive("proxy_read_timeout")
    assert int(patience.removesuffix("s")) > settings.max_timeout_ms / 1000
