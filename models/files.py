"""Writing whole files, so that no half of one is ever read."""

from __future__ import annotations

import tempfile
from pathlib import Path

from secateur.models.errors import DataError


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that at any time either the old or the whole new content stands under its name.

    Lone surrogates, which can come out of JSON and cannot be encoded, are written as question marks.

    Raises:
        DataError: it cannot be written.
    """
    partial: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own for each writer: two runs may share a cache.
        with tempfile.NamedTemporaryFile(
            "w",
            encoding="utf-8",
            errors="replace",
            dir=path.parent,
            prefix=f".{path.name}.",
            suffix=".partial",
            delete=False,
        ) as file:
            partial = Path(file.name)
            file.write(text)
        partial.chmod(0o644)  # temporary files are private, reports are not
        partial.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error})") from error
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)
