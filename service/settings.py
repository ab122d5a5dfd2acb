"""What the service is started with, in one frozen object."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """Service settings.

    Attributes:
        model: a model directory or the name of a shipped model; None for the default one.
        backend: see `Pruner.load`.
        device: see `Pruner.load`.
        precision: see `Pruner.load`.
        threads: see `Pruner.load`.
        host: address to listen on.
        port: port to listen on.
    """

    model: str | None = None
    backend: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    host: str = "127.0.0.1"
    port: int = 8080
