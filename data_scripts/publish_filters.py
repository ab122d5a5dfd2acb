"""Which labelled pairs are good enough to train on, and how many of each count of kept units."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from secateur.data_scripts.near_duplicates import digest, normalised
from secateur.data_scripts.records import Labelled
from secateur.models.errors import DataError, InputError, shown

KEPT_FROM = 0.5  # share of samples
MOST_COUNTED = 5  # kept units; passages with more are counted together


@dataclass(frozen=True, slots=True)
class FilterOptions:
    """What is dropped.

    Attributes:
        min_characters: of a passage.
        whole_from: units from which a passage that is kept whole is dropped; 0 drops none.
        max_empty_share: of passages without a kept unit, in 0 to 1.
        max_bucket_share: of passages with the same count of kept units, in 0 to 1; 5 stands for 5 and more.
        seed: of the draws.
    """

    min_characters: int = 20
    whole_from: int = 5
    max_empty_share: float = 0.7
    max_bucket_share: float = 1.0
    seed: int = 13

    def __post_init__(self) -> None:
        for field, share in (
            ("--max-empty-share", self.max_empty_share),
            ("--max-bucket-share", self.max_bucket_share),
        ):
            if not 0.0 <= share <= 1.0:
                raise InputError(field, f"must lie in 0 to 1, not {shown(share)}", "give e.g. 0.7, or 1 for no cap")


def kept(label: Labelled) -> list[bool]:
    """Return for each unit whether at least half of the samples kept it."""
    return [share >= KEPT_FROM for share in label.labels]


def bucket(label: Labelled) -> int:
    """Return how many units are kept, 5 standing for 5 and more."""
    return min(sum(kept(label)), MOST_COUNTED)


def _fits(label: Labelled) -> bool:
    """Return whether the units lie in the passage, in order and apart."""
    end = 0
    for start, stop in label.units:
        if not end <= start < stop <= len(label.passage):
            return False
        end = stop
    return True


def _problem(label: Labelled, options: FilterOptions) -> str | None:
    if not label.query.strip():
        return "blank query"
    if not label.units:
        return "no units"
    if not _fits(label):
        return "units outside the passage"
    if not all(math.isfinite(share) and 0.0 <= share <= 1.0 for share in label.labels):
        return "labels outside 0 to 1"
    if len(label.passage.strip()) < options.min_characters:
        return "passage too short"
    if options.whole_from and len(label.units) >= options.whole_from and all(kept(label)):
        return "long passage kept whole"
    return None


def filtered(labels: Iterable[Labelled], options: FilterOptions, dropped: Counter[str]) -> list[Labelled]:
    """Return the labels that can be trained on.

    Args:
        labels: in any order; of pairs with the same query and passage the first stays.
        options: what is dropped.
        dropped: counts by reason go here.
    """
    stay = []
    seen: set[tuple[str, str]] = set()
    for label in labels:
        problem = _problem(label, options)
        pair = digest(normalised(label.query)), digest(normalised(label.passage))
        if problem is None and pair in seen:
            problem = "duplicate pair"
        if problem is not None:
            dropped[problem] += 1
            continue
        seen.add(pair)
        stay.append(label)
    return stay


def _drawn(labels: Sequence[Labelled], most: int, seed: int) -> set[str]:
    """Return the ids of ``most`` labels, drawn by their digests: each stands or falls by its own."""
    order = sorted(labels, key=lambda label: digest(f"{seed}\0{label.id}\0{label.query}\0{label.passage}"))
    return {f"{label.id}\0{label.query}\0{label.passage}" for label in order[:most]}


def _cap(sizes: Sequence[int], share: float) -> int:
    """Return the largest size to which buckets can be cut so that none holds more than a share of what is left."""
    low, high = 0, max(sizes, default=0)
    while low < high:  # what is left, by the cap, falls as the cap grows: one border
        middle = (low + high + 1) // 2
        if middle <= share * sum(min(size, middle) for size in sizes) + 1e-9:
            low = middle
        else:
            high = middle - 1
    return low


def balanced(labels: Sequence[Labelled], options: FilterOptions, dropped: Counter[str]) -> list[Labelled]:
    """Return the labels without those of which there are too many of one count of kept units.

    Args:
        labels: filtered.
        options: how many are too many. Buckets are cut to one size first, then the empty passages to their share.
        dropped: counts by reason go here.

    Raises:
        DataError: there are too few buckets for their cap.
    """
    buckets: dict[int, list[Labelled]] = {}
    for label in labels:
        buckets.setdefault(bucket(label), []).append(label)
    sizes = {number: len(found) for number, found in buckets.items()}
    if options.max_bucket_share < 1.0:
        cap = _cap(list(sizes.values()), options.max_bucket_share)
        if not cap and labels:
            raise DataError(
                f"--max-bucket-share {options.max_bucket_share} cannot be met by passages with only {len(sizes)} "
                f"different counts of kept units; give at least {1 / len(sizes):.2f}"
            )
        sizes = {number: min(size, cap) for number, size in sizes.items()}
        if too_many := len(labels) - sum(sizes.values()):
            dropped["too many with that count of kept units"] += too_many
    if options.max_empty_share < 1.0 and 0 in sizes:
        others = sum(sizes.values()) - sizes[0]
        most = math.floor(options.max_empty_share * others / (1.0 - options.max_empty_share) + 1e-9)
        if sizes[0] > most:
            dropped["too many without a kept unit"] += sizes[0] - most
            sizes[0] = most
    chosen: set[str] = set()
    for number, found in buckets.items():
        chosen |= _drawn(found, sizes[number], options.seed)
    return [label for label in labels if f"{label.id}\0{label.query}\0{label.passage}" in chosen]
