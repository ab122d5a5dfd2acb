"""The engine: one thread runs batches of windows from all requests."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from itertools import islice

from secateur.models.encoding import Window
from secateur.models.errors import BackendUnusableError
from secateur.models.merging import PassageScores, WindowOutput, merge
from secateur.models.pruner import EncodedRequest, Pruner
from secateur.models.requests import check_request
from secateur.models.types import Passage, PruneRequest, PruneResult, Timings
from secateur.service.batching.admission import Admission, Load, check_answer, estimated_load
from secateur.service.batching.cache import ScoreCache
from secateur.service.batching.jobs import Job, Slot, Threads, WindowQueue
from secateur.service.errors import BackendError, DeadlineError, EngineDeadError
from secateur.service.metrics import Metrics
from secateur.service.settings import Settings

log = logging.getLogger(__name__)

# Tokens of a step: enough to fill the runtime and to sort by length, few enough for a small request to be served soon.
_STEP_TOKENS = {"cpu": 4096, "cuda": 32768}
PROBE = PruneRequest("Is the engine warm?", tuple(Passage("The engine is warm. " * n) for n in (1, 8, 40)))
"""A request that every engine can answer."""

_BACKGROUND_STEPS = 2  # of waiting background work, so that the engine has no pause, and others wait for no more
_POLL_S = 0.01
_PATIENCE_S = 5.0  # after this time, one piece of background work starts in spite of waiting requests


class Engine:
    """Prunes for many callers at once, in the event loop in which it is created.

    Requests are checked, encoded and finished in a few threads. One thread of the engine runs the network on the
    windows of all waiting requests, in turns, sorted by length within a step. A request counts in `admission` until
    all of its work has ended, even if nobody waits for it any more.

    The name is that under which the model is served, or the model's own. If an error ends the engine's thread,
    ``on_death`` is called in that thread.
    """

    def __init__(
        self,
        pruner: Pruner,
        settings: Settings,
        *,
        name: str | None = None,
        cache: ScoreCache | None = None,
        metrics: Metrics | None = None,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        self.pruner = pruner
        self.name = name or pruner.config.name
        self.step_tokens = settings.step_tokens or _STEP_TOKENS.get(pruner.backend.device, 4096)
        self.admission = Admission(settings.max_queue_tokens, self.step_tokens)
        self._settings = settings
        self._cache = cache
        self._metrics = metrics or Metrics()
        self._metrics.watch_queue(self.name, lambda: self.admission.waiting)
        self._on_death = on_death
        self._queue = WindowQueue()
        self._jobs: set[Job] = set()
        self._requests = 0
        self._closing = False
        self._dead = False
        self.background = Background(self)
        self._threads = Threads(self.name)
        self.workers = self._threads.workers
        self._thread = threading.Thread(target=self._work, name=f"secateur-engine-{self.name}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the engine answers requests."""
        return not self._dead and self._thread.is_alive()

    async def prune(self, request: PruneRequest, timeout_s: float) -> PruneResult:
        """Prune one request, which is not checked yet. Cancelling the call skips its remaining work.

        Raises:
            InputError: The request is invalid, or cannot be answered within its time limit.
            UnansweredError: The queue is full, the time is over, the backend failed, or the engine has stopped.
        """
        if not self.alive or self._closing:
            raise EngineDeadError
        load = estimated_load(request, self.pruner.encoder.window)
        with self.admission.reserve(load, timeout_s) as reservation:
            job = Job(reservation)
            self._requests += 1
            try:
                async with asyncio.timeout(timeout_s):
                    result = await self._prune(request, job, time.perf_counter() + timeout_s)
            except TimeoutError:
                raise DeadlineError(timeout_s) from None
            finally:
                job.abandoned = True
                self._requests -= 1
        self._metrics.record_result(self.name, result)
        return result

    async def _prune(self, request: PruneRequest, job: Job, deadline: float) -> PruneResult:
        admitted = time.perf_counter()
        encoded, keys, tokenize_s = await self._threads.run(job, lambda: self._encode(request, job))
        known = await self._cached(encoded, keys)
        new = [number for number in range(len(encoded.passages)) if number not in known]
        windows = [window for number in new for window in encoded.passages[number].running]
        load = job.reservation.load = Load(len(windows), sum(map(len, windows)))
        self.admission.check_feasible(load, deadline - time.perf_counter())
        outputs = await self._outputs(job, windows)
        done = time.perf_counter()
        started = job.started or done

        def finish() -> tuple[PruneResult, dict[int, PassageScores]]:
            rest = iter(outputs)
            found = {n: merge(p := encoded.passages[n], list(islice(rest, len(p.running)))) for n in new}
            scores = [found[n] if n in found else known[n] for n in range(len(encoded.passages))]
            timings = Timings(
                queue_ms=(started - admitted - tokenize_s) * 1e3,
                tokenize_ms=tokenize_s * 1e3,
                inference_ms=(done - started) * 1e3,
                total_ms=(time.perf_counter() - admitted) * 1e3,
            )
            return self.pruner.finish(encoded, scores, timings, job.watch), found

        result, found = await self._threads.run(job, finish)
        if self._cache is not None:
            await self._cache.put({keys[number]: scores for number, scores in found.items()})
        return result

    def _encode(self, request: PruneRequest, job: Job) -> tuple[EncodedRequest, list[bytes], float]:
        """Return a request as windows, the cache keys of its passages (none without a cache), and the duration."""
        started = time.perf_counter()
        checked = check_request(request.query, request.passages, request.options)
        encoded = self.pruner.encode(checked, job.watch)
        check_answer(encoded, self._settings)
        keys = [self._cache.key(encoded, n) for n in range(len(encoded.passages))] if self._cache is not None else []
        return encoded, keys, time.perf_counter() - started

    async def _cached(self, encoded: EncodedRequest, keys: Sequence[bytes]) -> dict[int, PassageScores]:
        """Return the cached scores by passage number."""
        if self._cache is None:
            return {}
        units = [len(passage.unit_tokens) for passage in encoded.passages]
        known = await self._cache.get(dict(zip(keys, units, strict=True)))
        found = {number: scores for number, key in enumerate(keys) if (scores := known.get(key)) is not None}
        invalid = sum(scores is None for scores in known.values())
        self._metrics.record_lookups(self.name, len(found), len(keys) - len(found), invalid)
        return found

    async def _outputs(self, job: Job, windows: Sequence[Window]) -> list[WindowOutput]:
        if not windows:
            return []
        job.windows = windows
        self._jobs.add(job)
        try:
            if not self._queue.put(job):
                raise EngineDeadError
            return await asyncio.wrap_future(job.answer)
        finally:
            self._jobs.discard(job)

    def _work(self) -> None:
        """Run steps until the queue is closed: the work of the engine's thread."""
        try:
            while slots := self._queue.take(self.step_tokens):
                self._step(slots)
        except BaseException as error:
            self._dead = True
            self._queue.close()
            log.critical("the engine of %s died", self.name, exc_info=error)
            for job in list(self._jobs):
                job.fail(EngineDeadError())
            self._on_death()

    def _step(self, slots: Sequence[Slot]) -> None:
        """Run windows. If that fails, run those of each job alone. If that fails, the job or the backend is at fault.

        The backend is if it no longer runs what it ran before: its error is raised, so that the engine dies.
        """
        try:
            self._run(slots)
        except BackendUnusableError:
            raise
        except Exception:
            jobs = dict.fromkeys(slot.job for slot in slots)
            log.exception("a batch of %d requests failed", len(jobs))
            if len(jobs) > 1:
                for job in jobs:
                    self._step([slot for slot in slots if slot.job is job])
            else:
                self.pruner.prune_request(PROBE)
                slots[0].job.fail(BackendError())

    def _run(self, slots: Sequence[Slot]) -> None:
        jobs = {slot.job for slot in slots}
        load = Load(len(slots), sum(len(slot.window) for slot in slots))
        with ExitStack() as held:
            for job in jobs:
                held.enter_context(job.reservation)
            started = time.perf_counter()
            outputs = self.pruner.run([slot.window for slot in slots])
            self.admission.speed.measure(load, time.perf_counter() - started)
        self._metrics.record_step(self.name, load.tokens, load.tokens / self.step_tokens, len(jobs))
        for slot, output in zip(slots, outputs, strict=True):
            slot.job.deliver(output)

    async def close(self) -> None:
        """Accept no more requests, answer the accepted ones, end the threads."""
        self._closing = True
        while self._requests:
            await asyncio.sleep(_POLL_S)
        self._queue.close()
        await asyncio.to_thread(self._thread.join)
        await self._threads.close()


class Background:
    """Work of an engine that yields to all other requests: it starts when almost nothing else waits."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = asyncio.Lock()  # first come, first served
        self._tokens = 0

    @asynccontextmanager
    async def turn(self, tokens: int) -> AsyncIterator[None]:
        """Wait until work of about so many tokens may start; do it within the context."""
        now = asyncio.get_running_loop().time
        async with self._turn:
            until = now() + _PATIENCE_S
            while not self._may_start(tokens, patient=now() < until):
                await asyncio.sleep(_POLL_S)
            self._tokens += tokens
        try:
            yield
        finally:
            self._tokens -= tokens

    def _may_start(self, tokens: int, *, patient: bool) -> bool:
        # Work that has just started is not yet counted by the engine.
        waiting = max(self._tokens, self._engine.admission.waiting)
        if waiting == 0 or waiting + tokens <= _BACKGROUND_STEPS * self._engine.step_tokens:
            return True
        return not patient and self._tokens == 0
