"""The text that `always_keep` and `never_keep` name: sets, patterns in RE2 syntax, and text as it is."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial

from secateur.models.errors import InputError, shown
from secateur.models.types import Unit
from secateur.models.visible import joins

Span = tuple[int, int]
_Finder = Callable[[str], Iterator[Span]]

PATTERN = "re:"
_FLAGS = "(?m)"  # ^ and $ match at line ends
_LINE = re.compile(r"[^\r\n]+")
_ERROR = re.compile(
    r"\b(?:errors?|err!|fail(?:ed|ures?|ing)?|fatal|panic(?:ked)?|exceptions?|critical|traceback|segmentation fault"
    r"|core dumped|abort(?:ed|ing)?)(?![\w-])|(?-i:\b\w*(?:Error|Exception)\b|\b[EF]\d{4} |^E {2,})"
    r"|\bexit(?:ed)?(?: with)?(?: (?:code|status))?[:=]? ?-?[1-9]\d*\b|\bnon-zero exit"
    r"|\bexit(?:Code|_code)\W{1,4}[1-9]",
    re.IGNORECASE,
)
_NO_ERROR = re.compile(r"\b(?:0|no|zero|without)[ _-](?:errors?|fail(?:ed|ures?)|exceptions?)\b", re.IGNORECASE)
_TRACEBACK = re.compile(r"(?P<indent>[\s|+-]*)Traceback \(most recent call last\)")
# What goes on with a traceback: frames of Java, JavaScript, .NET, Ruby and Go, and what links two tracebacks.
_FRAME = re.compile(
    r"goroutine \d+ \[|created by \S|[\w./*()]+\([^()]*\)\s*\Z|\s+\S+\.go:\d+"
    r"|\s+at \S|\s*\.\.\. \d+ more\b|\s*Caused by: |\s+from \S+:\d+:in "
    r"|\s*(?:During handling of|The above exception was)"
)
_NUMBER = re.compile(r"\d+")
_LABEL = re.compile(r"[ \t]*\(?\d{1,3}[.)]\s")


def _error_spans(text: str) -> Iterator[Span]:
    """Yield the lines that report an error, and tracebacks from their first line to their last."""
    indent: int | None = None  # of the traceback that is open
    framed = False
    for line in _LINE.finditer(text):
        found = line[0]
        traceback = _TRACEBACK.match(found)
        if traceback:
            indent = len(traceback["indent"])
        elif indent is not None:
            # Its frames are indented further; the line after them names the exception.
            if not found[: indent + 1].isspace() and not found.startswith("\t"):
                indent = None
            framed = True
            yield line.span()
            continue
        framed = bool(traceback or (framed and _FRAME.match(found)))
        if framed or (_ERROR.search(found) and not _NO_ERROR.search(found)):
            framed = True
            yield line.span()


def _number_spans(text: str) -> Iterator[Span]:
    for line in _LINE.finditer(text):
        label = _LABEL.match(line[0])
        start = line.start() + (label.end() if label else 0)
        yield from (match.span() for match in _NUMBER.finditer(text, start, line.end()))


def _literal_spans(literal: str, text: str) -> Iterator[Span]:
    start = text.find(literal)
    while start >= 0:
        yield start, start + len(literal)
        start = text.find(literal, start + len(literal))


SETS: dict[str, _Finder] = {"errors": _error_spans, "numbers": _number_spans}
"""The named sets: lines that report an error and whole tracebacks; digits that are not the label of a list item."""


@lru_cache(maxsize=256)
def _finder(entry: str) -> _Finder:
    """Return what finds the text that an entry names, or raise a ValueError that says why its pattern is not valid."""
    if entry in SETS:
        return SETS[entry]
    if not entry.startswith(PATTERN):
        return partial(_literal_spans, entry)
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        pattern = re2.compile(_FLAGS + entry.removeprefix(PATTERN), options)
    except re2.error as error:
        reason = error.args[0]
        said = reason.decode() if isinstance(reason, bytes) else str(reason)
        raise ValueError(said.replace(_FLAGS, "", 1)) from error
    return lambda text: (match.span() for match in pattern.finditer(text))


def check_entries(field: str, entries: Sequence[str]) -> None:
    """Check the patterns among entries.

    Args:
        field: Name of the option, for the error.
        entries: Its entries.

    Raises:
        InputError: A pattern is not valid in RE2 syntax.
    """
    for index, entry in enumerate(entries):
        try:
            _finder(entry)
        except ValueError as error:
            problem = f"{shown(entry)} is not a valid RE2 pattern: {error}"
            raise InputError(
                f"{field}[{index}]", problem, f"change it, or leave out {PATTERN!r} for plain text"
            ) from None


def _readable(text: str, units: Sequence[Unit]) -> tuple[str, list[int], list[int]]:
    """Return a text with spaces for what is hidden, and where each unit starts and ends in it.

    What parts a word at the end of a line is left out.
    """
    pieces: list[str] = []
    starts: list[int] = []
    position = removed = 0
    for unit in units:
        starts.append(unit.start - removed)
        for begin, end in unit.hidden:
            pieces.append(text[position:begin])
            if joins(text, begin, end):
                removed += end - begin
            else:
                pieces.append(" " * (end - begin))
            position = end
    readable = "".join([*pieces, text[position:]]) if pieces else text
    return readable, starts, [*starts[1:], len(readable)]


def matching_units(
    text: str, units: Sequence[Unit], entries: Sequence[str], watch: Callable[[int], None] = lambda units: None
) -> set[int]:
    """Return the indexes of the units with text that an entry names. Markup is not read.

    Args:
        text: The text.
        units: Units that tile it.
        entries: Names of sets, patterns after ``re:`` with ``^`` and ``$`` for the ends of lines, and text.
        watch: Called with 0 before each entry and at each piece of text found; it may raise to stop the work.
    """
    found: set[int] = set()
    if not entries or not units:
        return found
    readable, starts, ends = _readable(text, units)
    for entry in entries:
        watch(0)
        for start, end in _finder(entry)(readable):
            watch(0)
            if end > start:
                found.update(range(bisect_right(ends, start), bisect_left(starts, end)))
    return {index for index in found if units[index].kind != "markup"}
