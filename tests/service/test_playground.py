"""The playground in a real browser, on a real server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_core_python.selenium import Axe
from browser import browser
from client_environments import python_of
from playground import PATIENCE, Page, kept_by_server
from selenium.webdriver import ActionChains, Chrome, Keys

pytestmark = pytest.mark.e2e

POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "


@pytest.fixture(scope="module")
def driver() -> Iterator[Chrome]:
    with browser() as driver:
        yield driver


@pytest.fixture
def page(driver: Chrome, server: Any) -> Page:
    page = Page(driver, f"{server.url}/")
    page.open()
    driver.get_log("browser")
    return page


def test_the_files_are_served_with_a_strict_policy_and_a_tag(client: httpx.Client) -> None:
    index = client.get("/")
    assert index.status_code == 200
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    linked = re.findall(r'(?:href|src)="(playground/[^"]+)"', index.text)
    for path in linked:  # which grows
        imported = re.findall(r'from "\./([^"]+)"', client.get(f"/{path}").text)
        linked += [new for name in imported if (new := f"playground/{name}") not in linked]
    folder = Path(__file__).parents[2] / "service" / "playground"
    assert sorted(linked) == sorted(f"playground/{file.name}" for file in folder.glob("*.[cj]s*"))
    for path in ["", *linked]:
        response = client.get(f"/{path}")
        assert response.status_code == 200, path
        assert response.headers["content-security-policy"].startswith(POLICY)
        kind = {"": "text/html", "js": "text/javascript", "css": "text/css"}[path.rpartition(".")[2]]
        assert response.headers["content-type"].startswith(kind)
        tag = response.headers["etag"]
        again = client.get(f"/{path}", headers={"If-None-Match": f'"other", W/{tag}'})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert client.get(f"/{path}", headers={"If-None-Match": '"other"'}).status_code == 200
        head = client.head(f"/{path}")
        assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", tag)


def test_nothing_is_inline_and_nothing_from_elsewhere(client: httpx.Client) -> None:
    index = client.get("/").text
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", index)
    assert not re.search(r'(?:href|src)="(?:https?:)?//', index)


@pytest.mark.parametrize("name", ["missing.js", "__init__.py", "..%2fapp.py", "%2e%2e", "index.html%00"])
def test_another_file_is_not_found(client: httpx.Client, name: str) -> None:
    assert client.get(f"/playground/{name}").status_code == 404


def test_an_example_is_pruned(page: Page, client: httpx.Client) -> None:
    page.load(0)
    assert page.all(".ranked .name")[0].text == "Eiffel Tower"
    assert any("completed in March 1889" in unit for unit in page.kept())
    body = page.asked()
    assert page.kept() == kept_by_server(client, **body)
    usage = client.post("/v1/prune", json=body).json()["usage"]
    assert page.text("tokens") == f"{usage['input_tokens']} → {usage['output_tokens']}"
    assert page.text("saved") == f"{usage['compression']:.0%}"
    page.until(lambda: "units kept" in page.text("status"))
    assert page.complaints() == []


@pytest.mark.parametrize("example", range(6))
def test_the_slider_selects_what_the_server_would(page: Page, client: httpx.Client, example: int) -> None:
    page.load(example)
    seen = []
    for position in (0, 0.25, 0.5, 0.75, 1):
        page.move_slider(position)
        seen.append(page.kept())
        body = page.asked()
        assert seen[-1] == kept_by_server(client, **body)
        tokens = client.post("/v1/prune", json=body).json()["usage"]["output_tokens"]
        assert page.text("tokens").endswith(f"→ {tokens}")
    assert len(seen[0]) > len(seen[2]) >= len(seen[-1])


def test_the_slider_shows_at_once_what_the_scores_keep(page: Page) -> None:
    page.load(1)
    held = """
        window.fetch = () => new Promise(() => {});
        const slider = document.getElementById("slider");
        slider.value = arguments[0];
        slider.dispatchEvent(new Event("input", { bubbles: true }));
    """
    page.driver.execute_script(held, 0)
    assert page.units(".piece[data-kept=false]") == []
    page.driver.execute_script(held, 1)
    assert page.kept() == []


def test_the_threshold_can_be_written_and_given_back(page: Page) -> None:
    page.load(0)
    own = page.find("threshold").get_property("value")
    page.enter("threshold", "0.9")
    assert page.asked()["threshold"] == 0.9
    page.enter("threshold", "7")
    assert page.text("threshold-problem") == "Give a number from 0 to 1."
    page.find("own").click()
    assert "threshold" not in page.asked()
    assert page.find("threshold").get_property("value") == own


def test_target_recall_and_token_budget_are_the_servers(page: Page, client: httpx.Client) -> None:
    page.load(1)
    page.choose("mode", "target_recall")
    page.enter("target_recall", "0.99")
    wanted = kept_by_server(client, **page.asked())
    assert page.asked()["target_recall"] == 0.99
    page.until(lambda: page.kept() == wanted)
    page.choose("mode", "max_tokens")
    page.enter("max_tokens", "25")
    assert page.asked()["max_tokens"] == 25
    fewer = kept_by_server(client, **page.asked())
    page.until(lambda: page.kept() == fewer)
    assert 0 < len(fewer) < len(wanted)
    assert int(page.text("tokens").split()[-1]) <= 25
    page.choose("mode", "threshold")
    page.until(lambda: page.kept() == kept_by_server(client, **page.asked()))


def test_errors_stand_beside_their_field(page: Page) -> None:
    page.find("prune").click()
    page.until(lambda: page.text("query-problem"))
    assert page.find("query").get_attribute("aria-invalid") == "true"
    assert page.driver.switch_to.active_element == page.find("query")
    page.find("query").send_keys("When?")
    page.find("prune").click()
    page.until(lambda: page.text("passages-problem"))
    page.load(0)
    assert page.text("query-problem") == page.text("passages-problem") == ""
    for mode, value in {"target_recall": "0.9999", "max_tokens": "0"}.items():
        page.choose("mode", mode)
        page.enter(mode, value)
        page.until(lambda mode=mode: page.text(f"{mode}-problem"))
        assert page.find(mode).get_attribute("aria-invalid") == "true"


def test_a_server_that_is_gone_is_said_in_words(driver: Chrome, start_server: Any) -> None:
    with start_server() as server:
        page = Page(driver, f"{server.url}/")
        page.open()
        page.load(0)
    page.find("prune").click()
    page.until(lambda: "cannot be reached" in page.text("problem"))
    assert page.kept(), "what was there stays"


def test_a_server_that_is_late_is_said_in_words(driver: Chrome, start_server: Any) -> None:
    with start_server("--timeout-ms", "1") as server:
        page = Page(driver, f"{server.url}/")
        page.open()
        page.all("#examples button")[0].click()
        page.until(lambda: page.text("problem").startswith("The server took too long."))


@pytest.fixture
def troubled_url(tmp_path: Path) -> Iterator[str]:
    """The URL of a `troubled_server.py`."""
    log = tmp_path / "log"
    script = Path(__file__).with_name("troubled_server.py")
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, str(script)], cwd=tmp_path, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(r"running on (http://127\.0\.0\.1:\d+)", log.read_text())):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield f"{found[1]}/"
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Whales swim.", "The model failed on this request."),
        ("Volcanoes erupt.", "The server cannot answer now."),
    ],
)
def test_a_server_that_fails_is_said_in_words(driver: Chrome, troubled_url: str, text: str, said: str) -> None:
    page = Page(driver, troubled_url)
    page.open()
    page.find("query").send_keys("When?")
    page.all(".passage .body")[0].send_keys(text)
    page.find("prune").click()
    page.until(lambda: page.text("problem").startswith(said))


def test_a_key_is_asked_for_and_sent_and_a_rate_is_explained(
    driver: Chrome, start_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECATEUR_API_KEYS", "opensesame")
    with start_server("--rate-limit", "2/hour") as server:
        page = Page(driver, f"{server.url}/")
        page.open()
        assert not page.find("key").is_displayed()
        page.all("#examples button")[0].click()
        page.until(lambda: page.find("key").is_displayed() and "missing" in page.text("key-problem").lower())
        page.find("key").send_keys("wrong", Keys.ENTER)
        page.until(lambda: "invalid" in page.text("key-problem").lower())
        page.enter("key", "opensesame")
        page.find("key").send_keys(Keys.ENTER)
        page.until_pruned()
        for language in ("curl", "python", "langchain"):
            page.choose("language", language)
            assert "SECATEUR_API_KEY" in page.text("code")
            assert "opensesame" not in page.text("code")
        page.choose("language", "curl")
        done = run_shell(page.text("code"), SECATEUR_API_KEY="opensesame")
        assert '"results":' in done, done
        page.find("prune").click()
        page.until(lambda: "Try again in" in page.text("problem"))
        assert driver.execute_script("return localStorage.length + sessionStorage.length + document.cookie.length") == 0


def test_several_models_can_be_picked(driver: Chrome, start_server: Any, uncalibrated_model: Any) -> None:
    models = f'[{{"name": "first"}}, {{"name": "second", "model": "{uncalibrated_model}"}}]'
    with start_server("--models", models) as server:
        page = Page(driver, f"{server.url}/")
        page.open()
        page.until(lambda: page.find("model").is_displayed())
        page.load(0)
        assert page.asked()["model"] == "first"
        page.find("model").send_keys("second")
        page.until(lambda: page.text("cost").startswith("second"))
        assert page.asked()["model"] == "second"


def test_all_can_be_done_from_the_keyboard(page: Page) -> None:
    def press(*keys: str, times: int = 1) -> None:
        for _ in range(times):
            ActionChains(page.driver).send_keys(*keys).perform()

    def tab_to(matches: Any) -> None:
        for _ in range(60):
            press(Keys.TAB)
            if matches(page.driver.switch_to.active_element):
                return
        raise AssertionError("the Tab key does not get there")

    tab_to(lambda element: element.get_attribute("id") == "query")
    press("When was it built?")
    tab_to(lambda element: "body" in (element.get_attribute("class") or ""))
    press("It is red. It was built in 1889. It is high.")
    tab_to(lambda element: element.get_attribute("id") == "add")
    press(Keys.ENTER)
    assert page.driver.switch_to.active_element.get_attribute("aria-label") == "Passage 2"
    press("Bread is baked.")
    ActionChains(page.driver).key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()
    page.until_pruned()
    assert "It was built in 1889." in page.kept()
    tab_to(lambda element: element.get_attribute("value") == "threshold")
    tab_to(lambda element: element.get_attribute("id") == "slider")
    press(Keys.END)
    page.until(lambda: len(page.kept()) <= 1)
    press(Keys.HOME)
    page.until(lambda: len(page.kept()) == 4)
    tab_to(lambda element: element.tag_name == "summary")
    press(Keys.ENTER)
    tab_to(lambda element: element.get_attribute("id") == "neighbours")
    tab_to(lambda element: element.get_attribute("name") == "view")
    tab_to(lambda element: "piece" in (element.get_attribute("class") or ""))
    press(Keys.ARROW_RIGHT)
    assert page.driver.switch_to.active_element.text.strip() == "It was built in 1889."
    assert re.fullmatch(r"[01]\.\d+ · kept because of its score · sentence", page.text("tip"))
    assert page.find("tip").is_displayed()
    press(Keys.ESCAPE)
    assert not page.find("tip").is_displayed()
    tab_to(lambda element: element.get_attribute("id") == "copy")
    press(Keys.ENTER)
    page.until(lambda: page.text("copy") != "Copy")


def test_many_passages_are_pasted_at_once_and_removed(page: Page) -> None:
    page.find("paste").click()
    text = "One.\n\nTwo.\nStill.\n \n\nThree."
    page.driver.execute_script("arguments[0].value = arguments[1]", page.find("pasted"), text)
    page.find("paste-add").click()
    page.until(lambda: len(page.all(".passage")) == 3)
    assert page.asked()["passages"] == ["One.", "Two.\nStill.", "Three."]
    page.all(".passage .remove")[1].click()
    assert page.asked()["passages"] == ["One.", "Three."]
    page.all(".passage .title")[1].send_keys("Third")
    assert page.asked()["passages"] == ["One.", {"title": "Third", "text": "Three."}]
    page.find("clear").click()
    assert page.asked()["passages"] == []


def test_units_are_cut_at_code_points(page: Page, client: httpx.Client) -> None:
    text = '🗼🇫🇷 was finished in 1889. 👩‍👩‍👧 visit it 🙂. It\'s <b>high</b> \\ "so".'
    page.prune("When's it 'done'?", text)
    page.move_slider(0)
    assert page.asked()["passages"] == [text]
    assert page.kept() == kept_by_server(client, **page.asked())
    assert "".join(page.kept()) == re.sub(r"(?<=\.) ", "", text)
    page.choose("language", "curl")
    assert text in httpx_results(run_shell(page.text("code")))
    page.choose("language", "python")
    assert text in run_python(page.text("code"))


def httpx_results(content: str) -> list[str]:
    return [result["text"] for result in json.loads(content)["results"]]


def run_shell(code: str, **environment: str) -> str:
    done = subprocess.run(["sh", "-c", code], capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_python(code: str, python: str = sys.executable) -> str:
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([python, "-c", code], capture_output=True, encoding="utf-8", env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_code_runs_with_the_present_settings(page: Page, client: httpx.Client) -> None:
    page.load(2)
    page.move_slider(0.5)
    expected = client.post("/v1/prune", json=page.asked()).json()["results"]
    assert httpx_results(run_shell(page.text("code"))) == [result["text"] for result in expected]
    page.choose("language", "python")
    assert run_python(page.text("code")) == "".join(f"{item['score']:.2f} {item['text']}\n" for item in expected)


def test_the_code_for_langchain_runs(page: Page, client: httpx.Client) -> None:
    python = python_of("pipelines")
    page.load(1)
    texts = [passage["text"] for passage in page.asked()["passages"]]
    results = client.post("/v1/prune", json={"query": page.asked()["query"], "passages": texts}).json()["results"]
    page.choose("language", "langchain")
    expected = "".join(f"{item['score']:.2f} {texts[item['index']]}\n" for item in results)
    assert run_python(page.text("code"), python) == expected


def test_the_code_is_copied(page: Page) -> None:
    page.driver.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    page.choose("language", "python")
    page.find("copy").click()
    page.until(lambda: page.text("copy") == "Copied")
    assert page.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])") == page.text("code")
    page.until(lambda: page.text("copy") == "Copy")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_accessible_and_quiet_and_stays_at_home(page: Page, scheme: str) -> None:
    page.open(scheme=scheme)
    for prepare in (lambda: None, lambda: page.load(1), lambda: page.move_slider(1), lambda: page.move_slider(0)):
        prepare()
        page.driver.execute_script("document.getAnimations().forEach((animation) => animation.finish())")
        found = Axe().run(page.driver)["violations"]
        assert [(item["id"], [node["html"] for node in item["nodes"]]) for item in found] == []
    names = page.driver.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert names
    assert all(name.startswith((page.url, "data:")) for name in names)
    assert page.complaints() == []


@pytest.mark.parametrize("width", [320, 360, 768])
def test_a_narrow_window_needs_no_scrolling_sideways(page: Page, width: int) -> None:
    page.open(width=width, height=740)
    for prepare in (lambda: None, lambda: page.load(1)):
        prepare()
        assert page.driver.execute_script("return innerWidth") == width
        sizes = "const {scrollWidth, clientWidth} = document.documentElement; return [scrollWidth, clientWidth]"
        content, window = page.driver.execute_script(sizes)
        assert content == window
