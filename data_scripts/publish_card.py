"""The card of a published data set: its licence, what it holds, and how it was made."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from secateur.data_scripts.publish_filters import KEPT_FROM, MOST_COUNTED

_TENTHS = 10
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What the card says besides the statistics.

    Attributes:
        name: of the data set.
        licence: as the Hugging Face Hub names it.
        description: any Markdown; may be empty.
        language: code.
        pairs: labelled pairs that it was made of.
        dropped: pairs that were left out, by reason.
        near_duplicates: similarity from which two passages stay in one part.
    """

    name: str
    licence: str
    description: str
    language: str
    pairs: int
    dropped: Mapping[str, int]
    near_duplicates: float


@dataclass(slots=True)
class PartStatistics:
    """What one part holds.

    Attributes:
        queries: in it.
        passages: in it.
        relevant: passages with a kept unit.
        units: of all passages.
        kept: units that are kept.
        kept_units: passages by the number of units that are kept of them, 5 standing for 5 and more.
        positions: kept units by the tenth of their passage in which they stand.
    """

    queries: int = 0
    passages: int = 0
    relevant: int = 0
    units: int = 0
    kept: int = 0
    kept_units: Counter[int] = field(default_factory=Counter)
    positions: Counter[int] = field(default_factory=Counter)


def statistics(rows: Sequence[Mapping[str, Any]]) -> PartStatistics:
    """Count what a part holds.

    Args:
        rows: published examples.
    """
    found = PartStatistics(queries=len(rows))
    for passage in (passage for row in rows for passage in row["passages"]):
        labels = passage["soft_labels"]
        kept = [index for index, share in enumerate(labels) if share >= KEPT_FROM]
        found.passages += 1
        found.relevant += passage["relevant"]
        found.units += len(labels)
        found.kept += len(kept)
        found.kept_units[min(len(kept), MOST_COUNTED)] += 1
        found.positions.update(index * _TENTHS // len(labels) for index in kept)
    return found


def _table(title: str, heads: Sequence[str], parts: Mapping[str, Sequence[int]]) -> list[str]:
    lines = [f"| {title} | {' | '.join(heads)} |", "| --- |" + " ---: |" * len(heads)]
    return [*lines, *(f"| {part} | {' | '.join(map(str, row))} |" for part, row in parts.items())]


def _front_matter(facts: CardFacts, parts: Mapping[str, PartStatistics]) -> list[str]:
    queries = sum(part.queries for part in parts.values())
    size = next((name for most, name in _SIZES if queries < most), "n>1M")
    lines = [
        "---",
        # A JSON string is a YAML string, whatever it holds.
        f"pretty_name: {json.dumps(facts.name)}",
        f"license: {json.dumps(facts.licence)}",
        f"language:\n- {json.dumps(facts.language)}",
        "task_categories:\n- text-ranking\n- token-classification",
        "tags:\n- context-pruning\n- rag\n- secateur",
        f"size_categories:\n- {size}",
        "configs:\n- config_name: default\n  data_files:",
    ]
    lines += [f"  - split: {json.dumps(part)}\n    path: {json.dumps(f'parquet/{part}/*.parquet')}" for part in parts]
    return [*lines, "---"]


def card(facts: CardFacts, parts: Mapping[str, PartStatistics]) -> str:
    """Return the card as Markdown with the Hugging Face Hub's front matter.

    Args:
        facts: about the data set.
        parts: statistics by part.
    """
    labels = [*map(str, range(MOST_COUNTED)), f"{MOST_COUNTED} and more"]
    counts = {part: [s.queries, s.passages, s.relevant, s.units, s.kept] for part, s in parts.items()}
    kept = {part: [s.kept_units[number] for number in range(MOST_COUNTED + 1)] for part, s in parts.items()}
    positions = {part: [s.positions[tenth] for tenth in range(_TENTHS)] for part, s in parts.items()}
    alike = (
        f"passages with an estimated Jaccard similarity of {facts.near_duplicates:g} or more (MinHash)"
        if facts.near_duplicates
        else "equal passages"
    )
    lines = [
        *_front_matter(facts, parts),
        f"\n# {facts.name}\n",
        facts.description or "Queries and passages, labelled with the sentences that answer.",
        f"\nLicence: {facts.licence}. The passages stand under the licences of the documents that they come from.\n",
        "## What it holds\n",
        *_table("part", ["queries", "passages", "relevant passages", "units", "kept units"], counts),
        "\nPassages by how many of their units are kept:\n",
        *_table("part", labels, kept),
        "\nKept units by the tenth of their passage in which they stand:\n",
        *_table("part", [str(tenth) for tenth in range(1, _TENTHS + 1)], positions),
        "\n## Fields\n",
        "An example has `id`, `source`, `query`, `answers` and `passages`. A passage has `id`, `title`, `text`, "
        "`document_id`, `sentences` (bounds of its units), `relevant_spans` (the kept units, neighbours merged), "
        "`relevant`, `soft_labels` (for each of `sentences` the share of samples that kept it) and, where one was "
        "asked, `teacher_score` (a larger model's relevance as a logit). Offsets are `[start, end)` code points of "
        "`text`.",
        "\n## How it was made\n",
        f"Of {facts.pairs} silver-labelled pairs, made with `secateur data`. A unit is kept when at least "
        f"{KEPT_FROM:.0%} of the samples kept it. No query, no document and no {alike} stand in two parts. Left out:\n",
        *([f"- {reason}: {count}" for reason, count in facts.dropped.items() if count] or ["- nothing"]),
        "\n## How to use it\n",
        "`PART/*.jsonl.gz` is what `secateur train` and `secateur finetune` read; `parquet/` holds the same rows for "
        "`datasets.load_dataset`.",
    ]
    return "\n".join(lines) + "\n"
