"""API keys, their rotation, the rate limit and CORS, on real servers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from secateur.models.errors import InputError
from secateur.service.credentials import Keys

PATIENCE = 300.0
GOOD = {"query": "When was it finished?", "passages": ["It was finished in 1889."]}


@pytest.fixture(scope="module")
def keys_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(f"# of the team\n\nfrom-file\nsha256:{sha256(b'hashed').hexdigest()}\n", encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def guarded(start_server: Any, keys_file: Path) -> Iterator[Any]:
    """A server with keys from the environment and from a file."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SECATEUR_API_KEYS", "from-environment")
            options = ["--api-keys-file", str(keys_file), "--cors-origins", "https://pages.example"]
            server = stack.enter_context(start_server(*options))
        yield server


def prune(server: Any, **headers: str) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/prune", json=GOOD, headers=headers, timeout=PATIENCE)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["from-environment", "from-file", "hashed"])
@pytest.mark.parametrize(
    "headers",
    [{"Authorization": "Bearer {}"}, {"authorization": "bearer  {}"}, {"X-Api-Key": "{}"}, {"Authorization": "{}"}],
    ids=["bearer", "lower case", "x-api-key", "bare"],
)
def test_a_valid_key_is_let_in(guarded: Any, key: str, headers: dict[str, str]) -> None:
    assert prune(guarded, **{name: value.format(key) for name, value in headers.items()}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "missing"),
        ({"Authorization": "Bearer wrong"}, "invalid API key"),
        ({"Authorization": "Bearer"}, "invalid API key"),
        ({"Authorization": "Basic from-file"}, "invalid API key"),
        ({"X-Api-Key": "from-fil"}, "invalid API key"),
        ({"X-Api-Key": sha256(b"hashed").hexdigest()}, "invalid API key"),
        ({"X-Api-Key": "sha256:" + sha256(b"hashed").hexdigest()}, "invalid API key"),
    ],
)
def test_without_one_it_is_a_401_that_says_what_to_send(guarded: Any, headers: dict[str, str], said: str) -> None:
    response = prune(guarded, **headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["content-type"] == "application/problem+json"
    assert said in response.json()["detail"]
    assert "Authorization: Bearer" in response.json()["detail"]


def test_a_wrong_key_beside_a_right_one_does_no_harm(guarded: Any) -> None:
    """A proxy may have put its own into one of the two headers."""
    assert prune(guarded, **{"Authorization": "Basic abc", "X-Api-Key": "from-file"}).status_code == 200


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json"])
def test_what_is_open_needs_no_key(guarded: Any, path: str) -> None:
    assert httpx.get(f"{guarded.url}{path}", timeout=PATIENCE).status_code == 200


@pytest.mark.parametrize("path", ["/v1/prune", "/v1/prune/batch", "/v1/nope", "//health/live", "/health/../v1/prune"])
def test_everything_else_needs_one(guarded: Any, path: str) -> None:
    assert httpx.post(f"{guarded.url}{path}", content=b"{}", timeout=PATIENCE).status_code == 401


@pytest.mark.slow
def test_the_documentation_says_where_a_key_is_needed(guarded: Any, client: httpx.Client) -> None:
    """So that its page has a field for one."""
    content = httpx.get(f"{guarded.url}/openapi.json", timeout=PATIENCE).json()
    assert content["components"]["securitySchemes"] == {"APIKey": {"type": "http", "scheme": "bearer"}}
    keyed = {path for path, operations in content["paths"].items() if any("security" in o for o in operations.values())}
    assert {"/v1/prune", "/v1/prune/batch"} <= keyed
    assert not {"/health/live", "/health/ready", "/metrics"} & keyed
    assert "securitySchemes" not in client.get("/openapi.json").json()["components"]


def test_keys_are_in_no_log_and_in_no_answer(guarded: Any) -> None:
    response = prune(guarded, Authorization="Bearer wrong-secret")
    assert "wrong-secret" not in response.text
    log = guarded.log.read_text()
    for secret in ("from-environment", "from-file", "wrong-secret"):
        assert secret not in log
    assert f'"caller": "key {sha256(b"from-file").hexdigest()[:8]}"' in log


def test_pages_of_allowed_origins_only_may_call(guarded: Any) -> None:
    """The preflight has no key, and a refusal must be readable by the page too."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    allowed = {"Origin": "https://pages.example"}
    url = f"{guarded.url}/v1/prune"
    preflight = httpx.options(url, headers=asked | allowed, timeout=PATIENCE)
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://pages.example"
    assert "authorization" in preflight.headers["access-control-allow-headers"].lower()
    assert prune(guarded, **allowed).headers["access-control-allow-origin"] == "https://pages.example"
    other = {"Origin": "https://other.example"}
    assert httpx.options(url, headers=asked | other, timeout=PATIENCE).status_code == 400
    assert "access-control-allow-origin" not in prune(guarded, **other).headers


def test_cors_is_off_by_default(client: httpx.Client) -> None:
    response = client.post("/v1/prune", json=GOOD, headers={"Origin": "https://pages.example"})
    assert not [name for name in response.headers if name.startswith("access-control")]


def test_keys_are_rotated_on_sighup_and_a_broken_file_changes_nothing(guarded: Any, keys_file: Path) -> None:
    def after_hup(said: str) -> None:
        before = guarded.log.read_text().count(said)
        guarded.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + PATIENCE
        while guarded.log.read_text().count(said) == before:
            assert time.monotonic() < deadline
            time.sleep(0.02)

    original = keys_file.read_text(encoding="utf-8")
    keys_file.write_text("new-key\n", encoding="utf-8")
    assert prune(guarded, Authorization="Bearer new-key").status_code == 401
    after_hup("2 API keys are valid")
    assert prune(guarded, Authorization="Bearer new-key").status_code == 200
    assert prune(guarded, Authorization="Bearer from-file").status_code == 401
    for broken in (b"\xff\xfe", b"# none\n", b"two words\n"):
        keys_file.write_bytes(broken)
        after_hup("API keys not reloaded")
        assert prune(guarded, Authorization="Bearer new-key").status_code == 200
        assert prune(guarded, Authorization="Bearer from-environment").status_code == 200
    keys_file.write_text(original, encoding="utf-8")
    after_hup("3 API keys are valid")


def test_a_keys_file_that_cannot_be_used_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        Keys(file=tmp_path / "missing")
    (tmp_path / "keys").write_text("good\nsha256:12\n", encoding="utf-8")
    with pytest.raises(InputError, match="line 2: "):
        Keys(file=tmp_path / "keys")
    (tmp_path / "keys").write_text("\n", encoding="utf-8")
    with pytest.raises(InputError, match="contains no key"):
        Keys(file=tmp_path / "keys")
    with pytest.raises(InputError, match="api_keys"):
        Keys(["with space"])


def test_only_digests_are_held() -> None:
    keys = Keys(["secret-one"])
    assert "secret-one" not in repr(vars(keys))
    assert keys.name_of(b"secret-one") == sha256(b"secret-one").hexdigest()[:8]
    assert keys.name_of(b"secret-two") is None
    assert not Keys().required


@pytest.fixture(scope="module")
def limited(start_server: Any) -> Iterator[Any]:
    """A server that takes three requests of a key in a minute, and shows its metrics to keys only."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SECATEUR_API_KEYS", "one,two")
            server = stack.enter_context(start_server("--rate-limit", "3/minute", "--metrics-need-key"))
        yield server


