"""JSON and JSON Lines: the entries of objects and arrays are units."""

from __future__ import annotations

import json
import re

from secateur.models.formats.building import UnitBuilder, lines_of
from secateur.models.segmenters import Segmenter
from secateur.models.types import Unit

_STRING = r'"(?:[^"\\]++|\\(?:.|\Z))*+(?:"|\Z)' + "|" + r"'(?:[^'\\\n]++|\\(?:.|\Z))*+(?:'|(?=\n)|\Z)"
_TOKEN = re.compile(rf"{_STRING}|[\[\]{{}},]", re.DOTALL)
_WORD = re.compile(rf"{_STRING}|\s++|[\[\]{{}},:]|-?\d[\d.eE+-]*+|\b(?:true|false|null|True|False|None)\b", re.DOTALL)
_PAIR = re.compile(r"""["'][^"'\n]{0,200}["']\s{0,20}:""")
_AFTER_KEY = re.compile(r"""["']\s{0,20}:""")
_LOOKED_AT = 20_000  # characters
_SMALL = 200  # characters; an object or array up to this length is one unit
_DEEPEST = 64


def is_json(text: str) -> bool:
    """Return whether a text is a JSON object or array, by its first 20,000 characters.

    One that is cut, or slightly broken, or written by Python is one, too, if it has two pairs of key and value.
    """
    head = text[:_LOOKED_AT]
    bracket = head.lstrip("\ufeff \t\r\n").startswith(("{", "["))
    if bracket and len(head) == len(text):
        try:
            json.loads(text.lstrip("\ufeff"))
        except (ValueError, RecursionError):
            pass
        else:
            return True
    if not (bracket and len(text) > len(head)) and (not _AFTER_KEY.search(head) or len(_PAIR.findall(head)) < 2):
        return False
    return len(_WORD.sub("", head)) <= 0.02 * len(head) + 4


def is_json_lines(text: str) -> bool:
    """Return whether the first lines of a text, two or more, are JSON objects each."""
    if not text.lstrip().startswith("{"):
        return False
    lines = [line for line in text[:_LOOKED_AT].splitlines() if line.strip()]
    if len(text) > _LOOKED_AT:
        lines = lines[:-1]
    return len(lines) > 1 and all(map(_is_object, lines[:20]))


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


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
    else:
        _add_entries(building)
    return building.units


def _add_entries(building: UnitBuilder) -> None:
    text = building.text
    closed = _matches(text)
    opened: list[tuple[int, ...]] = []
    skip = 0
    for match in _TOKEN.finditer(text):
        token, start, end = match[0], match.start(), match.end()
        if start < skip or token[0] in "\"'":
            continue
        needs = opened[-1] if opened else ()
        if token in "[{":
            if not opened and text[building.end : start].rstrip()[-1:] in ("}", "]"):
                building.add(start, "entry")  # another text, without a comma between them
            stop = closed.get(start, len(text))
            if stop - start <= _SMALL or len(opened) >= _DEEPEST:
                skip = stop
            else:
                opened.append(building.add(end, "entry", needs))
        elif token == "," and len(building) and not text[building.end : start].strip():
            building.extend(end)  # after a closing bracket
        elif token == ",":
            building.add(end, "entry", needs)
        elif opened:
            building.add(start, "entry", needs)
            opened.pop()
            building.also_need(needs, building.add(end, "entry", needs))
        else:
            building.add(end, "entry")  # closes what was opened before the text begins
    building.add(len(text), "entry", opened[-1] if opened else ())
