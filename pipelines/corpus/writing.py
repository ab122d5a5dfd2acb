"""A corpus with the outcomes as one more column, as JSON lines, Parquet or a Hugging Face dataset on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from secateur.labelled.blocks import blocks
from secateur.labelled.json_files import write_json_lines
from secateur.models.errors import DataError, InputError, MissingExtraError
from secateur.pipelines.corpus.pruning import Outcome
from secateur.pipelines.corpus.rows import Corpus, Row, Tables

Form = Literal["lines", "parquet", "dataset"]

_ROWS = 8192  # of a Parquet row group

Outcomes = Callable[[], Iterator[Outcome]]


def form_of(out: Path) -> Form:
    """Return what a path is to hold, by its name.

    Raises:
        InputError: it has another ending.
    """
    if out.name.endswith((".jsonl", ".jsonl.gz", ".ndjson")):
        return "lines"
    if out.suffix == ".parquet":
        return "parquet"
    if not out.suffix:
        return "dataset"
    raise InputError("--out", f"{out.name} has no ending that is known", "say .jsonl, .jsonl.gz, .parquet or none")


def _added(outcome: Outcome, column: str, errors: bool) -> Row:
    added: Row = {column: outcome.pruned}
    return {**added, f"{column}_error": outcome.error} if errors else added


def _rows(corpus: Corpus, outcomes: Iterator[Outcome], column: str, errors: bool) -> Iterator[Row]:
    for row, outcome in zip(corpus.read(), outcomes, strict=True):
        yield row | _added(outcome, column, errors)


def _added_schema(column: str, errors: bool, single: bool, score_only: bool) -> Any:
    import pyarrow as arrow

    fields: dict[str, Any] = {} if single else {"index": arrow.int64()}
    if score_only:
        unit = arrow.struct({"start": arrow.int64(), "end": arrow.int64(), "score": arrow.float64()})
        fields |= {"score": arrow.float64(), "units": arrow.list_(unit)}
    else:
        fields |= {
            "text": arrow.string(),
            "score": arrow.float64(),
            "spans": arrow.list_(arrow.list_(arrow.int64())),
            "kept_units": arrow.int64(),
            "total_units": arrow.int64(),
        }
    struct = arrow.struct(fields)
    schema = arrow.schema({column: struct if single else arrow.list_(struct)})
    return schema.append(arrow.field(f"{column}_error", arrow.string())) if errors else schema


def _added_tables(outcomes: Iterable[Outcome], schema: Any, column: str, errors: bool) -> Iterator[Any]:
    import pyarrow as arrow

    for block in blocks(outcomes, _ROWS):
        rows = [_added(outcome, column, errors) for outcome in block]
        yield arrow.Table.from_pylist(rows, schema=schema)


def _lines_as_tables(corpus: Corpus) -> Iterator[Any]:
    """Yield JSON rows as tables of one schema, which all rows must fit."""
    import pyarrow as arrow

    schema = arrow.schema([])
    for block in blocks(corpus.read(), _ROWS):
        found = arrow.Table.from_pylist(_full(block)).schema
        schema = arrow.unify_schemas([schema, found], promote_options="permissive")
    for block in blocks(corpus.read(), _ROWS):
        yield arrow.Table.from_pylist(block, schema=schema)


def _full(block: list[Row]) -> list[Row]:
    """Return rows that all have all keys: Arrow takes the columns from the first one."""
    names = dict.fromkeys(name for row in block for name in row)
    return [{name: row.get(name) for name in names} for row in block]


def _write_parquet(out: Path, corpus: Corpus, added: Iterator[Any]) -> None:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    given = corpus.tables() if isinstance(corpus, Tables) else _lines_as_tables(corpus)
    writer = None
    try:
        for table, more in _side_by_side(given, added):
            both = arrow.Table.from_arrays(
                [*table.columns, *more.columns], schema=arrow.schema([*table.schema, *more.schema])
            )
            writer = writer or parquet.ParquetWriter(out, both.schema)
            writer.write_table(both)
    finally:
        if writer is not None:
            writer.close()


def _side_by_side(left: Iterator[Any], right: Iterator[Any]) -> Iterator[tuple[Any, Any]]:
    """Yield the tables of two streams, cut where either ends."""
    a, b = next(left, None), next(right, None)
    while a is not None and b is not None:
        rows = min(a.num_rows, b.num_rows)
        yield a.slice(0, rows), b.slice(0, rows)
        a = a.slice(rows) if a.num_rows > rows else next(left, None)
        b = b.slice(rows) if b.num_rows > rows else next(right, None)
    assert a is None and b is None, "there are as many outcomes as rows"


def _write_dataset(out: Path, corpus: Corpus, added: Iterator[Any], room: Path) -> None:
    try:
        from datasets import Dataset, concatenate_datasets, disable_progress_bars
        from datasets.exceptions import DatasetsError
    except ImportError as error:
        raise MissingExtraError("datasets", "data") from error

    disable_progress_bars()
    given = corpus.dataset if isinstance(corpus, Tables) else None
    try:
        if given is None:
            _write_parquet(room / "rows.parquet", corpus, added)
            whole = Dataset.from_parquet(str(room / "rows.parquet"), cache_dir=str(room))
        else:  # its own columns as they are, with what Arrow does not know, such as the names of classes
            _write_tables(room / "added.parquet", added)
            whole = concatenate_datasets(
                [given, Dataset.from_parquet(str(room / "added.parquet"), cache_dir=str(room))], axis=1
            )
        whole.save_to_disk(str(out))
    except DatasetsError as error:  # its own message does not say why
        raise DataError(f"{out}: cannot be written ({error.__cause__ or error})") from error


def _write_tables(out: Path, tables: Iterator[Any]) -> None:
    import pyarrow.parquet as parquet

    first = next(tables)
    with parquet.ParquetWriter(out, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def write(
    out: Path, corpus: Corpus, outcomes: Outcomes, column: str, *, errors: bool, single: bool, score_only: bool
) -> None:
    """Write the corpus with its outcomes, whole or not at all.

    Args:
        out: its ending says the form, see `form_of`; replaced.
        corpus: the rows.
        outcomes: yields one for each row.
        column: name of the new column.
        errors: whether there is a column with errors beside it.
        single: whether the rows have one passage each.
        score_only: whether the outcomes are scores.

    Raises:
        DataError: it cannot be written, or the rows do not fit the form.
    """
    form = form_of(out)
    if form == "lines":
        try:
            write_json_lines(out, _rows(corpus, outcomes(), column, errors))
        except TypeError as error:
            raise DataError(f"{out}: JSON cannot hold all columns ({error}); write .parquet") from error
        return
    try:
        import pyarrow as arrow
    except ImportError as error:
        raise MissingExtraError("pyarrow", "data") from error
    added = _added_tables(outcomes(), _added_schema(column, errors, single, score_only), column, errors)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
            room = Path(name)
            made = room / out.name
            if form == "parquet":
                _write_parquet(made, corpus, added)
            else:
                _write_dataset(made, corpus, added, room)
            _replace(out, made, room)
    except (OSError, arrow.ArrowException) as error:
        raise DataError(f"{out}: cannot be written ({error})") from error


def _replace(out: Path, made: Path, room: Path) -> None:
    if out.is_dir():  # which no rename replaces
        out.rename(room / "old")
    made.rename(out)
    if out.is_file():
        out.chmod(0o644)
