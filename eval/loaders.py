"""Labelled examples from where users have them: the project's JSON lines, or Hugging Face datasets on disk."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from secateur.models.errors import DataError, MissingExtraError
from secateur.models.examples import Example, data_files, parse_example, read_examples, source_name
from secateur.models.requests import clean_passage, replace_surrogates

_ARROW_MARKS = ("dataset_info.json", "dataset_dict.json", "state.json")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A source's examples.

    Attributes:
        name: of the source.
        examples: those that can be measured.
        skipped: how many were left out, by reason.
    """

    name: str
    examples: tuple[Example, ...]
    skipped: dict[str, int]


def _without_surrogates(example: Example) -> Example:
    """Return what a pruner reads: lone surrogates, which no tokenizer takes, replaced one by one."""
    passages = tuple(replace(p, passage=clean_passage(p.passage)) for p in example.passages)
    return replace(example, query=replace_surrogates(example.query), passages=passages)


def _sift(name: str, where: object, examples: Iterable[Example], limit: int | None) -> Loaded:
    kept: list[Example] = []
    skipped: Counter[str] = Counter()
    seen: set[str] = set()
    for given in examples:
        example = _without_surrogates(given)
        if example.id in seen:
            raise DataError(f"{where}: id {example.id!r} stands twice; ids must be unique within a source")
        seen.add(example.id)
        if example != given:
            skipped["lone surrogates, read as U+FFFD"] += 1
        if not example.query.strip():
            skipped["blank query"] += 1
        elif not any(p.passage.text.strip() for p in example.passages):
            skipped["no passage with text"] += 1
        else:
            kept.append(example)
    if not kept:
        skipped["source without a usable query"] += 1
    if limit is not None:
        random.Random(0).shuffle(kept)
        kept = kept[:limit]
    return Loaded(name, tuple(kept), dict(skipped))


def _from_arrow(row: dict[str, Any], number: int) -> Example:
    """Read a row of the project's columns, or of OpenProvence's (query, texts, context_spans, labels)."""
    if "passages" in row:
        return parse_example(row, number)
    labels = row.get("labels") or [bool(spans) for spans in row["context_spans"]]
    passages = [
        {"text": text, "relevant_spans": spans, "relevant": bool(label)}
        for text, spans, label in zip(row["texts"], row["context_spans"], labels, strict=True)
    ]
    return parse_example({**row, "passages": passages}, number)


def _arrow_sources(path: Path) -> dict[str, Any]:
    try:
        from datasets import DatasetDict, load_from_disk
    except ImportError as error:
        raise MissingExtraError("datasets", "eval") from error
    try:
        found = load_from_disk(str(path))
    except Exception as error:  # the library raises many kinds
        raise DataError(f"{path}: cannot be read as a Hugging Face dataset ({error})") from error
    return dict(found) if isinstance(found, DatasetDict) else {path.name: found}


def _arrow_examples(path: Path, rows: Iterable[Any]) -> Iterable[Example]:
    for number, row in enumerate(rows, 1):
        try:
            yield _from_arrow(row, number)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path}, row {number}: {type(error).__name__}: {error}") from error


def load_sources(path: Path, limit: int | None = None) -> list[Loaded]:
    """Load labelled examples.

    Args:
        path: a JSON-lines file (gzipped or not), a directory of them (one a source), or a directory written by the
            `datasets` library's ``save_to_disk`` (a split is a source).
        limit: queries drawn from each source, always the same ones; None for all.

    Raises:
        DataError: nothing is there, an example is not of the schema, or an id stands twice; the message says where.
    """
    if any((path / mark).is_file() for mark in _ARROW_MARKS):
        return [
            _sift(name, path, _arrow_examples(path, rows), limit) for name, rows in sorted(_arrow_sources(path).items())
        ]
    return [_sift(source_name(file), file, read_examples(file), limit) for file in data_files(path)]
