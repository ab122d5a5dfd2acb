"""The engine on the real model: the library's answers, deadlines, overload, failures and death."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from secateur.models.batching import Batch
from secateur.models.errors import BackendUnusableError, InputError
from secateur.models.options import PruneOptions
from secateur.models.pruner import Pruner
from secateur.models.types import Passage, PruneRequest, PruneResult
from secateur.service.batching import jobs
from secateur.service.batching.admission import Load
from secateur.service.batching.cache import MemoryStore, ScoreCache
from secateur.service.batching.engine import Engine
from secateur.service.errors import BackendError, DeadlineError, EngineDeadError, OverloadedError
from secateur.service.settings import Settings

SENTENCES = [
    "The Eiffel Tower was finished in March 1889.",
    "It stands on the Champ de Mars in Paris.",
    "Bread needs flour and water.",
    "The Louvre opened in 1793.",
    "Whales are mammals that live in the sea.",
]
QUERIES = ["When was the Eiffel Tower finished?", "When did the Louvre open?", "What does bread need?"]


def requests(count: int, seed: int = 0) -> list[PruneRequest]:
    """Requests of 1 to 6 passages of 0 to 40 sentences, so that some need several windows."""
    rng = random.Random(seed)
    return [
        PruneRequest(
            rng.choice(QUERIES),
            tuple(
                Passage(" ".join(rng.choices(SENTENCES, k=rng.choice([0, 1, 3, 40])))) for _ in range(rng.randint(1, 6))
            ),
            PruneOptions(return_units=True, top_n=rng.choice([None, 2])),
        )
        for _ in range(count)
    ]


def same(result: PruneResult, expected: PruneResult) -> bool:
    """Whether results are equal but for timings and rounding."""
    for one, other in zip(result.results, expected.results, strict=True):
        if abs(one.score - other.score) > 1e-4:
            return False
        for unit, its in zip(one.units or (), other.units or (), strict=True):
            if abs(unit.score - its.score) > 1e-4:
                return False
    texts = [(one.index, one.text) for one in result.results] == [(one.index, one.text) for one in expected.results]
    return texts and result.usage == expected.usage and result.warnings == expected.warnings


def on_engine(
    pruner: Pruner, use: Callable[[Engine], Awaitable[Any]], settings: Settings | None = None, **arguments: Any
) -> Any:
    """Run ``use`` on an engine of its own."""

    async def run() -> Any:
        engine = Engine(pruner, settings or Settings(), **arguments)
        try:
            return await asyncio.wait_for(use(engine), 300)
        finally:
            await engine.close()

    return asyncio.run(run())


def wait_for(gate: threading.Event, held: threading.Event) -> Callable[[Sequence[Batch]], None]:
    """Make trouble that holds the engine's thread until the gate opens, and tells when it does."""

    def wait(batches: Sequence[Batch]) -> None:
        held.set()
        assert gate.wait(300)

    return wait


@pytest.mark.slow
@pytest.mark.parametrize("step_tokens", [1, 300, None])
def test_many_at_once_get_what_the_library_gives_each_alone(pruner: Pruner, step_tokens: int | None) -> None:
    asked = requests(30)

    async def use(engine: Engine) -> list[PruneResult]:
        return list(await asyncio.gather(*(engine.prune(request, 300) for request in asked)))

    results = on_engine(pruner, use, Settings(step_tokens=step_tokens))
    for request, result in zip(asked, results, strict=True):
        assert same(result, pruner.prune_request(request))


def test_requests_share_steps(troubled: Pruner, backend: Any) -> None:
    steps: list[int] = []
    backend.trouble = lambda batches: steps.append(sum(len(batch.rows) for batch in batches))
    one = PruneRequest(QUERIES[0], (Passage(SENTENCES[0]),))

    async def use(engine: Engine) -> None:
        await asyncio.gather(*(engine.prune(one, 300) for _ in range(64)))
        assert engine.admission.waiting == 0

    on_engine(troubled, use)
    assert sum(steps) == 64
    assert len(steps) < 32


