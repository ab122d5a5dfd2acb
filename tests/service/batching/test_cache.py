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
from typing import Any

import numpy as np
import pytest
import redis

from secateur.models.merging import SCORING_VERSION, PassageScores
from secateur.models.options import PruneOptions
from secateur.models.pruner import EncodedRequest, Pruner
from secateur.models.requests import check_request
from secateur.models.types import Passage, PruneRequest, PruneResult
from secateur.service.batching.cache import MemoryStore, RedisStore, ScoreCache, fingerprint
from secateur.service.batching.engine import Engine
from secateur.service.metrics import Metrics
from secateur.service.settings import Settings


def key(cache: ScoreCache, pruner: Pruner, query: str, passage: Passage, **options: Any) -> bytes:
    return cache.key(pruner.encode(check_request(query, [passage], PruneOptions(**options))), 0)


def test_memory_forgets_what_was_used_longest_ago() -> None:
    async def run() -> None:
        store = MemoryStore(10 * (100 + MemoryStore._OVERHEAD))
        for number in range(10):
            await store.put({bytes([number]): bytes(100)})
        await store.get({bytes([0]): 100})
        await store.put({bytes([10]): bytes(100), bytes([11]): bytes(100)})
        found = await store.get({bytes([number]): 100 for number in range(12)})
        assert sorted(found) == [bytes([number]) for number in (0, *range(3, 12))]

    asyncio.run(run())


def test_memory_counts_what_is_replaced_once() -> None:
    async def run() -> None:
        store = MemoryStore(10 * (100 + MemoryStore._OVERHEAD))
        for _ in range(100):
            await store.put({b"a": bytes(100)})
        for number in range(9):
            await store.put({bytes([number]): bytes(100)})
        assert len(await store.get({b"a": 100, **{bytes([number]): 100 for number in range(9)}})) == 10

    asyncio.run(run())


def test_the_key_tells_apart_whatever_changes_scores(pruner: Pruner) -> None:
    cache = ScoreCache(MemoryStore(1000), pruner)
    passages = [
        Passage("a b"),
        Passage("a"),
        Passage("b", title="a"),
        Passage("a b", title="a"),
        Passage("a b", title=""),
        Passage("a b", format="lines"),
    ]
    keys = [key(cache, pruner, query, passage) for query in ("a", "a b") for passage in passages]
    assert len(set(keys)) == len(keys)


def test_the_key_does_not_tell_apart_what_changes_none(pruner: Pruner) -> None:
    cache = ScoreCache(MemoryStore(1000), pruner)
    plain = key(cache, pruner, "a", Passage("a b"))
    assert key(cache, pruner, "a", Passage("a b", id="7", metadata={"x": 1}), return_units=True) == plain


@pytest.mark.slow
def test_the_fingerprint_is_of_the_files(pruner: Pruner, uncalibrated_model: Path) -> None:
    assert fingerprint(pruner) == fingerprint(pruner)
    other = Pruner(pruner.config, pruner.encoder, pruner.backend, None, 0, uncalibrated_model)
    assert fingerprint(other) != fingerprint(pruner)  # it lacks the fp16 file
    assert fingerprint(Pruner(pruner.config, pruner.encoder, pruner.backend, None, 0)) != fingerprint(pruner)


def encoded_of(pruner: Pruner, *texts: str) -> EncodedRequest:
    return pruner.encode(check_request("When was it finished?", list(texts), PruneOptions()))


def test_scores_come_back_as_they_were(pruner: Pruner) -> None:
    scores = {b"a": PassageScores(0.25, np.array([0.1, 1.0, 0.0])), b"b": PassageScores(0.0, np.zeros(0))}

    async def run() -> None:
        cache = ScoreCache(MemoryStore(1000), pruner)
        await cache.put(scores)
        known = await cache.get({b"a": 3, b"missing": 1, b"b": 0})
        assert set(known) == {b"a", b"b"}
        for name, value in scores.items():
            found = known[name]
            assert found is not None
            assert found.relevance == value.relevance
            assert np.array_equal(found.units, value.units)

    asyncio.run(run())


def test_the_key_tells_apart_versions_of_the_code(pruner: Pruner, monkeypatch: pytest.MonkeyPatch) -> None:
    before = fingerprint(pruner)
    monkeypatch.setattr("secateur.service.batching.cache.SCORING_VERSION", SCORING_VERSION + 1)
    assert fingerprint(pruner) != before


