"""Labelled examples that can be measured, and which others were skipped and why."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from secateur.labelled.examples import Example
from secateur.labelled.sources import LabelledSource, labelled_sources
from secateur.models.errors import DataError
from secateur.models.requests import clean_passage, replace_surrogates


@dataclass(frozen=True, slots=True)
class Loaded:
    """The examples of a source.

    Attributes:
        name: Name of the source.
        examples: Examples that can be measured.
        skipped: Number of examples that were skipped or changed, by reason.
    """

    name: str
    examples: tuple[Example, ...]
    skipped: dict[str, int]


def _without_surrogates(example: Example) -> Example:
    """Return the example as a pruner reads it: lone surrogates, which no tokenizer accepts, are replaced."""
    passages = tuple(replace(p, passage=clean_passage(p.passage)) for p in example.passages)
    return replace(example, query=replace_surrogates(example.query), passages=passages)


def _load(source: LabelledSource, limit: int | None) -> Loaded:
    kept: list[Example] = []
    skipped: Counter[str] = Counter()
    seen: set[str] = set()
    for given in source.read():
        example = _without_surrogates(given)
        if example.id in seen:
            raise DataError(f"{source.where}: id {example.id!r} is a duplicate; ids must be unique within a source")
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
    return Loaded(source.name, tuple(kept), dict(skipped))


def load_sources(path: Path, limit: int | None = None) -> list[Loaded]:
    """Load labelled examples.

    Args:
        path: See `secateur.labelled.sources.labelled_sources`.
        limit: Number of queries drawn from each source, always the same ones; None for all.

    Raises:
        DataError: There are no examples, one is not of the schema, or an id is duplicated; the message names the place.
    """
    return [_load(source, limit) for source in labelled_sources(path)]
