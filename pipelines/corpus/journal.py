"""What is done already, on disk: a line for each row's outcome, so that a killed run goes on where it was."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import IO

from secateur.data_scripts.records import parse_record
from secateur.models.errors import DataError
from secateur.pipelines.corpus.pruning import Outcome


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
        lines = [json.dumps(asdict(outcome), ensure_ascii=False).encode() + b"\n" for outcome in outcomes]
        try:
            _append(self._file, b"".join(lines))
            os.fsync(self._file.fileno())
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error}); run again to go on from here") from error
        self.done += len(outcomes)

    def read(self) -> Iterator[Outcome]:
        """Yield the outcomes from the first on.

        Raises:
            DataError: the file cannot be read, or a line of it is broken.
        """
        try:
            with self.path.open("rb") as file:
                next(file)
                for number, line in enumerate(file, 2):
                    yield _outcome(line, f"{self.path}, line {number}")
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error}); delete it to begin anew") from error


def _outcome(line: bytes, where: str) -> Outcome:
    try:
        return parse_record(json.loads(line), Outcome, where)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: is not JSON ({error}); delete the file to begin anew") from None
    except DataError as error:
        raise DataError(f"{error}; delete the file to begin anew") from None


def _append(file: IO[bytes], data: bytes) -> None:
    """Write past the buffer: what a full disk does not take would stay in it, and fail once more at the close."""
    left = memoryview(data)
    while left:
        left = left[os.write(file.fileno(), left) :]


def _scan(file: IO[bytes], path: Path, block: int, rows: int) -> tuple[int, int]:
    """Return how many rows are done, in whole blocks, and where the next one's line begins.

    Raises:
        DataError: a line is broken.
    """
    end = kept = file.tell()
    done = 0
    for lines, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            break  # of a killed run
        _outcome(line, f"{path}, line {lines + 1}")  # wrong now is better than after hours
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
        _append(file, json.dumps(run).encode() + b"\n")
        return 0
    found = json.loads(head)
    if not isinstance(found, dict):
        raise ValueError("its first line is not an object")
    others = [name for name in run if found.get(name) != run[name]]
    if others:
        raise DataError(
            f"{path}: belongs to a run with another {' and '.join(others)}; finish that one, or delete the file"
        )
    done, end = _scan(file, path, block, rows)
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
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{path}: cannot be read or written ({error}); delete it to begin anew") from error
        yield Journal(path, file, done)
