"""The finished rows on disk, one line per outcome, so that a killed run can resume."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from pydantic import TypeAdapter, ValidationError

from secateur.models.errors import DataError
from secateur.pipelines.corpus.pruning import Outcome

_OUTCOME = TypeAdapter(Outcome)


@contextmanager
def _checked(path: Path, verb: str, fix: str = "delete it to start over") -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be {verb} ({error}); {fix}") from error


@dataclass(slots=True)
class Journal:
    """The outcomes of the first rows of a run, in order; ``done`` is their number. Made by `open_journal`."""

    path: Path
    file: IO[bytes]
    done: int = 0

    def append(self, outcomes: Sequence[Outcome]) -> None:
        """Write a block's outcomes to disk."""
        lines = [json.dumps(asdict(outcome), ensure_ascii=False).encode() + b"\n" for outcome in outcomes]
        with _checked(self.path, "written", "run again to resume from here"):
            self._write(b"".join(lines))
            os.fsync(self.file.fileno())
        self.done += len(outcomes)

    def read(self) -> Iterator[Outcome]:
        """Yield all outcomes from the start."""
        with _checked(self.path, "read"), self.path.open("rb") as file:
            next(file)
            for number, line in enumerate(file, 2):
                yield self._outcome(line, number)

    def _write(self, data: bytes) -> None:
        """Write unbuffered: bytes that a full disk refuses would stay in a buffer and fail again at the close."""
        left = memoryview(data)
        while left:
            left = left[os.write(self.file.fileno(), left) :]

    def _outcome(self, line: bytes, number: int) -> Outcome:
        try:
            return _OUTCOME.validate_json(line)
        except ValidationError as error:
            problem = error.errors()[0]["msg"]
            raise DataError(f"{self.path}, line {number}: {problem}; delete the file to start over") from None

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows does not let two processes write to a file
            return
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataError(f"{self.path}: another run is writing to it; wait for that run, or stop it") from error

    def resume(self, run: dict[str, str], block: int, rows: int) -> None:
        """Keep the whole blocks of an earlier run; see `open_journal`."""
        self._lock()
        self.file.seek(0)
        head = self.file.readline()
        if not head.endswith(b"\n"):  # new, or killed at once
            self.file.truncate(0)
            self._write(json.dumps(run).encode() + b"\n")
            return
        found = json.loads(head)
        others = [name for name in run if not isinstance(found, dict) or found.get(name) != run[name]]
        if others:
            names = " and ".join(others)
            raise DataError(f"{self.path}: belongs to a run with another {names}; finish that one, or delete it")
        kept = end = len(head)
        for number, line in enumerate(self.file, 1):
            if not line.endswith(b"\n"):
                break  # cut by a kill
            self._outcome(line, number + 1)  # an error now is better than one after hours
            end += len(line)
            if number % block == 0 or number == rows:
                self.done, kept = number, end
        self.file.truncate(kept)


@contextmanager
def open_journal(path: Path, run: dict[str, str], block: int, rows: int) -> Iterator[Journal]:
    """Open the journal of a run, with the finished blocks of an earlier one.

    Args:
        path: The file; created if it does not exist.
        run: Everything that the outcomes depend on, by name; an earlier run must have the same.
        block: Rows that run together; an unfinished block is repeated.
        rows: Number of rows in the corpus, whose last block may be shorter.

    Raises:
        DataError: It belongs to another run, another process writes to it, or it cannot be read or written.
    """
    with _checked(path, "opened"):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+b")
    with file:
        journal = Journal(path, file)
        with _checked(path, "resumed"):
            journal.resume(run, block, rows)
        yield journal
