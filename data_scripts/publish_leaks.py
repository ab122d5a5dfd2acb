"""Leaks of a data set: queries, documents and nearly equal passages that are in two splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.data_scripts.near_duplicates import NearDuplicates, check_threshold
from secateur.data_scripts.records import parsed_lines
from secateur.data_scripts.split import checked_row, row_keys
from secateur.labelled.examples import data_files
from secateur.models.errors import DataError, shown

_SHOWN = 5  # leaks that an error message lists


@dataclass(frozen=True, slots=True)
class Leak:
    """Something that is in two splits.

    Attributes:
        kind: ``query``, ``document``, ``passage`` or ``near-duplicate passage``.
        text: Its text or identifier.
        splits: Names of the two splits.
    """

    kind: str
    text: str
    splits: tuple[str, str]

    def __str__(self) -> str:
        return f"{self.kind} {shown(self.text)} is in {self.splits[0]} and in {self.splits[1]}"


def find_leaks(splits: Mapping[str, Iterable[Mapping[str, Any]]], near_duplicates: float = 0.9) -> list[Leak]:
    """Find what is in two splits.

    Args:
        splits: Rows of the schema in `secateur.labelled.examples`, by split.
        near_duplicates: Similarity from which two passages are near-duplicates; 0: only equal passages are found.

    Returns:
        The leaks; each query, document or passage once.

    Raises:
        InputError: The similarity is out of range.
        MissingExtraError: `datasketch` is not installed.
    """
    check_threshold(near_duplicates)
    first: dict[tuple[str, str], str] = {}
    found: dict[tuple[str, str], Leak] = {}
    near = NearDuplicates(near_duplicates) if near_duplicates else None
    for split, rows in splits.items():
        for kind, text in (key for row in rows for key in row_keys(row)):
            key = (kind, text)
            if key in first:
                if first[key] != split:
                    found.setdefault(key, Leak(kind, text, (first[key], split)))
                continue
            first[key] = split
            if near is not None and kind == "passage":
                others = [other for other in near.add(text, text) if first["passage", other] != split]
                if others:
                    found[key] = Leak("near-duplicate passage", text, (first["passage", others[0]], split))
    return list(found.values())


def refuse_leaks(splits: Mapping[str, Iterable[Mapping[str, Any]]], near_duplicates: float, where: Path) -> None:
    """Check that nothing is in two splits.

    Raises:
        DataError: Something is; the message gives the number of leaks and lists the first ones.
    """
    leaks = find_leaks(splits, near_duplicates)
    if leaks:
        listed = "; ".join(map(str, leaks[:_SHOWN]))
        raise DataError(f"{where}: {len(leaks)} leaks between splits; split it again with `data publish`: {listed}")


def split_names(directory: Path) -> list[str]:
    """Return the names of a data set's splits: its subdirectories with JSON-lines files."""
    if not directory.is_dir():
        return []
    found = {path.parent for pattern in ("*/*.jsonl", "*/*.jsonl.gz") for path in directory.glob(pattern)}
    return sorted(path.name for path in found)


def check_leaks(directory: Path, near_duplicates: float = 0.9) -> None:
    """Check that nothing is in two splits of a published data set.

    Args:
        directory: Directory with a subdirectory of labelled examples for each split.
        near_duplicates: Similarity from which two passages are near-duplicates; 0: only equal passages are found.

    Raises:
        DataError: Something is in two splits, there are fewer than two splits, or a file cannot be read.
        InputError: The similarity is out of range.
    """
    names = split_names(directory)
    if len(names) < 2:
        found = ", ".join(names) or "none"
        raise DataError(
            f"{directory}: needs at least two subdirectories with .jsonl or .jsonl.gz files; found: {found}"
        )
    splits = {
        name: (row for file in data_files(directory / name) for row in parsed_lines(file, checked_row))
        for name in names
    }
    refuse_leaks(splits, near_duplicates, directory)
