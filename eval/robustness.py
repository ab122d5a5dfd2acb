"""Robustness: how figures move when the same data comes in another dress, made by rule.

Each variant changes queries or passages, and carries the labelled spans along.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from secateur.eval.bootstrap import difference
from secateur.eval.metrics import figures_at
from secateur.eval.quality import Measured, measure
from secateur.eval.systems.base import System
from secateur.eval.units import Source, SourceBuilder
from secateur.labelled.examples import Example, LabelledPassage
from secateur.models.types import Passage

MAX_UNITS = 30
_FINAL = re.compile(r"[.!?…]+([\"'”’)\]]*\s*)$")
_TYPO_SHARE = 0.3
_FUNCTION_WORDS = re.compile(
    r"(a|about|an|and|any|are|as|at|be|been|but|by|can|could|did|do|does|for|from|had|has|have|how|if|in|into|is|it|its"
    r"|may|much|many|no|not|of|on|or|shall|should|so|than|that|the|their|there|these|this|those|to|was|were|what|when"
    r"|where|which|who|whom|whose|why|will|with|would|you|your)",
    re.IGNORECASE,
)
_NOISE = "qx zvrr lomp tesk 0x7f .. ;; wubl grapt nnn -- 93 kje plo"

Pieces = list[tuple[str, bool]]
"""A passage as its units' texts, each with whether it answers."""


def _rng(example: Example, variant: str) -> random.Random:
    return random.Random(zlib.crc32(f"{variant}/{example.id}/{example.query}".encode("utf-8", "surrogatepass")))


def _joined(pieces: Pieces, like: LabelledPassage) -> LabelledPassage:
    """Put units together again, with the answering ones as the labelled spans."""
    text, spans = "", []
    for piece, answers in pieces:
        if answers and piece.strip():
            lead = len(piece) - len(piece.lstrip())
            spans.append((len(text) + lead, len(text) + len(piece.rstrip())))
        text += piece
    return LabelledPassage(replace(like.passage, text=text), tuple(spans), bool(spans))


def _pieces(source: Source, query: int) -> list[Pieces]:
    """Return the passages of a query as units, white space behind each unit included."""
    example = source.examples[query]
    found = []
    for labelled, segmented in zip(example.passages, source.segmented[query], strict=True):
        answers = labelled.unit_labels(segmented.units)
        text = labelled.passage.text
        found.append([(text[u.start : u.end], a) for u, a in zip(segmented.units, answers, strict=True)])
    return found


def plain(source: Source, query: int) -> Example:
    """Leave the example as it is."""
    return source.examples[query]


def no_final_punctuation(source: Source, query: int) -> Example:
    """Take full stops, question and exclamation marks off the ends of units."""
    example = source.examples[query]
    passages = [
        _joined([(_FINAL.sub(r"\1", text), answers) for text, answers in pieces], labelled)
        for pieces, labelled in zip(_pieces(source, query), example.passages, strict=True)
    ]
    return replace(example, passages=tuple(passages))


def upper_case(source: Source, query: int) -> Example:
    """Write passages in capitals (letters that become several are left, so that spans hold)."""

    def shout(text: str) -> str:
        return "".join(c.upper() if len(c.upper()) == 1 else c for c in text)

    example = source.examples[query]
    return replace(
        example,
        passages=tuple(replace(p, passage=replace(p.passage, text=shout(p.passage.text))) for p in example.passages),
    )


def query_typos(source: Source, query: int) -> Example:
    """Swap two neighbouring letters in some of the query's longer words, at least in one."""
    example = source.examples[query]
    rng = _rng(example, "typos")
    words = example.query.split(" ")
    long = [i for i, word in enumerate(words) if len(word) >= 4]
    for i in rng.sample(long, max(1, round(_TYPO_SHARE * len(long)))) if long else []:
        word = words[i]
        at = rng.randrange(1, len(word) - 2)
        words[i] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return replace(example, query=" ".join(words))


def query_keywords(source: Source, query: int) -> Example:
    """Leave only the content words of the query, without punctuation."""
    example = source.examples[query]
    words = re.findall(r"[\w'-]+", example.query)
    content = [word for word in words if not _FUNCTION_WORDS.fullmatch(word)]
    return replace(example, query=" ".join(content or words) or example.query)


def duplicated(source: Source, query: int) -> Example:
    """Give every passage twice."""
    example = source.examples[query]
    return replace(example, passages=tuple(p for p in example.passages for _ in range(2)))


