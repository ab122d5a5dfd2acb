"""Nobody who reads the logs can stop the service: not by reading no more, and not by leaving."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from live_server import PATIENCE

from secateur.service import logs
from secateur.service.logs import LineWriter, formatter

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A small pipe."""
    reader, writer = os.pipe()
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    yield reader, writer
    for end in (reader, writer):
        with contextlib.suppress(OSError):
            os.close(end)


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("name", logging.INFO, "", 0, message, (), None)


def test_lines_come_in_order_and_whole(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    handler = LineWriter(writer)
    lines = [f"{number} é \udcff {'x' * number}" for number in range(300)]
    for line in lines:
        handler.emit(record(line))

    def end() -> None:
        handler.close()
        os.close(writer)

    threading.Thread(target=end).start()
    with os.fdopen(os.dup(reader), "rb") as file:
        found = file.read().decode()
    assert found.splitlines() == [line.replace("\udcff", "\\udcff") for line in lines]


def test_what_nobody_reads_is_dropped_and_counted(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "_MAX_BYTES", 20_000)
    monkeypatch.setattr(logs, "_END_S", 0.1)
    reader, writer = pipe
    handler = LineWriter(writer)
    for number in range(1000):
        handler.emit(record(f"{number} {'x' * 100}"))
    assert handler._bytes <= 20_000
    handler.flush()  # ends, though nothing is read
    with os.fdopen(os.dup(reader), "rb") as file:
        read = [file.readline().decode() for _ in range(20)]
        while "were dropped" not in read[-1]:
            read.append(file.readline().decode())
    dropped = int(read[-1].split()[0])
    assert [line.split()[0] for line in read[:-1]] == [str(number) for number in range(len(read) - 1)]
    assert dropped > 0
    assert len(read) - 1 + dropped <= 1000
    handler.close()


@pytest.mark.parametrize("descriptor", ["/dev/full", "closed"])
def test_what_cannot_be_written_raises_nothing(pipe: tuple[int, int], descriptor: str) -> None:
    reader, writer = pipe
    if descriptor == "closed":
        os.close(reader)
    else:
        writer = os.open(descriptor, os.O_WRONLY)
    handler = LineWriter(writer)
    for _ in range(10):
        handler.emit(record("x"))
    handler.flush()
    assert (handler._bytes, handler._dropped) == (0, 10)
    handler.close()
    handler.emit(record("after the end"))


def logged(log_format: str, message: str, **fields: object) -> str:
    """Return the line of a record with these fields."""
    record = logging.makeLogRecord({"name": "logger", "levelname": "INFO", "msg": message, **fields})
    return formatter(log_format).format(record)


def test_a_field_of_a_text_log_is_one_word() -> None:
    values = {"a": "plain/1:2@x", "b": "key 1a2b", "c": "x\ny d=1", "d": 'say "hi"', "e": "a=b", "f": "", "g": 1.5}
    line = logged("text", "two\nlines\x1b[31m", **values, h="\u2028é")
    assert len(line.splitlines()) == 1
    assert line.partition(" INFO ")[2] == (
        r'logger: two\nlines\x1b[31m a=plain/1:2@x b="key 1a2b" c="x\ny d=1" d="say \"hi\"" e="a=b" f="" g=1.5'
        r' h="\u2028\u00e9"'
    )


def test_private_attributes_of_a_record_are_no_fields() -> None:
    """Libraries add them to every record of the process, as Ray does with `_ray_timestamp_ns`."""
    private = {"_ray_timestamp_ns": 17, "__other": "x"}
    assert logged("text", "said", a=1, **private).endswith(" INFO logger: said a=1")
    assert set(json.loads(logged("json", "said", a=1, **private))) == {"time", "level", "logger", "message", "a"}


def ask(url: str) -> int:
    return httpx.post(f"{url}/v1/prune", json={"query": "q", "passages": ["It was."]}, timeout=60).status_code


@pytest.mark.slow
@pytest.mark.parametrize("reading", ["stops", "leaves"])
def test_the_service_goes_on_when_its_log_is_not_read(pipe: tuple[int, int], tmp_path: Path, reading: str) -> None:
    """The address is read off the log's begin; then nothing is."""
    reader, writer = pipe
    command = [sys.executable, "-m", "secateur", "serve", "--port", "0", "--device", "cpu", "--log-level", "debug"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=writer, stderr=writer)
    os.close(writer)
    try:
        begin = b""
        while b"(Press" not in begin:
            part = os.read(reader, 65536)
            assert part, begin
            begin += part
        url = "http://" + begin.partition(b"running on http://")[2].split()[0].decode()
        if reading == "leaves":
            os.close(reader)
        for _ in range(5):
            assert ask(url) == 200
        with httpx.Client(base_url=url, timeout=60) as client:  # their lines fill the pipe
            for _ in range(100):
                assert client.get("/health/live").status_code == 200
        assert ask(url) == 200
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        assert process.wait(PATIENCE) == 130
        assert time.monotonic() - started < 60
    finally:
        process.kill()
        process.wait()
