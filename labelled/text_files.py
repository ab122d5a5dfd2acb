"""Opening text files of the user: UTF-8 with or without a byte order mark, gzipped or not.

Lines end only at line feeds, because JSON strings may contain U+2028, U+0085 and other characters at which
`str.splitlines` splits. A byte order mark at the start of a file is dropped; U+FEFF anywhere else is text.
"""

from __future__ import annotations

import codecs
import gzip
import json
import math
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from secateur.models.errors import DataError

MIB = 1 << 20
_RATIO = 100  # text unpacks to 3 to 50 times its gzipped size, a gzip bomb to a thousand times
_ALLOWED = 1 << 30  # bytes that any gzipped file may unpack to
# UTF-32's little-endian mark begins with that of UTF-16, so it comes first.
_OTHER_MARKS = (
    ((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE), "UTF-32"),
    ((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE), "UTF-16"),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of what is read; a larger file is an error.

    Attributes:
        line: Bytes of a line, or of a file that is read at once.
        unpacked: Bytes that a compressed file may unpack to; None for 100 times its size, but at least 1 GiB.
    """

    line: int = 256 * MIB
    unpacked: int | None = None

    def allowed(self, size: int) -> int:
        """Return the number of bytes that a compressed file of a size may unpack to."""
        return max(_ALLOWED, _RATIO * size) if self.unpacked is None else self.unpacked


DEFAULT_LIMITS = Limits()


def other_unicode(data: bytes) -> str | None:
    """Return `UTF-16` or `UTF-32` if the data begins with its byte order mark, else None."""
    return next((name for marks, name in _OTHER_MARKS if data.startswith(marks)), None)


def encoding_error(where: str, data: bytes, error: UnicodeDecodeError, offset: int = 0) -> DataError:
    """Return the error for data at an offset of a file that is not UTF-8; ``where`` names file and line."""
    name = other_unicode(data) if offset == 0 else None
    if name:
        return DataError(f"{where}: is {name}, not UTF-8; convert it first, e.g. iconv -f {name} -t UTF-8")
    # "utf-8-sig" counts from after the mark.
    at = error.start + len(data) - len(error.object)
    return DataError(f"{where}: byte {offset + at} (0x{data[at]:02x}) is not UTF-8; convert the file to UTF-8 first")


def open_binary(path: Path, *, regular: bool = False) -> BufferedReader:
    """Open a file for reading; if ``regular``, refuse pipes and devices without waiting for them.

    Raises:
        OSError: It cannot be opened, or is not a regular file although it must be.
    """
    if not regular:
        return path.open("rb")  # also a pipe such as <(...)
    unblocked = getattr(os, "O_NONBLOCK", 0)
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | unblocked))  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError("is a pipe or a device, not a regular file")
    return file


def byte_lines(path: Path, limits: Limits = DEFAULT_LIMITS, *, regular: bool = False) -> Iterator[bytes]:
    """Yield a file's lines with their ends, unpacked if its name ends in ``.gz``; see `open_binary` for `regular`."""
    try:
        with open_binary(path, regular=regular) as raw:
            packed = path.suffix.lower() == ".gz"
            file = gzip.GzipFile(fileobj=raw, mode="rb") if packed else raw
            allowed = limits.allowed(os.fstat(raw.fileno()).st_size) if packed else math.inf
            number = size = 0
            while line := file.readline(limits.line + 1):
                number += 1
                size += len(line)
                if len(line) > limits.line:
                    raise DataError(f"{path}, line {number}: is longer than {limits.line / MIB:g} MiB; split the line")
                if size > allowed:
                    problem = f"unpacks to more than {allowed / MIB:g} MiB"
                    raise DataError(f"{path}: {problem}; if that is right, run gunzip first")
                yield line
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def text_lines(path: Path, limits: Limits = DEFAULT_LIMITS, *, regular: bool = False) -> Iterator[str]:
    """Yield a file's lines as text with their ends; see `byte_lines` and `encoding_error`."""
    offset = 0
    for number, line in enumerate(byte_lines(path, limits, regular=regular), 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise encoding_error(f"{path}, line {number}", line, error, offset) from error
        offset += len(line)


def filled_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and text of each line that is not blank, without its end; see `text_lines`."""
    for number, line in enumerate(text_lines(path), 1):
        if line.strip():
            yield number, line.rstrip("\r\n")


def read_limited(path: Path, limit: int = DEFAULT_LIMITS.line, *, regular: bool = False) -> bytes:
    """Return a file's bytes, or raise an OSError, or a DataError if it is larger than the limit."""
    with open_binary(path, regular=regular) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise DataError(f"{path}: is larger than {limit / MIB:g} MiB; split it")
    return data


def as_text(data: bytes, where: str) -> str:
    """Decode UTF-8, with or without a byte order mark, or raise the `encoding_error`."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise encoding_error(where, data, error) from error


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file of at most 256 MiB, with or without a byte order mark, or raise a DataError."""
    try:
        data = read_limited(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    return as_text(data, str(path))


def parse_json(text: str) -> Any:
    """Parse JSON, or raise a ValueError. A byte order mark in front, as joined files have in between, is ignored."""
    try:
        return json.loads(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError("nested too deep") from None