def noise_passage(source: Source, query: int) -> Example:
    """Add a passage of noise."""
    example = source.examples[query]
    rng = _rng(example, "noise")
    words = [rng.choice(_NOISE.split()) for _ in range(80)]
    noise = LabelledPassage(Passage(" ".join(words) + "."), (), False)
    return replace(example, passages=(*example.passages, noise))


def other_lengths(source: Source, query: int) -> Example:
    """Cut passages, or lengthen them by passages of other queries, to a random number of units from 1 to 30.

    The answering units stay: a passage is never cut shorter than the run from its first to its last one.
    """
    example = source.examples[query]
    rng = _rng(example, "lengths")
    passages = []
    for pieces, labelled in zip(_pieces(source, query), example.passages, strict=True):
        target = rng.randint(1, MAX_UNITS)
        gold = [i for i, (_, answers) in enumerate(pieces) if answers]
        first, last = (gold[0], gold[-1]) if gold else (0, 0)
        wanted = max(target, last - first + 1)
        start = max(0, min(first, last + 1 - wanted))
        chosen = pieces[start : start + wanted]
        while len(chosen) < target:
            other = rng.randrange(len(source.examples))
            filler = [(text, False) for p in _pieces(source, other) for text, _ in p]
            if other == query or not filler:
                if len(source.examples) == 1:
                    break
                continue
            chosen = [*((text.rstrip() + " ", a) for text, a in chosen), *filler[: target - len(chosen)]]
        passages.append(_joined(chosen, labelled))
    return replace(example, passages=tuple(passages))


def deletion(source: Source, query: int) -> Example:
    """Take the answering units out: nothing is left to keep."""
    example = source.examples[query]
    passages = [
        _joined([(text, False) for text, answers in pieces if not answers], labelled)
        for pieces, labelled in zip(_pieces(source, query), example.passages, strict=True)
    ]
    return replace(example, passages=tuple(p for p in passages if p.passage.text.strip()))


VARIANTS: dict[str, Callable[[Source, int], Example]] = {
    "plain": plain,
    "no final punctuation": no_final_punctuation,
    "upper case": upper_case,
    "query with typos": query_typos,
    "query as keywords": query_keywords,
    "duplicated passages": duplicated,
    "a passage of noise": noise_passage,
    "1 to 30 units": other_lengths,
    "answers deleted": deletion,
}
"""Variants by name; `plain` is what the others are compared with."""


def _variant(source: Source, name: str, builder: SourceBuilder) -> Source:
    # Under the source's own name: a variant is resampled as the plain source is, so that the two can be compared.
    return builder.build(source.name, [VARIANTS[name](source, query) for query in range(len(source.examples))])


def _row(measured: Measured, sources: Sequence[Source], reference: Measured) -> dict[str, Any]:
    threshold = measured.system.threshold
    row: dict[str, Any] = {
        name: float(measured.macro[name][0]) if name in measured.macro else None for name in ("area", "mrr")
    }
    if threshold is not None:
        at = []
        for source in sources:
            weights = np.ones((1, len(source.examples)))
            at.append(
                {
                    k: float(v[0])
                    for k, v in figures_at(source, measured.scores[source.name], threshold, weights).items()
                }
            )
        for name in ("retention", "compression"):
            known = [one[name] for one in at if not np.isnan(one[name])]
            row[name] = float(np.mean(known)) if known else None
        row["kept_share"] = None if row["compression"] is None else 1 - row["compression"]
    if "area" in measured.macro and "area" in reference.macro:
        found = difference(measured.macro["area"], reference.macro["area"])
        if found is not None:
            row["area_difference"] = {"difference": found.difference, "interval": [found.low, found.high]}
    return row


def robustness_test(
    systems: Sequence[System], sources: Sequence[Source], builder: SourceBuilder, out: Path | None, *, limit: int = 6
) -> dict[str, Any]:
    """Measure systems on every variant.

    Args:
        systems: what is tested.
        sources: the data.
        builder: segments the variants.
        out: directory for score files.
        limit: queries of each source.
    """
    small = [builder.build(s.name, s.examples[:limit]) for s in sources if s.relevant.any()]
    variants = {name: [_variant(s, name, builder) for s in small] for name in VARIANTS}
    content: dict[str, Any] = {}
    for system in systems:
        measured = {
            name: measure(system, made, out / name.replace(" ", "-") if out else None)
            for name, made in variants.items()
        }
        content[system.name] = {name: _row(one, variants[name], measured["plain"]) for name, one in measured.items()}
    about = {name: (make.__doc__ or "").split("\n")[0] for name, make in VARIANTS.items()}
    return {"systems": content, "about": about, "queries": sum(len(s.examples) for s in small)}
