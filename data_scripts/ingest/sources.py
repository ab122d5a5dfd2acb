"""What is read and how: the columns that are meant, the files of a directory, and what is left out of them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from secateur.labelled.text_files import MIB, Limits, parse_json, read_text
from secateur.models.errors import DataError, shown

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
# A line or a text is held in memory and hashed as one document.
DEFAULT_LIMITS = Limits(line=64 * MIB)
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


class Unreadable(Exception):
    """A file or a row cannot become a document.

    Args:
        reason: short and the same for all of its kind.
        detail: what exactly is wrong, and how to fix it.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Found:
    """A file, or a directory that is read as one.

    Attributes:
        path: where it is.
        name: its path relative to the source that was given, with ``/``; bytes that are not UTF-8 are replaced.
        kind: how it is read.
        beir: whether it is the corpus of a BEIR directory.
        named: whether the user gave it by name. It may be a pipe then; files found in directories may not.
    """

    path: Path
    name: str
    kind: Kind
    beir: bool = False
    named: bool = False


def _kind(path: Path) -> Kind:
    name = path.name.lower().removesuffix(".gz")
    kind = _KINDS.get(Path(name).suffix, "unknown")
    zipped = path.name.lower().endswith(".gz")
    return kind if not zipped or kind == "lines" else "unknown"


def _readable(name: str) -> str:
    """Return a file's name as valid text."""
    return os.fsencode(name).decode("utf-8", "replace")


def _is_beir(directory: Path) -> bool:
    return (directory / "corpus.jsonl").is_file() and (
        (directory / "queries.jsonl").is_file() or (directory / "qrels").is_dir()
    )


def _refused(path: Path, root: str) -> LeftOut | None:
    """Return why a file in a directory is not opened; None where it may be.

    Args:
        path: of the file.
        root: real path of the directory that the user gave.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:  # a broken link, a loop of links, or a file that has gone
        return LeftOut(str(path), "cannot be read", error.strerror or str(error))
    if not stat.S_ISREG(mode):
        return LeftOut(str(path), "not a regular file", "it is a pipe, a socket or a device")
    real = os.path.realpath(path)
    if os.path.commonpath((root, real)) != root:
        return LeftOut(str(path), "link out of the directory", f"it leads to {real}; give that file itself")
    return None


def _dataset(directory: Path, name: str, root: str) -> Found | LeftOut:
    """Return a saved dataset, or why it is not read: each of its files must be inside of it."""
    for where, _, files in os.walk(directory):
        for file in files:
            path = Path(where, file)
            refused = _refused(path, root)
            if refused is not None:
                return LeftOut(str(directory), refused.reason, f"{file}: {refused.detail}")
            if file == "state.json":
                try:
                    content = parse_json(read_text(path))
                    shards = [shard["filename"] for shard in content["_data_files"]]
                except (DataError, ValueError, TypeError, KeyError) as error:
                    return LeftOut(str(directory), "cannot be read", f"{file}: {type(error).__name__}: {error}")
                outside = [shard for shard in shards if not isinstance(shard, str) or Path(shard).name != shard]
                if outside:
                    detail = f"{file} names the file {shown(outside[0])}, which is not in the same directory"
                    return LeftOut(str(directory), "link out of the directory", detail)
    return Found(directory, name, "dataset")


def _walk(root: Path) -> Iterator[Found | LeftOut]:
    real_root = os.path.realpath(root)
    # A stack of our own: os.walk recurses, and directories can nest deeper than Python can.
    stack = [root]
    while stack:
        directory = stack.pop()
        name = _readable(directory.relative_to(root).as_posix())
        if any((directory / mark).is_file() for mark in _DATASET_MARKS):
            yield _dataset(directory, _readable(root.name) if name == "." else name, real_root)
            continue
        if _is_beir(directory):
            corpus = directory / "corpus.jsonl"
            beir = Found(corpus, _readable(corpus.relative_to(root).as_posix()), "lines", beir=True)
            yield _refused(corpus, real_root) or beir
            continue
        try:
            with os.scandir(directory) as scanned:
                # The order of a file system is no order. Files whose names begin with a dot are not meant.
                entries = sorted((one for one in scanned if not one.name.startswith(".")), key=lambda one: one.name)
        except OSError as error:
            yield LeftOut(str(directory), "cannot be read", error.strerror or str(error))
            continue
        below = []
        for entry in entries:
            path = Path(entry.path)
            if entry.is_dir(follow_symlinks=False):
                below.append(path)
            elif path.is_dir():
                yield LeftOut(str(path), "link to a directory", "such links are not followed; give its target itself")
            else:
                found = Found(path, _readable(path.relative_to(root).as_posix()), _kind(path))
                yield _refused(path, real_root) or found
        stack.extend(reversed(below))


def find(source: Path) -> Iterator[Found | LeftOut]:
    """Yield the files that a source means, in an order that stays, and what in a directory is not opened.

    Args:
        source: a file, a pipe, or a directory, which is walked. A directory written by ``save_to_disk`` of `datasets`,
            and one in BEIR's layout, count as one file. In a directory, links to directories are not followed; links
            to files outside of it, pipes, sockets and devices are left out.

    Raises:
        DataError: it is not there, or is a device or a socket.
    """
    if source.is_dir():
        yield from _walk(source)
    elif source.is_file() or source.is_fifo():
        kind = _kind(source)
        # What is named is meant, whatever its ending.
        yield Found(source, _readable(source.name), "text" if kind == "unknown" else kind, named=True)
    elif source.exists():
        raise DataError(f"{source}: is a device or a socket; give a file, a pipe or a directory")
    else:
        raise DataError(f"{source}: no such file or directory")
