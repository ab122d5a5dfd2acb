"""Reading text, Markdown, HTML and PDF files, a document per file."""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import Any

from secateur.data_scripts.ingest.html import html_text
from secateur.data_scripts.ingest.sources import DOCUMENT_LIMITS, Found, LeftOut
from secateur.data_scripts.records import Document
from secateur.labelled.text_files import MIB, Limits, encoding_error, open_binary, read_limited
from secateur.labelled.yaml_files import TooMuchError, load_yaml
from secateur.models.errors import DataError, MissingExtraError

_SNIFFED = 8192  # bytes
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
# Browsers read these names as Windows' code page, since that is what pages mean by them.
_WINDOWS = ("iso-8859-1", "latin-1", "latin1", "ascii", "us-ascii")
# Python's codecs that are not charsets of pages.
_NOT_CHARSETS = ("undefined", "idna", "punycode", "unicode_escape", "unicode-escape", "raw_unicode_escape")
_MARKDOWN_START = 1 << 16  # characters in which front matter and the title are looked for
_FRONT_MATTER = re.compile(r"\ufeff?---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
_PAGE_BREAK = "\n\n"
_PDF_PAGES = 100_000
_PDF_SECONDS = 600.0  # of computing time; nested forms can take longer than anyone waits


def is_binary(start: bytes) -> bool:
    """Return whether the start of a file is not text: it contains a zero byte and no mark of UTF-16."""
    return b"\0" in start[:_SNIFFED] and not start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def decode(data: bytes, declared: str | None = None) -> str:
    """Decode the bytes of a file: UTF-8 with or without a mark, UTF-16 with a mark, or else the declared charset.

    Raises:
        LeftOut: The file is binary, or its bytes are invalid; the detail gives the first invalid byte.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError as error:
            raise LeftOut("wrong encoding", f"is not UTF-16 at byte {error.start}") from error
    if is_binary(data):
        raise LeftOut("binary file", "it contains null bytes, so it is not text; convert it first")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        detail = str(encoding_error("", data, error)).removeprefix(": ")
    if declared is not None:
        try:
            if declared.lower() in _NOT_CHARSETS:
                raise LookupError(f"unknown encoding: {declared}")
            return data.decode("cp1252" if declared.lower() in _WINDOWS else declared)
        except (UnicodeError, LookupError) as error:
            detail += f", or correct the charset that it declares ({error})"
    raise LeftOut("wrong encoding", detail)


def markdown_title(text: str) -> str:
    """Return the first heading near the start of a Markdown text, as it is written; empty if there is none."""
    try:
        from markdown_it import MarkdownIt
    except ImportError as error:
        raise MissingExtraError("markdown-it-py", "data") from error
    parser = MarkdownIt("commonmark")  # bounds how deep blocks nest
    parser.core.ruler.enableOnly(["normalize", "block"])
    for token, content in pairwise(parser.parse(text[:_MARKDOWN_START])):
        # A line above dashes may be the end of front matter that is not valid YAML.
        if token.type == "heading_open" and not token.level and token.markup != "-":
            return content.content
    return ""


def _front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Return the front matter of a Markdown file, and the text after it; `LeftOut` if it expands to too much."""
    match = _FRONT_MATTER.match(text)
    if not match or match.end() > _MARKDOWN_START:
        return {}, text
    try:
        found = load_yaml(match[1], "data", plain=True)  # dates stay strings: JSON has none
    except TooMuchError as error:
        raise LeftOut("nested too deep", f"its front matter: {error}") from error
    except ValueError:
        return {}, text  # a rule above a text
    return (found, text[match.end() :]) if isinstance(found, dict) else ({}, text)


def _markdown(data: bytes, found: Found) -> Document:
    front, text = _front_matter(decode(data))
    title = front.get("title")
    title = title if isinstance(title, str) and title else markdown_title(text)
    metadata = {"source": found.name} | ({"front_matter": front} if front else {})
    return Document(found.name, text, title, metadata, "markdown")


def _html(data: bytes, found: Found) -> Document:
    declared = _CHARSET.search(data, 0, _SNIFFED)
    page = html_text(decode(data, declared[1].decode("ascii", "replace") if declared else None))
    return Document(found.name, page.text, page.title, {"source": found.name})


def _pdf_pages(reader: Any, limit: int) -> list[str]:
    end = time.thread_time() + _PDF_SECONDS

    def check_time(*_: object) -> None:
        if time.thread_time() > end:
            raise LeftOut("too large", f"reading it takes more than {_PDF_SECONDS:g} seconds; split it")

    count = len(reader.pages)
    if count > _PDF_PAGES:
        raise LeftOut("too large", f"it has {count} pages, more than {_PDF_PAGES}; split it")
    pages, size = [], 0
    for page in reader.pages:
        check_time()
        # The visitor is called for each operation, also in nested forms.
        pages.append(page.extract_text(visitor_operand_before=check_time).strip())
        size += len(pages[-1])
        if size > limit:
            raise LeftOut("too large", f"its text has more than {limit / MIB:g} Mi characters; split it")
    return pages


def _pdf(found: Found, limits: Limits) -> Document:
    try:
        from pypdf import PdfReader
    except ImportError as error:
        raise MissingExtraError("pypdf", "data") from error
    with open_binary(found.path, regular=not found.named) as file:
        try:
            reader = PdfReader(file)
            if reader.is_encrypted and not reader.decrypt(""):
                raise LeftOut("locked PDF", "it needs a password; save it without one")
            title = reader.metadata.title if reader.metadata else None
            pages = _pdf_pages(reader, limits.line)
        except LeftOut:
            raise
        except Exception as error:  # pypdf raises many kinds
            raise LeftOut("broken PDF", f"{type(error).__name__}: {error}") from error
    starts = [0, *accumulate(len(page) + len(_PAGE_BREAK) for page in pages)][:-1]
    text = _PAGE_BREAK.join(pages)
    if not text.strip():
        raise LeftOut("empty", f"none of its {len(pages)} pages has text; scans need character recognition")
    return Document(found.name, text, str(title or ""), {"source": found.name, "page_starts": starts})


_READERS: dict[str, Callable[[bytes, Found], Document]] = {
    "text": lambda data, found: Document(found.name, decode(data), "", {"source": found.name}),
    "markdown": _markdown,
    "html": _html,
}


def read_file(found: Found, limits: Limits = DOCUMENT_LIMITS) -> Document | LeftOut:
    """Return the document in a text, Markdown, HTML or PDF file, or why there is none.

    Its id is the file's path relative to the source. The metadata of a PDF has the code point where each page starts.
    """
    where, regular = str(found.path), not found.named
    try:
        if found.kind == "pdf":
            return _pdf(found, limits)
        if found.kind == "unknown":
            with open_binary(found.path, regular=regular) as file:
                binary = is_binary(file.read(_SNIFFED))
            reason = "binary file" if binary else "unknown format"
            raise LeftOut(reason, "name the file as a source to have it read as text")
        return _READERS[found.kind](read_limited(found.path, limits.line, regular=regular), found)
    except LeftOut as left:
        left.where = where
        return left
    except DataError as error:
        return LeftOut("too large", str(error).removeprefix(f"{where}: "), where)
    except OSError as error:
        return LeftOut("cannot be read", str(error), where)
