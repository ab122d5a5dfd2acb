"""Fingerprints of files and directories: the SHA-256 of their content. Caches and indexes use them as keys."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from secateur.labelled.text_files import open_binary
from secateur.models.errors import DataError


def files_of(path: Path) -> Iterator[Path]:
    """Yield the files of a path: the file itself, or all files below a directory, sorted by name.

    Raises:
        DataError: The path does not exist.
    """
    if path.is_dir():
        yield from sorted(one for one in path.rglob("*") if one.is_file())
    elif path.is_file():
        yield path
    else:
        raise DataError(f"{path}: no such file or directory")


def fingerprint(*paths: Path) -> str:
    """Return the SHA-256 of the content of files and directories (with the file names there), in hexadecimal.

    An unreadable file in a directory counts as unreadable, because readers of the directory skip it.

    Raises:
        DataError: A path does not exist, or is a file that cannot be read.
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