def test_timings_are_of_the_request(pruner: Pruner) -> None:
    async def use(engine: Engine) -> tuple[PruneResult, float]:
        started = time.perf_counter()
        result = await engine.prune(PruneRequest(QUERIES[0], (Passage(" ".join(SENTENCES)),)), 300)
        return result, (time.perf_counter() - started) * 1e3

    result, elapsed = on_engine(pruner, use)
    timings = result.timings
    assert 0 < timings.inference_ms < timings.total_ms <= elapsed
    assert 0 < timings.tokenize_ms < timings.total_ms
    assert 0 <= timings.queue_ms < timings.total_ms


def test_a_wrong_request_is_an_error_and_holds_nothing(pruner: Pruner) -> None:
    async def use(engine: Engine) -> int:
        with pytest.raises(InputError, match="query"):
            await engine.prune(PruneRequest("", (Passage("a"),)), 300)
        with pytest.raises(InputError, match=r"query: has .* tokens"):
            await engine.prune(PruneRequest("tower " * 2000, (Passage("a"),)), 300)
        return engine.admission.waiting

    assert on_engine(pruner, use) == 0


def test_what_is_not_answered_in_time_is_an_error_and_is_not_run(troubled: Pruner, backend: Any) -> None:
    gate, held = threading.Event(), threading.Event()
    backend.trouble = wait_for(gate, held)

    async def use(engine: Engine) -> None:
        holding = asyncio.create_task(engine.prune(PruneRequest(QUERIES[0], (Passage(SENTENCES[0]),)), 300))
        assert await asyncio.to_thread(held.wait, 300)
        late = PruneRequest(QUERIES[0], tuple(Passage(text) for text in SENTENCES))
        with pytest.raises(DeadlineError, match="not answered within 100 ms"):
            await engine.prune(late, timeout_s=0.1)
        gate.set()
        await holding
        await engine.prune(PruneRequest(QUERIES[0], (Passage(SENTENCES[1]),)), 300)
        assert engine.admission.waiting == 0

    on_engine(troubled, use)
    assert backend.rows == 2


def test_a_caller_that_goes_away_has_its_work_dropped(troubled: Pruner, backend: Any) -> None:
    gate, held = threading.Event(), threading.Event()
    backend.trouble = wait_for(gate, held)

    async def use(engine: Engine) -> None:
        first = asyncio.create_task(engine.prune(PruneRequest(QUERIES[0], (Passage(SENTENCES[0]),)), 300))
        assert await asyncio.to_thread(held.wait, 300)
        gone = [
            asyncio.create_task(engine.prune(PruneRequest(QUERIES[1], (Passage(SENTENCES[1]),)), 300)) for _ in range(9)
        ]
        await asyncio.sleep(0.3)
        for task in gone:
            task.cancel()
        await asyncio.wait(gone)
        gate.set()
        await first
        assert engine.admission.waiting == 0

    on_engine(troubled, use)
    assert backend.rows == 1


@pytest.mark.slow
def test_too_much_at_once_is_refused_and_the_rest_is_answered(pruner: Pruner) -> None:
    asked = requests(60, seed=1)

    async def use(engine: Engine) -> list[PruneResult | BaseException]:
        return list(await asyncio.gather(*(engine.prune(r, 300) for r in asked), return_exceptions=True))

    results = on_engine(pruner, use, Settings(max_queue_tokens=4000))
    refused = [result for result in results if isinstance(result, OverloadedError)]
    assert refused
    assert all(error.retry_after_s >= 1 for error in refused)
    answered = [(r, result) for r, result in zip(asked, results, strict=True) if isinstance(result, PruneResult)]
    assert len(answered) + len(refused) == 60
    for request, result in answered:
        assert same(result, pruner.prune_request(request))


