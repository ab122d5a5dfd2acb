"""Fingerprints of files and directories: the SHA-256 of their content. Caches and indexes use them as keys."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from secateur.labelled.text_files import open_binary
from secateur.models.errors import DataError


def fingerprint(*paths: Path) -> str:
    """Return the SHA-256 of the content of files and directories (with the file names there), in hexadecimal.

    An unreadable file in a directory counts as unreadable, because readers of the directory skip it.

    Raises:
        DataError: A path does not exist, or is a file that cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        inside = path.is_dir()
        for file in sorted(one for one in path.rglob("*") if one.is_file()) if inside else [path]:
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
