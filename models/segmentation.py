"""Segmentation: a passage is cut into units that tile its text, by its format.

Unit spans are code-point offsets ``[start, end)``; ``units[i].end == units[i + 1].start``, the first starts at 0 and
the last ends at ``len(text)``. White space between units belongs to the unit before it, so no character is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from secateur.models.errors import unknown_name
from secateur.models.formats.auto import detect_format
from secateur.models.formats.html import segment_html
from secateur.models.formats.json import segment_json
from secateur.models.formats.lines import segment_lines
from secateur.models.formats.markdown import segment_markdown
from secateur.models.formats.text import segment_text
from secateur.models.segmenters import Segmenter, get_segmenter
from secateur.models.types import Passage, Unit


@dataclass(frozen=True, slots=True)
class Format:
    """A passage format: one line for help and documentation, and the function that cuts a text into units."""

    description: str
    segment: Callable[[str, Segmenter], list[Unit]]


def _segment_auto(text: str, segmenter: Segmenter) -> list[Unit]:
    return FORMATS[detect_format(text)].segment(text, segmenter)


AUTO = "auto"
FORMATS = {
    AUTO: Format("the first of the other formats that fits the text", _segment_auto),
    "text": Format("plain text with paragraphs and lists", segment_text),
    "markdown": Format("CommonMark with tables", segment_markdown),
    "html": Format("HTML; scripts, navigation and hidden elements are never read", segment_html),
    "lines": Format("logs, tool output, code, diffs, CSV; each line is a unit", segment_lines),
    "json": Format("JSON or JSON Lines; the entries of objects and arrays are units", segment_json),
}
"""The registry of passage formats. Choices, errors and documentation derive from it.

A new format is one entry here, its function (with new kinds of units in `types.UnitKind`, if any), and its tests.
"""


def check_format(field: str, name: object) -> str:
    """Return the name of a format, after checking that it is known.

    Args:
        field: Name of the field, for the error.
        name: Name of the format.

    Raises:
        InputError: There is no such format.
    """
    if not isinstance(name, str) or name not in FORMATS:
        raise unknown_name(field, "format", name, FORMATS)
    return name


def format_of(passage: Passage) -> str:
    """Return the format by which a passage is cut: its own, or the one that is detected.

    Raises:
        InputError: The format is unknown.
    """
    name = check_format("format", passage.format)
    return detect_format(passage.text) if name == AUTO else name


def segment(passage: Passage, segmenter: Segmenter | None = None) -> list[Unit]:
    """Segment a passage by its format into units that tile its text; a format that is unknown raises an InputError."""
    return FORMATS[format_of(passage)].segment(passage.text, segmenter or get_segmenter())
