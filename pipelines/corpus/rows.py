"""Reading and writing the rows of a corpus: JSON lines, Parquet, or a Hugging Face dataset on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from secateur.labelled.blocks import blocks
from secateur.labelled.json_files import json_lines, write_json_lines
from secateur.labelled.parquet_files import open_parquet
from secateur.labelled.sources import saved_splits
from secateur.models.errors import DataError, InputError, MissingExtraError
from secateur.pipelines.corpus.pruning import Outcome

Row = dict[str, Any]

_LINES = (".jsonl", ".jsonl.gz", ".ndjson")  # endings of JSON lines
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
            DataError: The file cannot be read, or a line is not a JSON object.
        """
        if self.path.name.endswith(_LINES) and self.dataset is None:
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
        DataError: It does not exist, has another format, or several splits.
        MissingExtraError: `datasets` is not installed.
    """
    if path.is_dir():
        splits = saved_splits(path, "data")
        if len(splits) > 1 or "" not in splits:
            raise DataError(f"{path}: has the splits {', '.join(splits)}; give the directory of one of them")
        return Corpus(path, splits[""])
    if path.is_file() and path.name.endswith((*_LINES, ".parquet")):
        return Corpus(path)
    problem = "is neither .jsonl, .jsonl.gz nor .parquet" if path.exists() else "no such file or directory"
    raise DataError(f"{path}: {problem}")


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns to read; None for the first one with a usual name.

    Attributes:
        query: Column of the query.
        passages: Column of a text, or of a list of texts or of objects with ``text`` and optionally ``title`` and
            ``format``.
        title: Column of the passage's title, if the passage is a text; None for no title.
        format: Column of the passage's format, if the passage is a text; None for `auto`, as is null in a row.
        fixed_query: Query for all rows, used instead of a column.
    """

    query: str | None = None
    passages: str | None = None
    title: str | None = None
    format: str | None = None
    fixed_query: str | None = None

    def item(self, row: Row) -> tuple[object, object]:
        """Return a row's query and passages, unchecked; the names must be known, see `find_columns`."""
        passages = row.get(self.passages or "")
        if isinstance(passages, str):
            named = (("title", self.title), ("format", self.format))
            passages = {"text": passages} | {name: row.get(column) for name, column in named if column is not None}
        return (self.fixed_query if self.query is None else row.get(self.query)), passages


def find_columns(corpus: Corpus, columns: Columns, query: str | None) -> Columns:
    """Return the columns with the names in the first row, unless the given query is that of all rows.

    Raises:
        InputError: There is no such column.
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
        format=None if columns.format is None else find(columns.format, (), "--format-column"),
        fixed_query=query,
    )


def form_of(out: Path) -> Literal["lines", "parquet", "dataset"]:
    """Return the format that an output's name stands for.

    Raises:
        InputError: Its ending is unknown.
    """
    if out.name.endswith(_LINES):
        return "lines"
    if out.suffix == ".parquet":
        return "parquet"
    if not out.suffix:
        return "dataset"
    raise InputError("--out", f"{out.name} has an unknown ending", "use .jsonl, .jsonl.gz, .parquet or none")


def _schema(column: str, errors: bool, single: bool, score_only: bool) -> Any:
    """Return the Arrow schema of the new columns."""
    import pyarrow as arrow

    integer, number, text = arrow.int64(), arrow.float64(), arrow.string()
    if score_only:
        unit = arrow.struct({"start": integer, "end": integer, "kind": text, "score": number})
        fields: dict[str, Any] = {"score": number, "format": text, "units": arrow.list_(unit)}
    else:
        spans = arrow.list_(arrow.list_(integer))
        fields = {"text": text, "score": number, "spans": spans, "line_spans": spans, "format": text}
        fields |= {"kept_units": integer, "total_units": integer}
    new = arrow.struct(fields) if single else arrow.list_(arrow.struct({"index": integer} | fields))
    return arrow.schema({column: new} | ({f"{column}_error": text} if errors else {}))


def _tables(corpus: Corpus, added: Iterator[Row], schema: Any, *, given_too: bool) -> Iterator[Any]:
    """Yield Arrow tables with the new columns, after the given ones if they are wanted too."""
    import pyarrow as arrow

    for given in corpus.tables():
        table = arrow.Table.from_pylist(list(islice(added, given.num_rows)), schema=schema)
        if given_too:
            both = arrow.schema([*given.schema, *schema])
            table = arrow.Table.from_arrays([*given.columns, *table.columns], schema=both)
        yield table


def _write_parquet(out: Path, tables: Iterator[Any]) -> None:
    import pyarrow.parquet as parquet

    first = next(tables)
    with parquet.ParquetWriter(out, first.schema) as writer:
        for table in chain([first], tables):
            writer.write_table(table)


def _write_dataset(out: Path, given: Any, path: Path) -> None:
    """Write a dataset of the columns in a Parquet file, beside those of the given dataset, if any."""
    try:
        from datasets import Dataset, concatenate_datasets, disable_progress_bars
        from datasets.exceptions import DatasetsError
    except ImportError as error:
        raise MissingExtraError("datasets", "data") from error

    disable_progress_bars()
    try:
        made = Dataset.from_parquet(str(path), cache_dir=str(path.parent))
        # Existing columns keep features that Arrow does not know, such as the names of classes.
        whole = made if given is None else concatenate_datasets([given, made], axis=1)
        whole.save_to_disk(str(out))
    except DatasetsError as error:  # its own message does not give the reason
        raise DataError(f"{out}: cannot be written ({error.__cause__ or error})") from error


def write(
    out: Path, corpus: Corpus, outcomes: Iterable[Outcome], column: str, *, errors: bool, single: bool, score_only: bool
) -> None:
    """Write the corpus with the outcome of each row in a new column, atomically.

    Args:
        out: Output, replaced at the end; its ending determines the format, see `form_of`.
        corpus: The rows, at least one.
        outcomes: Outcome of each row.
        column: Name of the new column.
        errors: Whether to add a column of errors.
        single: Whether the rows have one passage each.
        score_only: Whether the outcomes are scores.

    Raises:
        DataError: It cannot be written, or the format cannot hold the rows.
    """
    form = form_of(out)
    added: Iterator[Row] = (
        {column: outcome.pruned} | ({f"{column}_error": outcome.error} if errors else {}) for outcome in outcomes
    )
    if form == "lines":
        try:
            write_json_lines(out, (row | more for row, more in zip(corpus.read(), added, strict=True)))
        except TypeError as error:
            raise DataError(f"{out}: JSON cannot hold all columns ({error}); write .parquet") from error
        return
    try:
        import pyarrow as arrow
    except ImportError as error:
        raise MissingExtraError("pyarrow", "data") from error
    given_too = form == "parquet" or corpus.dataset is None
    tables = _tables(corpus, added, _schema(column, errors, single, score_only), given_too=given_too)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # `atomic_path` replaces files only, not the directory of a dataset.
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
            made, path = Path(name) / out.name, Path(name) / "rows.parquet"
            _write_parquet(made if form == "parquet" else path, tables)
            if form == "dataset":
                _write_dataset(made, corpus.dataset, path)
            if out.is_dir():
                out.rename(Path(name) / "old")
            made.rename(out)
    except (OSError, arrow.ArrowException) as error:
        raise DataError(f"{out}: cannot be written ({error})") from error