@dataclass
class Redis:
    """A Redis server of the tests' own."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


def started_redis(folder: Path) -> Iterator[Redis]:
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while True:
        try:
            redis.Redis(port=port).ping()
            break
        except redis.ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    try:
        yield Redis(port, process)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Redis]:
    yield from started_redis(tmp_path)


def test_redis_keeps_values_for_a_while(redis_server: Redis) -> None:
    async def run() -> None:
        store, other = RedisStore(redis_server.url, 100), RedisStore(redis_server.url, 100)
        await store.put({b"a": b"\0\1", b"b": b"12345678"})
        assert await other.get({b"a": 2, b"b": 8, b"c": 8}) == {b"a": b"\0\1", b"b": b"12345678"}
        assert await other.get({b"b": 2}) == {b"b": b"123"}  # enough to tell that it is too long
        assert await other.get({}) == {}
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
            assert await store.get({b"a": 1}) == {}
            await store.put({b"a": b"1"})
        assert time.monotonic() - started < 5  # it was asked once
        await store.close()

    asyncio.run(run())
    assert [record.message for record in caplog.records if "continuing without it" in record.message]


def test_a_redis_that_hangs_is_left_alone() -> None:
    """Something listens and never answers."""

    async def run(port: int) -> None:
        store = RedisStore(f"redis://127.0.0.1:{port}/0", 100)
        started = time.monotonic()
        for _ in range(100):
            assert await store.get({b"a": 1}) == {}
        assert time.monotonic() - started < 5
        await store.close()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        asyncio.run(run(silent.getsockname()[1]))


def numbers(*values: float) -> bytes:
    return np.array(values, "<f8").tobytes()


BAD_VALUES = [
    pytest.param(b"garbage", id="garbage"),
    pytest.param(numbers(0.5, 0.5), id="too few"),
    pytest.param(numbers(0.5, 0.5, 0.5, 0.5), id="too many"),
    pytest.param(numbers(0.5, 0.5, 0.5)[:-1], id="cut"),
    pytest.param(numbers(0.5, 0.5, 0.5) + b"x", id="a byte more"),
    pytest.param(bytes(10_000_000), id="huge"),
    pytest.param(numbers(float("nan"), 0.5, 0.5), id="relevance NaN"),
    pytest.param(numbers(0.5, float("nan"), 0.5), id="unit NaN"),
    pytest.param(numbers(0.5, float("inf"), 0.5), id="Infinity"),
    pytest.param(numbers(0.5, 0.5, -float("inf")), id="-Infinity"),
    pytest.param(numbers(100.0, 0.5, 0.5), id="relevance of 100"),
    pytest.param(numbers(0.5, 1.0000001, 0.5), id="more than 1"),
    pytest.param(numbers(0.5, -1e-9, 0.5), id="less than 0"),
    pytest.param(["a", "list"], id="a list"),
    pytest.param({"a": "hash"}, id="a hash"),
]


@pytest.fixture(scope="module")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    yield from started_redis(tmp_path_factory.mktemp("redis"))


@pytest.mark.slow
@pytest.mark.parametrize("bad", BAD_VALUES)
def test_a_bad_value_in_redis_is_a_miss_and_is_replaced(
    shared_redis: Redis, troubled: Pruner, backend: Any, bad: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The request's other passage is still found, and what is answered is what the library answers."""
    texts = "It stands in Paris. It was finished in 1889.", "Bread needs flour. It is baked."
    request = PruneRequest("When was it finished?", tuple(map(Passage, texts)), PruneOptions(return_units=True))
    client = redis.Redis(port=shared_redis.port)

    async def run() -> PruneResult:
        store = RedisStore(shared_redis.url, 100)
        cache, metrics = ScoreCache(store, troubled), Metrics()
        engine = Engine(troubled, Settings(), cache=cache, metrics=metrics)
        encoded = encoded_of(troubled, *texts)
        await engine.prune(request, 300)
        key = cache.key(encoded, 0)
        client.delete(key)
        if isinstance(bad, bytes):
            client.set(key, bad)
        elif isinstance(bad, list):
            client.rpush(key, *bad)
        else:
            client.hset(key, mapping=bad)
        rows = backend.rows
        result = await engine.prune(request, 300)
        assert client.strlen(key) == 24
        await engine.prune(request, 300)
        assert backend.rows == rows + 1
        assert 'result="invalid"} 1.0' in metrics.text().decode()
        await engine.close()
        await store.close()
        return result

    result = asyncio.run(run())
    expected = troubled.prune_request(request)
    for one, other in zip(result.results, expected.results, strict=True):
        assert (one.index, one.text) == (other.index, other.text)
        assert one.score == pytest.approx(other.score, abs=1e-4)
    assert len([record for record in caplog.records if "not scores" in record.message]) == 1


def test_bad_values_in_memory_are_misses_too(pruner: Pruner) -> None:
    async def run() -> None:
        store = MemoryStore(1 << 20)
        await store.put({b"a": numbers(float("nan"), 0.5), b"b": numbers(0.5, 0.5)})
        known = await ScoreCache(store, pruner).get({b"a": 1, b"b": 1})
        assert {key: scores is not None for key, scores in known.items()} == {b"a": False, b"b": True}

    asyncio.run(run())


def test_a_redis_that_refuses_writes_is_left_alone(shared_redis: Redis) -> None:
    client = redis.Redis(port=shared_redis.port)
    client.config_set("min-replicas-to-write", 1)

    async def run() -> None:
        store = RedisStore(shared_redis.url, 100)
        await store.put({b"refused": b"1"})
        assert store._paused_until > time.monotonic()
        await store.close()

    try:
        asyncio.run(run())
    finally:
        client.config_set("min-replicas-to-write", 0)
