"""Bodies of batches: kept on disk while they are large, and read a few lines at a time, all off the event loop."""

from __future__ import annotations

import re
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import IO, Any, NamedTuple

import anyio.to_thread
from fastapi import Request

_IN_MEMORY = 1 << 20  # bytes of a body that are kept in memory, the rest in a temporary file
_WRITTEN_AT_ONCE = 1 << 18  # bytes
_BLOCK = 1 << 20  # bytes that are read at once
_LINES_AT_ONCE = 64
_SPACE = re.compile(rb"\s*+")


class NoRoomError(Exception):
    """A body could not be kept on disk."""

    def __init__(self) -> None:
        super().__init__("body: there is no room on the server's disk for a batch of this size; send smaller ones")


async def spooled(request: Request) -> IO[bytes]:
    """Store the whole body: many clients read nothing of the answer before they have sent everything.

    Raises:
        NoRoomError: the disk, or the directory for temporary files, does not take it.
    """
    file: Any = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 (closed by who reads it)
    try:
        waiting = bytearray()
        async for chunk in request.stream():
            waiting += chunk
            if len(waiting) >= _WRITTEN_AT_ONCE:
                await anyio.to_thread.run_sync(_write, file, waiting)
                waiting = bytearray()
        await anyio.to_thread.run_sync(_write, file, waiting)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file  # type: ignore[no-any-return]


def _write(file: IO[bytes], data: bytes | bytearray) -> None:
    try:
        file.write(data)
        file.flush()
    except OSError as error:
        raise NoRoomError from error


class Line(NamedTuple):
    """A line that is not blank: its number from 1, and its content; None for one that is too long."""

    number: int
    content: bytes | None


class Lines:
    """The lines of a file.

    Args:
        file: read from where it stands; blank lines are counted and left out.
        max_bytes: of a line; a longer one is not kept.
    """

    def __init__(self, file: IO[bytes], max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self._block = b""
        self._at = 0
        self._number = 0
        self._lines = self._all()

    def some(self) -> list[Line]:
        """Read the next lines, about a block of them; none at the end."""
        lines: list[Line] = []
        size = 0
        for line in self._lines:
            lines.append(line)
            size += len(line.content or b"")
            if len(lines) == _LINES_AT_ONCE or size >= _BLOCK:
                break
        return lines

    def _all(self) -> Iterator[Line]:
        while self._more():
            self._skip_blank()
            if not self._more():
                return
            content = self._line()
            self._number += 1
            if content is None or content.strip():
                yield Line(self._number, content)

    def _more(self) -> bool:
        """Read on at the end of a block; return whether anything is left."""
        if self._at == len(self._block):
            self._block, self._at = self._file.read(_BLOCK), 0
        return bool(self._block)

    def _skip_blank(self) -> None:
        """Pass over the blank lines that a block goes on with, of which there may be a million."""
        space = _SPACE.match(self._block, self._at)
        end = self._block.rfind(b"\n", self._at, space.end() if space else self._at) + 1
        if end:
            self._number += self._block.count(b"\n", self._at, end)
            self._at = end

    def _line(self) -> bytes | None:
        parts: list[bytes] = []
        size = 0
        while self._more():
            found = self._block.find(b"\n", self._at)
            end = len(self._block) if found < 0 else found
            size += end - self._at
            if size <= self._max_bytes:
                parts.append(self._block[self._at : end])
            else:
                parts.clear()
            self._at = end if found < 0 else found + 1
            if found >= 0:
                break
        return b"".join(parts) if size <= self._max_bytes else None
