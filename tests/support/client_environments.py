"""Environments with the published clients of others, which some tests run; each is made once, by one process."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import venv
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[1] / "service" / "clients"
"""Scripts that call a service by such clients, and their requirements."""
_ENVIRONMENTS = Path(__file__).parents[2] / ".venv-clients"
_PATIENCE = 900.0


def python_of(script: str) -> str:
    """Return the interpreter of a script's environment, which is made where its requirements have changed."""
    requirements = SCRIPTS / f"{script}.txt"
    if not requirements.is_file():
        return sys.executable
    directory = _ENVIRONMENTS / script
    _ENVIRONMENTS.mkdir(exist_ok=True)
    with (_ENVIRONMENTS / f"{script}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = directory / requirements.name
        if not stamp.is_file() or stamp.read_bytes() != requirements.read_bytes():
            _make(directory, requirements)
            stamp.write_bytes(requirements.read_bytes())
    return str(directory / "bin" / "python")


def _make(directory: Path, requirements: Path) -> None:
    venv.create(directory, with_pip=True, clear=True)
    pip = [str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    command = [*pip, "--no-compile", "-r", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    if "NewConnectionError" in done.stderr:
        pytest.skip("the registry that the clients come from cannot be reached")
    assert done.returncode == 0, done.stderr
