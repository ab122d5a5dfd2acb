"""From a framework's document to a `Passage`, and from a result to the metadata of a new document."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from secateur.client.passthrough import passed_through
from secateur.models.types import Passage, PassageResult, PruneResult

KEY = "secateur"  # of the metadata that integrations add


def as_passage(text: str | None, metadata: Mapping[str, Any] | None, title_key: str | None) -> Passage:
    """Return a document's passage; one without text is an empty passage, and comes back as it was.

    Args:
        text: of the document.
        metadata: of the document, in which a title may be.
        title_key: of that title; None for no titles.
    """
    title = (metadata or {}).get(title_key) if title_key is not None else None
    return Passage(text or "", title=title if isinstance(title, str) and title.strip() else None)


def described(
    metadata: Mapping[str, Any] | None, text: str | None, item: PassageResult, result: PruneResult
) -> dict[str, Any]:
    """Return a deep copy of a document's metadata with what was done to it, in JSON's types.

    Args:
        metadata: of the original document.
        text: of the original document.
        item: its result.
        result: that the item is part of; one that was passed through has no scores to tell.
    """
    added: dict[str, Any] = {} if passed_through(result) else {"relevance_score": item.score}
    added[KEY] = {
        "spans": [list(span) for span in item.spans],
        "kept_units": item.kept_units,
        "total_units": item.total_units,
        "input_chars": len(text or ""),
        "output_chars": len(item.text),
        "index": item.index,
        **({"warnings": list(result.warnings)} if result.warnings else {}),
    }
    return {**deepcopy(dict(metadata or {})), **added}
