"""Caches for scores, by what they depend on: the model, the query, the passage. Options are applied afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from typing import Any, Protocol

import numpy as np

from secateur.models.checkpoint import CONFIG, ONNX_FP16, ONNX_INT8, TOKENIZER, WEIGHTS
from secateur.models.errors import InputError, MissingExtraError
from secateur.models.merging import SCORING_VERSION, PassageScores
from secateur.models.pruner import EncodedRequest, Pruner

log = logging.getLogger(__name__)

_REDIS_TIMEOUT_S = 0.25
_REDIS_PAUSE_S = 5.0  # after a failure nothing is asked of Redis for so long
_REDIS_AT_ONCE = 1000  # keys; the event loop goes on between
_URL = "give redis://HOST:PORT/NUMBER, and escape special characters of a password in it as in %40"
_FILES = (CONFIG, TOKENIZER, ONNX_INT8, ONNX_FP16, WEIGHTS)
_PACKAGES = ("nupunkt", "nltk", "tokenizers")  # whose versions decide where units and tokens end


def _versions() -> Iterable[str]:
    yield str(SCORING_VERSION)
    for package in _PACKAGES:
        try:
            yield version(package)
        except PackageNotFoundError:
            yield ""


def fingerprint(pruner: Pruner) -> bytes:
    """Return a digest of a model's files, of what runs them, and of the code that makes units and scores.

    Of a model without files it is new each time.
    """
    if pruner.directory is None:
        return os.urandom(16)
    parts = (pruner.backend.name, pruner.backend.precision, *_versions())
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=16)
    for name in _FILES:
        if (path := pruner.directory / name).is_file():
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.digest()


class Store(Protocol):
    """Where values are kept. A store that fails says that it knows nothing."""

    async def get(self, sizes: Mapping[bytes, int]) -> dict[bytes, bytes]:
        """Return the values that there are. Of one that has more bytes than its key's size, no more than one is read.

        Args:
            sizes: of the values that are wanted, by their keys.
        """

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

    async def get(self, sizes: Mapping[bytes, int]) -> dict[bytes, bytes]:
        """Return the values that there are."""
        found = {key: self._values[key] for key in sizes if key in self._values}
        for key in found:
            self._values.move_to_end(key)
        return found

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

    async def get(self, sizes: Mapping[bytes, int]) -> dict[bytes, bytes]:
        """Return the values that there are. One of another type than Redis's strings counts as an empty value."""
        found: dict[bytes, bytes] = {}
        for keys in _parts(sizes):
            replies = await self._ask([("GETRANGE", key, 0, sizes[key]) for key in keys])
            for key, reply in zip(keys, replies, strict=False):
                if isinstance(reply, Exception):
                    found[key] = b""
                elif reply:  # empty for a key that there is not
                    found[key] = reply
        return found

    async def put(self, values: Mapping[bytes, bytes]) -> None:
        """Keep values until they expire."""
        for keys in _parts(values):
            await self._ask([("SET", key, values[key], "EX", self._expire_s) for key in keys])

    async def _ask(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        """Return the replies to commands, which are values and exceptions; none while Redis is left alone."""
        if time.monotonic() < self._paused_until:
            return []
        try:
            async with self._client.pipeline(transaction=False) as pipeline:
                for command in commands:
                    pipeline.execute_command(*command)
                replies: list[Any] = await asyncio.wait_for(pipeline.execute(raise_on_error=False), _REDIS_TIMEOUT_S)
        except Exception as error:
            self._pause(error)
            return []
        refused = [reply for reply in replies if isinstance(reply, Exception) and "WRONGTYPE" not in str(reply)]
        if refused:
            self._pause(refused[0])
            return []
        return replies

    def _pause(self, error: Exception) -> None:
        self._paused_until = time.monotonic() + _REDIS_PAUSE_S
        log.warning("the cache in Redis fails (%s); going on without it for %.0f s", error, _REDIS_PAUSE_S)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def _parts(keys: Iterable[bytes]) -> Iterable[list[bytes]]:
    left = iter(keys)
    while part := list(islice(left, _REDIS_AT_ONCE)):
        yield part


@dataclass(frozen=True, slots=True)
class Known:
    """What a cache knows.

    Attributes:
        scores: by key.
        invalid: number of values that are not as scores are; they are not used.
    """

    scores: Mapping[bytes, PassageScores]
    invalid: int


class ScoreCache:
    """Scores of passages for one model. What comes from the store is checked: others may write there.

    Args:
        store: where they are kept; may be shared between models.
        pruner: whose scores they are.
    """

    def __init__(self, store: Store, pruner: Pruner) -> None:
        self._store = store
        self._prefix = fingerprint(pruner)
        self._warned = False

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

    async def get(self, units: Mapping[bytes, int]) -> Known:
        """Return the scores that are known.

        Args:
            units: numbers of units of the passages whose scores are wanted, by their keys.
        """
        found = await self._store.get({key: _size(count) for key, count in units.items()})
        read = {key: _read(value, units[key]) for key, value in found.items()}
        scores = {key: its for key, its in read.items() if its is not None}
        if len(scores) < len(read) and not self._warned:
            self._warned = True
            log.warning("the cache holds values that are no scores; they are not used, and are replaced")
        return Known(scores, len(read) - len(scores))

    async def put(self, scores: Mapping[bytes, PassageScores]) -> None:
        """Keep scores."""
        await self._store.put({key: _written(value) for key, value in scores.items()})


def _size(units: int) -> int:
    """Return the bytes of the scores of a passage with so many units."""
    return 8 * (1 + units)


def _written(scores: PassageScores) -> bytes:
    return np.concatenate([[scores.relevance], scores.units]).astype("<f8").tobytes()


def _read(value: bytes, units: int) -> PassageScores | None:
    """Return the scores of a passage with so many units; None if the value is not that."""
    if len(value) != _size(units):
        return None
    numbers = np.frombuffer(value, "<f8")
    if not ((numbers >= 0) & (numbers <= 1)).all():  # NaN is neither
        return None
    return PassageScores(float(numbers[0]), numbers[1:])
