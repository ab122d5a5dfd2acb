"""Splitting examples into train, dev and test so that no query, document or passage is in two splits.

Passages that were retrieved for many queries connect all of these. If that leaves a split far too small, only relevant
passages connect queries, and every irrelevant passage stays in one split only. Where allowed, a question that is asked
of every document, e.g. of contracts, may be in several splits, each time with other documents and passages.
"""

from __future__ import annotations

import logging
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.data_scripts.near_duplicates import NearDuplicates, normalised
from secateur.data_scripts.records import parsed_lines
from secateur.labelled.examples import data_files
from secateur.labelled.json_files import write_json_lines
from secateur.models.errors import DataError

log = logging.getLogger(__name__)

_TOO_SMALL = 0.5  # share of its intended size below which a split is too small
_FILE = "\0file"  # key that stores the file name of a row; no real key contains a null byte

Row = dict[str, Any]


class _Groups(dict[str, str]):
    """Keys that belong together (union-find); each key is mapped to a key nearer to the root of its group."""

    def find(self, key: str) -> str:
        """Return the key that represents the group of a key."""
        while self.setdefault(key, key) != key:
            self[key] = key = self[self[key]]
        return key

    def join(self, a: str, b: str) -> None:
        """Merge the groups of two keys."""
        self[self.find(a)] = self.find(b)


@dataclass(frozen=True, slots=True)
class Splits:
    """Examples by split; irrelevant passages that were dropped to be in one split only; queries in several splits."""

    rows: dict[str, list[Row]]
    passages_dropped: int
    queries_repeated: int

    def well_filled(self, shares: Mapping[str, float]) -> bool:
        """Whether no split is far smaller than its share."""
        total = sum(map(len, self.rows.values()))
        return all(len(rows) >= _TOO_SMALL * shares[split] * total for split, rows in self.rows.items())


