"""HTTP on raw sockets, for clients that do not behave."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

from live_server import PATIENCE, Server


def connect(server: Server) -> socket.socket:
    """Open a connection."""
    raw = socket.create_connection(("127.0.0.1", int(urlsplit(server.url).port or 0)), timeout=PATIENCE)
    raw.settimeout(PATIENCE)
    return raw


def read(raw: socket.socket) -> bytes:
    """Return what the server sends until it closes the connection or, which is as well, resets it."""
    received = b""
    try:
        while part := raw.recv(65536):
            received += part
    except ConnectionError:
        pass
    return received