@pytest.mark.slow
def test_each_key_has_its_own_rate(limited: Any) -> None:
    statuses = [prune(limited, Authorization="Bearer one").status_code for _ in range(5)]
    # A minute may end in between, which frees a request or two.
    assert statuses[:3] == [200, 200, 200]
    assert 429 in statuses[3:]
    while (refused := prune(limited, Authorization="Bearer one")).status_code != 429:
        pass
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert "3 requests per minute" in refused.json()["detail"]
    assert prune(limited, Authorization="Bearer two").status_code == 200
    assert prune(limited, Authorization="Bearer three").status_code == 401
    assert httpx.get(f"{limited.url}/health/ready", timeout=PATIENCE).status_code == 200


def test_metrics_can_need_a_key_and_count_the_refusals(limited: Any) -> None:
    url = f"{limited.url}/metrics"
    assert httpx.get(url, timeout=PATIENCE).status_code == 401
    for _ in range(10):  # they are read often, and count for no rate
        response = httpx.get(url, headers={"X-Api-Key": "two"}, timeout=PATIENCE)
        assert response.status_code == 200
    assert 'secateur_failures_total{kind="rate_limited"}' in response.text
    assert 'secateur_failures_total{kind="unauthorized"}' in response.text


@pytest.mark.slow
def test_without_keys_each_address_has_a_rate_and_a_trusted_proxy_names_it(start_server: Any) -> None:
    with start_server("--rate-limit", "2/hour", "--trusted-proxies", "127.0.0.1") as server:

        def status(client: str) -> int:
            return prune(server, **{"X-Forwarded-For": client}).status_code

        assert [status("192.0.2.1") for _ in range(3)] == [200, 200, 429]
        assert status("192.0.2.2") == 200
        # What is no address is nobody's, and one network of IPv6 is one client.
        assert [status(text) for text in ("x caller=key", "2001:db8::1, [", "")] == [200, 200, 429]
        assert [status(f"2001:db8::{number}") for number in (1, 2, 3)] == [200, 200, 429]
        deadline = time.monotonic() + PATIENCE
        while '"caller": "192.0.2.2"' not in server.log.read_text():  # the line comes after the response
            assert time.monotonic() < deadline
            time.sleep(0.02)
    with start_server("--rate-limit", "2/hour") as server:  # nobody is believed by default, on this machine neither
        assert [status(f"192.0.2.{number}") for number in range(3)] == [200, 200, 429]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"# only\n", b"\xef\xbb\xbf\n"])
