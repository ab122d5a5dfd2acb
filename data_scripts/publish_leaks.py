"""Leaks of a data set: queries, documents and nearly equal passages that are in two splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from secateur.data_scripts.near_duplicates import NearDuplicates
from secateur.data_scripts.split import read_rows, row_keys
from secateur.labelled.examples import data_files
from secateur.models.errors import DataError, shown

_SHOWN = 5  # leaks that an error message lists


def refuse_leaks(splits: Mapping[str, Iterable[Mapping[str, Any]]], near_duplicates: float, where: Path) -> None:
    """Raise `DataError` if a query, document or passage is in two splits; the message lists the first leaks.

    Passages are the same from a similarity of ``near_duplicates``; with 0, only equal ones are.
    """
    first: dict[tuple[str, str], str] = {}
    leaks: dict[tuple[str, str], str] = {}
    near = NearDuplicates(near_duplicates) if near_duplicates else None
    for split, rows in splits.items():
        for kind, text in (key for row in rows for key in row_keys(row)):
            if (kind, text) in first:
                label, others = kind, [first[kind, text]]
            else:
                first[kind, text] = split
                found = near.add(text, text) if near is not None and kind == "passage" else []
                label, others = "near-duplicate passage", [first["passage", one] for one in found]
            other = next((one for one in others if one != split), None)
            if other is not None:
                leaks.setdefault((kind, text), f"{label} {shown(text)} is in {other} and in {split}")
    if leaks:
        listed = "; ".join(list(leaks.values())[:_SHOWN])
        raise DataError(f"{where}: {len(leaks)} leaks between splits; split it again with `data publish`: {listed}")


def split_names(directory: Path) -> list[str]:
    """Return the names of a data set's splits: its subdirectories with JSON-lines files."""
    found = {path.parent for pattern in ("*/*.jsonl", "*/*.jsonl.gz") for path in directory.glob(pattern)}
    return sorted(path.name for path in found)


def check_leaks(directory: Path, near_duplicates: float = 0.9) -> None:
    """Raise `DataError` if something is in two of the splits of a published data set, or if it has fewer than two."""
    names = split_names(directory)
    if len(names) < 2:
        found = ", ".join(names) or "none"
        raise DataError(
            f"{directory}: needs at least two subdirectories with .jsonl or .jsonl.gz files; found: {found}"
        )
    splits = {name: (row for file in data_files(directory / name) for row in read_rows(file)) for name in names}
    refuse_leaks(splits, near_duplicates, directory)
