"""The card of a published data set: its licence, its content and how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from secateur.data_scripts.reports import KEPT_FROM, MAX_COUNTED, TENTHS, UnitCounts
from secateur.labelled.markdown_blocks import markdown_table

if TYPE_CHECKING:
    from secateur.data_scripts.publish import PublishOptions

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

# JSON strings are YAML strings, whatever they contain.
_CARD = """---
pretty_name: {name_json}
license: {licence_json}
language:
- {language_json}
task_categories:
- text-ranking
- token-classification
tags:
- context-pruning
- rag
- secateur
size_categories:
- {size}
configs:
- config_name: default
  data_files:
{files}
---

# {name}

{description}

Licence: {licence}. The passages are under the licences of the documents that they come from.

## Content

{contents}

Passages by number of kept units:

{kept_units}

Kept units by their position, in tenths of the passage:

{positions}

## Fields

An example has `id`, `source`, `query`, `answers` and `passages`. A passage has `id`, `title`, `text`, `format`,
`document_id`, `sentences` (bounds of its units), `relevant_spans` (kept units; adjacent ones are merged), `relevant`,
`soft_labels` (the share of samples that kept each of `sentences`) and, if a teacher was used, `teacher_score` (its
relevance as a logit). Offsets are `[start, end)` code points of `text`.

## How it was made

From {pairs} silver-labelled pairs, made with `secateur data`. A unit is kept if at least {kept_from:.0%} of the samples
kept it. No query, no document and no {alike} are in two splits. Dropped:

{dropped}

## Usage

`SPLIT/*.jsonl.gz` is the input of `secateur train` and `secateur finetune`; `parquet/` has the same rows for
`datasets.load_dataset`.
"""


@dataclass(slots=True)
class SplitStatistics(UnitCounts):
    """Counts of a split's examples."""

    queries: int = 0
    relevant: int = 0


def statistics(rows: Sequence[Mapping[str, Any]]) -> SplitStatistics:
    """Count the published examples of a split."""
    found = SplitStatistics(queries=len(rows))
    for passage in (passage for row in rows for passage in row["passages"]):
        found.add(passage["soft_labels"])
        found.relevant += passage["relevant"]
    return found


def _table(headers: Sequence[object], rows: Mapping[str, Sequence[int]]) -> str:
    return markdown_table(["split", *map(str, headers)], [[name, *map(str, row)] for name, row in rows.items()])


def card(
    name: str, options: PublishOptions, pairs: int, dropped: Mapping[str, int], splits: Mapping[str, SplitStatistics]
) -> str:
    """Return the card as Markdown with the Hugging Face Hub's front matter.

    It says how many labelled ``pairs`` there were, how many were dropped for which reason, and what is in each split.
    """
    queries = sum(split.queries for split in splits.values())
    counts = {split: [s.queries, s.passages, s.relevant, s.units, s.kept] for split, s in splits.items()}
    kept = {split: [s.kept_units[number] for number in range(MAX_COUNTED + 1)] for split, s in splits.items()}
    positions = {split: [s.positions[tenth] for tenth in range(TENTHS)] for split, s in splits.items()}
    near = f"passages with an estimated Jaccard similarity of {options.near_duplicates:g} or more (MinHash)"
    return _CARD.format(
        name=name,
        name_json=json.dumps(name),
        licence=options.licence,
        licence_json=json.dumps(options.licence),
        language_json=json.dumps(options.language),
        size=next((size for limit, size in _SIZES if queries < limit), "n>1M"),
        files="\n".join(f'  - split: "{split}"\n    path: "parquet/{split}/*.parquet"' for split in splits),
        description=options.description or "Queries and passages, labelled with the sentences that answer.",
        contents=_table(["queries", "passages", "relevant passages", "units", "kept units"], counts),
        kept_units=_table([*range(MAX_COUNTED), f"{MAX_COUNTED} or more"], kept),
        positions=_table(range(1, TENTHS + 1), positions),
        pairs=pairs,
        kept_from=KEPT_FROM,
        alike=near if options.near_duplicates else "equal passages",
        dropped="\n".join(f"- {reason}: {count}" for reason, count in dropped.items() if count) or "- nothing",
    )
