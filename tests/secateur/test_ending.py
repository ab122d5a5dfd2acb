"""How commands end: a line on stderr and a code, whatever happens to them."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import spawn
from live_server import PATIENCE, running

from secateur.cli.ending import UsageError, run_command
from secateur.models.errors import DataError


@pytest.mark.slow
def test_a_reader_that_leaves_is_no_traceback(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    try:
        done = spawn("info", cwd=tmp_path, capture_output=False, stdout=writer, stderr=subprocess.PIPE, env=environment)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_is_a_line(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = spawn("info", cwd=tmp_path, capture_output=False, stdout=full, stderr=subprocess.PIPE)
        assert (done.returncode, done.stderr) == (1, b"secateur: error: No space left on device\n")
        assert spawn("info", "nope", cwd=tmp_path, capture_output=False, stderr=full).returncode == 1


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "secret.txt"), 1, "secret.txt: Permission denied"),
        (OSError(errno.EIO, "Input/output error"), 1, "Input/output error"),
        (OSError("of a library, without a number"), 1, "of a library, without a number"),
        (TimeoutError(), 1, ""),
        (KeyboardInterrupt(), 130, "interrupted"),
        (KeyboardInterrupt("go on"), 130, "interrupted; go on"),
        (DataError("two\n lines"), 1, "two lines"),
        (UsageError("x"), 2, "x"),
    ],
)
def test_every_end_is_a_line_and_a_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    def run() -> None:
        raise error

    assert run_command(run) == code
    assert capsys.readouterr().err == f"secateur: error: {said}\n"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_serve_ends_by_its_signal(tmp_path: Path, number: signal.Signals, code: int) -> None:
    with running(tmp_path / "log") as server:
        server.process.send_signal(number)
        assert server.process.wait(PATIENCE) == code
        assert "Traceback" not in server.log.read_text()
