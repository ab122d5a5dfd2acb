"""Labelled examples that can be measured, and what of the others was skipped and why."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from secateur.labelled.examples import Example
from secateur.labelled.sources import labelled_sources
from secateur.models.errors import DataError
from secateur.models.requests import clean_passage, replace_surrogates


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


def load_sources(path: Path, limit: int | None = None) -> list[Loaded]:
    """Load labelled examples.

    Args:
        path: see `secateur.labelled.sources.labelled_sources`.
        limit: queries drawn from each source, always the same ones; None for all.

    Raises:
        DataError: nothing is there, an example is not of the schema, or an id stands twice; the message says where.
    """
    return [_sift(source.name, source.where, source.read(), limit) for source in labelled_sources(path)]
