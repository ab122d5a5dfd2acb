"""Labelled pairs to the examples that are trained on: a query a row, with its passages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from secateur.data_scripts.near_duplicates import digest, normalised
from secateur.data_scripts.publish_filters import kept
from secateur.data_scripts.records import Labelled


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a span without the white space at its ends, or as it is where it holds nothing else."""
    body = text[start:end]
    if not body.strip():
        return start, end
    return start + len(body) - len(body.lstrip()), end - (len(body) - len(body.rstrip()))


def relevant_spans(label: Labelled) -> list[list[int]]:
    """Return the kept units as ``[start, end)`` spans, neighbours merged, without white space at their ends."""
    merged: list[list[int]] = []
    previous = False
    for (start, end), keep in zip(label.units, kept(label), strict=True):
        if keep and previous:
            merged[-1][1] = end
        elif keep:
            merged.append([start, end])
        previous = keep
    return [list(_trimmed(label.passage, *span)) for span in merged if label.passage[span[0] : span[1]].strip()]


def _passage(label: Labelled) -> dict[str, Any]:
    spans = relevant_spans(label)
    row = {
        "id": label.passage_id or label.id,
        "title": label.title,
        "text": label.passage,
        "document_id": label.document_id,
        "sentences": [list(_trimmed(label.passage, *unit)) for unit in label.units],
        "relevant_spans": spans,
        "relevant": bool(spans),
        "soft_labels": list(label.labels),
    }
    return row if label.teacher_score is None else row | {"teacher_score": label.teacher_score}


def to_examples(labels: Iterable[Labelled], source: str) -> list[dict[str, Any]]:
    """Group labels by query.

    Args:
        labels: filtered; those whose queries differ in case and white space alone make one example.
        source: name of the data set.

    Returns:
        Rows of the schema in `secateur.labelled.examples`, in the order in which their queries came. A passage has
        ``soft_labels`` besides, the share of samples that kept each of its ``sentences``, and ``document_id``.
    """
    rows: dict[str, dict[str, Any]] = {}
    ids: set[str] = set()
    for label in labels:
        key = normalised(label.query)
        row = rows.get(key)
        if row is None:
            id = label.query_id or digest(key)[:12]
            if id in ids:  # two queries under one id
                id = f"{id}-{digest(key)[:12]}"
            ids.add(id)
            row = rows[key] = {"id": id, "source": source, "query": label.query, "answers": [], "passages": []}
        row["answers"] += [answer for answer in label.answers if answer not in row["answers"]]
        row["passages"].append(_passage(label))
    return list(rows.values())
