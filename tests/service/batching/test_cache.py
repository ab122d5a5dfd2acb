"""Where scores are kept: in memory, and in a real Redis that may go away."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import redis

from secateur.models.merging import PassageScores
from secateur.models.pruner import Pruner
from secateur.models.requests import check_request
from secateur.models.types import Passage, PruneOptions
from secateur.service.batching.cache import MemoryStore, RedisStore, ScoreCache, fingerprint


def key(cache: ScoreCache, pruner: Pruner, query: str, passage: Passage, **options: bool) -> bytes:
    return cache.key(pruner.encode(check_request(query, [passage], PruneOptions(**options))), 0)


def test_memory_forgets_what_was_used_longest_ago() -> None:
    async def run() -> None:
        store = MemoryStore(10 * (100 + MemoryStore._OVERHEAD))
        for number in range(10):
            await store.put({bytes([number]): bytes(100)})
        await store.get([bytes([0])])
        await store.put({bytes([10]): bytes(100), bytes([11]): bytes(100)})
        found = await store.get([bytes([number]) for number in range(12)])
        assert [value is not None for value in found] == [True, False, False, *[True] * 9]

    asyncio.run(run())


def test_memory_counts_what_is_replaced_once() -> None:
    async def run() -> None:
        store = MemoryStore(10 * (100 + MemoryStore._OVERHEAD))
        for _ in range(100):
            await store.put({b"a": bytes(100)})
        for number in range(9):
            await store.put({bytes([number]): bytes(100)})
        assert None not in await store.get([b"a", *(bytes([number]) for number in range(9))])

    asyncio.run(run())


def test_the_key_tells_apart_whatever_changes_scores(pruner: Pruner) -> None:
    cache = ScoreCache(MemoryStore(1000), pruner)
    passages = [
        Passage("a b"),
        Passage("a"),
        Passage("b", title="a"),
        Passage("a b", title="a"),
        Passage("a b", title=""),
    ]
    keys = [key(cache, pruner, query, passage) for query in ("a", "a b") for passage in passages]
    assert len(set(keys)) == len(keys)


def test_the_key_does_not_tell_apart_what_changes_none(pruner: Pruner) -> None:
    cache = ScoreCache(MemoryStore(1000), pruner)
    plain = key(cache, pruner, "a", Passage("a b"))
    assert key(cache, pruner, "a", Passage("a b", id="7", metadata={"x": 1}), return_units=True) == plain


def test_the_fingerprint_is_of_the_files(pruner: Pruner, uncalibrated_model: Path) -> None:
    assert fingerprint(pruner) == fingerprint(pruner)
    other = Pruner(pruner.config, pruner.encoder, pruner.backend, None, 0, uncalibrated_model)
    assert fingerprint(other) != fingerprint(pruner)  # it lacks the fp16 file
    assert fingerprint(Pruner(pruner.config, pruner.encoder, pruner.backend, None, 0)) != fingerprint(pruner)


def test_scores_come_back_as_they_were(pruner: Pruner) -> None:
    scores = {b"a": PassageScores(0.25, np.array([0.1, 1.0, 0.0])), b"b": PassageScores(0.0, np.zeros(0))}

    async def run() -> None:
        cache = ScoreCache(MemoryStore(1000), pruner)
        await cache.put(scores)
        found = await cache.get([b"a", b"missing", b"b"])
        assert set(found) == {b"a", b"b"}
        for name, value in scores.items():
            assert found[name].relevance == value.relevance
            assert np.array_equal(found[name].units, value.units)

    asyncio.run(run())


@dataclass
class Redis:
    """A Redis server of the tests' own."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Redis]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while True:
        try:
            redis.Redis(port=port).ping()
            break
        except redis.ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    yield Redis(port, process)
    process.kill()
    process.wait()


def test_redis_keeps_values_for_a_while(redis_server: Redis) -> None:
    async def run() -> None:
        store, other = RedisStore(redis_server.url, 100), RedisStore(redis_server.url, 100)
        await store.put({b"a": b"\0\1", b"b": b""})
        assert await other.get([b"a", b"b", b"c"]) == [b"\0\1", b"", None]
        assert await other.get([]) == []
        await store.close()
        await other.close()

    asyncio.run(run())
    assert 0 < redis.Redis(port=redis_server.port).ttl(b"a") <= 100


def test_a_redis_that_dies_is_left_alone(redis_server: Redis, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        store = RedisStore(redis_server.url, 100)
        await store.put({b"a": b"1"})
        redis_server.process.kill()
        redis_server.process.wait()
        started = time.monotonic()
        for _ in range(100):
            assert await store.get([b"a"]) == [None]
            await store.put({b"a": b"1"})
        assert time.monotonic() - started < 5  # it was asked once
        await store.close()

    asyncio.run(run())
    assert [record.message for record in caplog.records if "goes on" in record.message or "going on" in record.message]


def test_a_redis_that_hangs_is_left_alone() -> None:
    """Something listens and never answers."""

    async def run(port: int) -> None:
        store = RedisStore(f"redis://127.0.0.1:{port}/0", 100)
        started = time.monotonic()
        for _ in range(100):
            assert await store.get([b"a"]) == [None]
        assert time.monotonic() - started < 5
        await store.close()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        asyncio.run(run(silent.getsockname()[1]))
