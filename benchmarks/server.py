"""Starting a server on a free loopback port, and sending requests to it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
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
    """A server answered with an error.

    Args:
        path: Path of the request.
        status: Status of the answer.
        body: Body of the answer.
    """

    def __init__(self, path: str, status: int, body: bytes) -> None:
        super().__init__(f"POST {path} was answered with {status}: {body[:300].decode(errors='replace')}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Server:
    """How a server is started and called.

    Attributes:
        name: Name in the table.
        does: What its answers contain.
        command: Returns the command that starts it on a port.
        path: Path of requests.
        body: Returns the body of a request.
        environment: Variables in addition to those of this process.
        starting: Statuses of its answers before it is ready.
    """

    name: str
    does: str
    command: Callable[[int], list[str]]
    path: str
    body: Callable[[BenchRequest], Body]
    environment: Mapping[str, str] = field(default_factory=dict)
    starting: tuple[int, ...] = ()

    def bodies(self, requests: Sequence[BenchRequest]) -> list[bytes]:
        """Return the encoded bodies of requests."""
        return [json.dumps(self.body(request)).encode() for request in requests]


class Connection:
    """A kept-alive connection of one client to a server; not to be shared between threads.

    Args:
        port: Port of the server.
        path: Path of requests.
    """

    def __init__(self, port: int, path: str) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=TIMEOUT_S)
        self._path = path

    def post(self, body: bytes) -> bytes:
        """Post JSON and return the answer.

        Raises:
            StatusError: The answer is an error.
            OSError: There is no answer.
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
        """Close the connection."""
        self._connection.close()


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers.

    Attributes:
        server: The server.
        port: Its port.
        pid: Id of its process.
        first_answer_s: Seconds from its start to its first answer.
    """

    server: Server
    port: int
    pid: int
    first_answer_s: float

    def connect(self) -> Connection:
        """Open a new connection."""
        return Connection(self.port, self.server.path)

    def _post_in_turn(self, bodies: Sequence[bytes]) -> list[float]:
        connection = self.connect()
        seconds = []
        try:
            for body in bodies:
                started = time.perf_counter()
                connection.post(body)
                seconds.append(time.perf_counter() - started)
        except OSError as error:
            raise SecateurError(f"{self.server.name} left a request unanswered ({error})") from error
        finally:
            connection.close()
        return seconds

    def post_all(self, bodies: Sequence[bytes], clients: int) -> list[float]:
        """Let clients post all bodies, each client its share in turn; return the seconds of each request."""
        with ThreadPoolExecutor(clients) as pool:
            shares = [bodies[number::clients] for number in range(clients)]
            return [seconds for share in pool.map(self._post_in_turn, shares) for seconds in share]


def secateur_server() -> Server:
    """Return our service with its defaults."""
    return Server(
        name="Secateur",
        does="prunes and ranks",
        command=lambda port: [sys.executable, "-m", "secateur", "serve", "--host", HOST, "--port", str(port)],
        path="/v1/prune",
        body=lambda request: {"query": request.query, "passages": list(request.passages), "truncate_query": True},
    )


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


def last_line(log: IO[bytes]) -> str:
    """Return the last line of a process's output."""
    log.seek(0)
    lines = log.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no output"


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
        except OSError:
            if process.poll() is not None:
                raise SecateurError(
                    f"{server.name} ended with code {process.returncode} before it answered: {last_line(log)}"
                ) from None
        finally:
            connection.close()
        time.sleep(_POLL_S)
    raise SecateurError(f"{server.name} gave no answer within {TIMEOUT_S:g} s: {last_line(log)}")


@contextmanager
def running(server: Server, first: BenchRequest) -> Iterator[Running]:
    """Start a server, wait until it answers a request, and stop it at the end.

    Args:
        server: Server to start.
        first: Request that is repeated until it is answered.

    Raises:
        SecateurError: The server cannot be started, ends, answers with an error, or does not answer in time.
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
            _wait(server, process, port, server.bodies([first])[0], log)
            yield Running(server, port, process.pid, time.perf_counter() - started)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
