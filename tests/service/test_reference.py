"""The API reference and the playground in a real browser without the internet, directly and behind a real nginx."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from browser import browser
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

pytestmark = pytest.mark.e2e

PATIENCE = 120.0
NGINX = shutil.which("nginx") or ("/usr/sbin/nginx" if Path("/usr/sbin/nginx").exists() else None)
ASSETS = Path(__file__).parents[2] / "service" / "docs"
# Of swagger-ui-dist 5.35.0 on npm.
VENDORED = {
    "swagger-ui-bundle.js": "e6a898692f2d768e807c3ba4626068a69a2c5dd960dd6c76f3e4d3a3de180af2",
    "swagger-ui.css": "5ed08757e53da3e026d6cbecc61fe5d43585c9560b302d534ad56692519a273d",
}


def test_the_assets_are_those_that_their_makers_published() -> None:
    found = {name: hashlib.sha256((ASSETS / name).read_bytes()).hexdigest() for name in VENDORED}
    assert found == VENDORED
    assert "Apache License" in (ASSETS / "LICENSE").read_text()
    assert "SmartBear" in (ASSETS / "NOTICE").read_text()


def test_the_page_names_no_other_place_and_has_a_strict_policy(client: httpx.Client) -> None:
    page = client.get("/docs")
    linked = re.findall(r'(?:href|src)="([^"]+)"', page.text)
    assert [address for address in linked if not address.startswith("data:")] == [
        "docs/swagger-ui.css",
        "docs/swagger-ui-bundle.js",
        "docs/start.js",
        "openapi.json",
    ]
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert client.get("/redoc").status_code == 404
    assert client.get("/docs/nope.js").status_code == 404
    tag = {"if-none-match": page.headers["etag"]}
    assert client.get("/docs", headers=tag).status_code == 304


CONFIG = """
worker_processes 1;
pid {folder}/pid;
error_log stderr warn;
events {{}}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    access_log off;
    server {{
        listen 127.0.0.1:{port};
        # Taken off and told, taken off and not told, and left.
        location /told/here/ {{
            proxy_set_header X-Forwarded-Prefix /told/here;
            proxy_pass {url}/;
        }}
        location /silent/ {{ proxy_pass {url}/; }}
        location /left {{
            proxy_set_header X-Forwarded-Prefix /left;
            proxy_pass {url};
        }}
    }}
}}
"""


@pytest.fixture(scope="module")
def proxied(start_server: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real nginx that shows a server under several prefixes."""
    if NGINX is None:
        pytest.skip("nginx is not installed")
    folder = tmp_path_factory.mktemp("nginx")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with start_server("--trusted-proxies", "127.0.0.1") as server:
        config = folder / "nginx.conf"
        config.write_text(CONFIG.format(folder=folder, port=port, url=server.url))
        command = [NGINX, "-e", "stderr", "-c", str(config), "-g", "user root; daemon off;"]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                httpx.get(f"http://127.0.0.1:{port}/silent/health", timeout=PATIENCE).raise_for_status()
                break
            except httpx.TransportError:
                assert process.poll() is None and time.monotonic() < deadline
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
        process.send_signal(signal.SIGQUIT)
        process.wait(PATIENCE)


@pytest.fixture(scope="module")
def driver() -> Iterator[Chrome]:
    with browser() as driver:
        yield driver


def until(driver: Chrome, condition: Any) -> Any:
    return WebDriverWait(driver, PATIENCE, 0.1).until(lambda _: condition())


def addresses(driver: Chrome) -> list[str]:
    """Return what the browser has asked for since this was called last."""
    entries = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [entry for entry in entries if entry["method"] == "Network.requestWillBeSent"]
    return [entry["params"]["request"]["url"] for entry in asked]


def complaints(driver: Chrome) -> list[Any]:
    return [entry for entry in driver.get_log("browser") if entry["level"] != "INFO"]


def try_out(driver: Chrome, page: str, root: str) -> None:
    """Open the API reference and run its first operation; nothing is asked for elsewhere, and nothing goes wrong."""
    driver.get("about:blank")
    addresses(driver), complaints(driver)
    driver.get(page)
    first = until(driver, lambda: driver.find_elements(By.CSS_SELECTOR, ".opblock"))[0]
    first.find_element(By.CSS_SELECTOR, ".opblock-summary-control").click()
    until(driver, lambda: first.find_elements(By.CSS_SELECTOR, ".try-out__btn"))[0].click()
    until(driver, lambda: first.find_elements(By.CSS_SELECTOR, "button.execute"))[0].click()
    status = "td.response-col_status"
    answered = ".live-responses-table tbody " + status
    until(driver, lambda: driver.find_elements(By.CSS_SELECTOR, answered))
    assert driver.find_element(By.CSS_SELECTOR, answered).text.split()[0] == "200"
    asked = addresses(driver)
    assert f"{root}/v1/prune" in asked
    assert [url for url in asked if not url.startswith((f"{root}/", "data:")) and url != page] == []
    assert complaints(driver) == []


@pytest.mark.parametrize("page", ["/docs", "/docs/"])
def test_an_operation_is_tried_without_the_internet(driver: Chrome, server: Any, page: str) -> None:
    try_out(driver, server.url + page, server.url)


@pytest.mark.parametrize("page", ["/told/here/docs", "/told/here/docs/", "/silent/docs", "/left/docs", "/left/docs/"])
def test_the_reference_works_under_a_prefix(driver: Chrome, proxied: str, page: str) -> None:
    try_out(driver, proxied + page, proxied + page.rstrip("/").removesuffix("/docs"))


@pytest.mark.parametrize("page", ["/told/here/", "/silent/", "/left/", "/left"])
def test_the_playground_works_under_a_prefix(driver: Chrome, proxied: str, page: str) -> None:
    driver.get("about:blank")
    addresses(driver), complaints(driver)
    driver.get(proxied + page)
    until(driver, lambda: driver.find_elements(By.CSS_SELECTOR, "#examples button"))[0].click()
    until(driver, lambda: driver.find_elements(By.CSS_SELECTOR, ".ranked"))
    root = proxied + page.rstrip("/")
    assert f"{root}/v1/prune" in addresses(driver)
    assert complaints(driver) == []
    link = str(driver.find_element(By.CSS_SELECTOR, "nav a").get_property("href"))
    assert link == f"{root}/docs"
    assert httpx.get(link, timeout=PATIENCE).status_code == 200


def test_the_schema_says_where_the_service_is(proxied: str) -> None:
    def servers(prefix: str) -> Any:
        return httpx.get(f"{proxied}{prefix}/openapi.json", timeout=PATIENCE).json().get("servers")

    assert servers("/told/here") == [{"url": "/told/here"}]
    assert servers("/left") == [{"url": "/left"}]
    assert servers("/silent") is None


def test_no_address_redirects_out_of_a_prefix(proxied: str) -> None:
    for prefix in ("/told/here", "/silent", "/left"):
        for path in ("/health/", "/v1/models/", "/docs/", "/info/"):
            response = httpx.get(proxied + prefix + path, timeout=PATIENCE)
            assert response.status_code == 200
        refused = httpx.post(f"{proxied}{prefix}/v1/prune/", json={"query": "q", "passages": []}, timeout=PATIENCE)
        assert refused.status_code == 422
