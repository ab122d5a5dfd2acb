"""What is done already, on disk: a line for each row's outcome, so that a killed run goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO

from secateur.data_scripts.corpus.pruning import Outcome
from secateur.models.errors import DataError


def _lock(file: IO[bytes], path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows refuses the file to a second writer by itself
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise DataError(f"{path}: another run is writing to it") from error


class Journal:
    """The outcomes of the first rows of a run, in order. Made by `open_journal`.

    Attributes:
        path: of the file.
        done: rows whose outcomes are in it.
    """

    def __init__(self, path: Path, file: IO[bytes], done: int) -> None:
        self.path = path
        self.done = done
        self._file = file

    def append(self, outcomes: Sequence[Outcome]) -> None:
        """Write a block's outcomes; they are on the disk when this returns.

        Raises:
            DataError: they cannot be written.
        """
        try:
            for outcome in outcomes:
                self._file.write(json.dumps(asdict(outcome), ensure_ascii=False).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error}); run again to go on from here") from error
        self.done += len(outcomes)

    def read(self) -> Iterator[Outcome]:
        """Yield the outcomes from the first on."""
        with self.path.open("rb") as file:
            next(file)
            for line in file:
                yield Outcome(**json.loads(line))


def _scan(file: IO[bytes], block: int, rows: int) -> tuple[int, int]:
    """Return how many rows are done, in whole blocks, and where the next one's line begins."""
    end = kept = file.tell()
    done = 0
    for lines, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            break  # of a killed run
        end += len(line)
        if lines % block == 0 or lines == rows:
            done, kept = lines, end
    return done, kept


def _go_on(file: IO[bytes], path: Path, run: dict[str, str], block: int, rows: int) -> int:
    """Make the file ready for the next block; return how many rows are done."""
    _lock(file, path)
    file.seek(0)
    head = file.readline()
    if not head.endswith(b"\n"):  # new, or killed at once
        file.truncate(0)
        file.write(json.dumps(run).encode() + b"\n")
        return 0
    found = json.loads(head)
    others = [name for name in run if found.get(name) != run[name]]
    if others:
        raise DataError(
            f"{path}: belongs to a run with another {' and '.join(others)}; finish that one, or delete the file"
        )
    done, end = _scan(file, block, rows)
    file.truncate(end)
    return done


@contextmanager
def open_journal(path: Path, run: dict[str, str], block: int, rows: int) -> Iterator[Journal]:
    """Open the journal of a run, with what an earlier one of the same kind has done.

    Args:
        path: of the file; made if it is not there.
        run: what the outcomes depend on, by name; an earlier run must have had the same.
        block: rows that run together; a block that was not finished is done again.
        rows: of the corpus, whose last block may be shorter.

    Raises:
        DataError: it belongs to another run, another process writes to it, or it cannot be read or written.
    """
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("a+b"))
            done = _go_on(file, path, run, block, rows)
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read or written ({error}); delete it to begin anew") from error
        yield Journal(path, file, done)
