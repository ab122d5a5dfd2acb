"""Proxy variables, with a real proxy: what they lead to, what NO_PROXY keeps from them, and how failures are told."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from bad_server import BadServer, bad_server, dead_url, response

from secateur import Client, InputError, ServiceError, ServiceUnavailableError
from secateur.client import BadResponseError, passed_through
from secateur.client.settings import covers, find_route

MODELS = response("200 OK", json.dumps({"data": [{"id": "m"}]}).encode())
PROBLEM = json.dumps({"status": 403, "detail": "this key may not"}).encode()
PASSWORD = "proxy-password-1"

pytestmark = pytest.mark.usefixtures("no_proxies")


def ask(url: str, **settings: Any) -> tuple[str, ...]:
    with Client(url, **{"retries": 0, "timeout_s": 60, **settings}) as client:
        if client.settings.on_error == "passthrough":
            return client.prune("q", ["a"]).warnings
        return client.models()


@pytest.fixture
def service() -> Iterator[BadServer]:
    with bad_server(lambda number, raw: raw.sendall(MODELS)) as server:
        yield server


@pytest.fixture
def proxy() -> Iterator[BadServer]:
    """A proxy that answers in the service's place."""
    with bad_server(lambda number, raw: raw.sendall(MODELS)) as server:
        yield server


CASES = [
    ("http://10.1.2.3:8080", "10.0.0.0/8", True),
    ("http://10.1.2.3:8080", "11.0.0.0/8", False),
    ("http://10.1.2.3:8080", "10.1.2.3/8", True),  # host bits are set
    ("http://10.1.2.3:8080", "10.1.2.3:8080", True),
    ("http://10.1.2.3:8080", "10.1.2.3:80", False),
    ("http://10.1.2.3:8080", "10.1.2", False),
    ("http://10.1.2.3:8080", "10.0.0.0/99", False),
    ("http://[fd07::5]:8080", "fd07::/64", True),
    ("http://[fd07::5]:8080", "[fd07::]/64", True),
    ("http://[fd07::5]:8080", "fd07::5", True),
    ("http://[fd07::5]:8080", "[fd07::5]", True),
    ("http://[fd07::5]:8080", "[fd07::5]:8080", True),
    ("http://[fd07::5]:8080", "[fd07::5]:81", False),
    ("http://[fd07::5]:8080", "FD07:0:0::5", True),
    ("http://[fd08::5]:8080", "fd07::/64", False),
    ("http://[::1]", "[::1]", True),
    ("http://[::1]", "::1", True),
    ("http://127.0.0.1", "fe80::/10,127.0.0.1", True),
    ("http://127.0.0.1", "fe80::/10 127.0.0.1", True),
    ("http://127.0.0.1", "fe80::/10", False),
    ("http://127.0.0.1", "localhost", False),
    ("http://localhost", "localhost", True),
    ("http://localhost", "LOCALHOST", True),
    ("http://a.example.com", "example.com", True),
    ("http://a.example.com", ".example.com", True),
    ("http://a.example.com", "*.example.com", True),
    ("http://example.com", ".example.com", True),
    ("http://example.com.", "example.com", True),
    ("http://notexample.com", "example.com", False),
    ("http://example.com", "a.example.com", False),
    ("http://example.com", "com", True),
    ("http://example.com", "example.com:80", True),
    ("https://example.com", "example.com:443", True),
    ("https://example.com", "example.com:80", False),
    ("http://bücher.example", "bücher.example", True),
    ("http://example.com", "*", True),
    ("http://example.com", "other, *", True),
    ("http://example.com", "", False),
    ("http://example.com", ",, ,", False),
    ("http://example.com", "[]", False),
    ("http://example.com", ":80", False),
    ("http://example.com", ".", False),
    ("http://example.com", "://", False),
    ("http://example.com", "[::1", False),
    ("http://example.com", "\u0663" * 5_000 + ":80", False),
]