def test_a_file_without_keys_opens_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "keys").write_bytes(content)
    with pytest.raises(InputError, match=r"api_keys_file: .* contains no key"):
        Keys(file=tmp_path / "keys")


def test_a_keys_file_is_a_regular_one_and_may_begin_with_a_mark(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(InputError, match=r"api_keys_file: .* cannot be read"):
            Keys(file=path)
    (tmp_path / "keys").write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")
    keys = Keys(file=tmp_path / "keys")
    assert keys.name_of(b"one") and keys.name_of(b"two")


@pytest.mark.slow
def test_wrong_keys_are_limited_by_address(start_server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_API_KEYS", "right,other")
    with start_server("--trusted-proxies", "127.0.0.1") as server:

        def ask(address: str, key: str | None) -> httpx.Response:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            return client.post("/v1/nope", headers={**headers, "X-Forwarded-For": address})

        with httpx.Client(base_url=server.url, timeout=PATIENCE) as client:
            assert ask("192.0.2.1", "right").status_code == 404
            statuses = [ask("192.0.2.1", f"wrong-{number}").status_code for number in range(40)]
            assert statuses[:30] == [401] * 30
            assert 429 in statuses[30:]
            while (refused := ask("192.0.2.1", "wrong")).status_code != 429:  # a minute may have ended in between
                pass
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            assert "30 wrong API keys per minute" in refused.json()["detail"]
            assert ask("192.0.2.1", "other").status_code == 429  # no guess is told from another
            assert ask("192.0.2.1", "right").status_code == 404
            assert ask("192.0.2.1", None).status_code == 401  # which is no guess
            assert ask("192.0.2.2", "other").status_code == 404
            assert 'secateur_failures_total{kind="rate_limited"}' in client.get("/metrics").text
