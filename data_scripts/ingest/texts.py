"""Reading text, Markdown, HTML and PDF files, one document each."""

from __future__ import annotations

import codecs
import re
import time
from collections.abc import Callable
from itertools import accumulate
from typing import Any

from secateur.data_scripts.ingest.html import html_text
from secateur.data_scripts.ingest.sources import DEFAULT_LIMITS, Found, LeftOut, Unreadable
from secateur.data_scripts.records import Document
from secateur.labelled.text_files import MIB, Limits, open_binary, read_limited
from secateur.labelled.yaml_files import TooMuchError, load_yaml
from secateur.models.errors import DataError, MissingExtraError

_SNIFFED = 8192  # bytes
_PAGE_BREAK = "\n\n"
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_HEADING = re.compile(r"#{1,6}[ \t]+")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_FRONT_MATTER_CHARACTERS = 1 << 16  # what is longer is text between two rules
_FRONT_MATTER = re.compile(r"\ufeff?---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
# Browsers read these names as Windows' code page, since that is what is meant by them.
_WINDOWS = ("iso-8859-1", "latin-1", "latin1", "ascii", "us-ascii")
# Python's codecs that are no charsets of pages.
_NO_CHARSETS = ("undefined", "idna", "punycode", "unicode_escape", "unicode-escape", "raw_unicode_escape")
_PDF_PAGES = 100_000
_PDF_SECONDS = 600.0  # of computing; forms within forms can take longer than anyone waits


def is_binary(start: bytes) -> bool:
    """Return whether the start of a file is no text: it holds a zero byte and no mark of UTF-16."""
    return b"\0" in start[:_SNIFFED] and not start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def decode(data: bytes, declared: str | None = None) -> str:
    """Decode a file's bytes: UTF-8 with or without a mark, UTF-16 with one, else as declared.

    Args:
        data: all of the file.
        declared: the charset that the file names itself.

    Raises:
        Unreadable: it is binary, or the bytes do not fit; the detail names the first one.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError as error:
            raise Unreadable("wrong encoding", f"is not UTF-16 at byte {error.start}") from error
    if is_binary(data):
        raise Unreadable("binary file", "it holds zero bytes, so it is no text; convert it first")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Python counts from behind the mark.
        at = error.start + (len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0)
        detail = f"byte {at} (0x{data[at]:02x}) is not UTF-8; convert the file to UTF-8 first"
    if declared is not None:
        try:
            if declared.lower() in _NO_CHARSETS:
                raise LookupError(f"unknown encoding: {declared}")
            return data.decode("cp1252" if declared.lower() in _WINDOWS else declared)
        except (UnicodeError, LookupError) as error:
            detail += f", or correct the charset that it declares ({error})"
    raise Unreadable("wrong encoding", detail)


def _heading_text(text: str) -> str:
    """Return a heading's text without the #s that close it, which stand behind white space."""
    text = text.strip(" \t")
    opened = text.rstrip("#")
    return opened.rstrip(" \t") if opened == "" or opened[-1] in " \t" else text


def markdown_title(text: str) -> str:
    """Return the first heading, `#` or underlined, outside fenced code; empty where there is none."""
    fence = None
    before = ""
    for line in text.split("\n"):  # str.splitlines would end lines at U+2028, too
        line = line.rstrip("\r")
        match = _FENCE.match(line)
        if match:
            fence = None if fence == match.group(1) else fence or match.group(1)
        elif fence is None:
            heading = _HEADING.match(line)
            if heading:
                return _heading_text(line[heading.end() :])
            # No bullet, quotation or table: a rule under those is no underline.
            if before and line and not line.strip("=") and before[0].isalnum():
                return before
            before = line.strip()
    return ""


def _front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Return what stands in a Markdown file's front matter, and the text behind it.

    Raises:
        Unreadable: it is nested too deep, or its aliases stand for too much.
    """
    match = _FRONT_MATTER.match(text)
    if not match or match.end() > _FRONT_MATTER_CHARACTERS:
        return {}, text
    try:
        # Dates stay as they are written: JSON has none.
        found = load_yaml(match.group(1), "data", plain=True)
    except TooMuchError as error:
        raise Unreadable("nested too deep", f"its front matter: {error}") from error
    except ValueError:
        return {}, text  # a rule above a text, no front matter
    return (found, text[match.end() :]) if isinstance(found, dict) else ({}, text)


def _text(data: bytes, found: Found) -> Document:
    return Document(found.name, decode(data), "", {"source": found.name})


def _markdown(data: bytes, found: Found) -> Document:
    front, text = _front_matter(decode(data))
    title = front.get("title")
    metadata = {"source": found.name} | ({"front_matter": front} if front else {})
    return Document(found.name, text, title if isinstance(title, str) and title else markdown_title(text), metadata)


def _html(data: bytes, found: Found) -> Document:
    declared = _CHARSET.search(data, 0, _SNIFFED)
    page = html_text(decode(data, declared.group(1).decode("ascii", "replace") if declared else None))
    return Document(found.name, page.text, page.title, {"source": found.name})


class _Clock:
    """Computing time that a file may take."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.thread_time() + seconds

    def check(self, *_: object) -> None:
        """Raise Unreadable once the time is over."""
        if time.thread_time() > self._end:
            raise Unreadable("too large", f"reading it takes more than {self._seconds:g} seconds; split it")


def _pdf_pages(reader: Any, limit: int) -> list[str]:
    clock = _Clock(_PDF_SECONDS)
    count = len(reader.pages)
    if count > _PDF_PAGES:
        raise Unreadable("too large", f"it has {count} pages, more than {_PDF_PAGES}; split it")
    pages, size = [], 0
    for page in reader.pages:
        clock.check()
        # Called for each operation, those of forms within forms as well.
        pages.append(page.extract_text(visitor_operand_before=clock.check).strip())
        size += len(pages[-1])
        if size > limit:
            raise Unreadable("too large", f"its text is longer than {limit / MIB:g} Mi characters; split it")
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
                raise Unreadable("locked PDF", "it needs a password; save it without one")
            title = reader.metadata.title if reader.metadata else None
            pages = _pdf_pages(reader, limits.line)
        except Unreadable:
            raise
        except Exception as error:  # pypdf raises many kinds
            raise Unreadable("broken PDF", f"{type(error).__name__}: {error}") from error
    starts = [0, *accumulate(len(page) + len(_PAGE_BREAK) for page in pages)][:-1]
    text = _PAGE_BREAK.join(pages)
    if not text.strip():
        raise Unreadable("empty", f"none of its {len(pages)} pages holds text; a scan needs character recognition")
    return Document(found.name, text, str(title or ""), {"source": found.name, "page_starts": starts})


_READERS: dict[str, Callable[[bytes, Found], Document]] = {"text": _text, "markdown": _markdown, "html": _html}


def read_file(found: Found, limits: Limits = DEFAULT_LIMITS) -> Document | LeftOut:
    """Read a file that is one document.

    Args:
        found: a file of kind text, markdown, html, pdf or unknown.
        limits: what is too much.

    Returns:
        The document; its id is the file's path relative to the source, and a PDF's metadata says at which code point
        each page starts. Or why there is none.

    Raises:
        MissingExtraError: a format needs a package that is not installed.
    """
    regular = not found.named
    try:
        if found.kind == "pdf":
            return _pdf(found, limits)
        if found.kind == "unknown":
            with open_binary(found.path, regular=regular) as file:
                binary = is_binary(file.read(_SNIFFED))
            reason = "binary file" if binary else "unknown format"
            return LeftOut(str(found.path), reason, "give the file by itself to have it read as text")
        return _READERS[found.kind](read_limited(found.path, limits.line, regular=regular), found)
    except Unreadable as error:
        return LeftOut(str(found.path), error.reason, error.detail)
    except DataError as error:
        return LeftOut(str(found.path), "too large", str(error).removeprefix(f"{found.path}: "))
    except OSError as error:
        return LeftOut(str(found.path), "cannot be read", str(error))
