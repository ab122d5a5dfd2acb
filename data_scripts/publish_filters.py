"""Selecting the labelled pairs of a data set: filters, and limits on each number of kept units."""

from __future__ import annotations

import math
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from secateur.data_scripts.near_duplicates import digest, normalised
from secateur.data_scripts.records import Labelled
from secateur.data_scripts.reports import KEPT_FROM, MAX_COUNTED
from secateur.data_scripts.validation import Checked, Share
from secateur.models.errors import DataError


@dataclass(frozen=True, slots=True)
class FilterOptions(Checked):
    """Which pairs are dropped. A bucket is the passages with one number of kept units; 5 means 5 or more.

    Attributes:
        min_characters: Lowest number of characters of a passage.
        whole_from: Number of units from which a passage is dropped if all of them are kept; 0 drops none.
        max_empty_share: Largest share of passages without a kept unit, in [0, 1].
        max_bucket_share: Largest share of each bucket, in [0, 1].
        seed: Random seed.
    """

    min_characters: int = 20
    whole_from: int = 5
    max_empty_share: Share = 0.7
    max_bucket_share: Share = 1.0
    seed: int = 13


def kept(label: Labelled) -> list[bool]:
    """Return for each unit whether at least half of the samples kept it."""
    return [share >= KEPT_FROM for share in label.labels]


def bucket(label: Labelled) -> int:
    """Return the number of kept units; 5 means 5 or more."""
    return min(sum(kept(label)), MAX_COUNTED)


def _problem(label: Labelled, options: FilterOptions) -> str | None:
    bounds = [0, *(bound for unit in label.units for bound in unit), len(label.passage)]
    if not label.query.strip():
        return "blank query"
    if not label.units:
        return "no units"
    if bounds != sorted(bounds) or any(start == end for start, end in label.units):
        return "units outside the passage"
    if not all(0.0 <= share <= 1.0 for share in label.labels):  # NaN is not
        return "labels outside 0 to 1"
    if len(label.passage.strip()) < options.min_characters:
        return "passage too short"
    if options.whole_from and len(label.units) >= options.whole_from and all(kept(label)):
        return "long passage kept whole"
    return None


def filtered(labels: Iterable[Labelled], options: FilterOptions, dropped: Counter[str]) -> list[Labelled]:
    """Return the labels that can be trained on, each query and passage once; the others are counted by reason."""
    found = []
    seen: set[tuple[str, str]] = set()
    for label in labels:
        pair = digest(normalised(label.query)), digest(normalised(label.passage))
        problem = _problem(label, options) or ("duplicate pair" if pair in seen else None)
        if problem is None:
            seen.add(pair)
            found.append(label)
        else:
            dropped[problem] += 1
    return found


def _largest_size(sizes: Sequence[int], share: float) -> int:
    """Return the largest size to which buckets can be cut so that none exceeds a share of the remaining passages."""
    sizes_to_try = range(1, max(sizes) + 1)  # a bucket's share of the rest grows with the size
    return bisect(sizes_to_try, False, key=lambda size: size > share * sum(min(full, size) for full in sizes) + 1e-9)


def balanced(labels: Sequence[Labelled], options: FilterOptions, dropped: Counter[str]) -> list[Labelled]:
    """Return the labels without the surplus of any bucket, whatever their order; the surplus is counted by reason.

    Buckets are cut first, then the empty passages. Too few buckets for their largest share are a `DataError`.
    """
    buckets: dict[int, list[Labelled]] = {}
    for label in labels:
        buckets.setdefault(bucket(label), []).append(label)
    sizes = {number: len(found) for number, found in buckets.items()}
    if options.max_bucket_share < 1.0 and labels:
        size = _largest_size(list(sizes.values()), options.max_bucket_share)
        if not size:
            raise DataError(
                f"--max-bucket-share {options.max_bucket_share} is impossible: the passages have only {len(sizes)} "
                f"different numbers of kept units; use at least {1 / len(sizes):.2f}"
            )
        sizes = {number: min(full, size) for number, full in sizes.items()}
        dropped["surplus with this number of kept units"] += len(labels) - sum(sizes.values())
    if options.max_empty_share < 1.0 and 0 in sizes:
        others = sum(sizes.values()) - sizes[0]
        empty = math.floor(options.max_empty_share * others / (1.0 - options.max_empty_share) + 1e-9)
        dropped["surplus without a kept unit"] += max(0, sizes[0] - empty)
        sizes[0] = min(sizes[0], empty)

    def order(label: Labelled) -> str:  # random, and independent of the other labels
        return digest(f"{options.seed}\0{label.id}\0{label.query}\0{label.passage}")

    chosen = {id(label) for number, found in buckets.items() for label in sorted(found, key=order)[: sizes[number]]}
    return [label for label in labels if id(label) in chosen]
