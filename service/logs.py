"""Logs of the service: one JSON object or text line per record, without text of queries and passages by default.

Modules log with `logging`, and pass fields as ``extra``. structlog adds the request id and formats the records.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import time
from collections import deque
from typing import Any

from structlog.contextvars import merge_contextvars
from structlog.processors import EventRenamer, JSONRenderer, TimeStamper, format_exc_info
from structlog.stdlib import ExtraAdder, ProcessorFormatter, add_log_level, add_logger_name
from structlog.typing import EventDict

from secateur.models.types import PruneRequest, PruneResult
from secateur.service.exchange import Exchange
from secateur.service.settings import Settings

log = logging.getLogger("secateur.text")

_MAX_BYTES = 8 * 2**20  # of waiting lines; further ones are dropped
_END_S = 1.0  # for waiting lines when the process ends
_PAUSE_S = 0.05
_HEAD = ("time", "level", "logger", "message")
_PLAIN = re.compile(r"[\w.:/+@-]+", re.ASCII)


class LineWriter(logging.Handler):
    """Writes each record as a line to an open file, in a thread, since whoever reads the log may stop reading.

    Lines that cannot be written, or for which there is no room, are dropped; the next line gives their number. Own
    code, since `logging.handlers.QueueHandler` blocks or raises when its queue is full, and counts no bytes.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: deque[bytes] = deque()
        self._bytes = 0  # of unwritten lines
        self._dropped = 0
        self._closed = False
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="logs", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue a record."""
        try:
            line = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
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

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._closed)
                if not self._lines:
                    return
                line = self._lines.popleft()
            # Not with sys.stderr, whose lock the interpreter needs when it ends, and which this thread might hold.
            written = self._write(line)
            with self._changed:
                self._bytes -= len(line)
                self._dropped += not written
                dropped, self._dropped = (self._dropped, 0) if written else (0, self._dropped)
                self._changed.notify_all()
            if dropped:
                message = f"{dropped} log lines were dropped because they could not be written"
                self.emit(logging.LogRecord(__name__, logging.WARNING, "", 0, message, (), None))

    def _write(self, line: bytes) -> bool:
        while line:
            try:
                line = line[os.write(self._descriptor, line) :]
            except BlockingIOError:  # another owner of the descriptor has made it non-blocking
                time.sleep(_PAUSE_S)
            except OSError:  # the reader is gone, or the disk is full
                return False
        return True

    def flush(self) -> None:
        """Wait a moment for the waiting lines."""
        with self._changed:
            self._changed.wait_for(lambda: not self._bytes, _END_S)

    def close(self) -> None:
        """Write the waiting lines if that does not take long, and end."""
        self.flush()
        with self._changed:
            self._closed = True
            self._lines.clear()
            self._bytes = 0
            self._changed.notify_all()
        super().close()


def _fields(_: Any, __: str, event: EventDict) -> EventDict:
    """Put the fields of all records first, and leave out private attributes of records."""
    event.pop("color_message", None)  # uvicorn's, for terminals
    head = {name: event.pop(name) for name in _HEAD}
    return head | {name: value for name, value in event.items() if not name.startswith("_")}


def render_text(_: Any, __: str, event: EventDict) -> str:
    """Return a readable line. Own code, since structlog's renderers for text let a value end the line."""
    exception = event.pop("exception", None)
    moment, level, logger, message = (event.pop(name) for name in _HEAD)
    printable = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)
    fields = [f"{name}={_text_value(value)}" for name, value in event.items()]
    line = " ".join([f"{moment} {level.upper()} {logger}: {printable}", *fields])
    return line if exception is None else f"{line}\n{exception}"


def _text_value(value: object) -> str:
    """Return a field's value, quoted unless it is a plain word: it can neither end the line nor look like a field."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def formatter(log_format: str) -> logging.Formatter:
    """Return the formatter of a log format, ``json`` or ``text``."""
    return ProcessorFormatter(
        processors=[
            merge_contextvars,
            ExtraAdder(),
            add_log_level,
            add_logger_name,
            TimeStamper(fmt="iso", utc=True, key="time"),
            format_exc_info,
            EventRenamer("message"),
            _fields,
            JSONRenderer(default=str) if log_format == "json" else render_text,
        ]
    )


def configure_logging(settings: Settings) -> None:
    """Send all logs of the process to stderr in the configured format."""
    try:
        descriptor = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # there is none, or it is not a file of the system
        descriptor = 2
    handler = LineWriter(descriptor)
    handler.setFormatter(formatter(settings.log_format))
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)


def log_texts(exchange: Exchange, model: str, request: PruneRequest, result: PruneResult) -> None:
    """Log the texts of an answered request: the observer for the setting ``log_text``."""
    kept = {item.index: item.text for item in result.results}
    passages = [
        {"text": passage.text, "kept": kept.get(number)} | ({"title": passage.title} if passage.title else {})
        for number, passage in enumerate(request.passages)
    ]
    log.info("text", extra={"model": model, "query": request.query, "passages": passages})
