"""Labels to a published data set: filtered, balanced, split without leaks, as JSON lines and Parquet, with a card."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from secateur.data_scripts.dividing import divide
from secateur.data_scripts.near_duplicates import check_threshold
from secateur.data_scripts.publish_card import CardFacts, card, statistics
from secateur.data_scripts.publish_examples import to_examples
from secateur.data_scripts.publish_filters import FilterOptions, balanced, filtered
from secateur.data_scripts.publish_leaks import data_parts, refuse_leaks
from secateur.data_scripts.records import Labelled, read_records
from secateur.labelled.examples import source_name
from secateur.labelled.json_files import write_json_lines
from secateur.models.errors import DataError, InputError, MissingExtraError, shown
from secateur.models.files import write_atomically

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
PARQUET = "parquet"  # apart from the parts: training reads every data file of a directory, and would read all twice


@dataclass(frozen=True, slots=True)
class PublishOptions:
    """How a data set is made.

    Attributes:
        name: of the data set and its files; None: that of the labels' file.
        licence: as the Hugging Face Hub names it.
        description: for the card.
        language: code for the card.
        shares: of the queries, by the name of the part.
        near_duplicates: similarity from which two passages must stay in one part; 0 for equal ones only.
        seed: of the split.
        filters: what is dropped.
    """

    name: str | None = None
    licence: str = "other"
    description: str = ""
    language: str = "en"
    shares: Mapping[str, float] = field(default_factory=lambda: {"train": 0.8, "dev": 0.1, "test": 0.1})
    near_duplicates: float = 0.9
    seed: int = 13
    filters: FilterOptions = field(default_factory=FilterOptions)

    def __post_init__(self) -> None:
        check_threshold(self.near_duplicates)
        if not self.shares or not math.isclose(sum(self.shares.values()), 1.0, abs_tol=1e-6):
            raise InputError("--shares", f"add up to {sum(self.shares.values()):g}, not 1", "give shares that do")
        for part, share in self.shares.items():
            if not share > 0:
                raise InputError("--shares", f"{part}={share:g} is not above 0", "leave the part out")
            if not _NAME.fullmatch(part) or part == PARQUET:
                raise InputError("--shares", f"{shown(part)} cannot name a part", "use letters, digits, - and _")
        if self.name is not None and not _NAME.fullmatch(self.name):
            raise InputError("--name", f"{shown(self.name)} cannot name a file", "use letters, digits, - and _")


@dataclass(frozen=True, slots=True)
class PublishReport:
    """What publishing did.

    Attributes:
        pairs: read.
        dropped: pairs by reason.
        queries: written, by part.
        passages: written, by part.
    """

    pairs: int
    dropped: Counter[str]
    queries: dict[str, int]
    passages: dict[str, int]

    def lines(self) -> Iterator[str]:
        """Yield the report, a line at a time."""
        yield f"{self.pairs} pairs; {self.dropped.total()} left out"
        for reason, count in self.dropped.most_common():
            if count:
                yield f"  {reason}: {count}"
        for part, count in self.queries.items():
            yield f"{part}: {count} queries, {self.passages[part]} passages"


def _write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "data") from error
    spans = pa.list_(pa.list_(pa.int64()))
    passage = pa.struct(
        {
            "id": pa.string(),
            "title": pa.string(),
            "text": pa.string(),
            "document_id": pa.string(),
            "sentences": spans,
            "relevant_spans": spans,
            "relevant": pa.bool_(),
            "soft_labels": pa.list_(pa.float64()),
            "teacher_score": pa.float64(),
        }
    )
    # Named, since the type of a column that is all empty cannot be told.
    schema = pa.schema(
        {
            "id": pa.string(),
            "source": pa.string(),
            "query": pa.string(),
            "answers": pa.list_(pa.string()),
            "passages": pa.list_(passage),
        }
    )
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.Table.from_pylist(list(rows), schema=schema), partial)
        partial.replace(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors; lone surrogates are another
        raise DataError(f"{path}: cannot be written ({error})") from error
    finally:
        partial.unlink(missing_ok=True)


def _refuse_old(out: Path, name: str, parts: Sequence[str]) -> None:
    """Check that no other data lies where the parts go, since training would read it with them."""
    new = {out / part / f"{name}.jsonl.gz" for part in parts}
    for part in data_parts(out):
        for file in sorted((out / part).glob("*.jsonl*")):
            if file not in new:
                raise DataError(f"{out}: holds other data, {file.relative_to(out)}; remove it, or choose another --out")


def publish(labels: Path, out: Path, options: PublishOptions | None = None) -> PublishReport:
    """Make a data set of labels.

    Args:
        labels: records of labelled pairs.
        out: directory of the data set: ``PART/NAME.jsonl.gz``, ``parquet/PART/NAME.parquet``, and ``README.md``.
        options: how.

    Raises:
        DataError: the labels cannot be read, nothing is left of them, a part would stay empty, something would stand
            in two parts, or other data lies in the directory.
        InputError: an option is out of range.
        MissingExtraError: a package is not installed.
    """
    options = options or PublishOptions()
    name = options.name or re.sub(r"[^A-Za-z0-9_-]+", "-", source_name(labels)).strip("-_") or "labels"
    _refuse_old(out, name, list(options.shares))
    dropped: Counter[str] = Counter()
    read = list(read_records(labels, Labelled))
    stay = balanced(filtered(read, options.filters, dropped), options.filters, dropped)
    rows = to_examples(stay, name)
    if not rows:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in dropped.most_common()) or "it is empty"
        raise DataError(f"{labels}: nothing is left of its {len(read)} pairs ({reasons})")
    divided = divide(rows, options.shares, options.seed, options.near_duplicates)
    if divided.passages_dropped:
        dropped["would stand in two parts"] = divided.passages_dropped
    for part, found in divided.parts.items():
        if not found:
            raise DataError(
                f"{labels}: its {len(rows)} queries share documents or passages so much, or are so few, that nothing "
                f"is left for the part {part!r}; give fewer parts in --shares, or label more"
            )
    refuse_leaks(divided.parts, options.near_duplicates, out)
    for part, found in divided.parts.items():
        write_json_lines(out / part / f"{name}.jsonl.gz", found)
        _write_parquet(out / PARQUET / part / f"{name}.parquet", found)
    figures = {part: statistics(found) for part, found in divided.parts.items()}
    facts = CardFacts(
        name, options.licence, options.description, options.language, len(read), dict(dropped), options.near_duplicates
    )
    write_atomically(out / "README.md", card(facts, figures))
    return PublishReport(
        len(read),
        dropped,
        {part: figure.queries for part, figure in figures.items()},
        {part: figure.passages for part, figure in figures.items()},
    )
