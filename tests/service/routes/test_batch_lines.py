"""Lines of a large body: the same as of any file, whatever their lengths, read a few at a time."""

from __future__ import annotations

import io
from typing import IO, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur.service.routes import prune
from secateur.service.routes.prune import Line, read_lines


def all_lines(file: IO[bytes], max_bytes: int) -> list[Line]:
    return list(read_lines(file, max_bytes))


CONTENT = st.lists(st.sampled_from([b"\n", b"\r\n", b" ", b"\t", b"a", b"bc", b"{}", b"\x0b"]), max_size=40)


@settings(deadline=None, derandomize=True, database=None)
@given(parts=CONTENT, block=st.integers(1, 8), max_bytes=st.integers(0, 6))
def test_lines_are_those_of_the_file(parts: list[bytes], block: int, max_bytes: int) -> None:
    content = b"".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prune, "_READ_BYTES", block)
        found = {line.number: line.content for line in all_lines(io.BytesIO(content), max_bytes)}
    for number, line in enumerate(io.BytesIO(content), 1):
        text = line.removesuffix(b"\n")
        stripped = text.lstrip()  # white space at the start is not part of a line
        if not stripped or len(text) <= max_bytes:
            assert found.pop(number, b"") == stripped
        elif len(stripped) > max_bytes:
            assert found.pop(number) is None
        else:  # too long only with its white space
            assert found.pop(number) in (None, stripped)
    assert found == {}


def test_twenty_million_blank_lines_are_passed_over_in_blocks() -> None:
    """Not line by line: a piece that is read is looked at a constant number of times."""
    content = b"\n" * 20_000_000 + b"{}\n"
    reads = 0

    class Counting(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            nonlocal reads
            reads += 1
            return super().read(size)

    assert all_lines(Counting(content), 100) == [Line(20_000_001, b"{}")]
    assert reads < 50


def test_a_line_that_is_too_long_is_not_kept() -> None:
    class Endless(io.RawIOBase):
        """A line of 200 MB and a short one, of which no more than a block exists at a time."""

        parts = iter([b"a" * 100_000] * 2000 + [b"\n{}\n"])

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            part = next(self.parts, b"")
            buffer[: len(part)] = part
            return len(part)

    import tracemalloc

    tracemalloc.start()
    found = all_lines(io.BufferedReader(Endless(), 1 << 17), 1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [Line(1, None), Line(2, b"{}")]
    assert peak < 8e6
