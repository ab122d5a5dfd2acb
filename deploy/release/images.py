"""Pins the images that others publish by their digests, and tells which are not pinned.

    python deploy/release/images.py pin     asks the registries, by docker, and writes NAME:TAG@sha256:DIGEST
    python deploy/release/images.py check   fails when an image has no digest; a release is not made then

A tag may mean another image tomorrow; a digest is one image for ever. Pinning again takes the tags' images of today.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
# In each file an image is what follows these words; our own, which are built here, have no version.
FILES = {
    "deploy/Dockerfile": r"^ARG \w+_IMAGE=",
    "docker-compose.yml": r"^ +image: ",
    ".github/workflows/ci.yml": r"^ +container: ",
}
_IMAGE = r"(?P<name>[\w./-]+:[\w.-]*\d[\w.-]*)(?P<digest>@sha256:[0-9a-f]{64})?"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def _pattern(before: str) -> re.Pattern[str]:
    return re.compile(f"(?P<before>{before}){_IMAGE}(?=[ \n])", re.MULTILINE)


def images(root: Path = ROOT) -> Iterator[tuple[str, str, str | None]]:
    """Yield for each image of others its file, its name with the tag, and its digest if it has one."""
    for file, before in FILES.items():
        for found in _pattern(before).finditer((root / file).read_text(encoding="utf-8")):
            yield file, found["name"], found["digest"]


def digest_of(name: str) -> str:
    """Return the digest of an image, of all its platforms together.

    Raises:
        SystemExit: The registry does not tell it.
    """
    command = ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", name]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise SystemExit("docker is not installed; it is what asks the registries") from None
    digest = done.stdout.strip()
    if done.returncode != 0 or not _DIGEST.fullmatch(digest):
        raise SystemExit(f"{name}: its digest cannot be had ({(done.stderr.strip() or digest)[:300]})")
    return digest


def pin(root: Path = ROOT) -> None:
    """Write the digests of all images; nothing is written unless all could be had."""
    digests = {name: digest_of(name) for name in sorted({name for _, name, _ in images(root)})}
    for file, before in FILES.items():
        path = root / file
        text = path.read_text(encoding="utf-8")
        path.write_text(
            _pattern(before).sub(
                lambda found: f"{found['before']}{found['name']}@{digests[found['name']]}",
                text,
            ),
            encoding="utf-8",
        )


def main() -> None:
    """Pin, or check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("pin", "check"))
    if parser.parse_args().what == "pin":
        pin()
    found = list(images())
    loose = [f"{file}: {name} has no digest; run: make pin\n" for file, name, digest in found if digest is None]
    sys.stdout.write("".join(loose) or f"all {len(found)} images are pinned by their digests\n")
    sys.exit(1 if loose else 0)


if __name__ == "__main__":
    main()
