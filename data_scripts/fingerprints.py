"""What tells a file or a directory from others: the SHA-256 of its content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from secateur.models.errors import DataError


def files_of(path: Path) -> Iterator[Path]:
    """Yield the files that a path means: itself, or all those under a directory, by name.

    Raises:
        DataError: it is not there.
    """
    if path.is_dir():
        yield from sorted(one for one in path.rglob("*") if one.is_file())
    elif path.is_file():
        yield path
    else:
        raise DataError(f"{path}: no such file or directory")


def fingerprint(*paths: Path) -> str:
    """Return the SHA-256 of files and directories, in hexadecimal: of their bytes, and of the names in directories.

    Raises:
        DataError: one is not there, or cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        for file in files_of(path):
            name = file.relative_to(path) if path.is_dir() else Path()
            try:
                with file.open("rb") as content:
                    digest.update(f"{name}\0{hashlib.file_digest(content, 'sha256').hexdigest()}\n".encode())
            except OSError as error:
                raise DataError(f"{file}: cannot be read ({error})") from error
    return digest.hexdigest()
