"""A raw socket server that answers as a test wants: with garbage, half a body, slowly, or not at all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

# From the number of a connection, counted from 1, and the socket, on which a request has been read.
Behaviour = Callable[[int, socket.socket], None]


@dataclass
class BadServer:
    """A raw server's address, and how many requests came to it."""

    url: str
    requests: int = 0
    heads: list[bytes] = field(default_factory=list)


def response(status: str, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _read_request(raw: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        part = raw.recv(65536)
        if not part:
            return data
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(body) < int(lengths[0] if lengths else 0):
        body += raw.recv(65536)
    return head


def dead_url() -> str:
    """Return an address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def bad_server(behave: Behaviour) -> Iterator[BadServer]:
    """Run a server that answers each connection by a function, then closes it."""
    listener = socket.create_server(("127.0.0.1", 0))
    state = BadServer(f"http://127.0.0.1:{listener.getsockname()[1]}")

    def serve() -> None:
        with suppress(OSError):  # closed at the end
            while True:
                raw, _ = listener.accept()
                threading.Thread(target=answer, args=(raw,), daemon=True).start()

    def answer(raw: socket.socket) -> None:
        with raw, suppress(OSError):
            head = _read_request(raw)
            if head:
                state.requests += 1
                state.heads.append(head)
                behave(state.requests, raw)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield state
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)