def poisonous(pruner: Pruner, word: str, error: type[BaseException]) -> Callable[[Sequence[Batch]], None]:
    """Make trouble that raises on batches with a word."""
    token = pruner.encoder._tokenizer.token_to_id(word)

    def raise_on_it(batches: Sequence[Batch]) -> None:
        if any((batch.input_ids == token).any() for batch in batches):
            raise error(word)

    return raise_on_it


def test_a_request_on_which_the_runtime_fails_fails_alone(troubled: Pruner, backend: Any, pruner: Pruner) -> None:
    backend.trouble = poisonous(pruner, "whales", RuntimeError)
    good = PruneRequest(QUERIES[0], tuple(Passage(text) for text in SENTENCES[:4]))
    bad = PruneRequest(QUERIES[0], tuple(Passage(text) for text in SENTENCES))

    async def use(engine: Engine) -> list[PruneResult | BaseException]:
        asked = [good, bad, good, bad, good]
        results = list(await asyncio.gather(*(engine.prune(r, 300) for r in asked), return_exceptions=True))
        assert engine.alive
        assert engine.admission.waiting == 0
        return results

    results = on_engine(troubled, use)
    for index, result in enumerate(results):
        if index % 2:
            assert isinstance(result, BackendError)
        else:
            assert isinstance(result, PruneResult)
            assert same(result, pruner.prune_request(good))


def test_a_runtime_that_fails_on_everything_ends_the_engine(troubled: Pruner, backend: Any, pruner: Pruner) -> None:
    """One error poisons it: the request that met it, and those after it, are told that the engine has stopped."""
    poison = poisonous(pruner, "whales", RuntimeError)
    broken = threading.Event()

    def poisoned(batches: Sequence[Batch]) -> None:
        try:
            poison(batches)
        except RuntimeError:
            broken.set()
        if broken.is_set():
            raise RuntimeError("queue is in an error state")

    backend.trouble = poisoned
    deaths: list[str] = []
    good = PruneRequest(QUERIES[0], (Passage(SENTENCES[0]),))

    async def use(engine: Engine) -> None:
        await engine.prune(good, 300)
        with pytest.raises(EngineDeadError):
            await engine.prune(PruneRequest(QUERIES[0], (Passage(SENTENCES[4]),)), 300)
        assert not engine.alive
        with pytest.raises(EngineDeadError):
            await engine.prune(good, 300)

    on_engine(troubled, use, on_death=lambda: deaths.append("died"))
    assert deaths == ["died"]


def test_a_runtime_that_says_it_is_unusable_ends_the_engine_at_once(troubled: Pruner, backend: Any) -> None:
    tries: list[int] = []

    def unusable(batches: Sequence[Batch]) -> None:
        tries.append(len(batches))
        raise BackendUnusableError("the device is gone")

    backend.trouble = unusable

    async def use(engine: Engine) -> None:
        with pytest.raises(EngineDeadError):
            await engine.prune(PruneRequest(QUERIES[0], (Passage(SENTENCES[0]),)), 300)
        assert not engine.alive

    on_engine(troubled, use)
    assert tries == [1]


def test_many_requests_at_fault_end_nothing(troubled: Pruner, backend: Any, pruner: Pruner) -> None:
    backend.trouble = poisonous(pruner, "whales", RuntimeError)
    bad = PruneRequest(QUERIES[0], (Passage(SENTENCES[4]),))

    async def use(engine: Engine) -> None:
        for _ in range(10):
            with pytest.raises(BackendError):
                await engine.prune(bad, 300)
        assert engine.alive
        await engine.prune(PruneRequest(QUERIES[0], (Passage(SENTENCES[0]),)), 300)

    on_engine(troubled, use)


