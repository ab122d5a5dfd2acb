"""Writes what the images install, with the hashes of all files: `python deploy/release/lock.py`.

For each image a file `deploy/requirements-IMAGE.txt`: the dependencies of the extras that it has, at the versions of
constraints.txt. It needs `uv` and the network. `pip install --require-hashes` then takes nothing else, whatever an
index serves.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXTRAS = {"cpu": ("cpu", "serve", "redis", "otel"), "gpu": ("gpu", "serve", "redis", "otel"), "build": ()}
PYTHON = "3.11.5"  # the images have at least that
_HEAD = "# Written by `python deploy/release/lock.py` (make lock), from pyproject.toml and constraints.txt.\n"


def wanted(image: str) -> list[str]:
    """Return the requirements of an image as pyproject.toml has them; those of `build` build the wheel."""
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    if image == "build":
        return list(content["build-system"]["requires"])
    project = content["project"]
    return [
        *project["dependencies"],
        *(one for extra in EXTRAS[image] for one in project["optional-dependencies"][extra]),
    ]


def path(image: str) -> Path:
    """Return where an image's requirements are."""
    return ROOT / f"deploy/requirements-{image}.txt"


def lock(image: str) -> str:
    """Return all packages of an image, each with its version and the hashes of its files."""
    options = ["--generate-hashes", "--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"]
    target = [f"--python-version={PYTHON}", "--python-platform=x86_64-unknown-linux-gnu"]
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "uv"),
            "pip",
            "compile",
            "-",
            "--no-config",
            "--quiet",
            f"--constraint={ROOT / 'constraints.txt'}",
            *options,
            *target,
        ],
        input="\n".join(wanted(image)),
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise SystemExit(f"{image}: uv cannot resolve it:\n{done.stderr}")
    return _HEAD + done.stdout


def main() -> None:
    """Write the files."""
    for image in EXTRAS:
        path(image).write_text(lock(image), encoding="utf-8")


if __name__ == "__main__":
    main()
