"""Caches for scores, by what they depend on: the model, the query, the passage. Options are applied afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from secateur.models.checkpoint import CONFIG, ONNX_FP16, ONNX_INT8, TOKENIZER, WEIGHTS
from secateur.models.errors import InputError, MissingExtraError
from secateur.models.merging import PassageScores
from secateur.models.pruner import EncodedRequest, Pruner

log = logging.getLogger(__name__)

_REDIS_TIMEOUT_S = 0.25
_REDIS_PAUSE_S = 5.0  # after a failure nothing is asked of Redis for so long
_URL = "give redis://HOST:PORT/NUMBER, and escape special characters of a password in it as in %40"
_FILES = (CONFIG, TOKENIZER, ONNX_INT8, ONNX_FP16, WEIGHTS)


def fingerprint(pruner: Pruner) -> bytes:
    """Return a digest of a model's files and of what runs them; of one without files it is new each time."""
    if pruner.directory is None:
        return os.urandom(16)
    digest = hashlib.blake2b(f"{pruner.backend.name}\0{pruner.backend.precision}".encode(), digest_size=16)
    for name in _FILES:
        if (path := pruner.directory / name).is_file():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.digest()


class Store(Protocol):
    """Where values are kept. A store that fails says that it knows nothing."""

    async def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key."""

    async def put(self, values: Mapping[bytes, bytes]) -> None:
        """Keep values."""

    async def close(self) -> None:
        """Let go of connections."""


class MemoryStore:
    """The values used last, in this process.

    Args:
        max_bytes: of keys and values.
    """

    _OVERHEAD = 150  # bytes of an entry beside its value: the key and the objects

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._values: OrderedDict[bytes, bytes] = OrderedDict()

    async def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key."""
        for key in keys:
            if key in self._values:
                self._values.move_to_end(key)
        return [self._values.get(key) for key in keys]

    async def put(self, values: Mapping[bytes, bytes]) -> None:
        """Keep values, at the cost of those not used for longest."""
        for key, value in values.items():
            self._bytes += len(value) - len(self._values.pop(key, value)) if key in self._values else len(value)
            self._values[key] = value
        while self._bytes + self._OVERHEAD * len(self._values) > self._max_bytes and self._values:
            self._bytes -= len(self._values.popitem(last=False)[1])

    async def close(self) -> None:
        """Nothing to let go of."""


class RedisStore:
    """Values in Redis, shared between processes. A Redis that is slow or gone is left alone for some seconds.

    Args:
        url: ``redis://...`` or ``rediss://...``.
        expire_s: seconds that a value is kept.
        password: of Redis, where it does not stand in the URL.

    Raises:
        InputError: the URL cannot be read.
        MissingExtraError: the redis client is not installed.
    """

    def __init__(self, url: str, expire_s: int, password: str | None = None) -> None:
        try:
            from redis import asyncio as redis
        except ImportError as error:
            raise MissingExtraError("redis", "redis") from error
        options: dict[str, Any] = {} if password is None else {"password": password}
        try:
            self._client: Any = redis.Redis.from_url(
                url, socket_timeout=_REDIS_TIMEOUT_S, socket_connect_timeout=_REDIS_TIMEOUT_S, **options
            )
        except (ValueError, TypeError):  # whose message may quote the password
            raise InputError("cache", "the redis:// URL cannot be read", _URL) from None
        self._expire_s = expire_s
        self._paused_until = 0.0

    async def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key."""
        nothing: list[bytes | None] = [None] * len(keys)
        if not keys or time.monotonic() < self._paused_until:
            return nothing
        try:
            return list(await asyncio.wait_for(self._client.mget(keys), _REDIS_TIMEOUT_S))
        except Exception as error:
            self._pause(error)
            return nothing

    async def put(self, values: Mapping[bytes, bytes]) -> None:
        """Keep values until they expire."""
        if not values or time.monotonic() < self._paused_until:
            return
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for key, value in values.items():
                    pipeline.set(key, value, ex=self._expire_s)
                await asyncio.wait_for(pipeline.execute(), _REDIS_TIMEOUT_S)
        except Exception as error:
            self._pause(error)

    def _pause(self, error: Exception) -> None:
        self._paused_until = time.monotonic() + _REDIS_PAUSE_S
        log.warning("the cache in Redis fails (%s); going on without it for %.0f s", error, _REDIS_PAUSE_S)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


class ScoreCache:
    """Scores of passages for one model.

    Args:
        store: where they are kept; may be shared between models.
        pruner: whose scores they are.
    """

    def __init__(self, store: Store, pruner: Pruner) -> None:
        self._store = store
        self._prefix = fingerprint(pruner)

    def key(self, encoded: EncodedRequest, number: int) -> bytes:
        """Return the key of a passage's scores."""
        passage = encoded.checked.request.passages[number]
        digest = hashlib.blake2b(self._prefix, digest_size=20)
        for part in (
            encoded.checked.request.query,
            str(encoded.query_tokens),
            passage.title,
            passage.format,
            passage.text,
        ):
            data = b"" if part is None else part.encode("utf-8")
            digest.update(f"{part is None:d}{len(data)}:".encode())
            digest.update(data)
        return b"secateur:" + digest.digest()

    async def get(self, keys: Sequence[bytes]) -> dict[bytes, PassageScores]:
        """Return the scores that are known."""
        found = await self._store.get(keys)
        return {key: _read(value) for key, value in zip(keys, found, strict=True) if value is not None}

    async def put(self, scores: Mapping[bytes, PassageScores]) -> None:
        """Keep scores."""
        await self._store.put({key: _written(value) for key, value in scores.items()})


def _written(scores: PassageScores) -> bytes:
    return np.concatenate([[scores.relevance], scores.units]).astype("<f8").tobytes()


def _read(value: bytes) -> PassageScores:
    numbers = np.frombuffer(value, "<f8")
    return PassageScores(float(numbers[0]), numbers[1:])
