"""The text of spans without gap markers, made from the spans alone."""

from __future__ import annotations

from collections.abc import Sequence

from secateur.models.kept_text import separator


def join_spans(text: str, spans: Sequence[tuple[int, int]], joiner: str, format: str = "text") -> str:
    """Return the text of spans with the joiner in each gap. A span that began a line begins one again.

    Args:
        text: Text of the passage.
        spans: Spans of it, ascending.
        joiner: Text put between them.
        format: Format by which the passage was cut.
    """
    pieces: list[str] = []
    for place, (start, end) in enumerate(spans):
        pieces += [separator(text, (spans[place - 1][1], start), joiner, format) if place else "", text[start:end]]
    return "".join(pieces)