def test_work_that_nobody_waits_for_stops_and_counts_until_it_has(pruner: Pruner) -> None:
    """Segmentation of these texts takes seconds; the segmenter stands still until the caller has gone."""
    gate, held = threading.Event(), threading.Event()
    calls: list[int] = []
    slow = Pruner(pruner.config, pruner.encoder, pruner.backend, None, pruner.pad_id, None)
    split = slow._segmenter

    def segmenter(text: str) -> list[int]:
        calls.append(len(text))
        if len(calls) > 100:
            held.set()
            assert gate.wait(300)
        return split(text)

    slow._segmenter = segmenter
    long = PruneRequest(QUERIES[0], (Passage("\x0ca" * 50_000),))

    async def use(engine: Engine) -> None:
        with pytest.raises(DeadlineError):
            await engine.prune(long, timeout_s=5)
        assert await asyncio.to_thread(held.wait, 300)
        assert engine.admission.waiting > 20_000
        gate.set()
        while engine.admission.waiting:
            await asyncio.sleep(0.01)
        assert len(calls) <= 102

    on_engine(slow, use)


def test_long_texts_keep_no_short_request_waiting(pruner: Pruner) -> None:
    """However many threads long requests fill and queue for."""
    gate = threading.Event()
    slow = Pruner(pruner.config, pruner.encoder, pruner.backend, pruner.calibration, pruner.pad_id, None)
    split = slow._segmenter

    def segmenter(text: str) -> list[int]:
        assert text != "long" or gate.wait(300)
        return split(text)

    slow._segmenter = segmenter
    long = PruneRequest(QUERIES[0], (Passage("\x0c".join(["long"] * 20_000)),))

    async def use(engine: Engine) -> None:
        waiting = [asyncio.create_task(engine.prune(long, 300)) for _ in range(6)]
        await asyncio.sleep(0)
        for _ in range(5):
            await engine.prune(PruneRequest(QUERIES[0], (Passage(SENTENCES[0]),)), 300)
        for task in waiting:
            task.cancel()
        gate.set()
        await asyncio.wait(waiting)

    on_engine(slow, use, Settings(max_queue_tokens=1 << 30))


