"""Reading the passages of files: of text, of JSON lines, and of JSON with a list of passages."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from secateur.cli.ending import UsageError
from secateur.labelled.text_files import as_text, parse_json, read_limited
from secateur.models.errors import DataError
from secateur.models.requests import as_passage
from secateur.models.segmentation import AUTO
from secateur.models.types import Passage

STDIN = "-"
_LINES = (".jsonl", ".ndjson")


def read_passages(name: str, *, jsonl: bool = False, text_format: str = AUTO) -> list[Passage]:
    """Return the passages of a file.

    JSON lines, and a ``.json`` file that holds a list of texts or of objects with `text`, are read as passages. Any
    other file is one passage; a ``.json`` file has the format `json` unless another one is given.

    Args:
        name: Path of the file, or `-` for stdin.
        jsonl: Whether it holds JSON lines, whatever its name.
        text_format: Format of the passages that do not name their own.

    Raises:
        UsageError: The file cannot be read, or a line of JSON lines is not a passage.
        InputError: A passage has a field that is not valid.
    """
    if name.startswith("-") and name != STDIN:
        raise UsageError(f"Unknown option: {name}. See `secateur prune --help`; a file of that name is ./{name}.")
    try:
        text = as_text(sys.stdin.buffer.read() if name == STDIN else read_limited(Path(name)), name)
    except OSError as error:
        raise UsageError(f"{name}: cannot be read ({error.strerror})") from error
    except DataError as error:
        raise UsageError(str(error)) from error
    suffix = "" if name == STDIN else Path(name).suffix
    if jsonl or suffix in _LINES:
        passages = _from_lines(name, text)
    elif suffix == ".json" and (values := _listed(text)) is not None:
        passages = [as_passage(value, f"{name}[{index}]") for index, value in enumerate(values)]
    else:
        if suffix == ".json" and text_format == AUTO:
            text_format = "json"
        passages = [Passage(text, id=None if name == STDIN else name)]
    return [replace(one, format=text_format) if one.format == AUTO else one for one in passages]


def _from_lines(name: str, text: str) -> list[Passage]:
    passages = []
    # Not splitlines: JSON strings may contain U+2028 and other characters that it takes for line ends.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                passages.append(as_passage(parse_json(line), f"{name}, line {number}"))
            except (ValueError, RecursionError) as error:
                raise UsageError(f"{name}, line {number}: is not JSON ({error})") from error
    return passages


def _listed(text: str) -> list[Any] | None:
    """Return the list of passages that a JSON text is, or None if it is anything else."""
    try:
        value = parse_json(text)
    except ValueError:
        return None
    return value if isinstance(value, list) and all(map(_is_passage, value)) else None


def _is_passage(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, Mapping) and isinstance(value.get("text"), str))
