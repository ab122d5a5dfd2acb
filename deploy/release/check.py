"""Checks a wheel as its users have it: `python deploy/release/check.py DIST ROOM`.

The environment is made in ROOM by the commands with which deploy/Dockerfile makes that of the CPU image, so what is
checked is the image, too, as far as that goes without a container: the environment has no torch, prunes a passage, and
its service starts by the image's command and is healthy by the image's check.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import dockerfile

ROOT = dockerfile.ROOT
PATIENCE_S = 300
HEAVY = ("torch", "transformers")


def environment_of(stage: dockerfile.Stage, moved: dict[str, str]) -> dict[str, str]:
    """Return the variables that a stage sets, over those of a user who has set nothing of ours."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SECATEUR_", "PYTHON"))}
    return own | {name: at(value, moved).replace("$PATH", os.environ["PATH"]) for name, value in stage.env.items()}


def at(command: str, moved: dict[str, str]) -> str:
    """Return a command with the paths of the image as they are here."""
    return re.sub("|".join(map(re.escape, moved)), lambda found: moved[found[0]], command)


def install(stages: dict[str, dockerfile.Stage], moved: dict[str, str]) -> None:
    """Make the CPU image's environment. `python` and `pip` are those that run this script."""
    own = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    quiet = {"PIP_QUIET": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    for command in stages["cpu-venv"].run:
        subprocess.run(["bash", "-euc", at(command, moved)], env=os.environ | own | quiet, check=True)


def check_contents(python: Path, room: Path, env: dict[str, str]) -> None:
    """Fail if serving brings in what only training needs."""
    code = f"from importlib.util import find_spec; print(*[name for name in {HEAVY} if find_spec(name)])"
    found = subprocess.run([python, "-c", code], cwd=room, env=env, capture_output=True, text=True, check=True).stdout
    if found.strip():
        raise SystemExit(f"the environment holds {found.strip()}")


def check_pruning(command: Path, room: Path, env: dict[str, str]) -> str:
    """Prune the example of the README by the installed command; return what is kept."""
    arguments = ["prune", "-q", "When was the Eiffel Tower finished?", str(ROOT / "examples/passages.jsonl"), "--json"]
    done = subprocess.run([command, *arguments], cwd=room, env=env, capture_output=True, text=True, check=True)
    best, *others = json.loads(done.stdout)["results"]
    if not (
        best["id"] == "tower"
        and "completed in March 1889" in best["text"]
        and best["kept_units"] < best["total_units"]
        and others[-1]["empty"]
    ):
        raise SystemExit(f"it prunes wrongly: {done.stdout}")
    return str(best["text"])


def check_service(stage: dockerfile.Stage, room: Path, env: dict[str, str]) -> None:
    """Start the service by the image's command, until it is healthy by the image's check; stop it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    here = {"0.0.0.0": "127.0.0.1", "8080": port}
    command, health = ([at(word, here) for word in words] for words in (stage.command, stage.health))
    with (room / "log").open("wb") as log:
        service = subprocess.Popen(command, cwd=room, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + PATIENCE_S
        while subprocess.run(health, cwd=room, env=env, capture_output=True).returncode != 0:
            if service.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the service does not become healthy:\n{(room / 'log').read_text()}")
            time.sleep(0.2)
    finally:
        service.terminate()
        code = service.wait(PATIENCE_S)
    if code != 0:
        raise SystemExit(f"the service stopped with {code}:\n{(room / 'log').read_text()}")


def size_of(folder: Path) -> int:
    """Return the bytes that the files of a folder take on a disk."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


def main() -> None:
    """Run the checks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dist", type=Path, help="folder with one wheel")
    parser.add_argument("room", type=Path, help="folder to make")
    arguments = parser.parse_args()
    room = arguments.room.resolve()
    shutil.rmtree(room, ignore_errors=True)
    room.mkdir(parents=True)
    venv = room / "venv"
    stages = dockerfile.read()
    moved = {
        "/opt/secateur": str(venv),
        "/requirements-cpu.txt": str(ROOT / "deploy/requirements-cpu.txt"),
        "/wheel": str(arguments.dist.resolve()),
        "HOME=/tmp": f"HOME={room}",
    }
    install(stages, moved)
    env = environment_of(stages["cpu"], moved)
    check_contents(venv / "bin/python", room, env)
    kept = check_pruning(venv / "bin/secateur", room, env)
    check_service(stages["cpu"], room, env)
    sys.stdout.write(f"the wheel prunes without torch: {kept}\n")
    sys.stdout.write(f"the CPU image's environment: {size_of(venv) / 1e6:.0f} MB beside its base\n")


if __name__ == "__main__":
    main()
