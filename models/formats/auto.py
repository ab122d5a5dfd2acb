"""The format of a text by rule, from its first 20,000 characters."""

from __future__ import annotations

import re
from collections.abc import Sequence

from secateur.models.formats.json import is_json, is_json_lines
from secateur.models.formats.lines import has_header, is_diff, is_table

_LOOKED_AT = 20_000  # characters
_MANY = 400  # lines
_HTML_START = re.compile(r"\s*(?:<!doctype html|<html[\s>]|<body[\s>])", re.IGNORECASE)
_HTML_TAG = re.compile(
    r"<(/?)(?:p|div|li|ul|ol|table|tr|td|th|h[1-6]|section|article|span|a|br|strong|em|pre)(?:\s[^<>]{0,500})?/?>",
    re.IGNORECASE,
)
_HTML_BLOCK = re.compile(r"\s*<(p|div|h[1-6]|ul|ol|dl|table|section|article|main|pre)[\s>]", re.IGNORECASE)
_FENCE_OR_TABLE = re.compile(r"^ {0,3}(?:```|~~~)|^ {0,3}\|?(?: *:?-{3,}:? *\|)+(?: *:?-{3,}:? *)?$", re.MULTILINE)
# A heading of the first level has blank lines around it, unlike most comments in code.
_HEADING = re.compile(r"^ {0,3}#{2,6} +\S|(?:\A|^[ \t]*\n)#[ ]\S[^\n]*\n[ \t]*$", re.MULTILINE)
_COMMENT_LINE = re.compile(r"\s*#")
_MARKDOWN_INLINE = re.compile(
    r"\[[^\]\n]{1,200}\]\([^()\s]{1,500}\)|(?<![\w*\[$])\*\*[^\s*\].,;:)][^*\n]{0,200}(?<![\s\[($])\*\*(?![\w*\]])|(?<!`)`[^`\n]{1,100}`(?!`)"
)
# A text without these needs no slower search.
_BLOCK_MARKS, _INLINE_MARKS = ("```", "~~~", "---"), ("](", "**", "`")
_LIST = re.compile(r"^[ \t]{0,8}[-*+] +\S")
_LOG = re.compile(
    r"\[?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d|\[?\d\d?:\d\d(?::\d\d)?\b|[A-Z][a-z]{2} +\d{1,2} \d\d:\d\d:\d\d "
    r"|\[?(?:DEBUG|INFO|WARN(?:ING)?|ERROR|FATAL|CRITICAL|TRACE)\b|[EWID]\d{4} |\S+:\d+(?::\d+)?: |[0-9a-f]{7,40} \S"
    r"|commit [0-9a-f]{7,40}\b|(?:Author|Date): |<[\w|~@+-]{1,30}> \S"
    r"|[\w .'-]{1,40} [\[(]\d?\d:\d\d[^\])]{0,9}[\])]:? "
    r"|[\w.-]+=\S+ [\w.-]+=|\S+ - - \[|(?:PASSED|FAILED|ok|not ok|[-d][rwx-]{9}) "
    # Findings below the name of a file, annotations, numbered lines, matches of grep, and paths.
    r"| {1,8}\d+:\d+:? +[A-Z]|::(?:error|warning|notice|debug) | *\d+\t|[\w./-]{2,200}:\d+:"
    r"|(?:[ MADRCU?]{2} )?(?:[\w@.-]+/)++[\w@.-]*+\s*\Z|npm [a-z]+ "
    r"|(?:Unpacking|Setting up|Preparing to unpack|Selecting) \S"
)
_SYMBOL = re.compile(r"[\u2500-\u257f_/\\{}()\[\]<>=|:;#$%&*@+^~\"'`!-]")
# Code in prose, blanks to fill in, the marks of links, bold text and the marks of list items.
_NO_SYMBOL = re.compile(
    r"`[^`\n]{1,100}`|_{3,}|\[(?=[^\]\n]{1,200}\]\()|\]\([^()\s]{1,500}\)|\*\*|^[ \t]*[-*+] ", re.MULTILINE
)
_COMMENT = re.compile(r"\s*(?:/\*|\*(?:\s|/|\Z))")
_PAIR = re.compile(r"\s*+-{0,2}\s*+(?!\d)[\w.\"'/-]+(?::(?:\s+\S|\s*\Z)|\s?=\s?\S)")
_CODE = re.compile(
    r"(?:(?:async )?def |class )\w+.*[:(]\s*\Z|import [\w.]+\s*\Z|from [\w.]+ import |@\w[\w.]*+(?:\(.*)?\s*\Z"
)
_COLUMN = re.compile(r"\S {3,}\S|\S\t+\S")
_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’)]*\s*\Z")


