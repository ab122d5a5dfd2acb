"""Texts to measure with: a folder with one sub-folder of files for each kind of text.

The published tables were made with files of a machine: READMEs of Python and npm packages (``markdown``), their HTML
documentation and that of Debian packages (``html``), sources in Python and JavaScript (``code``), files of ``/var/log``
and the output of git, pytest, ruff, ls, ps, dpkg and man (``logs``), JSON files of packages (``json``), and passages
of the development data (``prose``).
"""

from __future__ import annotations

import random
from pathlib import Path

from secateur.models.errors import DataError

FORMATS = {"prose": "text", "markdown": "markdown", "html": "html", "code": "lines", "logs": "lines", "json": "json"}
"""Sub-folders, with the format of the texts in them."""
_SEED = 7


def read_texts(folder: Path, kind: str, longest: int | None = None) -> list[str]:
    """Read the files of one kind in a random order that is the same every time.

    Args:
        folder: Folder with one sub-folder for each kind.
        kind: Name of the sub-folder.
        longest: Most characters of a text; longer ones are left out.

    Raises:
        DataError: There is none.
    """
    files = [path for path in sorted((folder / kind).rglob("*")) if path.is_file()]
    texts = [text for path in files if (text := path.read_text(encoding="utf-8")).strip()]
    found = [text for text in texts if longest is None or len(text) <= longest]
    if not found:
        raise DataError(f"{folder / kind}: no text to measure with; put UTF-8 files there")
    random.Random(_SEED).shuffle(found)
    return found
