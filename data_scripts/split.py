"""Splitting labelled examples into parts none of which has seen a passage or a query of another."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from secateur.models.errors import DataError
from secateur.models.examples import data_files, open_lines
from secateur.models.files import write_atomically


class _Groups:
    """Keys that belong together (union-find)."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def find(self, key: str) -> str:
        """Return the key that stands for all those that belong together with this one."""
        root = key
        while self._parent.setdefault(root, root) != root:
            root = self._parent[root]
        while self._parent[key] != root:
            self._parent[key], key = root, self._parent[key]
        return root

    def join(self, a: str, b: str) -> None:
        """Say that two keys belong together."""
        self._parent[self.find(a)] = self.find(b)


@dataclass(frozen=True, slots=True)
class _Line:
    file: str
    key: str
    text: str


def _read(data: Path, groups: _Groups) -> list[_Line]:
    lines = []
    for file in data_files(data):
        with open_lines(file) as source:
            for number, text in enumerate(source, 1):
                if not text.strip():
                    continue
                try:
                    row = json.loads(text)
                    key = f"query {row['query'].strip().lower()}"
                    for passage in row["passages"]:
                        groups.join(key, f"passage {passage['text'].strip()}")
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    raise DataError(f"{file}, line {number}: {type(error).__name__}: {error}") from error
                lines.append(_Line(file.name.removesuffix(".gz"), key, text.rstrip("\n")))
    return lines


def _assign(sizes: Mapping[str, int], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Return the part of each group: the large ones first, each to the part that lacks most."""
    total = sum(sizes.values())
    order = sorted(sizes)
    random.Random(seed).shuffle(order)
    filled = dict.fromkeys(shares, 0)
    parts = {}
    for group in sorted(order, key=lambda g: -sizes[g]):  # a stable sort: groups of one size stay shuffled
        part = max(shares, key=lambda p: shares[p] * total - filled[p])
        parts[group] = part
        filled[part] += sizes[group]
    return parts


def _write(lines: Sequence[_Line], directory: Path) -> None:
    for name in dict.fromkeys(line.file for line in lines):
        texts = [line.text for line in lines if line.file == name]
        write_atomically(directory / name, "\n".join(texts) + "\n")


def split(data: Path, out: Path, shares: Mapping[str, float], seed: int = 13) -> dict[str, int]:
    """Split labelled examples, a file a source in each part. Queries that share a passage stay together.

    Args:
        data: labelled examples.
        out: directory for the parts.
        shares: of the queries, by the name of the part; they add up to 1.
        seed: the same seed gives the same split.

    Returns:
        The number of queries of each part.

    Raises:
        DataError: a line cannot be read, or the queries hang together so much that a part would stay empty.
    """
    groups = _Groups()
    lines = _read(data, groups)
    sizes = Counter(groups.find(line.key) for line in lines)
    parts = _assign(sizes, shares, seed)
    by_part = {part: [line for line in lines if parts[groups.find(line.key)] == part] for part in shares}
    empty = [part for part, found in by_part.items() if not found]
    if empty:
        raise DataError(
            f"{data}: its {len(lines)} queries share passages so much, or are so few, that nothing is left for the "
            f"part {empty[0]!r}"
        )
    for part, found in by_part.items():
        _write(found, out / part)
    return {part: len(found) for part, found in by_part.items()}
