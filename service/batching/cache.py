"""Caches for scores, keyed by all that they depend on: model, query and passage. Options are applied afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from typing import Any, TypeAlias

import numpy as np
from cachetools import LRUCache

from secateur.models.checkpoint import CONFIG, ONNX_FILES, TOKENIZER, WEIGHTS
from secateur.models.errors import InputError, MissingExtraError
from secateur.models.merging import SCORING_VERSION, PassageScores
from secateur.models.pruner import EncodedRequest, Pruner

log = logging.getLogger(__name__)

_REDIS_TIMEOUT_S = 0.25
_REDIS_PAUSE_S = 5.0  # without requests to Redis after a failure
_REDIS_CHUNK = 1000  # keys per command pipeline; the event loop continues in between
_URL = "give redis://HOST:PORT/NUMBER, and escape special characters of a password, such as %40 for @"
_FILES = (CONFIG, TOKENIZER, *ONNX_FILES.values(), WEIGHTS)
_PACKAGES = ("nupunkt", "nltk", "markdown-it-py", "tokenizers")  # their versions determine units and tokens


def _versions() -> Iterable[str]:
    yield str(SCORING_VERSION)
    for package in _PACKAGES:
        try:
            yield version(package)
        except PackageNotFoundError:
            yield ""


def fingerprint(pruner: Pruner) -> bytes:
    """Return a digest of a model's files (a random one without files), its backend, and the code that scores."""
    if pruner.directory is None:
        return os.urandom(16)
    parts = (pruner.backend.name, pruner.backend.precision, *_versions())
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=16)
    for name in _FILES:
        if (path := pruner.directory / name).is_file():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.digest()


class MemoryStore:
    """The values used last, in this process: at most ``max_bytes`` of keys and values."""

    _OVERHEAD = 150  # bytes of an entry beside its value: the key and the objects

    def __init__(self, max_bytes: int) -> None:
        self._values: LRUCache[bytes, bytes] = LRUCache(max_bytes, getsizeof=lambda value: self._OVERHEAD + len(value))

    async def get(self, sizes: Mapping[bytes, int]) -> dict[bytes, bytes]:
        """Return the stored values by key; ``sizes`` are those expected, in bytes."""
        return {key: self._values[key] for key in sizes if key in self._values}

    async def put(self, values: Mapping[bytes, bytes]) -> None:
        """Store values in the place of those not used for longest."""
        for key, value in values.items():
            with suppress(ValueError):  # larger than the whole cache
                self._values[key] = value


class RedisStore:
    """Values in Redis, shared between processes. After a failure or a timeout, Redis is not used for some seconds.

    Raises:
        InputError: The URL, such as ``redis://HOST``, is invalid.
        MissingExtraError: The redis client is not installed.
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
        except (ValueError, TypeError):  # their messages may quote the password
            raise InputError("cache", "the redis:// URL is invalid", _URL) from None
        self._expire_s = expire_s
        self._paused_until = 0.0

    async def get(self, sizes: Mapping[bytes, int]) -> dict[bytes, bytes]:
        """Return the stored values. One that is too long is cut, and one that is not a Redis string is empty."""
        found: dict[bytes, bytes] = {}
        for keys in _parts(sizes):
            replies = await self._ask([("GETRANGE", key, 0, sizes[key]) for key in keys])
            for key, reply in zip(keys, replies, strict=False):
                if isinstance(reply, Exception):
                    found[key] = b""
                elif reply:  # empty for a missing key
                    found[key] = reply
        return found

    async def put(self, values: Mapping[bytes, bytes]) -> None:
        """Store values until they expire."""
        for keys in _parts(values):
            await self._ask([("SET", key, values[key], "EX", self._expire_s) for key in keys])

    async def _ask(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        """Return the replies to commands, values and exceptions; none during a pause."""
        if time.monotonic() < self._paused_until:
            return []
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                replies: list[Any] = await asyncio.wait_for(pipeline.execute(raise_on_error=False), _REDIS_TIMEOUT_S)
            for reply in replies:
                if isinstance(reply, Exception) and "WRONGTYPE" not in str(reply):
                    raise reply
        except Exception as error:
            self._paused_until = time.monotonic() + _REDIS_PAUSE_S
            log.warning("the Redis cache failed (%s); continuing without it for %.0f s", error, _REDIS_PAUSE_S)
            return []
        return replies

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


Store: TypeAlias = MemoryStore | RedisStore
"""Storage of values. A store that fails returns nothing."""


def _parts(keys: Iterable[bytes]) -> Iterable[list[bytes]]:
    left = iter(keys)
    while part := list(islice(left, _REDIS_CHUNK)):
        yield part


class ScoreCache:
    """Cache for the scores of one model. Values from the store are checked, since others may write there."""

    def __init__(self, store: Store, pruner: Pruner) -> None:
        self._store = store
        self._prefix = fingerprint(pruner)
        self._warned = False

    def key(self, encoded: EncodedRequest, number: int) -> bytes:
        """Return the key of the scores of a passage."""
        request = encoded.checked.request
        passage = request.passages[number]
        digest = hashlib.blake2b(self._prefix, digest_size=20)
        for part in (request.query, str(encoded.query_tokens), passage.title, passage.format, passage.text):
            data = b"" if part is None else part.encode("utf-8")
            digest.update(f"{part is None:d}{len(data)}:".encode())
            digest.update(data)
        return b"secateur:" + digest.digest()

    async def get(self, units: Mapping[bytes, int]) -> dict[bytes, PassageScores | None]:
        """Return the cached scores by key, None for an invalid value. ``units`` are the numbers of units by key."""
        found = await self._store.get({key: _size(count) for key, count in units.items()})
        scores = {key: _read(value, units[key]) for key, value in found.items()}
        if None in scores.values() and not self._warned:
            self._warned = True
            log.warning("the cache contains values that are not scores; they are ignored and replaced")
        return scores

    async def put(self, scores: Mapping[bytes, PassageScores]) -> None:
        """Store scores."""
        values = {key: np.append(its.relevance, its.units).astype("<f8").tobytes() for key, its in scores.items()}
        await self._store.put(values)


def _size(units: int) -> int:
    """Return the size in bytes of the scores of a passage with so many units."""
    return 8 * (1 + units)


def _read(value: bytes, units: int) -> PassageScores | None:
    """Return the scores of a passage with so many units; None for an invalid value."""
    if len(value) != _size(units):
        return None
    numbers = np.frombuffer(value, "<f8")
    if not ((numbers >= 0) & (numbers <= 1)).all():  # false for NaN, too
        return None
    return PassageScores(float(numbers[0]), numbers[1:])
