"""Logs of the service: a JSON object a line, or text. No text of a query or a passage, unless that is switched on."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from secateur.models.types import PruneRequest, PruneResult
from secateur.service.exchange import Exchange, request_id
from secateur.service.log_writer import LineWriter
from secateur.service.settings import Settings

log = logging.getLogger("secateur.text")

_JSON = json.JSONEncoder(default=str)
_PLAIN = re.compile(r"[\w.:/+@-]+", re.ASCII)


def log_event(logger: logging.Logger, level: int, message: str, fields: Mapping[str, Any]) -> None:
    """Log a message with fields; those that are None are left out."""
    if not logger.isEnabledFor(level):
        return
    # Not by logger.log, which walks the stack for a place in the code that nobody asks for.
    record = logger.makeRecord(logger.name, level, "", 0, message, (), None)
    record.fields = {name: value for name, value in fields.items() if value is not None}
    logger.handle(record)


class JSONFormatter(logging.Formatter):
    """Each record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if (id := request_id.get()) is not None:
            content["request_id"] = id
        content |= getattr(record, "fields", {})
        if record.exc_info:
            content["exception"] = self.formatException(record.exc_info)
        return _JSON.encode(content)


class TextFormatter(logging.Formatter):
    """Each record as a line to read, with its fields at the end."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the time in UTC."""
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line without a traceback."""
        fields: dict[str, Any] = getattr(record, "fields", {})
        if (id := request_id.get()) is not None:
            fields = {"request_id": id, **fields}
        shown = [f"{name}={_text_value(value)}" for name, value in fields.items()]
        return " ".join([_printable(super().formatMessage(record)), *shown])


def _text_value(value: object) -> str:
    """Return a field's value, in quotes unless it is a plain word: it can neither end the line nor begin a field."""
    text = str(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text)


def _printable(message: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message)


def configure_logging(settings: Settings) -> None:
    """Send all logs of the process to stderr, as the settings say."""
    handler = LineWriter(_stderr())
    handler.setFormatter(JSONFormatter() if settings.log_format == "json" else TextFormatter())
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)


def _stderr() -> int:
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # there is none, or it is none of the system's files
        return 2


def log_texts(exchange: Exchange, model: str, request: PruneRequest, result: PruneResult) -> None:
    """Log the text of a request that was answered; an observer for who has switched that on."""
    kept = {item.index: item.text for item in result.results}
    passages = [
        {"text": passage.text, "kept": kept.get(number)} | ({"title": passage.title} if passage.title else {})
        for number, passage in enumerate(request.passages)
    ]
    log_event(log, logging.INFO, "text", {"model": model, "query": request.query, "passages": passages})
