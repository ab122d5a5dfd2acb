"""The chunks of an index: read by row, without all of them in memory."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from secateur.data_scripts.records import Chunk, parse_record, read_records
from secateur.models.errors import DataError

CHUNKS = "chunks.jsonl"
_OFFSETS = "offsets.npy"


def shown_text(chunk: Chunk) -> str:
    """Return what retrieval reads of a chunk: its title and its text."""
    return f"{chunk.title} {chunk.text}" if chunk.title else chunk.text


class Texts:
    """The chunks of an index directory.

    Args:
        directory: as `Texts.write` made it.

    Raises:
        DataError: there are none.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / CHUNKS
        try:
            self._offsets = np.load(directory / _OFFSETS, mmap_mode="r")
            self._file = self._path.open("rb")
        except OSError as error:
            raise DataError(f"{directory}: is no index ({error}); make one with `secateur data index`") from error

    @staticmethod
    def write(source: Path, directory: Path) -> None:
        """Copy chunks into an index directory and note where each begins.

        Raises:
            DataError: a line is wrong, an id stands twice, or there is no chunk.
        """
        seen: set[str] = set()
        for chunk in read_records(source, Chunk):
            if chunk.id in seen:
                raise DataError(f"{source}: the chunk id {chunk.id!r} stands twice; give each chunk its own")
            seen.add(chunk.id)
        if not seen:
            raise DataError(f"{source}: holds no chunk; there is nothing to index")
        try:
            directory.mkdir(parents=True, exist_ok=True)
            if source.suffix == ".gz":
                import gzip

                with gzip.open(source, "rb") as packed, (directory / CHUNKS).open("wb") as plain:
                    shutil.copyfileobj(packed, plain)
            else:
                shutil.copyfile(source, directory / CHUNKS)
            offsets, position = [], 0
            with (directory / CHUNKS).open("rb") as lines:
                for line in lines:
                    if line.strip():
                        offsets.append(position)
                    position += len(line)
            np.save(directory / _OFFSETS, np.array(offsets, dtype=np.int64))
        except OSError as error:
            raise DataError(f"{directory}: cannot be written ({error})") from error

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, row: int) -> Chunk:
        self._file.seek(int(self._offsets[row]))
        return parse_record(json.loads(self._file.readline()), Chunk, f"{self._path}, chunk {row}")

    def __iter__(self) -> Iterator[Chunk]:
        return read_records(self._path, Chunk)