def row_keys(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what may be in one split only, as kind and text: an example's query, documents and passages."""
    yield "query", normalised(row["query"])
    for passage in row["passages"]:
        if passage.get("document_id"):
            yield "document", passage["document_id"]
        yield "passage", normalised(passage["text"])


def read_rows(file: Path) -> Iterator[Row]:
    """Read labelled examples as they are; `DataError` names a line without a query or passages."""

    def checked(row: Any, _: int) -> Row:
        list(row_keys(row))
        return dict(row)

    return parsed_lines(file, checked)


def _passage_key(passage: Mapping[str, Any]) -> str:
    return f"passage {normalised(passage['text'])}"


def _passage_groups(rows: Sequence[Row], near_duplicates: float) -> _Groups:
    """Join passages with their documents and their near-duplicates."""
    groups = _Groups()
    near = NearDuplicates(near_duplicates) if near_duplicates else None
    seen: set[str] = set()
    for passage in (passage for row in rows for passage in row["passages"]):
        key = _passage_key(passage)
        if passage.get("document_id"):
            groups.join(key, f"document {passage['document_id']}")
        if near is not None and key not in seen:
            for other in near.add(key, normalised(passage["text"])):
                groups.join(key, other)
        seen.add(key)
    return groups


def _assign(sizes: Mapping[str, int], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Assign groups to splits: the largest first, each to the split that lacks most."""
    total = sum(sizes.values())
    order = sorted(sizes)
    random.Random(seed).shuffle(order)
    filled = dict.fromkeys(shares, 0)
    assigned = {}
    for group in sorted(order, key=lambda g: -sizes[g]):  # stable: groups of the same size stay shuffled
        split = max(shares, key=lambda name: shares[name] * total - filled[name])
        assigned[group] = split
        filled[split] += sizes[group]
    return assigned


def _split_by(
    keys: Sequence[str], rows: Sequence[Row], passages: _Groups, shares: Mapping[str, float], seed: int, every: bool
) -> Splits:
    """Keep examples together that have the same key or share a passage; ``every``: even an irrelevant one."""
    groups = _Groups(passages)
    for row, key in zip(rows, keys, strict=True):
        for passage in row["passages"]:
            if every or passage.get("relevant", passage.get("relevant_spans")):
                groups.join(key, _passage_key(passage))
    assigned = _assign(Counter(map(groups.find, keys)), shares, seed)
    splits = [assigned[groups.find(key)] for key in keys]
    uses: dict[str, Counter[str]] = {}
    for row, split in zip(rows, splits, strict=True):
        for passage in row["passages"]:
            uses.setdefault(groups.find(_passage_key(passage)), Counter())[split] += 1
    # A passage that connects no queries stays where it is used most relative to the split's share, so that small
    # splits keep some.
    owners = {group: max(shares, key=lambda name: used[name] / shares[name]) for group, used in uses.items()} | assigned
    found: dict[str, list[Row]] = {split: [] for split in shares}
    dropped = 0
    for row, split in zip(rows, splits, strict=True):
        kept = [passage for passage in row["passages"] if owners[groups.find(_passage_key(passage))] == split]
        dropped += len(row["passages"]) - len(kept)
        if kept or not row["passages"]:
            found[split].append({**row, "passages": kept})
    queries = Counter(query for rows in found.values() for query in {normalised(row["query"]) for row in rows})
    return Splits(found, dropped, sum(count > 1 for count in queries.values()))


def split_rows(
    rows: Sequence[Row],
    shares: Mapping[str, float],
    seed: int,
    near_duplicates: float = 0.0,
    *,
    repeat_queries: bool = False,
    where: str | Path = "the examples",
) -> Splits:
    """Split examples so that no query, document or passage is in two splits.

    Args:
        rows: Rows of the schema in `secateur.labelled.examples`; a passage may have a ``document_id``.
        shares: Share of the queries by split; they add up to 1.
        seed: Random seed.
        near_duplicates: Similarity from which two passages count as the same; 0: only equal ones do.
        repeat_queries: If the splits cannot be filled otherwise, allow a query in several, with other passages.
        where: The examples' place, for the error message.

    Raises:
        DataError: A split would be empty: the examples are too few, or connected too much.
    """
    passages = _passage_groups(rows, near_duplicates)
    queries = [f"query {normalised(row['query'])}" for row in rows]
    separate = [f"row {number}" for number in range(len(rows))]
    ways = [(keys, every) for keys in (queries, separate)[: 1 + repeat_queries] for every in (True, False)]
    ways.append((queries, False))  # if no way fills the splits, queries are not repeated either
    tried = (_split_by(keys, rows, passages, shares, seed, every) for keys, every in ways)
    found = next(splits for number, splits in enumerate(tried, 1) if number == len(ways) or splits.well_filled(shares))
    if empty := [name for name, part in found.rows.items() if not part]:
        total = sum(map(len, found.rows.values()))
        raise DataError(
            f"{where}: the split {empty[0]!r} would be empty: its {total} queries are too few, or share too many "
            "documents or passages; use fewer splits or more data"
        )
    return found


def split(data: Path, out: Path, shares: Mapping[str, float], seed: int = 13) -> dict[str, int]:
    """Split labelled examples as `split_rows` does; each split has a directory with a file per source.

    Returns:
        The number of queries in each split.
    """
    rows = [row | {_FILE: file.name.removesuffix(".gz")} for file in data_files(data) for row in read_rows(file)]
    splits = split_rows(rows, shares, seed, repeat_queries=True, where=data)
    if splits.queries_repeated:
        log.warning("queries in several splits, each time with other passages: %d", splits.queries_repeated)
    for name, found in splits.rows.items():
        files: dict[str, list[Row]] = {}
        for row in found:
            files.setdefault(row.pop(_FILE), []).append(row)
        for file, lines in files.items():
            write_json_lines(out / name / file, lines)
    return {name: len(found) for name, found in splits.rows.items()}
