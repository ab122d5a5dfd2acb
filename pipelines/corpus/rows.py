"""The rows of a corpus (JSON lines, Parquet, or a Hugging Face dataset on disk), and the query and passages of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.labelled.blocks import blocks
from secateur.labelled.json_files import json_lines
from secateur.labelled.parquet_files import open_parquet
from secateur.labelled.sources import saved_splits
from secateur.models.errors import DataError, InputError

Row = dict[str, Any]

LINES = (".jsonl", ".jsonl.gz", ".ndjson")  # endings of JSON lines
_QUERY_NAMES = ("query", "question")
_PASSAGES_NAMES = ("passages", "documents", "contexts", "texts", "passage", "document", "context", "text")
_BATCH = 1024  # rows that are read at once
_TABLE = 8192  # rows of a table made of JSON lines


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus on disk, with its Hugging Face dataset if it is not a file; see `open_corpus`."""

    path: Path
    dataset: Any = None

    def read(self) -> Iterator[Row]:
        """Yield the rows. Blank lines are skipped.

        Raises:
            DataError: the file cannot be read, or a line is not a JSON object.
        """
        if self.path.name.endswith(LINES) and self.dataset is None:
            for number, row in json_lines(self.path):
                if not isinstance(row, dict):
                    raise DataError(f"{self.path}, line {number}: is not an object")
                yield row
            return
        try:
            for table in self.tables():
                yield from table.to_pylist()
        except (OSError, ValueError, OverflowError) as error:  # pyarrow's are ValueErrors; extreme dates overflow
            raise DataError(f"{self.path}: cannot be read ({error})") from error

    def tables(self) -> Iterator[Any]:
        """Yield the rows as Arrow tables with one schema."""
        import pyarrow as arrow

        if self.dataset is not None:
            rows = self.dataset.with_format("arrow")
            yield from (rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH))
        elif self.path.suffix == ".parquet":
            with open_parquet(self.path, "data", _BATCH) as opened:
                for batch in opened.batches():
                    yield arrow.Table.from_batches([batch])
        else:
            schema = arrow.schema([])
            for block in blocks(self.read(), _TABLE):
                # Arrow takes the columns from the first row alone.
                names = dict.fromkeys(name for row in block for name in row)
                found = arrow.Table.from_pylist([{name: row.get(name) for name in names} for row in block]).schema
                schema = arrow.unify_schemas([schema, found], promote_options="permissive")
            for block in blocks(self.read(), _TABLE):
                yield arrow.Table.from_pylist(block, schema=schema)


def open_corpus(path: Path) -> Corpus:
    """Open a corpus.

    Args:
        path: ``.jsonl`` or ``.jsonl.gz``, ``.parquet``, or a directory that `datasets` wrote by ``save_to_disk``.

    Raises:
        DataError: it does not exist, has another format, or several splits.
        MissingExtraError: `datasets` is not installed.
    """
    if path.is_dir():
        splits = saved_splits(path, "data")
        if len(splits) > 1 or "" not in splits:
            raise DataError(f"{path}: has the splits {', '.join(splits)}; give the directory of one of them")
        return Corpus(path, splits[""])
    if path.is_file() and path.name.endswith((*LINES, ".parquet")):
        return Corpus(path)
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
    """Return the columns with the names in the first row, unless the given query is that of all rows.

    Raises:
        InputError: there is no such column.
    """
    existing = next(corpus.read(), {})

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