@pytest.mark.parametrize(("url", "no_proxy", "covered"), CASES)
def test_what_no_proxy_covers(url: str, no_proxy: str, covered: bool) -> None:
    assert covers(no_proxy, httpx.URL(url)) is covered


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({"HTTP_PROXY": "http://a:1"}, ("http://a:1", "HTTP_PROXY")),
        ({"http_proxy": "http://a:1"}, ("http://a:1", "http_proxy")),
        ({"http_proxy": "http://a:1", "HTTP_PROXY": "http://b:1"}, ("http://a:1", "http_proxy")),
        ({"http_proxy": "", "HTTP_PROXY": "http://b:1"}, ("", "")),
        ({"HTTP_PROXY": "http://a:1", "ALL_PROXY": "http://b:1"}, ("http://a:1", "HTTP_PROXY")),
        ({"ALL_PROXY": "http://b:1"}, ("http://b:1", "ALL_PROXY")),
        ({"HTTPS_PROXY": "http://b:1"}, ("", "")),
        ({"HTTP_PROXY": " a:1 "}, ("http://a:1", "HTTP_PROXY")),
        ({"HTTP_PROXY": "http://a:1", "no_proxy": "service"}, ("", "")),
        ({"HTTP_PROXY": "http://me:secret@a:1"}, ("http://a:1", "HTTP_PROXY")),
    ],
    ids=str,
)
def test_which_variable_leads_there(
    variables: dict[str, str], proxy: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    route = find_route(httpx.URL("http://service:8080"))
    assert (route.via, route.problem) == (" through the proxy {} ({})".format(*proxy) if any(proxy) else "", "")
    assert "secret" not in repr(route) and "secret" not in route.via


@pytest.mark.parametrize("no_proxy", ["127.0.0.1", "127.0.0.0/8", "fd07::/64,127.0.0.1", "[::1] 127.0.0.0/8", "*"])
@pytest.mark.parametrize("variable", ["http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("address", ["dead", "socks5://127.0.0.1:9", "ftp://x", "http://[", "http://p:port"])
def test_a_covered_service_is_asked_directly(
    service: BadServer, monkeypatch: pytest.MonkeyPatch, no_proxy: str, variable: str, address: str
) -> None:
    monkeypatch.setenv(variable, dead_url() if address == "dead" else address)
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert ask(service.url) == ("m",)


@pytest.mark.parametrize("no_proxy", ["fd07::/64", "[::1]", "fe80::/10", "::1", "other", "http://[", "a b"])
def test_no_proxy_alone_does_no_harm(service: BadServer, monkeypatch: pytest.MonkeyPatch, no_proxy: str) -> None:
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert ask(service.url) == ("m",)


def test_a_service_behind_a_proxy(proxy: BadServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy.url.replace("http://", f"http://me:{PASSWORD}@"))
    assert ask("http://service.invalid:8080") == ("m",)
    head = proxy.heads[0].lower()
    assert head.startswith(b"get http://service.invalid:8080/v1/models ") and b"proxy-authorization: basic " in head


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("socks5://me:WORD@127.0.0.1:9", "is a SOCKS proxy"),
        ("socks5h://127.0.0.1:9", "is a SOCKS proxy"),
        ("socks4://127.0.0.1:9", "is not an HTTP or SOCKS5 proxy"),
        ("ftp://me:WORD@127.0.0.1:9", "is not an HTTP or SOCKS5 proxy"),
        ("http://me:WORD@", "is not an HTTP or SOCKS5 proxy"),
        ("http://me:WORD@proxy:port", "is not an HTTP or SOCKS5 proxy"),
        ("http://me:WORD@proxy:99999", "is not an HTTP or SOCKS5 proxy"),
        ("http://me:WORD@[::1", "is not an HTTP or SOCKS5 proxy"),
        ("http://me:WORD@pro\x01xy:80", "is not an HTTP or SOCKS5 proxy"),
        (f"me:WORD@{'a' * 70}:80", "cannot be reached"),
        ("://", "is not"),
    ],
)
@pytest.mark.parametrize("variable", ["HTTP_PROXY", "all_proxy"])
def test_a_proxy_that_cannot_be_used_is_named(
    service: BadServer, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    monkeypatch.setenv(variable, value.replace("WORD", PASSWORD))
    with pytest.raises(ServiceUnavailableError, match=words) as info:
        ask(service.url)
    assert variable in str(info.value) and "NO_PROXY" in str(info.value)
    (warning,) = ask(service.url, on_error="passthrough")
    assert warning.startswith("passthrough: ") and variable in warning
    assert PASSWORD not in str(info.value) + warning
    assert service.requests == 0


def test_a_dead_proxy_is_named_and_not_the_service_blamed(service: BadServer, monkeypatch: pytest.MonkeyPatch) -> None:
    dead = dead_url()
    monkeypatch.setenv("HTTP_PROXY", dead.replace("http://", f"http://me:{PASSWORD}@"))
    with pytest.raises(ServiceUnavailableError, match=r"put 127\.0\.0\.1 into NO_PROXY") as info:
        ask(service.url)
    assert f"through the proxy {dead} (HTTP_PROXY)" in str(info.value) and PASSWORD not in str(info.value)
    assert dead in ask(service.url, on_error="passthrough")[0]


@pytest.mark.parametrize("status", ["403 Forbidden", "407 Proxy Authentication Required", "502 Bad Gateway"])
def test_what_a_proxy_refuses_is_not_the_services_answer(monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    refusal = response(status, b"<html>squid says no</html>", "Proxy-Authenticate: Basic realm=x")
    with bad_server(lambda number, raw: raw.sendall(refusal)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        with pytest.raises(ServiceUnavailableError, match="came from the proxy, not from the service") as info:
            ask("http://service.invalid:8080")
        assert info.value.status == int(status[:3])
        assert f"{proxy.url} (http_proxy)" in str(info.value) and "squid says no" in str(info.value)
        assert "from the proxy" in ask("http://service.invalid:8080", on_error="passthrough")[0]


def test_what_the_service_refuses_through_a_proxy_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with bad_server(lambda number, raw: raw.sendall(response("403 Forbidden", PROBLEM))) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with pytest.raises(ServiceError, match="the service refused with status 403: this key may not"):
            ask("http://service.invalid:8080", on_error="passthrough")


def test_a_portals_page_names_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    page = response("200 OK", b"<html>log in</html>")
    with bad_server(lambda number, raw: raw.sendall(page)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        with Client("http://service.invalid", retries=0) as client, pytest.raises(BadResponseError) as info:
            client.prune("q", ["a"])
        assert proxy.url in str(info.value)


@pytest.mark.parametrize("status", ["403 Forbidden", "407 Proxy Authentication Required", "503 Service Unavailable"])
def test_a_tunnel_that_is_refused(monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    with bad_server(lambda number, raw: raw.sendall(response(status, b"no"))) as proxy:
        monkeypatch.setenv("https_proxy", proxy.url.replace("http://", f"http://me:{PASSWORD}@"))
        with pytest.raises(ServiceUnavailableError, match=f"the proxy said {status[:3]}") as info:
            ask("https://service.invalid", retries=1)
        assert info.value.status == int(status[:3])
        assert f"{proxy.url} (https_proxy)" in str(info.value) and PASSWORD not in str(info.value)
        assert proxy.heads[0].startswith(b"CONNECT service.invalid:443 ")
        assert proxy.requests == (2 if status.startswith("503") else 1)  # what is refused for good is not repeated


def test_the_variables_are_read_when_the_client_is_made(service: BadServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with Client(service.url) as client:
        monkeypatch.setenv("HTTP_PROXY", "ftp://nowhere")
        assert client.models() == ("m",)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate of 127.0.0.1, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text((folder / "key.pem").read_text() + (folder / "cert.pem").read_text())
    return both


@contextmanager
def tls_server(certificate: Path, behave: Callable[[ssl.SSLSocket], None]) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                raw, _ = listener.accept()
                with suppress(OSError), context.wrap_socket(raw, server_side=True) as wrapped:
                    wrapped.recv(65536)
                    behave(wrapped)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


def test_certificates_of_the_environment_are_used(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with tls_server(certificate, lambda raw: raw.sendall(MODELS)) as url:
        with pytest.raises(ServiceUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
            ask(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert ask(url) == ("m",)
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/cert.pem")
    with pytest.raises(InputError, match=r"^SSL_CERT_FILE: '/nowhere/cert.pem' cannot be read"):
        ask(url)
    assert find_route(httpx.URL(url)).problem == ""


@pytest.mark.slow
def test_a_drip_through_tls_ends_in_time(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end = threading.Event()

    def behave(raw: ssl.SSLSocket) -> None:
        raw.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not end.wait(0.2):
            raw.sendall(b"a")

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with tls_server(certificate, behave) as url:
        with pytest.raises(ServiceUnavailableError, match="within 1 s"):
            ask(url, timeout_s=1.0)
        end.set()


def test_passthrough_says_that_it_passed_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    with Client("http://service.invalid", on_error="passthrough") as client:
        assert passed_through(client.prune("q", ["a"]))
