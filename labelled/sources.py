"""Labelled examples by source, from JSON lines, Parquet files, or Hugging Face datasets on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from secateur.labelled.examples import Example, files_in, parse_example, read_examples, source_name
from secateur.labelled.parquet_files import open_parquet
from secateur.models.errors import DataError, InputError, MissingExtraError

DATASET_MARKS = ("dataset_info.json", "dataset_dict.json", "state.json")  # files that `save_to_disk` writes
_ENDINGS = (".jsonl", ".jsonl.gz", ".parquet")


@dataclass(frozen=True, slots=True)
class LabelledSource:
    """A source of labelled examples in a file or directory. Can be pickled, for worker processes.

    Attributes:
        read: Yields the examples from the start with each call; raises DataError for one that is not valid.
    """

    name: str
    where: Path
    read: Callable[[], Iterator[Example]]


def _from_columns(row: dict[str, Any], number: int) -> Example:
    """Parse a row with the columns of our schema, or of OpenProvence (query, texts, context_spans, labels)."""
    if "passages" in row:
        return parse_example(row, number)
    labels = row.get("labels") or [bool(spans) for spans in row["context_spans"]]
    passages = [
        {"text": text, "relevant_spans": spans, "relevant": bool(label)}
        for text, spans, label in zip(row["texts"], row["context_spans"], labels, strict=True)
    ]
    return parse_example({**row, "passages": passages}, number)


def _examples(where: Path, rows: Callable[[Path], Iterable[Any]]) -> Iterator[Example]:
    for number, row in enumerate(rows(where), 1):
        try:
            yield _from_columns(row, number)
        except (KeyError, TypeError, ValueError, InputError) as error:
            raise DataError(f"{where}, row {number}: {type(error).__name__}: {error}") from error


def saved_splits(path: Path, extra: str) -> dict[str, Any]:
    """Return the splits of a dataset that the `datasets` library saved to disk; without splits, one named "".

    Raises:
        DataError: It cannot be read.
        MissingExtraError: The library, which ``extra`` installs, is missing.
    """
    try:
        from datasets import DatasetDict, load_from_disk
    except ImportError as error:
        raise MissingExtraError("datasets", extra) from error
    try:
        found = load_from_disk(str(path))
    except Exception as error:  # the library raises many types
        raise DataError(f"{path}: cannot be read as a Hugging Face dataset ({error})") from error
    return dict(found) if isinstance(found, DatasetDict) else {"": found}


_MEDIA_FREE = (
    "Value", "ClassLabel", "Sequence", "List", "LargeList", "Translation", "TranslationVariableLanguages", "Json",
    "Array2D", "Array3D", "Array4D", "Array5D",
)  # fmt: skip


def _media(feature: Any) -> str | None:
    """Return the name of the first feature whose values are read from files or URLs; None if there is none."""
    if isinstance(feature, dict | list | tuple):
        below: Iterable[Any] = feature.values() if isinstance(feature, dict) else feature
    elif type(feature).__name__ not in _MEDIA_FREE:
        return type(feature).__name__
    else:
        below = (feature.feature,) if hasattr(feature, "feature") else ()
    return next((name for one in below if (name := _media(one)) is not None), None)


def refuse_media(path: Path, rows: Any) -> None:
    """Raise a DataError if reading a dataset would open other files or URLs, as features like `Image` do."""
    for name, feature in rows.features.items():
        if found := _media(feature):
            problem = f"the column {name!r} has the feature {found}, whose values are read from files or the network"
            fix = f"remove it with remove_columns({name!r}) and save the dataset again"
            raise DataError(f"{path}: {problem}; {fix}")


def _dataset_rows(rows: Any, path: Path) -> Any:
    refuse_media(path, rows)
    return rows


def _parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    with open_parquet(path, "eval") as opened:
        for batch in opened.batches():
            try:
                yield from batch.to_pylist()
            except OverflowError as error:  # e.g. a date after the year 9999
                raise DataError(f"{path}: a value is out of Python's range ({error})") from error


def labelled_sources(path: Path) -> list[LabelledSource]:
    """Return the sources of labelled examples of a path (at least one), sorted by name.

    The path is a JSON-lines file (gzipped or not) or Parquet file, a directory of such files (each a source), or a
    directory written by the `datasets` library's ``save_to_disk`` (each split is a source).
    """
    if any((path / mark).is_file() for mark in DATASET_MARKS):
        return [
            LabelledSource(name or path.name, path, partial(_examples, path, partial(_dataset_rows, rows)))
            for name, rows in sorted(saved_splits(path, "eval").items())
        ]
    files = [path] if path.is_file() else files_in(path, _ENDINGS) if path.is_dir() else []
    if not files:
        raise DataError(f"{path}: no such file, nor a directory with {', '.join(_ENDINGS)} files or a saved dataset")
    return [
        LabelledSource(source_name(file), file, partial(_examples, file, _parquet_rows))
        if file.suffix == ".parquet"
        else LabelledSource(source_name(file), file, partial(read_examples, file))
        for file in files
    ]
