"""What tells a file or a directory from others: the SHA-256 of its content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from secateur.labelled.text_files import open_binary
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

    A file in a directory that cannot be read counts as such: those who read the directory leave it out, too.

    Raises:
        DataError: a path is not there, or is a file that cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        inside = path.is_dir()
        for file in files_of(path):
            name = os.fsencode(file.relative_to(path)) if inside else b"."
            try:
                with open_binary(file, regular=True) as content:
                    found = hashlib.file_digest(content, "sha256").hexdigest()
            except OSError as error:
                if not inside:
                    raise DataError(f"{file}: cannot be read ({error})") from error
                found = "unreadable"
            digest.update(name + b"\0" + found.encode() + b"\n")
    return digest.hexdigest()
