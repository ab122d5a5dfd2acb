"""From a selection to what `Pruner.prune` returns: spans, texts, unit scores and token counts."""

from __future__ import annotations

from collections.abc import Sequence

from secateur.models.options import PruneOptions
from secateur.models.selection import SelectablePassage, Selection, join_spans, kept_spans
from secateur.models.types import PassageResult, UnitScore, Usage


def passage_result(selection: Selection, options: PruneOptions) -> PassageResult:
    """Return the result for a selected passage."""
    scored, kept = selection.scored, selection.kept
    passage = scored.passage
    spans = kept_spans(passage.text, scored.units, kept)
    units = None
    if options.return_units:
        units = tuple(
            UnitScore(unit.start, unit.end, unit.kind, float(score), bool(keep), int(tokens))
            for unit, score, keep, tokens in zip(
                scored.units, scored.scores.units, kept, scored.unit_tokens, strict=True
            )
        )
    return PassageResult(
        index=scored.index,
        id=passage.id,
        score=scored.scores.relevance,
        text=join_spans(passage.text, spans, options.joiner),
        spans=spans,
        kept_units=int(kept.sum()),
        total_units=len(scored.units),
        empty=not spans,
        metadata=passage.metadata,
        units=units,
    )


def usage_of(query_tokens: int, scored: Sequence[SelectablePassage], selections: Sequence[Selection]) -> Usage:
    """Count the tokens of a request: of the query, of all passages, and of the kept units."""
    input_tokens = sum(int(passage.unit_tokens.sum()) for passage in scored)
    output_tokens = sum(selection.tokens for selection in selections)
    return Usage(
        query_tokens=query_tokens,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        compression=1 - output_tokens / input_tokens if input_tokens else 0.0,
    )
