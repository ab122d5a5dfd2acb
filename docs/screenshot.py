"""Take a picture of the playground: `python docs/screenshot.py OUT.png`, with chromium and chromedriver."""

from __future__ import annotations

import argparse
import io
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

PATIENCE_S = 120
WIDTH, HEIGHT = 1280, 1000


@contextmanager
def running_server() -> Iterator[str]:
    """Run `secateur serve` on a free port; give its URL."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        # Away from the checkout, whose folders are not the package.
        with log.open("wb") as output:
            command = [sys.executable, "-m", "secateur", "serve", "--port", "0"]
            process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not (found := re.search(r"running on (http://[\w.:]+)", log.read_text())):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"the server does not start:\n{log.read_text()}")
                time.sleep(0.1)
            yield found[1]
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def take(url: str, scheme: str, example: str) -> bytes:
    """Return a PNG of the playground with one of its examples pruned."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    with Chrome(options=options, service=Service(shutil.which("chromedriver"))) as driver:
        size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        driver.get(url)
        wait = WebDriverWait(driver, PATIENCE_S)
        button = f"//*[@id='examples']//button[.='{example}']"
        wait.until(lambda driver: driver.find_elements(By.XPATH, button))[0].click()
        wait.until(lambda driver: driver.find_elements(By.CSS_SELECTOR, "[data-kept=true]"))
        wait.until(lambda driver: driver.find_element(By.ID, "prune").text == "Prune")
        driver.execute_script("document.activeElement.blur()")
        time.sleep(0.5)  # for what fades
        return driver.get_screenshot_as_png()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Take a picture of the playground.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--scheme", choices=("light", "dark"), default="light")
    parser.add_argument("--example", default="README", help="name of an example of the playground")
    arguments = parser.parse_args()
    with running_server() as url:
        picture = Image.open(io.BytesIO(take(url, arguments.scheme, arguments.example))).convert("RGB")
    # Few colours are enough, and a third of the bytes.
    picture.quantize(256, dither=Image.Dither.NONE).save(arguments.out, optimize=True)
