"""JSON and JSON Lines: the entries of objects and arrays are units."""

from __future__ import annotations

import json
import re

from secateur.models.formats.building import UnitBuilder, lines_of
from secateur.models.segmenters import Segmenter
from secateur.models.types import Unit

_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[\]{},]', re.DOTALL)
_SMALL = 200  # characters; an object or array up to this length is one unit
_DEEPEST = 64


def is_json(text: str) -> bool:
    """Return whether a text is a JSON object or array."""
    if not text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        return False
    try:
        json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return False
    return True


def is_json_lines(text: str) -> bool:
    """Return whether the first lines of a text, two or more, are JSON objects each."""
    lines = [line for line in text[:20_000].splitlines() if line.strip()]
    if len(text) > 20_000:
        lines = lines[:-1]
    return len(lines) > 1 and all(line.lstrip().startswith("{") and is_json(line) for line in lines[:20])


def _matches(text: str) -> dict[int, int]:
    """Return where each bracket of a text is closed."""
    stack: list[int] = []
    found = {}
    for match in _TOKEN.finditer(text):
        if match[0] in "[{":
            stack.append(match.start())
        elif match[0] in "]}" and stack:
            found[stack.pop()] = match.end()
    return found


def segment_json(text: str, segmenter: Segmenter) -> list[Unit]:
    """Segment JSON into its entries, with the comma after each. A short object or array is one.

    An entry needs the brackets around it, with the key before the opening one. In JSON Lines each line is an entry.
    """
    del segmenter
    building = UnitBuilder(text)
    if is_json_lines(text):
        for _, end in lines_of(text):
            building.add(end, "entry")
        return building.units
    closed = _matches(text)
    opened: list[tuple[int, ...]] = []
    skip = 0
    for match in _TOKEN.finditer(text):
        token, start, end = match[0], match.start(), match.end()
        if start < skip or token[0] == '"':
            continue
        needs = opened[-1] if opened else ()
        if token in "[{":
            stop = closed.get(start, len(text))
            if stop - start <= _SMALL or len(opened) >= _DEEPEST:
                skip = stop
            else:
                opened.append(building.add(end, "entry", needs))
        elif token == "," and len(building) and not text[building.end : start].strip():
            building.extend(end)  # after a closing bracket
        elif token == ",":
            building.add(end, "entry", needs)
        else:
            building.add(start, "entry", needs)
            if opened:
                opened.pop()
                building.also_need(needs, building.add(end, "entry", needs))
    building.add(len(text), "entry", opened[-1] if opened else ())
    return building.units
