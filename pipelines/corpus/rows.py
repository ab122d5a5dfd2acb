"""The rows of a corpus, from JSON lines, Parquet or a Hugging Face dataset on disk, and what is asked of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from secateur.labelled.parquet_files import open_parquet
from secateur.labelled.sources import saved_splits
from secateur.labelled.text_files import filled_lines, parse_json
from secateur.models.errors import DataError, InputError
from secateur.models.requests import PassageLike

Row = dict[str, Any]

_QUERY_NAMES = ("query", "question")
_PASSAGES_NAMES = ("passages", "documents", "contexts", "texts", "passage", "document", "context", "text")
_BATCH = 1024  # rows that are read at once


class Corpus(Protocol):
    """Rows of a dataset, as often as they are asked for."""

    path: Path

    def columns(self) -> list[str]:
        """Return the names of the columns; of JSON lines, those of the first row."""

    def read(self, start: int = 0) -> Iterator[Row]:
        """Yield the rows from one on.

        Raises:
            DataError: one cannot be read; the message names it.
        """


class Lines:
    """JSON lines, gzipped or not, each an object; blank lines are no rows."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def columns(self) -> list[str]:
        """Return the names in the first row."""
        return next((list(row) for row in self.read()), [])

    def read(self, start: int = 0) -> Iterator[Row]:
        """Yield the rows from one on."""
        for number, line in islice(filled_lines(self.path), start, None):
            try:
                row = parse_json(line)
            except ValueError as error:
                raise DataError(f"{self.path}, line {number}: is not JSON ({error})") from error
            if not isinstance(row, dict):
                raise DataError(f"{self.path}, line {number}: is not an object")
            yield row


class Tables:
    """Data in Arrow's form: a Parquet file, or a dataset that `datasets` saved to disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def dataset(self) -> Any:
        """The Hugging Face dataset; None for a Parquet file.

        Raises:
            DataError: there is none, or it has several splits.
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
        """Yield the rows from one on."""
        with _reading(self.path):
            done = 0
            for table in self.tables():
                if done + table.num_rows > start:
                    yield from table.slice(max(0, start - done)).to_pylist()
                done += table.num_rows


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn Arrow's errors into ours."""
    try:
        yield
    except (OSError, ValueError, OverflowError) as error:  # pyarrow's are ValueErrors; odd dates overflow
        raise DataError(f"{path}: cannot be read ({error})") from error


def open_corpus(path: Path) -> Corpus:
    """Open a corpus.

    Args:
        path: ``.jsonl`` or ``.jsonl.gz``, ``.parquet``, or a directory that `datasets` wrote by ``save_to_disk``.

    Raises:
        DataError: it is not there, or of another kind.
    """
    if path.name.endswith((".jsonl", ".jsonl.gz", ".ndjson")) and path.is_file():
        return Lines(path)
    if (path.suffix == ".parquet" and path.is_file()) or path.is_dir():
        return Tables(path)
    problem = "is neither .jsonl, .jsonl.gz nor .parquet" if path.exists() else "no such file or directory"
    raise DataError(f"{path}: {problem}")


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a row has what is asked; None: the first column with a usual name.

    Attributes:
        query: the question.
        passages: a text, or a list of texts or of objects with ``text`` and perhaps ``title``.
        title: of the passage, where that is a text.
    """

    query: str | None = None
    passages: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """The columns of one corpus.

    Attributes:
        query: name of the query's column; None where one query is asked of all rows.
        passages: name of the passages' column.
        title: name of the title's column, if there is one.
        fixed: the query that is asked of all rows.
    """

    query: str | None
    passages: str
    title: str | None
    fixed: str | None

    def of(self, row: Row) -> tuple[object, object]:
        """Return a row's query and passages, not yet checked: a text, or a list."""
        passages = row.get(self.passages)
        if self.title is not None and isinstance(passages, str):
            passages = {"text": passages, "title": row.get(self.title)}
        return (self.fixed if self.query is None else row.get(self.query)), passages


def _column(corpus: Corpus, there: list[str], wanted: str | None, usual: tuple[str, ...], flag: str) -> str:
    found = wanted if wanted is not None else next((name for name in usual if name in there), None)
    if found in there:
        return found
    named = f"no column {wanted!r}" if wanted is not None else f"none of the columns {', '.join(usual)}"
    raise InputError(flag, f"{corpus.path} has {named}", f"it has {', '.join(there) or 'no rows'}; name one of them")


def find_columns(corpus: Corpus, columns: Columns, query: str | None) -> Asked:
    """Return the columns that are meant.

    Args:
        corpus: that has them.
        columns: as the user names them.
        query: to ask of all rows instead of a column's.

    Raises:
        InputError: there is no such column.
    """
    there = corpus.columns()
    return Asked(
        query=None if query is not None else _column(corpus, there, columns.query, _QUERY_NAMES, "--query-column"),
        passages=_column(corpus, there, columns.passages, _PASSAGES_NAMES, "--passages-column"),
        title=None if columns.title is None else _column(corpus, there, columns.title, (), "--title-column"),
        fixed=query,
    )


def as_passages(value: object) -> tuple[list[PassageLike], bool]:
    """Return a row's passages as a list, and whether it was a single one.

    Raises:
        InputError: it is neither a text nor a list.
    """
    if isinstance(value, str | Mapping):
        return [value], True
    if isinstance(value, list):
        return value, False
    raise InputError("passages", f"{value!r:.60} is neither a text nor a list", "give one of them")
