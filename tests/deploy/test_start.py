"""How the real process starts where a container gives it little, and how it says that it cannot."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from live_server import PATIENCE, until_ready

from secateur.models.checkpoint import CONFIG, resolve

GOOD = {"query": "When was it finished?", "passages": ["It was finished in 1889. It is made of iron."]}

# Nothing can be written: neither the disk, nor the folder for temporary files, nor shared memory. There is no home.
LOCKED = """
set -e
mount --make-rprivate /
mount --bind / /
mount -o remount,bind,ro /
mount -t tmpfs -o ro none /tmp
mount -t tmpfs -o ro none /dev/shm
cd /
exec "$@"
"""


def locked(*command: str) -> list[str]:
    return ["unshare", "--mount", "bash", "-c", LOCKED, "bash", *command]


@pytest.fixture(scope="module")
def locked_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("unshare") is None or subprocess.run(locked("true"), capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount")
    return tmp_path_factory.mktemp("locked") / "log"


@pytest.fixture(scope="module")
def url(locked_log: Path) -> Iterator[str]:
    """A server that can write nothing."""
    command = locked(sys.executable, "-m", "secateur", "serve", "--port", "0", "--device", "cpu")
    with locked_log.open("wb") as output:
        process = subprocess.Popen(
            command, env=os.environ | {"HOME": "/nonexistent"}, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield until_ready(process, locked_log)
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0


@pytest.mark.slow
def test_it_serves_where_nothing_can_be_written(url: str) -> None:
    response = httpx.post(f"{url}/v1/prune", json=GOOD, timeout=PATIENCE)
    assert response.status_code == 200
    assert "1889" in response.json()["results"][0]["text"]


def test_a_large_batch_that_has_no_room_is_an_error_that_the_log_explains(url: str, locked_log: Path) -> None:
    line = json.dumps(GOOD)
    for lines, status in ((3, 200), (2**21 // len(line), 507), (3, 200)):
        response = httpx.post(
            f"{url}/v1/prune/batch",
            content="\n".join([line] * lines),
            headers={"Content-Type": "application/x-ndjson"},
            timeout=PATIENCE,
        )
        assert response.status_code == status
    assert "No usable temporary directory found" in locked_log.read_text()
    assert httpx.get(f"{url}/health/ready", timeout=PATIENCE).status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "code", "said"),
    [
        ({"SECATEUR_MODEL": "/models/none"}, 1, "'/models/none'"),
        ({"SECATEUR_MODEL": "/etc"}, 1, "/etc"),
        ({"SECATEUR_API_KEYS_FILE": "/run/secrets/none"}, 2, "/run/secrets/none cannot be read"),
        ({"SECATEUR_CACHE": "memcached://cache"}, 2, "'memcached://cache'"),
        ({"SECATEUR_THREADS": "two"}, 2, "SECATEUR_THREADS"),
        ({"SECATEUR_DEVICE": "cuda", "SECATEUR_BACKEND": "openvino"}, 2, "cuda"),
    ],
)
def test_what_it_cannot_start_with_is_named_in_a_line(
    tmp_path: Path, variables: dict[str, str], code: int, said: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "secateur", "serve", "--port", "0"],
        cwd=tmp_path,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert (done.returncode, said in last) == (code, True), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_damaged_model_is_not_served_unless_that_is_wanted(tmp_path: Path) -> None:
    model = Path(shutil.copytree(resolve(None), tmp_path / "model"))
    config = model / CONFIG
    config.write_text(config.read_text(encoding="utf-8") + " ", encoding="utf-8")  # harmless, but not what was released
    command = [sys.executable, "-m", "secateur", "serve", "--port", "0", "--threads", "1", "--model", str(model)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, f"{config}: is damaged" in done.stderr) == (1, True), done.stderr
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=os.environ | {"SECATEUR_VERIFY": "false"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        assert httpx.post(f"{until_ready(process, log)}/v1/prune", json=GOOD, timeout=PATIENCE).status_code == 200
    finally:
        process.terminate()
        process.wait(PATIENCE)
