"""Text by line: logs, tool output, code, diffs and delimited tables. Each line is a unit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from secateur.models.formats.building import UnitBuilder, lines_of
from secateur.models.segmenters import Segmenter
from secateur.models.types import Unit, UnitKind

_SIGNATURE = re.compile(
    r"\s*(?:(?:export|default|public|private|protected|internal|static|abstract|final|async|pub(?:\([a-z]+\))?|unsafe|virtual"
    r"|override|inline|extern|constexpr)\s+)*(?:def|class|func|fn|function|interface|struct|enum|trait|impl|module|namespace)"
    r"\b[^;]*\Z"
)
_OPENS = re.compile(r"[:{(\[]\s*(?:[#/].*)?\Z|[:=-]>\s*\Z")
_KEY = re.compile(r"\s*(?:- )?[\w./ -]{1,40}:(?:\s|\Z)")  # it owns lines below it that are indented further
_CLOSES = re.compile(r"\s*[\])}]+[;,)]*\s*\Z|\s*end;?\s*\Z")
_DECORATOR = re.compile(r"\s*@[\w.]+(?:\(.*)?\s*\Z")
_COLUMNS = re.compile(r"\s*[A-Z%#][A-Z0-9_%()/+ -]*?(?:\s{2,}|\t)(?:[A-Z%#][A-Z0-9_%()/+ -]*?(?:\s{2,}|\t|\Z))+\Z")
_LONGEST_CELL = 8  # characters on average, times the number of lines up to five: prose has commas, too
_QUOTED = re.compile(r'"[^"]*+"')
_OPEN_QUOTE = re.compile(r'(?:\A|[,;\t])"[^"]*+\Z')
_LONGEST_RECORD = 20  # lines
# What begins the report of a commit or of a failed test; the lines after it belong to it.
_REPORT = re.compile(r"commit [0-9a-f]{7,40}\b|_{3,} .* _{3,}\s*\Z")
_DIFF_FILE = re.compile(r"diff |Index: |--- (?:a/|\S+\t)|\+\+\+ ")
_DIFF_HUNK = re.compile(r"@@ |\d+(?:,\d+)?[acd]\d")
_OWNERS = (_SIGNATURE.match, _KEY.match, _OPENS.search)
_LONGEST_HEADER = 600  # characters
_LONGEST_OWNER = 200  # characters of a line that owns the lines below it


class _Owner(NamedTuple):
    indent: int
    unit: tuple[int, ...]


def indent_of(line: str) -> int:
    """Return the indentation of a line in columns; a tab advances to the next multiple of 8."""
    column = 0
    for character in line:
        if character == " ":
            column += 1
        elif character == "\t":
            column += 8 - column % 8
        else:
            break
    return column


def _record_ends(text: str, start: int = 0) -> Iterator[int]:
    """Yield where the records of a table end: its lines, joined while a quoted cell is open."""
    waiting: list[int] = []
    quoted = False
    for begin, end in lines_of(text, start):
        waiting.append(end)
        line = text[begin:end]
        quoted = line.count('"') % 2 == 0 if quoted else bool(_OPEN_QUOTE.search(_QUOTED.sub('""', line)))
        if not quoted or len(waiting) == _LONGEST_RECORD:
            yield from waiting if quoted else waiting[-1:]
            waiting, quoted = [], False
    yield from waiting


def _delimiter(lines: Sequence[str]) -> str | None:
    """Return the delimiter of a table whose first lines have equally many cells, at least two."""
    for delimiter in ",;\t|":
        counts = {line.count(delimiter) for line in lines}
        cells = (max(counts) + 1) * len(lines)
        if (
            len(counts) == 1
            and cells > len(lines)
            and sum(map(len, lines)) <= _LONGEST_CELL * min(len(lines), 5) * cells
        ):
            return delimiter
    return None


def _records(lines: Sequence[str]) -> list[str]:
    text, start, found = "\n".join(line.rstrip("\r\n") for line in lines), 0, []
    for end in _record_ends(text):
        found.append(text[start:end])
        start = end
    return found


def _delimiter_of(lines: Sequence[str]) -> str | None:
    plain = [_QUOTED.sub('""', line) for line in _records(lines)]
    return _delimiter(plain) if len(plain) > 2 or "," in lines[0] else None


def is_table(lines: Sequence[str]) -> bool:
    """Return whether lines, at least one, are rows of a delimited table, such as one without its header."""
    return _delimiter_of(lines) is not None


def has_header(lines: Sequence[str]) -> bool:
    """Return whether the first line names the columns of the lines after it."""
    if len(lines) < 2 or len(lines[0]) > _LONGEST_HEADER:
        return False
    if _COLUMNS.match(lines[0].rstrip()):
        return True
    delimiter = _delimiter_of(lines)
    if delimiter is None:
        return False
    return not any(re.fullmatch(r"\s*[-+]?[\d.]+\s*", cell) for cell in lines[0].split(delimiter))


def add_lines(
    building: UnitBuilder, stop: int, kind: UnitKind = "line", needs: tuple[int, ...] = (), *, code: bool = False
) -> range:
    """Add a unit for each line of a block that begins where the last unit ended.

    A blank line belongs to the line before it. A line needs the line that owns it: the nearest one above with a smaller
    indentation that is a signature or a key, or opens a block; the head of a commit or of a failed test owns all lines
    up to the next one. In code, decorators belong to the line after them, and closing brackets to the line before.

    Args:
        building: Units so far.
        stop: End of the block.
        kind: Kind of the units.
        needs: Units that each of them needs.
        code: Whether the block is code.

    Returns:
        Indexes of the new units.
    """
    text, first = building.text, len(building)
    owners: list[_Owner] = []
    held = False
    for start, end in lines_of(text, building.end, stop):
        line = text[start:end].rstrip("\r\n")
        if not line.strip():
            if len(building) > first and not held:
                building.extend(end)
            continue
        if code and _DECORATOR.match(line):
            held = True
            continue
        held = False
        if code and _CLOSES.match(line) and len(building) > first:
            building.extend(end)
            continue
        indent = -1 if _REPORT.match(line) else indent_of(line)
        while owners and owners[-1].indent >= indent:
            owners.pop()
        unit = building.add(end, kind, needs + (owners[-1].unit if owners else ()))
        if len(line) <= _LONGEST_OWNER and (indent < 0 or any(owns(line) for owns in _OWNERS)):
            owners.append(_Owner(indent, unit))
    if building.end < stop:
        building.add(stop, kind, needs)
    return range(first, len(building))


def is_diff(lines: Sequence[str]) -> bool:
    """Return whether lines are a diff, as of ``diff`` or ``git``."""
    return any(map(_DIFF_HUNK.match, lines)) and any(map(_DIFF_FILE.match, lines))


def _add_diff(building: UnitBuilder) -> None:
    """Add the lines of a diff: a changed line needs the head of its hunk, which needs the lines with the file."""
    text = building.text
    files: tuple[int, ...] = ()
    hunk: tuple[int, ...] = ()
    in_head = False
    for start, end in lines_of(text):
        line = text[start:end]
        if _DIFF_FILE.match(line):
            unit = building.add(end, "line", () if not in_head else files[:1])
            files = (*files, *unit) if in_head else unit
            hunk, in_head = (), True
        elif _DIFF_HUNK.match(line):
            hunk, in_head = building.add(end, "line", files), False
        else:
            building.add(end, "line", hunk or files)


def segment_lines(text: str, segmenter: Segmenter) -> list[Unit]:
    r"""Segment a text into its lines; the line breaks are ``\n``, ``\r\n`` and ``\r``.

    Rows of a table need the line with the names of its columns.
    """
    del segmenter
    building = UnitBuilder(text)
    shown = [text[start:end] for start, end in lines_of(text[:20_000])]
    filled = [line for line in shown if line.strip()][:20]
    if is_diff(shown):
        _add_diff(building)
    elif has_header(filled):
        end = text.index(filled[0]) + len(filled[0])
        header = building.add(end, "table_header")
        for stop in _record_ends(text, end):
            building.add(stop, "table_row", header)
    else:
        add_lines(building, len(text))
    return building.units
