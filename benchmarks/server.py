"""Starting a server on a free loopback port, and asking it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

from benchmarks.workload import BenchRequest
from secateur.models.errors import SecateurError

HOST = "127.0.0.1"
TIMEOUT_S = 120.0
_POLL_S = 0.02
_STOP_S = 30.0

Body = dict[str, object]


class StatusError(SecateurError):
    """A server answered by an error.

    Args:
        path: that was posted to.
        status: of the answer.
        body: of it.
    """

    def __init__(self, path: str, status: int, body: bytes) -> None:
        super().__init__(f"POST {path} was answered by {status}: {body[:300].decode(errors='replace')}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Server:
    """How a server is started and asked.

    Attributes:
        name: as the table says it.
        does: what its answers hold.
        command: starts it, of its port.
        path: that requests are posted to.
        body: of a request.
        environment: variables beside this process's own.
        starting: statuses of its answers before it is ready.
    """

    name: str
    does: str
    command: Callable[[int], list[str]]
    path: str
    body: Callable[[BenchRequest], Body]
    environment: Mapping[str, str] = field(default_factory=dict)
    starting: tuple[int, ...] = ()


class Connection:
    """A client's kept-alive connection to a server; not to be shared between threads.

    Args:
        port: of the server.
        path: that requests are posted to.
    """

    def __init__(self, port: int, path: str) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)
        self._path = path

    def post(self, body: bytes) -> bytes:
        """Post JSON and return the answer.

        Raises:
            StatusError: the answer is an error.
            OSError: there is no answer.
        """
        try:
            self._connection.request("POST", self._path, body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            answer = response.read()
        except http.client.HTTPException as error:
            raise OSError(f"no HTTP answer ({type(error).__name__}: {error})") from error
        if response.status != http.client.OK:
            raise StatusError(self._path, response.status, answer)
        return answer

    def close(self) -> None:
        """Close it."""
        self._connection.close()


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers.

    Attributes:
        server: what was started.
        port: that it listens on.
        pid: of its process.
        first_answer_s: seconds from its start to its first answer.
    """

    server: Server
    port: int
    pid: int
    first_answer_s: float

    def connect(self) -> Connection:
        """Open a connection of one's own."""
        return Connection(self.port, self.server.path)


def secateur_server() -> Server:
    """Return our service with its defaults."""
    return Server(
        name="Secateur",
        does="prunes and ranks",
        command=lambda port: [sys.executable, "-m", "secateur", "serve", "--host", HOST, "--port", str(port)],
        path="/v1/prune",
        body=lambda request: {
            "query": request.query,
            "passages": list(request.passages),
            "truncate_query": True,
        },
    )


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def _last_line(log: IO[bytes]) -> str:
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _wait(server: Server, process: subprocess.Popen[bytes], port: int, body: bytes, log: IO[bytes]) -> None:
    deadline = time.perf_counter() + TIMEOUT_S
    while time.perf_counter() < deadline:
        connection = Connection(port, server.path)
        try:
            connection.post(body)
            return
        except StatusError as error:
            if error.status not in server.starting:
                raise
            time.sleep(_POLL_S)
        except OSError:
            if process.poll() is not None:
                raise SecateurError(
                    f"{server.name} ended with code {process.returncode} before it answered: {_last_line(log)}"
                ) from None
            time.sleep(_POLL_S)
        finally:
            connection.close()
    raise SecateurError(f"{server.name} gave no answer within {TIMEOUT_S:g} s: {_last_line(log)}")


@contextmanager
def running(server: Server, first: BenchRequest) -> Iterator[Running]:
    """Start a server, wait until it answers a request, and stop it at the end.

    Args:
        server: to start.
        first: that it is asked until it answers.

    Raises:
        SecateurError: it cannot be started, ends, answers with an error, or does not answer in time.
    """
    port = _free_port()
    started = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                server.command(port), stdout=log, stderr=log, env={**os.environ, **server.environment}
            )
        except OSError as error:
            raise SecateurError(f"{server.name} cannot be started ({error})") from error
        try:
            _wait(server, process, port, json.dumps(server.body(first)).encode(), log)
            yield Running(server, port, process.pid, time.perf_counter() - started)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
