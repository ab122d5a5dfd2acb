"""The playground as somebody uses it, for its tests."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

PATIENCE = 120.0


class Page:
    """The playground as somebody uses it."""

    def __init__(self, driver: Chrome, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self, *, scheme: str = "light", width: int = 1280, height: int = 900) -> None:
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.driver.get(self.url)
        self.until(lambda: self.all("#examples button") and self.text("code"))

    def until(self, condition: Any) -> Any:
        return WebDriverWait(self.driver, PATIENCE, 0.05).until(lambda _: condition())

    def find(self, id: str) -> WebElement:
        return self.driver.find_element(By.ID, id)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, id: str) -> str:
        return str(self.find(id).get_property("textContent"))

    def load(self, number: int) -> None:
        self.all("#examples button")[number].click()
        self.until_pruned()

    def until_pruned(self) -> None:
        """Wait until the page shows the answer for its present settings."""
        self.until(lambda: self.all(".ranked") and self.find("result").get_attribute("aria-busy") == "false")

    def choose(self, name: str, value: str) -> None:
        self.driver.find_element(By.CSS_SELECTOR, f"input[name={name}][value={value}]").click()

    def enter(self, id: str, text: str) -> None:
        self.find(id).clear()
        self.find(id).send_keys(text)

    def set(self, element: WebElement, value: object) -> None:
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input', {bubbles: true}))"
        self.driver.execute_script(script, element, value)

    def prune(self, query: str, *passages: str) -> None:
        """Ask about passages."""
        self.find("clear").click()
        self.set(self.find("query"), query)
        for number, text in enumerate(passages):
            if number:
                self.find("add").click()
            self.set(self.all(".passage .body")[number], text)
        self.find("prune").click()
        self.until_pruned()

    def move_slider(self, position: float) -> None:
        self.set(self.find("slider"), position)
        self.until_pruned()

    def units(self, which: str = ".piece") -> list[str]:
        """Return the texts of units, without the white space around them."""
        script = """return [...document.querySelectorAll(arguments[0])].map((piece) =>
          [...piece.querySelectorAll(".unit")].map((part) => part.textContent).join(""))"""
        return [text.strip() for text in self.driver.execute_script(script, which)]

    def kept(self) -> list[str]:
        """Return the units shown as kept."""
        return self.units(".piece[data-kept=true]")

    def asked(self) -> dict[str, Any]:
        """Return the body of the curl command, whose passages hold no quotes."""
        self.choose("language", "curl")
        found = re.search(r"-d '(.*)'$", self.text("code"), re.DOTALL)
        assert found
        content: dict[str, Any] = json.loads(found[1].replace("'\\''", "'"))
        return content

    def complaints(self) -> list[Any]:
        """Return what the console has got."""
        entries: list[Any] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [entry for entry in entries if entry["level"] != "INFO"]


def kept_by_server(client: httpx.Client, **body: Any) -> list[str]:
    response = client.post("/v1/prune", json={**body, "return_units": True})
    assert response.status_code == 200, response.text
    texts = [passage if isinstance(passage, str) else passage["text"] for passage in body["passages"]]
    return [
        texts[result["index"]][unit["start"] : unit["end"]].strip()
        for result in response.json()["results"]
        for unit in result["units"]
        if unit["kept"]
    ]
