"""Labelled examples that can be measured, laid out as sources, and which others were skipped and why."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from secateur.eval.units import PROSE, Source, SourceBuilder
from secateur.labelled.examples import Example
from secateur.labelled.sources import LabelledSource, labelled_sources
from secateur.models.errors import DataError
from secateur.models.requests import clean_passage, replace_surrogates

GROUPS = ("docs", "lines", "ml")
"""Groups of sources that are reported apart from prose, named by their directories."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """The examples of a source that can be measured, and the number that was skipped or changed, by reason.

    The group of a source is that of its directory: `docs`, `lines` or `ml`, else `prose`.
    """

    name: str
    examples: list[Example]
    skipped: Counter[str]
    group: str = PROSE


def group_of(path: Path) -> str:
    """Return the group of a path: the innermost of its directories that is named like one."""
    return next((part for part in reversed(path.resolve().parts) if part in GROUPS), PROSE)


def _load(source: LabelledSource, limit: int | None) -> Loaded:
    kept: list[Example] = []
    skipped: Counter[str] = Counter()
    seen: set[str] = set()
    for given in source.read():
        # As a pruner reads it: no tokenizer accepts lone surrogates.
        passages = tuple(replace(p, passage=clean_passage(p.passage)) for p in given.passages)
        example = replace(given, query=replace_surrogates(given.query), passages=passages)
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
    return Loaded(source.name, kept[:limit], skipped, group_of(source.where))


def load_sources(paths: Path | Sequence[Path], limit: int | None = None) -> list[Loaded]:
    """Load the labelled examples of paths, at most ``limit`` of each source; see `labelled_sources`.

    Raises:
        DataError: There are no examples, one is not of the schema, or an id or a source's name is duplicated; the
            message names the place.
    """
    sources = [source for path in as_paths(paths) for source in labelled_sources(path)]
    for name, count in Counter(source.name for source in sources).items():
        if count > 1:
            where = ", ".join(str(source.where) for source in sources if source.name == name)
            raise DataError(f"{where}: the source {name!r} occurs {count} times; rename a file")
    return [_load(source, limit) for source in sources]


def as_paths(paths: Path | Sequence[Path]) -> list[Path]:
    """Return one or several paths as a list."""
    return [paths] if isinstance(paths, Path) else list(paths)


def measurable_sources(
    data: Path | Sequence[Path], builder: SourceBuilder, limit: int | None = None
) -> tuple[list[Source], dict[str, dict[str, int]]]:
    """Load and segment labelled examples; see `load_sources`.

    Returns:
        The sources that have a usable query, and how much was skipped or cannot be measured, by source and reason.

    Raises:
        DataError: The data cannot be read, or no source has a relevant passage.
    """
    loaded = load_sources(data, limit)
    sources = [builder.build(one.name, one.examples, one.group) for one in loaded if one.examples]
    skipped = {one.name: dict(one.skipped) for one in loaded}
    for source in sources:
        reasons = skipped[source.name]
        labelled = np.zeros(len(source.relevant), dtype=bool)
        labelled[source.unit_passage[source.gold]] = True
        if unlabelled := int((source.relevant & ~labelled).sum()):
            reasons["relevant passage without a labelled unit (cannot be lost)"] = unlabelled
        if not source.relevant.any():
            reasons["query of a source without relevant passages (compression only)"] = len(source.examples)
    if not any(source.relevant.any() for source in sources):
        shown = ", ".join(map(str, as_paths(data)))
        raise DataError(
            f"{shown}: no passage is labelled as relevant, so nothing can be measured; is the data labelled?"
        )
    return sources, {name: reasons for name, reasons in skipped.items() if reasons}
