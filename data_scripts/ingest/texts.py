"""Reading text, Markdown, HTML and PDF files, one document each."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

from secateur.data_scripts.ingest.html import html_text
from secateur.data_scripts.ingest.sources import Found, LeftOut
from secateur.data_scripts.records import Document
from secateur.models.errors import MissingExtraError

_SNIFFED = 8192  # bytes
_PAGE_BREAK = "\n\n"
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_HEADING = re.compile(r"#{1,6}[ \t]+(.+?)[ \t]*#*[ \t]*$")
_FENCE = re.compile(r" {0,3}(```|~~~)")
_FRONT_MATTER = re.compile(r"\ufeff?---[ \t]*\r?\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
# Browsers read these names as Windows' code page, since that is what is meant by them.
_WINDOWS = ("iso-8859-1", "latin-1", "latin1", "ascii", "us-ascii")


class Unreadable(Exception):
    """A file cannot become a document.

    Args:
        reason: short and the same for all of its kind.
        detail: what exactly is wrong, and the mend.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


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
            return data.decode("cp1252" if declared.lower() in _WINDOWS else declared)
        except (UnicodeDecodeError, LookupError) as error:
            detail += f", or correct the charset that it declares ({error})"
    raise Unreadable("wrong encoding", detail)


def markdown_title(text: str) -> str:
    """Return the first heading, `#` or underlined, outside fenced code; empty where there is none."""
    fence = None
    before = ""
    for line in text.splitlines():
        match = _FENCE.match(line)
        if match:
            fence = None if fence == match.group(1) else fence or match.group(1)
        elif fence is None:
            heading = _HEADING.match(line)
            if heading:
                return heading.group(1)
            # No bullet, quotation or table: a rule under those is no underline.
            if before and line and not line.strip("=") and before[0].isalnum():
                return before
            before = line.strip()
    return ""


def _front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Return what stands in a Markdown file's front matter, and the text behind it."""
    match = _FRONT_MATTER.match(text)
    if not match:
        return {}, text
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError("pyyaml", "data") from error
    try:
        # Dates stay as they are written: JSON has none.
        found = yaml.load(match.group(1), Loader=yaml.BaseLoader)
    except yaml.YAMLError:
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


def _pdf(path: Path, found: Found) -> Document:
    try:
        from pypdf import PdfReader
    except ImportError as error:
        raise MissingExtraError("pypdf", "data") from error
    try:
        reader = PdfReader(path)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Unreadable("locked PDF", "it needs a password; save it without one")
        title = reader.metadata.title if reader.metadata else None
        pages = [page.extract_text().strip() for page in reader.pages]
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


def read_file(found: Found) -> Document | LeftOut:
    """Read a file that is one document.

    Args:
        found: a file of kind text, markdown, html, pdf or unknown.

    Returns:
        The document; its id is the file's path relative to the source, and a PDF's metadata says at which code point
        each page starts. Or why there is none.

    Raises:
        MissingExtraError: a format needs a package that is not installed.
    """
    try:
        if found.kind == "pdf":
            return _pdf(found.path, found)
        if found.kind == "unknown":
            with found.path.open("rb") as file:
                binary = is_binary(file.read(_SNIFFED))
            reason = "binary file" if binary else "unknown format"
            return LeftOut(str(found.path), reason, "give the file by itself to have it read as text")
        return _READERS[found.kind](found.path.read_bytes(), found)
    except Unreadable as error:
        return LeftOut(str(found.path), error.reason, error.detail)
    except OSError as error:
        return LeftOut(str(found.path), "cannot be read", str(error))
