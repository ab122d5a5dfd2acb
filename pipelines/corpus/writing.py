"""Writing a corpus with the outcomes as a further column: JSON lines, Parquet or a Hugging Face dataset on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from secateur.labelled.blocks import blocks
from secateur.labelled.json_files import write_json_lines
from secateur.models.errors import DataError, InputError, MissingExtraError
from secateur.pipelines.corpus.pruning import Outcome
from secateur.pipelines.corpus.rows import Corpus, Row, Tables

Form = Literal["lines", "parquet", "dataset"]

_ROWS = 8192  # of a table made of JSON lines


def form_of(out: Path) -> Form:
    """Return the format that an output's name stands for.

    Raises:
        InputError: its ending is unknown.
    """
    if out.name.endswith((".jsonl", ".jsonl.gz", ".ndjson")):
        return "lines"
    if out.suffix == ".parquet":
        return "parquet"
    if not out.suffix:
        return "dataset"
    raise InputError("--out", f"{out.name} has an unknown ending", "use .jsonl, .jsonl.gz, .parquet or none")


def _schema(column: str, errors: bool, single: bool, score_only: bool) -> Any:
    """Return the Arrow schema of the new columns."""
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
    columns = {column: struct if single else arrow.list_(struct)}
    return arrow.schema(columns | ({f"{column}_error": arrow.string()} if errors else {}))


def _lines_as_tables(corpus: Corpus) -> Iterator[Any]:
    """Yield JSON rows as tables with the schema that all rows fit."""
    import pyarrow as arrow

    schema = arrow.schema([])
    for block in blocks(corpus.read(), _ROWS):
        # Arrow takes the columns from the first row alone.
        names = dict.fromkeys(name for row in block for name in row)
        found = arrow.Table.from_pylist([{name: row.get(name) for name in names} for row in block]).schema
        schema = arrow.unify_schemas([schema, found], promote_options="permissive")
    for block in blocks(corpus.read(), _ROWS):
        yield arrow.Table.from_pylist(block, schema=schema)


def _write_parquet(out: Path, corpus: Corpus, added: Iterator[Row], schema: Any, *, only_added: bool = False) -> None:
    import pyarrow as arrow
    import pyarrow.parquet as parquet

    writer = None
    try:
        for given in corpus.tables() if isinstance(corpus, Tables) else _lines_as_tables(corpus):
            table = arrow.Table.from_pylist(list(islice(added, given.num_rows)), schema=schema)
            if not only_added:
                both = arrow.schema([*given.schema, *schema])
                table = arrow.Table.from_arrays([*given.columns, *table.columns], schema=both)
            writer = writer or parquet.ParquetWriter(out, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _write_dataset(out: Path, corpus: Corpus, added: Iterator[Row], schema: Any, folder: Path) -> None:
    try:
        from datasets import Dataset, concatenate_datasets, disable_progress_bars
        from datasets.exceptions import DatasetsError
    except ImportError as error:
        raise MissingExtraError("datasets", "data") from error

    disable_progress_bars()
    given = corpus.dataset if isinstance(corpus, Tables) else None
    path = folder / "rows.parquet"
    try:
        _write_parquet(path, corpus, added, schema, only_added=given is not None)
        made = Dataset.from_parquet(str(path), cache_dir=str(folder))
        # Existing columns keep features that Arrow does not know, such as the names of classes.
        whole = made if given is None else concatenate_datasets([given, made], axis=1)
        whole.save_to_disk(str(out))
    except DatasetsError as error:  # its own message does not give the reason
        raise DataError(f"{out}: cannot be written ({error.__cause__ or error})") from error


def write(
    out: Path,
    corpus: Corpus,
    outcomes: Callable[[], Iterator[Outcome]],
    column: str,
    *,
    errors: bool,
    single: bool,
    score_only: bool,
) -> None:
    """Write the corpus with its outcomes atomically.

    Args:
        out: Output, replaced at the end; its ending determines the format, see `form_of`.
        corpus: The rows.
        outcomes: Function that yields an outcome for each row.
        column: Name of the new column.
        errors: Whether to add a column of errors.
        single: Whether the rows have one passage each.
        score_only: Whether the outcomes are scores.

    Raises:
        DataError: it cannot be written, or the format cannot hold the rows.
    """
    form = form_of(out)
    added: Iterator[Row] = (
        {column: outcome.pruned} | ({f"{column}_error": outcome.error} if errors else {}) for outcome in outcomes()
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
    schema = _schema(column, errors, single, score_only)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        # `atomic_path` replaces files only, not the directory of a dataset.
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
            folder = Path(name)
            made = folder / out.name
            if form == "parquet":
                _write_parquet(made, corpus, added, schema)
            else:
                _write_dataset(made, corpus, added, schema, folder)
            if out.is_dir():
                out.rename(folder / "old")
            made.rename(out)
    except (OSError, arrow.ArrowException) as error:
        raise DataError(f"{out}: cannot be written ({error})") from error
