"""The finished rows on disk, one line per outcome, so that a killed run can resume."""

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


class Journal:
    """The outcomes of the first rows of a run, in order. Made by `open_journal`.

    Attributes:
        path: The file.
        done: Number of rows whose outcomes are in it.
    """

    def __init__(self, path: Path, file: IO[bytes], done: int) -> None:
        self.path = path
        self.done = done
        self._file = file

    def append(self, outcomes: Sequence[Outcome]) -> None:
        """Write a block's outcomes to disk.

        Raises:
            DataError: they cannot be written.
        """
        lines = [json.dumps(asdict(outcome), ensure_ascii=False).encode() + b"\n" for outcome in outcomes]
        try:
            _append(self._file, b"".join(lines))
            os.fsync(self._file.fileno())
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error}); run again to resume from here") from error
        self.done += len(outcomes)

    def read(self) -> Iterator[Outcome]:
        """Yield all outcomes from the start.

        Raises:
            DataError: the file cannot be read, or a line is broken.
        """
        try:
            with self.path.open("rb") as file:
                next(file)
                for number, line in enumerate(file, 2):
                    yield _outcome(line, f"{self.path}, line {number}")
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read ({error}); delete it to start over") from error


def _outcome(line: bytes, where: str) -> Outcome:
    try:
        return parse_record(json.loads(line), Outcome, where)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: is not JSON ({error}); delete the file to start over") from None
    except DataError as error:
        raise DataError(f"{error}; delete the file to start over") from None


def _append(file: IO[bytes], data: bytes) -> None:
    """Write unbuffered: bytes that a full disk refuses would stay in a buffer and fail again at the close."""
    left = memoryview(data)
    while left:
        left = left[os.write(file.fileno(), left) :]


def _lock(file: IO[bytes], path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows does not let two processes write to a file
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise DataError(f"{path}: another run is writing to it; wait for that run, or stop it") from error


def _prepare(file: IO[bytes], path: Path, run: dict[str, str], block: int, rows: int) -> int:
    """Truncate the file to whole blocks, and return the number of finished rows.

    Raises:
        DataError: the file belongs to another run, or a line is broken.
    """
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
        raise DataError(f"{path}: belongs to a run with another {' and '.join(others)}; finish that one, or delete it")
    done, kept = 0, len(head)
    end = kept
    for number, line in enumerate(file, 1):
        if not line.endswith(b"\n"):
            break  # cut by a kill
        _outcome(line, f"{path}, line {number + 1}")  # an error now is better than one after hours
        end += len(line)
        if number % block == 0 or number == rows:
            done, kept = number, end
    file.truncate(kept)
    return done


@contextmanager
def open_journal(path: Path, run: dict[str, str], block: int, rows: int) -> Iterator[Journal]:
    """Open the journal of a run, with the finished blocks of an earlier one.

    Args:
        path: The file; created if it does not exist.
        run: Everything that the outcomes depend on, by name; an earlier run must have the same.
        block: Rows that run together; an unfinished block is repeated.
        rows: Number of rows in the corpus, whose last block may be shorter.

    Raises:
        DataError: it belongs to another run, another process writes to it, or it cannot be read or written.
    """
    with ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = stack.enter_context(path.open("a+b"))
            done = _prepare(file, path, run, block, rows)
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{path}: cannot be read or written ({error}); delete it to start over") from error
        yield Journal(path, file, done)
