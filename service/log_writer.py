"""Log lines on their way to stderr: by a thread of their own, since whoever reads them may stop reading."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque

_MAX_BYTES = 8 * 2**20  # of lines that wait; what comes then is dropped
_END_S = 1.0  # for the lines that wait when the process ends
_PAUSE_S = 0.05


class LineWriter(logging.Handler):
    """Writes each record as a line, without ever keeping its caller waiting.

    Lines that cannot be written, or for which there is no room, are dropped; the next one that can says how many.

    Args:
        descriptor: of the open file; it is not closed.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._bytes = 0  # of the lines that are not written
        self._dropped = 0
        self._closed = False
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="logs", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record over."""
        try:
            line = self._line(record)
        except Exception:
            self.handleError(record)
            return
        with self._changed:
            if self._closed or self._bytes + len(line) > _MAX_BYTES:
                self._dropped += 1
                return
            self._lines.append(line)
            self._bytes += len(line)
            self._changed.notify_all()

    def _line(self, record: logging.LogRecord) -> bytes:
        return (self.format(record) + "\n").encode("utf-8", "backslashreplace")

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._closed)
                if not self._lines:
                    return
                line = self._lines.popleft()
            # Not by sys.stderr, whose lock the interpreter needs at its end, and which this thread might hold.
            written = self._written(line)
            with self._changed:
                self._bytes -= len(line)
                self._dropped += not written
                dropped, self._dropped = (self._dropped, 0) if written else (0, self._dropped)
                self._changed.notify_all()
            if dropped:
                message = f"{dropped} log lines were dropped: they could not be written"
                self.emit(
                    logging.makeLogRecord({"name": __name__, "levelno": 30, "levelname": "WARNING", "msg": message})
                )

    def _written(self, line: bytes) -> bool:
        while line:
            try:
                line = line[os.write(self._descriptor, line) :]
            except BlockingIOError:  # a descriptor that whoever shares it has made so
                time.sleep(_PAUSE_S)
            except OSError:  # nobody will read it any more, or the disk is full
                return False
        return True

    def flush(self) -> None:
        """Wait a moment for the lines that are on their way."""
        with self._changed:
            self._changed.wait_for(lambda: not self._bytes, _END_S)

    def close(self) -> None:
        """Write what is on its way if that is soon done, and end."""
        self.flush()
        with self._changed:
            self._closed = True
            self._lines.clear()
            self._bytes = 0
            self._changed.notify_all()
        super().close()
