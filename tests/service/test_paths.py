"""Every route with and without a slash at its end and by HEAD, and the service under a proxy's prefix."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from secateur.service.middleware.auth import is_open
from secateur.service.middleware.proxies import ProxyMiddleware
from secateur.service.settings import Settings

PATIENCE = 300.0
GOOD = {"query": "When was it finished?", "passages": ["It was finished in 1889. Bread needs flour."]}
RERANK = {"query": "When was it finished?", "documents": ["It was finished in 1889."]}
GETS = [
    "/health", "/health/live", "/health/ready", "/metrics", "/info", "/v1/models", "/v1/models/secateur-nano-en",
    "/openapi.json", "/docs", "/docs/swagger-ui.css", "/", "/playground/app.js",
]  # fmt: skip
POSTS = {
    "/v1/prune": GOOD, "/v1/prune/batch": GOOD, "/v2/rerank": RERANK, "/v1/rerank": RERANK, "/rerank": RERANK,
    "/infinity/rerank": RERANK,
}  # fmt: skip


def test_these_are_all_routes(client: httpx.Client) -> None:
    documented = client.get("/openapi.json").json()["paths"]
    assert set(documented) <= {*GETS, *POSTS, "/v1/models/{name}"}


@pytest.mark.parametrize("path", GETS)
def test_head_has_the_headers_of_get_and_no_body(client: httpx.Client, path: str) -> None:
    got, head = client.get(path), client.head(path)
    assert (got.status_code, head.status_code, head.content) == (200, 200, b"")
    varying = {"date", "x-request-id"} | ({"content-length"} if path == "/metrics" else set())
    assert head.headers.keys() == got.headers.keys()
    kept = got.headers.keys() - varying
    assert {name: head.headers[name] for name in kept} == {name: got.headers[name] for name in kept}


@pytest.mark.parametrize("path", GETS)
@pytest.mark.parametrize("slashes", ["/", "//"])
def test_a_slash_at_the_end_changes_nothing(client: httpx.Client, path: str, slashes: str) -> None:
    response = client.get(path + slashes, follow_redirects=False)
    assert response.status_code == 200
    if path not in ("/", "/docs", "/metrics"):  # the links of pages differ
        assert response.content == client.get(path).content


@pytest.mark.parametrize("path", POSTS)
def test_what_is_posted_is_answered_with_a_slash_too(client: httpx.Client, path: str) -> None:
    response = client.post(f"{path}/", content=json.dumps(POSTS[path]).encode(), headers=JSON_TYPE)
    assert response.status_code == 200, response.text
    assert "1889" in response.text
    wrong = client.post(f"{path}/", content=b"[]", headers=JSON_TYPE)
    assert wrong.status_code == (200 if path.endswith("batch") else 422)
    if "rerank" in path:
        assert wrong.json()["message"] == wrong.json()["detail"]


JSON_TYPE = {"content-type": "application/json"}


def test_a_wrong_method_names_head_beside_get(client: httpx.Client) -> None:
    assert client.post("/info").headers["allow"] == "GET, HEAD"
    head = client.head("/v1/prune")
    assert (head.status_code, head.headers["allow"], head.content) == (405, "POST", b"")


def test_health_says_what_readiness_says(client: httpx.Client) -> None:
    assert client.get("/health").json() == client.get("/health/ready").json()


def test_a_model_is_described_as_it_is_listed(client: httpx.Client) -> None:
    (listed,) = client.get("/v1/models").json()["data"]
    assert client.get(f"/v1/models/{listed['id']}").json() == listed
    for name in ("nope", "an/other", "x" * 10_000):
        unknown = client.get(f"/v1/models/{name}")
        assert unknown.status_code == 404
        assert unknown.headers["content-type"] == "application/problem+json"
        assert len(unknown.json()["detail"]) <= 1000
    assert client.get("/v1/models/no%0d%0a").status_code == 404


def test_metrics_have_the_templates_of_paths(client: httpx.Client) -> None:
    for number in range(3):
        client.get(f"/v1/models/nope-{number}/")
        client.head(f"/nope-{number}/")
    text = client.get("/metrics").text
    assert 'route="/v1/models/{name:path}",status="404"' in text
    assert "nope-" not in text


def test_head_is_logged_as_such_and_probes_are_not(client: httpx.Client, server: Any) -> None:
    for path in ("/info", "/health/", "/metrics/"):
        client.head(path, headers={"x-request-id": "by-head"})
    client.get("/info", headers={"x-request-id": "last-of-these"})
    while "last-of-these" not in (log := server.log.read_text()):
        pass
    lines = [json.loads(line) for line in log.splitlines() if "by-head" in line]
    assert [(line["method"], line["route"]) for line in lines] == [("HEAD", "/info")]


@pytest.fixture(scope="module")
def guarded(start_server: Any) -> Iterator[Any]:
    """A server with a key, under a prefix."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SECATEUR_API_KEYS", "secret")
        with start_server("--root-path", "/tools/prune/") as server:
            yield server


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "/tools/prune"])
def test_the_prefix_may_be_taken_off_by_the_proxy_or_left(guarded: Any, prefix: str) -> None:
    url = guarded.url + prefix
    for path in ("/health", "/health/live/", "/docs", "/docs/start.js"):
        assert httpx.get(url + path, timeout=PATIENCE).status_code == 200
    assert httpx.get(f"{url}/openapi.json", timeout=PATIENCE).json()["servers"] == [{"url": "/tools/prune"}]
    for path in ("/v1/prune", "/v1/prune/", "/v1/prune//", "/v1/prune/batch/", "/health/../v1/prune"):
        assert httpx.post(url + path, json=GOOD, timeout=PATIENCE).status_code == 401
    headers = {"Authorization": "Bearer secret"}
    assert httpx.post(f"{url}/v1/prune", json=GOOD, headers=headers, timeout=PATIENCE).status_code == 200


