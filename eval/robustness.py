"""The robustness test: how figures change when queries, or passages with their labelled spans, are changed by rule."""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from secateur.eval.bootstrap import paired_difference
from secateur.eval.metrics import figures_at
from secateur.eval.quality import Measured, measure
from secateur.eval.systems.base import System
from secateur.eval.units import Source, SourceBuilder
from secateur.labelled.examples import Example, LabelledPassage
from secateur.models.types import Passage

_MAX_UNITS = 30
_FINAL = re.compile(r"[.!?…]+([\"'”’)\]]*\s*)$")
_TYPO_SHARE = 0.3
_FUNCTION_WORDS = re.compile(
    r"(a|about|an|and|any|are|as|at|be|been|but|by|can|could|did|do|does|for|from|had|has|have|how|if|in|into|is|it|its"
    r"|may|much|many|no|not|of|on|or|shall|should|so|than|that|the|their|there|these|this|those|to|was|were|what|when"
    r"|where|which|who|whom|whose|why|will|with|would|you|your)",
    re.IGNORECASE,
)
_NOISE = ["qx", "zvrr", "lomp", "tesk", "0x7f", "..", ";;", "wubl", "grapt", "nnn", "--", "93", "kje", "plo"]

Pieces = list[tuple[str, bool]]
"""The units of a passage as text, each with whether it answers."""


def _rng(example: Example, variant: str) -> random.Random:
    return random.Random(zlib.crc32(f"{variant}/{example.id}/{example.query}".encode("utf-8", "surrogatepass")))


def _pieces(source: Source, query: int) -> list[Pieces]:
    """Return the passages of a query as units, each with the white space after it."""
    found = []
    for labelled, segmented in zip(source.examples[query].passages, source.segmented[query], strict=True):
        texts = [labelled.passage.text[unit.start : unit.end] for unit in segmented.tiling]
        found.append(list(zip(texts, labelled.unit_labels(segmented.tiling), strict=True)))
    return found


def _rewritten(source: Source, query: int, rewrite: Callable[[Pieces], Pieces]) -> Example:
    """Return the example with the units of each passage rewritten; passages that become blank are dropped."""
    passages = []
    for pieces, labelled in zip(_pieces(source, query), source.examples[query].passages, strict=True):
        text, spans = "", []
        for piece, answers in rewrite(pieces):
            if answers and piece.strip():
                lead = len(piece) - len(piece.lstrip())
                spans.append((len(text) + lead, len(text) + len(piece.rstrip())))
            text += piece
        if text.strip():
            passages.append(LabelledPassage(replace(labelled.passage, text=text), tuple(spans), bool(spans)))
    return replace(source.examples[query], passages=tuple(passages))


def _upper_case(source: Source, query: int) -> Example:
    def capitals(p: LabelledPassage) -> LabelledPassage:
        text = "".join(c.upper() if len(c.upper()) == 1 else c for c in p.passage.text)
        return replace(p, passage=replace(p.passage, text=text))

    example = source.examples[query]
    return replace(example, passages=tuple(map(capitals, example.passages)))


def _query_typos(source: Source, query: int) -> Example:
    example = source.examples[query]
    rng = _rng(example, "typos")
    words = example.query.split(" ")
    long = [i for i, word in enumerate(words) if len(word) >= 4]
    for i in rng.sample(long, max(1, round(_TYPO_SHARE * len(long)))) if long else []:
        word = words[i]
        at = rng.randrange(1, len(word) - 2)
        words[i] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return replace(example, query=" ".join(words))


def _query_keywords(source: Source, query: int) -> Example:
    example = source.examples[query]
    words = re.findall(r"[\w'-]+", example.query)
    content = [word for word in words if not _FUNCTION_WORDS.fullmatch(word)]
    return replace(example, query=" ".join(content or words) or example.query)


def _duplicated(source: Source, query: int) -> Example:
    example = source.examples[query]
    return replace(example, passages=tuple(p for p in example.passages for _ in range(2)))


def _noise_passage(source: Source, query: int) -> Example:
    example = source.examples[query]
    rng = _rng(example, "noise")
    noise = Passage(" ".join(rng.choice(_NOISE) for _ in range(80)) + ".", format="text")
    return replace(example, passages=(*example.passages, LabelledPassage(noise, (), False)))


