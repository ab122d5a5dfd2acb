"""What stands in two parts of a data set: a query, a document, or a passage that is nearly the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.data_scripts.near_duplicates import NearDuplicates, check_threshold, normalised
from secateur.labelled.examples import data_files
from secateur.labelled.text_files import filled_lines, parse_json
from secateur.models.errors import DataError, shown

_SHOWN = 5  # leaks that a message names


@dataclass(frozen=True, slots=True)
class Leak:
    """Something that stands in two parts.

    Attributes:
        kind: query, document or passage.
        text: what it is.
        parts: the two.
    """

    kind: str
    text: str
    parts: tuple[str, str]

    def __str__(self) -> str:
        return f"{self.kind} {shown(self.text)} stands in {self.parts[0]} and in {self.parts[1]}"


def _keys(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "query", normalised(row["query"])
    for passage in row["passages"]:
        if passage.get("document_id"):
            yield "document", passage["document_id"]
        yield "passage", normalised(passage["text"])


def find_leaks(parts: Mapping[str, Iterable[Mapping[str, Any]]], near_duplicates: float = 0.9) -> list[Leak]:
    """Return what stands in two parts, each once.

    Args:
        parts: rows of the schema in `secateur.labelled.examples`, by part.
        near_duplicates: similarity from which two passages are nearly the same; 0 looks for equal ones.

    Raises:
        InputError: the similarity is out of range.
        MissingExtraError: `datasketch` is not installed.
    """
    check_threshold(near_duplicates)
    first: dict[tuple[str, str], str] = {}
    found: dict[tuple[str, str], Leak] = {}
    near = NearDuplicates(near_duplicates) if near_duplicates else None
    for part, rows in parts.items():
        for row in rows:
            for key in _keys(row):
                kind, text = key
                if key in first:
                    if first[key] != part:
                        found.setdefault(key, Leak(kind, text, (first[key], part)))
                    continue
                first[key] = part
                if near is None or kind != "passage":
                    continue
                others = [other for other in near.add(text, text) if first["passage", other] != part]
                if others:
                    found.setdefault(key, Leak("near-duplicate passage", text, (first["passage", others[0]], part)))
    return list(found.values())


def refuse_leaks(parts: Mapping[str, Iterable[Mapping[str, Any]]], near_duplicates: float, where: Path) -> None:
    """Check that nothing stands in two parts.

    Raises:
        DataError: something does; the message counts it and names the first.
    """
    leaks = find_leaks(parts, near_duplicates)
    if leaks:
        named = "; ".join(map(str, leaks[:_SHOWN]))
        raise DataError(f"{where}: {len(leaks)} leaks between its parts; split it anew with `data publish`: {named}")


def _rows(directory: Path) -> Iterator[dict[str, Any]]:
    for file in data_files(directory):
        for number, line in filled_lines(file):
            try:
                row = parse_json(line)
                list(_keys(row))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise DataError(f"{file}, line {number}: {type(error).__name__}: {error}") from error
            yield row


def data_parts(directory: Path) -> list[str]:
    """Return the names of a data set's parts: its directories that hold JSON lines."""
    if not directory.is_dir():
        return []
    return sorted(
        part.name for part in directory.iterdir() if part.is_dir() and [*part.glob("*.jsonl"), *part.glob("*.jsonl.gz")]
    )


def check_leaks(directory: Path, near_duplicates: float = 0.9) -> None:
    """Check a published data set.

    Args:
        directory: with a directory of labelled examples for each part.
        near_duplicates: similarity from which two passages are nearly the same; 0 looks for equal ones.

    Raises:
        DataError: something stands in two parts, or there are not two parts, or a file cannot be read.
        InputError: the similarity is out of range.
    """
    names = data_parts(directory)
    if len(names) < 2:
        found = ", ".join(names) or "none"
        raise DataError(f"{directory}: needs two directories of .jsonl or .jsonl.gz files to compare; it has {found}")
    refuse_leaks({name: _rows(directory / name) for name in names}, near_duplicates, directory)