def test_no_prefix_opens_what_needs_a_key(guarded: Any) -> None:
    """A prefix that a client invents, and one that is taken off twice, must not make a path look like an open one."""
    for path in ("/tools/prune/tools/prune/health", "/tools/prunehealth", "/health/tools/prune/v1/prune"):
        assert httpx.post(guarded.url + path, json=GOOD, timeout=PATIENCE).status_code in (401, 404)
    for prefix in ("/health", "/docs", "/v1", "/health/../v1"):
        for path in ("/v1/prune", f"{prefix}/v1/prune", f"{prefix}{prefix}/v1/prune"):
            headers = {"X-Forwarded-Prefix": prefix}
            response = httpx.post(guarded.url + path, json=GOOD, headers=headers, timeout=PATIENCE)
            assert response.status_code in (401, 404, 405), (prefix, path)


@pytest.mark.slow
def test_a_forwarded_prefix_is_shown(start_server: Any) -> None:
    with start_server("--trusted-proxies", "127.0.0.1") as server:

        def servers(prefix: str) -> Any:
            headers = {"X-Forwarded-Prefix": prefix, "X-Forwarded-For": "192.0.2.1"}
            return httpx.get(f"{server.url}/openapi.json", headers=headers, timeout=PATIENCE).json().get("servers")

        assert servers("/a/b-c/") == [{"url": "/a/b-c"}]
        for wrong in ("https://evil.example", "//evil.example", "/a/../b", "/a?b", "/<b>", "/a" * 200, "a", "/"):
            assert servers(wrong) is None


def run(path: str, settings: Settings, *, root_path: str = "", client: str = "192.0.2.1", prefix: str = "") -> Any:
    """Return what an application behind `Paths` sees."""
    seen: dict[str, Any] = {}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.update(path=scope["path"], **scope["state"], url=Request(scope).url.path)
        await PlainTextResponse("x")(scope, receive, send)

    async def ignore(*_: Any) -> Any:
        return {}

    headers = [(b"x-forwarded-prefix", prefix.encode())] if prefix else []
    scope = {"type": "http", "method": "GET", "path": path, "root_path": root_path, "query_string": b""}
    scope |= {"headers": headers, "client": (client, 1), "server": ("localhost", 80), "scheme": "http"}
    asyncio.run(ProxyMiddleware(app, settings)(scope, ignore, ignore))
    return seen


@pytest.mark.parametrize(
    ("path", "root_path", "expected"),
    [
        ("/", "", ("/", "")),
        ("/docs", "", ("/docs", "")),
        ("/docs/", "", ("/docs", "../")),
        ("/docs//", "", ("/docs", "../../")),
        ("/a/b", "/a/b", ("/", "b/")),
        ("/a/b/", "/a/b", ("/", "")),
        ("/a/b/docs", "/a/b", ("/docs", "")),
        ("/a/b/docs/", "/a/b", ("/docs", "../")),
        ("/docs/", "/a/b", ("/docs", "../")),
        ("/a/bc", "/a/b", ("/a/bc", "../")),
        ("/a/b/a/b/docs", "/a/b", ("/a/b/docs", "../../")),
    ],
)
def test_the_root_is_known_relative_to_what_was_asked_for(path: str, root_path: str, expected: tuple[str, str]) -> None:
    for seen in (
        run(path, Settings(root_path=root_path)),
        run(path, Settings(), root_path=root_path),
        run(path, Settings(trusted_proxies=("127.0.0.1",)), prefix=root_path, client="127.0.0.1"),
    ):
        assert (seen["path"], seen["root"], seen["prefix"]) == (*expected, root_path)
        assert seen["url"] == seen["path"]


def test_only_a_trusted_proxy_names_a_prefix() -> None:
    trusted = Settings(trusted_proxies=("198.51.100.0/24",))
    assert run("/docs", trusted, prefix="/a", client="198.51.100.7")["prefix"] == "/a"
    assert run("/docs", trusted, prefix="/a", client="192.0.2.1")["prefix"] == ""
    assert run("/docs", Settings(trusted_proxies=("*",)), prefix="/a")["prefix"] == "/a"
    fixed = Settings(root_path="/own", trusted_proxies=("*",))
    assert run("/docs", fixed, prefix="/a")["prefix"] == "/own"  # the setting goes before the header


PART = st.sampled_from(["health", "live", "v1", "prune", "docs", "a", ""])


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(parts=st.lists(PART, max_size=6), prefix=st.lists(PART.filter(bool), max_size=3))
def test_a_path_is_open_only_as_the_route_that_answers_it(parts: list[str], prefix: list[str]) -> None:
    root = "".join(f"/{part}" for part in prefix)
    path = "/" + "/".join(parts)
    seen = run(path, Settings(trusted_proxies=("127.0.0.1",)), prefix=root, client="127.0.0.1")["path"]
    assert seen == "/" or not seen.endswith("/")
    # What it is called inside is what was asked for, at most without the prefix once and without slashes at the end.
    assert path.rstrip("/") in (seen.rstrip("/"), (root + seen).rstrip("/"))
    if is_open(seen, Settings()):
        assert not seen.startswith("/v1")


@pytest.mark.parametrize("value", ["prune", "/a b", "http://x/", "/a?b", "/a//b", "/ä", "/a/..", "/./b"])
def test_a_root_path_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(ValidationError, match="root_path"):
        Settings(root_path=value)
