"""The rows of a corpus (JSON lines, Parquet, or a Hugging Face dataset on disk), and the query and passages of each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from secateur.labelled.json_files import json_lines
from secateur.labelled.parquet_files import open_parquet
from secateur.labelled.sources import saved_splits
from secateur.models.errors import DataError, InputError

Row = dict[str, Any]

_QUERY_NAMES = ("query", "question")
_PASSAGES_NAMES = ("passages", "documents", "contexts", "texts", "passage", "document", "context", "text")
_BATCH = 1024  # rows that are read at once


class Lines:
    """JSON lines, gzipped or not, each an object. Blank lines are skipped."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def columns(self) -> list[str]:
        """Return the names in the first row."""
        return next((list(row) for row in self.read()), [])

    def read(self, start: int = 0) -> Iterator[Row]:
        """Yield the rows from the given one.

        Raises:
            DataError: a line is not a JSON object.
        """
        for number, row in islice(json_lines(self.path), start, None):
            if not isinstance(row, dict):
                raise DataError(f"{self.path}, line {number}: is not an object")
            yield row


class Tables:
    """Data in Arrow's format: a Parquet file, or a dataset that `datasets` saved to disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def dataset(self) -> Any:
        """The Hugging Face dataset; None for a Parquet file.

        Raises:
            DataError: the directory holds no dataset, or several splits.
            MissingExtraError: `datasets` is not installed.
        """
        if self.path.is_file():
            return None
        splits = saved_splits(self.path, "data")
        if len(splits) > 1 or "" not in splits:
            raise DataError(f"{self.path}: has the splits {', '.join(splits)}; give the directory of one of them")
        return splits[""]

    def columns(self) -> list[str]:
        """Return the names of the columns."""
        with _reading(self.path):
            if self.dataset is not None:
                return list(self.dataset.features.arrow_schema.names)
            with open_parquet(self.path, "data") as opened:
                return list(opened.file.schema_arrow.names)

    def tables(self) -> Iterator[Any]:
        """Yield all rows as Arrow tables."""
        import pyarrow

        if self.dataset is None:
            with open_parquet(self.path, "data", _BATCH) as opened:
                for batch in opened.batches():
                    yield pyarrow.Table.from_batches([batch])
        else:
            rows = self.dataset.with_format("arrow")
            yield from (rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH))

    def read(self, start: int = 0) -> Iterator[Row]:
        """Yield the rows from the given one.

        Raises:
            DataError: the file cannot be read.
        """
        with _reading(self.path):
            done = 0
            for table in self.tables():
                if done + table.num_rows > start:
                    yield from table.slice(max(0, start - done)).to_pylist()
                done += table.num_rows


Corpus = Lines | Tables


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn Arrow's errors into ours."""
    try:
        yield
    except (OSError, ValueError, OverflowError) as error:  # pyarrow's are ValueErrors; extreme dates overflow
        raise DataError(f"{path}: cannot be read ({error})") from error


def open_corpus(path: Path) -> Corpus:
    """Open a corpus.

    Args:
        path: ``.jsonl`` or ``.jsonl.gz``, ``.parquet``, or a directory that `datasets` wrote by ``save_to_disk``.

    Raises:
        DataError: it does not exist, or has another format.
    """
    if path.name.endswith((".jsonl", ".jsonl.gz", ".ndjson")) and path.is_file():
        return Lines(path)
    if (path.suffix == ".parquet" and path.is_file()) or path.is_dir():
        return Tables(path)
    problem = "is neither .jsonl, .jsonl.gz nor .parquet" if path.exists() else "no such file or directory"
    raise DataError(f"{path}: {problem}")


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns to read; None for the first one with a usual name.

    Attributes:
        query: Column of the query.
        passages: Column of a text, or of a list of texts or of objects with ``text`` and optionally ``title``.
        title: Column of the passage's title, if the passage is a text; None for no title.
        fixed_query: Query for all rows, used instead of a column.
    """

    query: str | None = None
    passages: str | None = None
    title: str | None = None
    fixed_query: str | None = None

    def item(self, row: Row) -> tuple[object, object]:
        """Return a row's query and passages, unchecked; the names must be known, see `find_columns`."""
        passages = row.get(self.passages or "")
        if self.title is not None and isinstance(passages, str):
            passages = {"text": passages, "title": row.get(self.title)}
        return (self.fixed_query if self.query is None else row.get(self.query)), passages


def find_columns(corpus: Corpus, columns: Columns, query: str | None) -> Columns:
    """Return the columns with the names that the corpus has.

    Args:
        corpus: The corpus.
        columns: Columns named by the user.
        query: Query for all rows.

    Raises:
        InputError: there is no such column.
    """
    existing = corpus.columns()

    def find(wanted: str | None, usual: tuple[str, ...], flag: str) -> str:
        found = wanted if wanted is not None else next((name for name in usual if name in existing), None)
        if found in existing:
            return found
        problem = f"no column {wanted!r}" if wanted is not None else f"none of the columns {', '.join(usual)}"
        hint = f"it has {', '.join(existing) or 'no rows'}; name one of them"
        raise InputError(flag, f"{corpus.path} has {problem}", hint)

    return Columns(
        query=None if query is not None else find(columns.query, _QUERY_NAMES, "--query-column"),
        passages=find(columns.passages, _PASSAGES_NAMES, "--passages-column"),
        title=None if columns.title is None else find(columns.title, (), "--title-column"),
        fixed_query=query,
    )
