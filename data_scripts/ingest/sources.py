"""Finding the files of a source, their formats, and those that are not opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from secateur.labelled.json_files import read_json
from secateur.labelled.sources import DATASET_MARKS
from secateur.labelled.text_files import MIB, Limits
from secateur.models.errors import DataError, shown

Kind = Literal["text", "markdown", "html", "pdf", "lines", "csv", "parquet", "dataset", "unknown"]

_SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "text": (".txt", ".text", ".rst"),
    "markdown": (".md", ".markdown"),
    "html": (".html", ".htm", ".xhtml"),
    "pdf": (".pdf",),
    "lines": (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz"),
    "csv": (".csv", ".tsv"),
    "parquet": (".parquet",),
}
DOCUMENT_LIMITS = Limits(line=64 * MIB)  # a line or a text is held in memory and hashed as one document


class LeftOut(Exception):
    """Something that does not become a document, raised or yielded by readers; it is counted by its short reason."""

    def __init__(self, reason: str, detail: str = "", where: str = "") -> None:
        super().__init__(reason, detail, where)
        self.reason = reason
        self.detail = detail
        self.where = where


@dataclass(frozen=True, slots=True)
class Columns:
    """Column names of tables; None: the first column with a usual name."""

    id: str | None = None
    title: str | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A file, or a directory that is read as one file.

    Attributes:
        name: Its path relative to the source, with ``/``; bytes that are not UTF-8 are replaced.
        beir: Whether it is the corpus of a BEIR directory.
        named: Whether the user named it. Only then may it be a pipe.
    """

    path: Path
    name: str
    kind: Kind
    beir: bool = False
    named: bool = False


def _kind(path: Path) -> Kind:
    name = path.name.lower()
    return next((kind for kind, suffixes in _SUFFIXES.items() if name.endswith(suffixes)), "unknown")


def _readable(name: str) -> str:
    """Return a file name as valid text."""
    return os.fsencode(name).decode("utf-8", "replace")


def _refused(path: Path, root: str) -> LeftOut | None:
    """Return why a file in a source directory, given by its real path, is not opened; None for one that is."""
    try:
        mode = path.stat().st_mode
    except OSError as error:  # a broken link, a loop of links, or a file that has vanished
        return LeftOut("cannot be read", error.strerror or str(error), str(path))
    if not stat.S_ISREG(mode):
        return LeftOut("not a regular file", "it is a pipe, a socket or a device", str(path))
    real = os.path.realpath(path)
    if os.path.commonpath((root, real)) != root:
        return LeftOut("link out of the directory", f"it leads to {real}; name that file as a source", str(path))
    return None


def _dataset(directory: Path, name: str, root: str) -> Found | LeftOut:
    """Return a saved dataset, or why it is not read: all of its files must be in its directory."""
    for where, _, files in os.walk(directory):
        for file in files:
            path = Path(where, file)
            refused = _refused(path, root)
            if refused is not None:
                return LeftOut(refused.reason, f"{file}: {refused.detail}", str(directory))
            if file == "state.json":
                try:
                    shards = [shard["filename"] for shard in read_json(path)["_data_files"]]
                except (DataError, TypeError, KeyError) as error:
                    return LeftOut("cannot be read", f"{file}: {type(error).__name__}: {error}", str(directory))
                outside = [shard for shard in shards if not isinstance(shard, str) or Path(shard).name != shard]
                if outside:
                    detail = f"{file} lists the file {shown(outside[0])}, which is not in the same directory"
                    return LeftOut("link out of the directory", detail, str(directory))
    return Found(directory, name, "dataset")


def _walk(root: Path) -> Iterator[Found | LeftOut]:
    real_root = os.path.realpath(root)
    # An explicit stack: os.walk recurses, and directories can be nested deeper than Python's recursion limit.
    stack = [root]
    while stack:
        directory = stack.pop()
        name = _readable(directory.relative_to(root).as_posix())
        if any((directory / mark).is_file() for mark in DATASET_MARKS):
            yield _dataset(directory, _readable(root.name) if name == "." else name, real_root)
            continue
        corpus = directory / "corpus.jsonl"
        if corpus.is_file() and ((directory / "queries.jsonl").is_file() or (directory / "qrels").is_dir()):
            beir = Found(corpus, _readable(corpus.relative_to(root).as_posix()), "lines", beir=True)
            yield _refused(corpus, real_root) or beir
            continue
        try:
            with os.scandir(directory) as scanned:
                # Sorted, since file systems have no order; names that begin with a dot are hidden files.
                entries = sorted((one for one in scanned if not one.name.startswith(".")), key=lambda one: one.name)
        except OSError as error:
            yield LeftOut("cannot be read", error.strerror or str(error), str(directory))
            continue
        below = []
        for entry in entries:
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                below.append(path)
            elif path.is_dir():
                yield LeftOut("link to a directory", "it is not followed; name its target as a source", str(path))
            else:
                found = Found(path, _readable(path.relative_to(root).as_posix()), _kind(path))
                yield _refused(path, real_root) or found
        stack.extend(reversed(below))


def find(source: Path) -> Iterator[Found | LeftOut]:
    """Yield the files of a source in a fixed order, and what in a directory is not opened.

    A directory written by ``save_to_disk`` of `datasets` or in BEIR's layout counts as one file. In a directory, links
    to directories are not followed; links to files outside of it, pipes, sockets and devices are left out.

    Raises:
        DataError: The source does not exist, or is a device or a socket.
    """
    if source.is_dir():
        yield from _walk(source)
    elif source.is_file() or source.is_fifo():
        kind = _kind(source)
        # A file that the user names is read whatever its suffix.
        yield Found(source, _readable(source.name), "text" if kind == "unknown" else kind, named=True)
    elif source.exists():
        raise DataError(f"{source}: is a device or a socket; use a file, a pipe or a directory")
    else:
        raise DataError(f"{source}: no such file or directory")
