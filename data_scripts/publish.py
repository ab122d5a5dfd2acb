"""Publishing labels as a data set: filtered, balanced and split, as JSON lines and Parquet with a card."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from secateur.data_scripts.chunking import trimmed
from secateur.data_scripts.near_duplicates import digest, normalised
from secateur.data_scripts.publish_card import SplitStatistics, card, statistics
from secateur.data_scripts.publish_filters import FilterOptions, balanced, filtered, kept
from secateur.data_scripts.publish_leaks import refuse_leaks, split_names
from secateur.data_scripts.records import Labelled, read_records
from secateur.data_scripts.split import split_rows
from secateur.data_scripts.validation import Checked, Share
from secateur.labelled.examples import source_name
from secateur.labelled.json_files import write_json_lines
from secateur.models.errors import DataError, InputError, MissingExtraError
from secateur.models.files import atomic_path, write_atomically

PARQUET = "parquet"  # a separate directory: training reads all data files of a split's directory
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


@dataclass(frozen=True, slots=True)
class PublishOptions(Checked):
    """Options of publishing.

    Attributes:
        name: Name of the data set and its files; that of the labels' file if unset.
        licence: Identifier of the licence on the Hugging Face Hub.
        description: Description on the card.
        language: Language code on the card.
        shares: Share of the queries by split.
        near_duplicates: Lowest similarity of passages that must be in the same split; 0 for equal passages only.
        seed: Random seed of the split.
        filters: Filters of the pairs.
    """

    name: FileName | None = None
    licence: str = "other"
    description: str = ""
    language: str = "en"
    shares: Mapping[FileName, Annotated[float, Field(gt=0)]] = field(
        default_factory=lambda: {"train": 0.8, "dev": 0.1, "test": 0.1}
    )
    near_duplicates: Share = 0.9
    seed: int = 13
    filters: FilterOptions = field(default_factory=FilterOptions)

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        if not math.isclose(sum(self.shares.values()), 1.0, abs_tol=1e-6):
            problem = f"must add up to 1, not {sum(self.shares.values()):g}"
            raise InputError("shares", problem, "use e.g. train=0.8,dev=0.1,test=0.1")
        if PARQUET in self.shares:
            raise InputError("shares", f"{PARQUET!r} cannot be the name of a split", "use another name")


@dataclass(frozen=True, slots=True)
class PublishReport:
    """Labelled pairs read, dropped pairs by reason, and counts by split."""

    pairs: int
    dropped: Counter[str]
    splits: dict[str, SplitStatistics]

    def lines(self) -> Iterator[str]:
        """Yield the lines of the printed report."""
        yield f"{self.pairs} pairs, {self.dropped.total()} dropped"
        for reason, count in self.dropped.most_common():
            yield f"  {reason}: {count}"
        for name, split in self.splits.items():
            yield f"{name}: {split.queries} queries, {split.passages} passages"


def relevant_spans(label: Labelled) -> list[list[int]]:
    """Return the kept units as ``[start, end)`` spans without white space at their ends; adjacent ones are merged."""
    merged: list[list[int]] = []
    previous = False
    for (start, end), keep in zip(label.units, kept(label), strict=True):
        if keep and previous:
            merged[-1][1] = end
        elif keep:
            merged.append([start, end])
        previous = keep
    return [list(trimmed(label.passage, *span)) for span in merged if label.passage[span[0] : span[1]].strip()]


def to_examples(labels: Iterable[Labelled], source: str) -> list[dict[str, Any]]:
    """Group labels by query; queries that differ only in case and white space become one example.

    Returns:
        Rows of the schema in `secateur.labelled.examples`, in the order of their queries. Each passage also has
        ``document_id``, ``sentences`` and ``soft_labels``, the share of samples that kept each sentence.
    """
    rows: dict[str, dict[str, Any]] = {}
    ids: set[str] = set()
    for label in labels:
        key = normalised(label.query)
        if key not in rows:
            id = label.query_id or digest(key)[:12]
            if id in ids:  # of another query
                id = f"{id}-{digest(key)[:12]}"
            ids.add(id)
            rows[key] = {"id": id, "source": source, "query": label.query, "answers": [], "passages": []}
        row, spans = rows[key], relevant_spans(label)
        row["answers"] += [answer for answer in label.answers if answer not in row["answers"]]
        passage = {
            "id": label.passage_id or label.id,
            "title": label.title,
            "text": label.passage,
            "format": label.format,
            "document_id": label.document_id,
            "sentences": [list(trimmed(label.passage, *unit)) for unit in label.units],
            "relevant_spans": spans,
            "relevant": bool(spans),
            "soft_labels": list(label.labels),
        }
        if label.teacher_score is not None:
            passage["teacher_score"] = label.teacher_score
        row["passages"].append(passage)
    return list(rows.values())


def _write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "data") from error
    # Explicit types: those of an empty column cannot be inferred.
    text, spans = pa.string(), pa.list_(pa.list_(pa.int64()))
    passage = dict.fromkeys(("id", "title", "text", "format", "document_id"), text)
    passage |= {"sentences": spans, "relevant_spans": spans, "relevant": pa.bool_()}
    passage |= {"soft_labels": pa.list_(pa.float64()), "teacher_score": pa.float64()}
    example = {**dict.fromkeys(("id", "source", "query"), text), "answers": pa.list_(text)}
    schema = pa.schema(example | {"passages": pa.list_(pa.struct(passage))})
    try:
        table = pa.Table.from_pylist(list(rows), schema=schema)
    except ValueError as error:  # lone surrogates, and pyarrow's errors
        raise DataError(f"{path}: cannot be written ({error})") from error
    with atomic_path(path) as partial:
        parquet.write_table(table, partial)


def _refuse_other_data(out: Path, name: str, splits: Iterable[str]) -> None:
    """Check that no other data is in the directories of the splits: training would read it too."""
    new = {out / split / f"{name}.jsonl.gz" for split in splits}
    for split in split_names(out):
        for file in sorted((out / split).glob("*.jsonl*")):
            if file not in new:
                raise DataError(f"{out}: contains other data, {file.relative_to(out)}; remove it or use another --out")


def publish(labels: Path, out: Path, options: PublishOptions) -> PublishReport:
    """Make a data set from a file of `Labelled` records.

    The directory gets ``SPLIT/NAME.jsonl.gz``, ``parquet/SPLIT/NAME.parquet`` and ``README.md``.

    Raises:
        DataError: The labels cannot be read, all are dropped, a split would be empty, something would be in two
            splits, or the directory contains other data.
    """
    name = options.name or re.sub(r"[^A-Za-z0-9_-]+", "-", source_name(labels)).strip("-_") or "labels"
    _refuse_other_data(out, name, options.shares)
    dropped: Counter[str] = Counter()
    pairs = list(read_records(labels, Labelled))
    rows = to_examples(balanced(filtered(pairs, options.filters, dropped), options.filters, dropped), name)
    if not rows:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in dropped.most_common()) or "it is empty"
        raise DataError(f"{labels}: all of its {len(pairs)} pairs are dropped ({reasons})")
    splits = split_rows(rows, options.shares, options.seed, options.near_duplicates, where=labels)
    dropped["would be in two splits"] = splits.passages_dropped
    dropped = +dropped  # without zero counts
    refuse_leaks(splits.rows, options.near_duplicates, out)
    for split, found in splits.rows.items():
        write_json_lines(out / split / f"{name}.jsonl.gz", found)
        _write_parquet(out / PARQUET / split / f"{name}.parquet", found)
    counts = {split: statistics(found) for split, found in splits.rows.items()}
    write_atomically(out / "README.md", card(name, options, len(pairs), dropped, counts))
    return PublishReport(len(pairs), dropped, counts)