def _other_lengths(source: Source, query: int) -> Example:
    """A passage is never cut shorter than the run from its first to its last answering unit."""
    rng = _rng(source.examples[query], "lengths")

    def resized(pieces: Pieces) -> Pieces:
        target = rng.randint(1, _MAX_UNITS)
        gold = [i for i, (_, answers) in enumerate(pieces) if answers]
        first, last = (gold[0], gold[-1]) if gold else (0, 0)
        wanted = max(target, last - first + 1)
        start = max(0, min(first, last + 1 - wanted))
        chosen = pieces[start : start + wanted]
        while len(chosen) < target and len(source.examples) > 1:
            other = rng.randrange(len(source.examples))
            filler = [(text, False) for p in _pieces(source, other) for text, _ in p]
            if other != query and filler:
                chosen = [*((text.rstrip() + " ", a) for text, a in chosen), *filler[: target - len(chosen)]]
        return chosen

    return _rewritten(source, query, resized)


VARIANTS: dict[str, tuple[str, Callable[[Source, int], Example]]] = {
    "plain": ("The example as it is", lambda source, query: source.examples[query]),
    "no final punctuation": (
        "Units without the full stop, question mark or exclamation mark at their end",
        lambda source, query: _rewritten(source, query, lambda pieces: [(_FINAL.sub(r"\1", t), a) for t, a in pieces]),
    ),
    "upper case": (
        "Passages in capitals; letters whose capital is longer stay, so that spans hold",
        _upper_case,
    ),
    "query with typos": (
        "Two neighbouring letters swapped in some of the longer words of the query, at least in one",
        _query_typos,
    ),
    "query as keywords": ("The content words of the query alone, without punctuation", _query_keywords),
    "duplicated passages": ("Every passage twice", _duplicated),
    "a passage of noise": ("A passage of noise added", _noise_passage),
    "1 to 30 units": (
        "Passages cut, or lengthened by passages of other queries, to a random number of units from 1 to 30",
        _other_lengths,
    ),
    "answers deleted": (
        "The answering units removed: nothing is left to keep, and the kept share should be 0",
        lambda source, query: _rewritten(source, query, lambda pieces: [piece for piece in pieces if not piece[1]]),
    ),
}
"""What changes and how, by the name of the variant; the others are compared with the first."""


def _row(measured: Measured, sources: Sequence[Source], reference: Measured) -> dict[str, Any]:
    """Return the figures of a variant, those at the threshold as means over the sources that have them."""
    macro, threshold = measured.macro, measured.system.threshold
    row: dict[str, Any] = {name: float(macro[name][0]) if name in macro else None for name in ("area", "mrr")}
    if threshold is not None:
        found = [figures_at(s, measured.scores[s.name], threshold, np.ones((1, len(s.examples)))) for s in sources]
        retention, kept = (np.array([f[name][0] for f in found]) for name in ("retention", "compression"))
        for name, values in (("retention", retention), ("kept_share", 1 - kept)):
            known = values[~np.isnan(values)]
            row[name] = float(known.mean()) if len(known) else None
    if "area" in macro and "area" in reference.macro:
        change = paired_difference(macro["area"], reference.macro["area"])
        if change is not None:
            row["area_difference"] = change.as_json()
    return row


def robustness_test(
    system: System, sources: Sequence[Source], builder: SourceBuilder, out: Path | None, *, limit: int = 6
) -> dict[str, Any]:
    """Measure a system on every variant of the first queries of each source; see `collect` for ``out``."""
    small = [builder.build(s.name, s.examples[:limit]) for s in sources if s.relevant.any()]
    rows: dict[str, Any] = {}
    reference: Measured | None = None
    for name, (_, change) in VARIANTS.items():
        # A variant keeps the name of its source, and so is resampled as the plain source is: the two can be compared.
        changed = [builder.build(s.name, [change(s, query) for query in range(len(s.examples))]) for s in small]
        measured = measure(system, changed, out and out / name.replace(" ", "-"))
        reference = reference or measured  # the plain data
        rows[name] = _row(measured, changed, reference)
    return {
        "systems": {system.name: rows},
        "about": {name: about for name, (about, _) in VARIANTS.items()},
        "queries": sum(len(s.examples) for s in small),
    }