def _share(lines: Sequence[str], pattern: re.Pattern[str]) -> float:
    return sum(bool(pattern.match(line)) for line in lines) / max(1, len(lines))


def _is_html(text: str, lines: int) -> bool:
    block = _HTML_BLOCK.match(text)
    if block and f"</{block[1]}>".lower() in text.lower():
        return True
    tags = _HTML_TAG.findall(text)
    return len(tags) >= max(4, 0.25 * lines) and sum(map(bool, tags)) >= 2


def _has_few_sentences(lines: Sequence[str]) -> bool:
    """Return whether lines, three or more, are short and hardly one of them ends a sentence."""
    if len(lines) < 3:
        return False
    words = [sum(any(map(str.isalnum, word)) for word in line.split()) for line in lines]
    prose = sum(count >= 5 and bool(_SENTENCE_END.search(line)) for count, line in zip(words, lines, strict=True))
    return prose < 0.25 * len(lines) and sum(words) < 14 * len(lines)


def _is_code(lines: Sequence[str]) -> bool:
    """Return whether lines are code or settings."""
    code = sum(bool(_CODE.match(line)) for line in lines)
    if code >= max(3, 0.1 * len(lines)):
        return True
    return (code >= max(2, 0.05 * len(lines)) or _share(lines, _PAIR) >= 0.6) and _has_few_sentences(lines)


def _is_by_line(lines: Sequence[str]) -> bool:
    """Return whether lines, none of them blank, are records or code rather than wrapped or listed prose."""
    if len(lines) < 2:
        return False
    if has_header(lines[:20]) or _share(lines, _LOG) >= 0.5:
        return True
    if lines[0].lstrip().startswith("/*") and _share(lines, _COMMENT) >= 0.5:
        return True
    if not _has_few_sentences(lines):
        return False
    if is_table(lines[:20]) or sum(bool(_COLUMN.search(line)) for line in lines) >= 0.6 * len(lines):
        return True
    characters = "".join(_NO_SYMBOL.sub("", "\n".join(lines)).split())
    return len(_SYMBOL.findall(characters)) >= 0.07 * len(characters)


def detect_format(text: str) -> str:
    """Return the format of a text: ``json``, ``html``, ``lines``, ``markdown`` or ``text``.

    The first rule that fits decides, on the first 20,000 characters and 400 filled lines:

    1. A document that begins as HTML: ``html``.
    2. JSON, whole, cut or slightly broken, or JSON Lines: ``json``.
    3. A diff, as of ``diff`` or ``git``: ``lines``.
    4. A block element of HTML at the start, or four tags and more, one in four lines, unless a Markdown heading, fence
       or table stands there: ``html``.
    5. A fence or table of Markdown: ``markdown``.
    6. Apart from lines that begin with ``#``: a tenth of the lines are definitions, imports and decorators of Python;
       or a twentieth is, or most are keys with values, and hardly one ends a sentence: ``lines``.
    7. A heading of Markdown: ``markdown``.
    8. A delimited table, logs, or lines with columns or many symbols, few words and hardly a sentence: ``lines``.
    9. Two list items with a symbol, a link, bold text or a code span of Markdown: ``markdown``.
    10. ``text``.
    """
    head = text[:_LOOKED_AT]
    if _HTML_START.match(head):
        return "html"
    if is_json(text) or is_json_lines(text):
        return "json"
    lines = [line for line in head.splitlines() if line.strip()][:_MANY]
    if is_diff(lines):
        return "lines"
    block = any(mark in head for mark in _BLOCK_MARKS) and bool(_FENCE_OR_TABLE.search(head))
    heading = "# " in head and bool(_HEADING.search(head))
    if not (block or heading) and _is_html(head, len(lines)):
        return "html"
    if block:
        return "markdown"
    if _is_code([line for line in lines if not _COMMENT_LINE.match(line)]):
        return "lines"
    if heading:
        return "markdown"
    if _is_by_line(lines):
        return "lines"
    listed = sum(bool(_LIST.match(line)) for line in lines) >= 2
    if listed or (any(mark in head for mark in _INLINE_MARKS) and _MARKDOWN_INLINE.search(head)):
        return "markdown"
    return "text"
