"""Dividing examples into parts none of which has seen a query, a document or a passage of another.

Passages that were retrieved for many queries tie all of them together. Where that leaves a part far too small, only
the relevant passages tie, and the others stay with one part alone. A question that is asked of every document, as of
contracts, ties all of these: where it may be repeated, documents and passages are kept apart, such questions are not.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from secateur.data_scripts.near_duplicates import NearDuplicates, check_threshold, normalised

_TOO_SMALL = 0.5  # of what a part should hold

Row = dict[str, Any]


class Groups:
    """Keys that belong together (union-find)."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def copy(self) -> Groups:
        """Return the same groups, to join further."""
        copied = Groups()
        copied._parent = self._parent.copy()
        return copied

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
class Division:
    """Examples by part.

    Attributes:
        parts: rows by the name of the part.
        passages_dropped: irrelevant passages that would have stood in two parts.
        queries_dropped: those of which no passage is left.
        questions_shared: queries that stand in several parts, each with other passages.
    """

    parts: dict[str, list[Row]]
    passages_dropped: int = 0
    queries_dropped: int = 0
    questions_shared: int = 0


def assign(sizes: Mapping[str, int], shares: Mapping[str, float], seed: int) -> dict[str, str]:
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


def query_key(row: Mapping[str, Any]) -> str:
    """Return what an example's query is called among groups."""
    return f"query {normalised(row['query'])}"


def passage_key(passage: Mapping[str, Any]) -> str:
    """Return what a passage is called among groups."""
    return f"passage {normalised(passage['text'])}"


def _passage_groups(rows: Sequence[Row], near_duplicates: float) -> Groups:
    """Join passages with their documents and near-duplicates."""
    groups = Groups()
    near = NearDuplicates(near_duplicates) if near_duplicates else None
    seen: set[str] = set()
    for passage in (passage for row in rows for passage in row["passages"]):
        key = passage_key(passage)
        if passage.get("document_id"):
            groups.join(key, f"document {passage['document_id']}")
        if near is not None and key not in seen:
            for other in near.add(key, normalised(passage["text"])):
                groups.join(key, other)
        seen.add(key)
    return groups


def _is_relevant(passage: Mapping[str, Any]) -> bool:
    return bool(passage.get("relevant", passage.get("relevant_spans")))


def _parts(keys: Sequence[str], groups: Groups, shares: Mapping[str, float], seed: int) -> list[str]:
    """Return the part of each example, which goes by that key."""
    parts = assign(Counter(map(groups.find, keys)), shares, seed)
    return [parts[groups.find(key)] for key in keys]


def _by_all(
    rows: Sequence[Row], keys: Sequence[str], passages: Groups, shares: Mapping[str, float], seed: int
) -> Division:
    """Keep examples together that share any passage."""
    groups = passages.copy()
    for row, key in zip(rows, keys, strict=True):
        for passage in row["passages"]:
            groups.join(key, passage_key(passage))
    divided: dict[str, list[Row]] = {part: [] for part in shares}
    for row, part in zip(rows, _parts(keys, groups, shares, seed), strict=True):
        divided[part].append(row)
    return Division(divided)


def _by_relevant(
    rows: Sequence[Row], keys: Sequence[str], passages: Groups, shares: Mapping[str, float], seed: int
) -> Division:
    """Keep examples together that share a relevant passage; the others stay with one part alone."""
    groups = passages.copy()
    for row, key in zip(rows, keys, strict=True):
        for passage in filter(_is_relevant, row["passages"]):
            groups.join(key, passage_key(passage))
    parts = _parts(keys, groups, shares, seed)
    uses: dict[str, Counter[str]] = {}
    for row, part in zip(rows, parts, strict=True):
        for passage in row["passages"]:
            uses.setdefault(groups.find(passage_key(passage)), Counter())[part] += 1
    # What ties no queries goes where it is used most for that part's size: else the small parts would lose theirs.
    owners = {group: max(shares, key=lambda p: used[p] / shares[p]) for group, used in uses.items()}
    owners |= {groups.find(key): part for key, part in zip(keys, parts, strict=True)}
    divided: dict[str, list[Row]] = {part: [] for part in shares}
    passages_dropped = queries_dropped = 0
    for row, part in zip(rows, parts, strict=True):
        stay = [passage for passage in row["passages"] if owners[groups.find(passage_key(passage))] == part]
        passages_dropped += len(row["passages"]) - len(stay)
        if stay:
            divided[part].append({**row, "passages": stay})
        else:
            queries_dropped += 1
    return Division(divided, passages_dropped, queries_dropped)


def _well_filled(parts: Mapping[str, Sequence[Row]], shares: Mapping[str, float]) -> bool:
    total = sum(map(len, parts.values()))
    return all(len(rows) >= _TOO_SMALL * shares[part] * total for part, rows in parts.items())


def _questions_shared(parts: Mapping[str, Sequence[Row]]) -> int:
    in_parts = Counter(key for rows in parts.values() for key in {query_key(row) for row in rows})
    return sum(count > 1 for count in in_parts.values())


def divide(
    rows: Sequence[Row],
    shares: Mapping[str, float],
    seed: int,
    near_duplicates: float = 0.0,
    *,
    repeat_questions: bool = False,
) -> Division:
    """Divide examples so that no query, document or passage stands in two parts.

    Args:
        rows: of the schema in `secateur.labelled.examples`; a passage may name its ``document_id``.
        shares: of the queries, by the name of the part; they add up to 1.
        seed: the same seed gives the same division.
        near_duplicates: similarity from which two passages count as one; 0 for equal ones only.
        repeat_questions: where the parts cannot be filled otherwise, a query may stand in several, each time with other
            documents and passages.

    Returns:
        The parts; one is empty where the examples hang together too much.

    Raises:
        InputError: the similarity is out of range.
        MissingExtraError: near-duplicates are asked for and `datasketch` is not installed.
    """
    check_threshold(near_duplicates)
    passages = _passage_groups(rows, near_duplicates)
    queries = [query_key(row) for row in rows]
    found = _by_all(rows, queries, passages, shares, seed)
    if _well_filled(found.parts, shares):
        return found
    strict = _by_relevant(rows, queries, passages, shares, seed)
    if not repeat_questions or _well_filled(strict.parts, shares):
        return strict
    alone = [f"row {number}" for number in range(len(rows))]
    for way in (_by_all, _by_relevant):
        found = way(rows, alone, passages, shares, seed)
        if _well_filled(found.parts, shares):
            return replace(found, questions_shared=_questions_shared(found.parts))
    return strict
