"""schemathesis against a real server, by its own OpenAPI: no server error, and every response is as documented.

It checks that statuses, headers and bodies are documented ones, that what the schema allows is accepted, that what it
forbids is refused, and that wrong methods are a 405. ``FUZZ_EXAMPLES`` asks for more requests an operation.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

HERE = Path(__file__).parent
EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "20")


@pytest.mark.slow
def test_no_request_that_schemathesis_makes_is_a_server_error(start_server: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(HERE / "schemathesis.toml"), "run"]
    options = ["--seed", "1", "--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--mode", "all"]
    options += ["--generation-deterministic", "--continue-on-failure", "--no-color"]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "fuzz_hooks", "PYTHONPATH": str(HERE)}
    with start_server() as server:
        done = subprocess.run(
            [*command, f"{server.url}/openapi.json", *options],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        operations = sum(len(path) for path in httpx.get(f"{server.url}/openapi.json").json()["paths"].values())
        assert f"Tested: {operations}" in done.stdout
        assert httpx.get(f"{server.url}/health/ready").status_code == 200
        assert "Traceback" not in server.log.read_text()
        failures = [line for line in httpx.get(f"{server.url}/metrics").text.splitlines() if 'status="5' in line]
        assert failures == []