def test_a_request_of_too_many_units_is_refused(pruner: Pruner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_MAX_UNITS", 100)

    async def use(engine: Engine) -> None:
        await engine.prune(PruneRequest(QUERIES[0], (Passage("\n\na" * 100),)), 300)
        with pytest.raises(InputError, match="passages: have more than 100 units"):
            await engine.prune(PruneRequest(QUERIES[0], (Passage("\n\na" * 60), Passage("\n\na" * 60))), 300)
        assert engine.admission.waiting == 0

    on_engine(pruner, use)


def test_what_cannot_be_done_in_its_time_is_refused_and_keeps_nobody_out(troubled: Pruner, backend: Any) -> None:
    """A long query with thousands of tiny passages: little text, millions of tokens."""
    many = PruneRequest("when " * 1800, (Passage("a"),) * 2000, PruneOptions(truncate_query=True))
    small = PruneRequest(QUERIES[0], (Passage(SENTENCES[0]),))

    async def use(engine: Engine) -> None:
        step = Load(16, 4096)
        engine.admission.speed.measure(step, 1.0)
        run = backend.rows
        with pytest.raises(InputError, match=r"passages: would take about .* s \(5\d\d\d\d\d tokens at .* has 30 s"):
            await engine.prune(many, 30.0)
        assert backend.rows == run
        hopeless = [asyncio.create_task(engine.prune(many, 30.0)) for _ in range(4)]
        results = await asyncio.gather(*(engine.prune(small, 30.0) for _ in range(29)))
        assert len(results) == 29
        assert all(isinstance(r, InputError) for r in await asyncio.gather(*hopeless, return_exceptions=True))

    on_engine(troubled, use)


def test_what_proves_too_long_once_encoded_is_refused_then(troubled: Pruner, backend: Any) -> None:
    """Chinese has a token for each character, four times what was estimated."""
    chinese = PruneRequest(QUERIES[0], (Passage("\u6f22" * 60_000),))

    async def use(engine: Engine) -> None:
        engine.admission.speed.measure(Load(8, 4096), 5.0)
        with pytest.raises(InputError, match=r"passages: would take about .* s \([67]\d\d\d\d tokens at"):
            await engine.prune(chinese, 30.0)
        assert engine.admission.waiting == 0

    on_engine(troubled, use)
    assert backend.rows == 0


def test_a_large_request_and_small_ones_share_the_network(troubled: Pruner, backend: Any) -> None:
    small = PruneRequest(QUERIES[0], (Passage(SENTENCES[0]),))
    large = PruneRequest(QUERIES[0], tuple(Passage(" ".join(SENTENCES)) for _ in range(60)))

    async def use(engine: Engine) -> None:
        waiting = asyncio.create_task(engine.prune(large, 300))
        while not backend.rows:
            await asyncio.sleep(0.01)
        for _ in range(3):
            await engine.prune(small, 300)
        assert not waiting.done()
        assert backend.rows < 60
        assert len((await waiting).results) == 60

    on_engine(troubled, use, Settings(step_tokens=256))


@pytest.mark.slow
def test_one_word_requests_before_do_not_refuse_larger_ones(pruner: Pruner) -> None:
    one_word = PruneRequest("tower", (Passage("tower"),))
    ten = PruneRequest(QUERIES[0], tuple(Passage(" ".join(SENTENCES * 8)) for _ in range(10)))

    async def use(engine: Engine) -> None:
        for _ in range(60):
            await engine.prune(one_word, 300)
        results = await asyncio.gather(*(engine.prune(ten, 60) for _ in range(4)))
        assert [len(result.results) for result in results] == [10] * 4

    on_engine(pruner, use)


def test_when_the_thread_dies_everyone_is_told(troubled: Pruner, backend: Any, pruner: Pruner) -> None:
    backend.trouble = poisonous(pruner, "whales", SystemExit)
    deaths: list[str] = []
    asked = [PruneRequest(QUERIES[0], (Passage(SENTENCES[4]),)), *requests(20, seed=2)]

    async def use(engine: Engine) -> list[PruneResult | BaseException]:
        results = list(await asyncio.gather(*(engine.prune(r, 300) for r in asked), return_exceptions=True))
        assert not engine.alive
        with pytest.raises(EngineDeadError):
            await engine.prune(asked[1], 300)
        return results

    results = on_engine(troubled, use, on_death=lambda: deaths.append("died"))
    assert isinstance(results[0], EngineDeadError)
    assert all(isinstance(result, EngineDeadError | PruneResult) for result in results)
    assert deaths == ["died"]


@pytest.mark.slow
def test_what_waits_at_the_end_is_still_answered(pruner: Pruner) -> None:
    asked = requests(20, seed=3)

    async def run() -> list[PruneResult]:
        engine = Engine(pruner, Settings())
        tasks = [asyncio.create_task(engine.prune(request, 300)) for request in asked]
        while engine.admission.waiting == 0:
            await asyncio.sleep(0)
        await engine.close()
        with pytest.raises(EngineDeadError):
            await engine.prune(asked[0], 300)
        assert all(task.done() for task in tasks)
        return await asyncio.gather(*tasks)

    assert [len(result.results) for result in asyncio.run(run())] == [
        len(pruner.prune_request(request).results) for request in asked
    ]


@pytest.mark.slow
def test_cached_scores_give_the_same_answer_without_running(troubled: Pruner, backend: Any) -> None:
    cache = ScoreCache(MemoryStore(1 << 20), troubled)
    asked = requests(12, seed=4)

    async def use(engine: Engine) -> None:
        first = [await engine.prune(request, 300) for request in asked]
        run = backend.rows
        again = [await engine.prune(request, 300) for request in asked]
        assert backend.rows == run
        for one, other in zip(first, again, strict=True):
            assert replace(one, timings=other.timings) == other
        stricter = replace(asked[0], options=PruneOptions(threshold=0.9))
        assert same(await engine.prune(stricter, 300), troubled.prune_request(stricter))

    on_engine(troubled, use, cache=cache)
