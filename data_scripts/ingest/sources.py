"""What is read and how: the columns that are meant, the files of a directory, and what is left out of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from secateur.models.errors import DataError

Kind = Literal["text", "markdown", "html", "pdf", "lines", "csv", "parquet", "dataset", "unknown"]

_KINDS: dict[str, Kind] = {
    ".txt": "text",
    ".text": "text",
    ".rst": "text",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
_DATASET_MARKS = ("dataset_info.json", "dataset_dict.json", "state.json")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something that does not become a document.

    Attributes:
        where: the file, and the line or row.
        reason: short and the same for all of its kind; they are counted by it.
        detail: what exactly is wrong.
    """

    where: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a table are meant; None: the first that bears a usual name."""

    id: str | None = None
    title: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A file, or a directory that is read as one.

    Attributes:
        path: where it is.
        name: its path relative to the source that was given, with ``/``.
        kind: how it is read.
        beir: whether it is the corpus of a BEIR directory.
    """

    path: Path
    name: str
    kind: Kind
    beir: bool = False


def _kind(path: Path) -> Kind:
    name = path.name.lower().removesuffix(".gz")
    kind = _KINDS.get(Path(name).suffix, "unknown")
    zipped = path.name.lower().endswith(".gz")
    return kind if not zipped or kind == "lines" else "unknown"


def _is_beir(directory: Path) -> bool:
    return (directory / "corpus.jsonl").is_file() and (
        (directory / "queries.jsonl").is_file() or (directory / "qrels").is_dir()
    )


def _walk(root: Path) -> Iterator[Found]:
    for where, directories, files in os.walk(root):
        directory = Path(where)
        name = directory.relative_to(root).as_posix()
        if any((directory / mark).is_file() for mark in _DATASET_MARKS):
            directories.clear()
            yield Found(directory, root.name if name == "." else name, "dataset")
            continue
        if _is_beir(directory):
            directories.clear()
            corpus = directory / "corpus.jsonl"
            yield Found(corpus, corpus.relative_to(root).as_posix(), "lines", beir=True)
            continue
        # The order of a file system is no order. Files whose names begin with a dot are not meant.
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        for file in sorted(files):
            if not file.startswith("."):
                path = directory / file
                yield Found(path, path.relative_to(root).as_posix(), _kind(path))


def find(source: Path) -> Iterator[Found]:
    """Yield the files that a source means, in an order that stays.

    Args:
        source: a file, or a directory, which is walked; links to directories are not followed. A directory written by
            ``save_to_disk`` of `datasets`, and one in BEIR's layout, count as one file.

    Raises:
        DataError: it is not there.
    """
    if source.is_dir():
        yield from _walk(source)
    elif source.is_file():
        kind = _kind(source)
        # What is named is meant, whatever its ending.
        yield Found(source, source.name, "text" if kind == "unknown" else kind)
    else:
        raise DataError(f"{source}: no such file or directory")
