"""Writing a corpus with the outcomes as a further column: JSON lines, Parquet or a Hugging Face dataset on disk."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal

from secateur.labelled.json_files import write_json_lines
from secateur.models.errors import DataError, InputError, MissingExtraError
from secateur.pipelines.corpus.pruning import Outcome
from secateur.pipelines.corpus.rows import LINES, Corpus, Row


def form_of(out: Path) -> Literal["lines", "parquet", "dataset"]:
    """Return the format that an output's name stands for.

    Raises:
        InputError: its ending is unknown.
    """
    if out.name.endswith(LINES):
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
        unit = arrow.struct({"start": integer, "end": integer, "score": number})
        fields: dict[str, Any] = {"score": number, "units": arrow.list_(unit)}
    else:
        spans = arrow.list_(arrow.list_(integer))
        fields = {"text": text, "score": number, "spans": spans, "kept_units": integer, "total_units": integer}
    new = arrow.struct(fields) if single else arrow.list_(arrow.struct({"index": integer} | fields))
    return arrow.schema({column: new} | ({f"{column}_error": text} if errors else {}))


def _tables(corpus: Corpus, added: Iterator[Row], schema: Any) -> Iterator[Any]:
    """Yield Arrow tables with the new columns, and with the given ones unless they are in a dataset."""
    import pyarrow as arrow

    for given in corpus.tables():
        table = arrow.Table.from_pylist(list(islice(added, given.num_rows)), schema=schema)
        if corpus.dataset is None:
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
    out: Path,
    corpus: Corpus,
    outcomes: Iterable[Outcome],
    column: str,
    *,
    errors: bool,
    single: bool,
    score_only: bool,
) -> None:
    """Write the corpus with its outcomes atomically.

    Args:
        out: Output, replaced at the end; its ending determines the format, see `form_of`.
        corpus: The rows, at least one.
        outcomes: Outcome of each row.
        column: Name of the new column.
        errors: Whether to add a column of errors.
        single: Whether the rows have one passage each.
        score_only: Whether the outcomes are scores.

    Raises:
        DataError: it cannot be written, or the format cannot hold the rows.
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
    tables = _tables(corpus, added, _schema(column, errors, single, score_only))
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
