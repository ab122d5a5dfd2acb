"""Lines of a large body: the same as of any file, whatever their lengths, read a few at a time."""

from __future__ import annotations

import io
from typing import IO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.service import spooling
from secateur.service.spooling import Line, Lines


def all_lines(file: IO[bytes], max_bytes: int) -> list[Line]:
    lines = Lines(file, max_bytes)
    found: list[Line] = []
    while some := lines.some():
        found += some
    assert lines.some() == []
    return found


CONTENT = st.lists(st.sampled_from([b"\n", b"\r\n", b" ", b"\t", b"a", b"bc", b"{}", b"\x0b"]), max_size=40)


@settings(deadline=None, derandomize=True, database=None)
@given(parts=CONTENT, block=st.integers(1, 8), max_bytes=st.integers(0, 6))
def test_lines_are_those_of_the_file(parts: list[bytes], block: int, max_bytes: int) -> None:
    content = b"".join(parts)
    expected = []
    for number, line in enumerate(io.BytesIO(content), 1):
        text = line.removesuffix(b"\n")
        if len(text) > max_bytes:
            # What is too long may be blank, which is told apart only as far as it was read.
            expected.append(Line(number, None) if text.strip() else None)
        elif text.strip():
            expected.append(Line(number, text))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spooling, "_BLOCK", block)
        patch.setattr(spooling, "_LINES_AT_ONCE", 3)
        found = all_lines(io.BytesIO(content), max_bytes)
    blank = {number for number, line in enumerate(io.BytesIO(content), 1) if not line.strip()}
    assert [line for line in found if line.number not in blank] == [line for line in expected if line]


def test_a_hundred_million_blank_lines_are_passed_over_in_blocks() -> None:
    """Not line by line: a piece that is read is looked at a constant number of times."""
    content = b"\n" * 100_000_000 + b"{}\n"
    reads = 0

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            nonlocal reads
            reads += 1
            return super().read(size)

    assert all_lines(Counting(content), 100) == [Line(100_000_001, b"{}")]
    assert reads < 200


def test_a_line_that_is_too_long_is_not_kept() -> None:
    class Endless(io.RawIOBase):
        """200 MB of one line, of which no more than a block exists at a time."""

        left = 200

        def read(self, size: int = -1) -> bytes:
            self.left -= 1
            return b"a" * size if self.left > 0 else b"\n{}\n" if self.left == 0 else b""

    import tracemalloc

    tracemalloc.start()
    found = all_lines(Endless(), 1_000_000)  # type: ignore[arg-type]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [Line(1, None), Line(2, b"{}")]
    assert peak < 8e6
