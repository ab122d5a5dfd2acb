"""The engine: merges the windows of all requests into batches, which one thread runs."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

from secateur.models.merging import PassageScores, WindowOutput, merge
from secateur.models.pruner import EncodedRequest, Pruner
from secateur.models.requests import CheckedRequest, check_request
from secateur.models.types import PruneRequest, PruneResult, Timings
from secateur.service.batching.admission import Admission, Reservation, estimated_tokens
from secateur.service.batching.answers import AnswerLimits, check_answer
from secateur.service.batching.cache import ScoreCache
from secateur.service.batching.errors import BackendError, DeadlineError, EngineDeadError
from secateur.service.batching.jobs import Job, Slot, WindowQueue
from secateur.service.metrics import Metrics

log = logging.getLogger(__name__)

# A step of the engine takes about this many tokens: enough to fill the runtime and to sort by length, few enough for a
# small request to get its turn soon.
_STEP_TOKENS = {"cpu": 4096, "cuda": 32768}


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What an engine takes on.

    Attributes:
        timeout_s: seconds that a request has if it does not say.
        max_queue_tokens: that may wait at once.
        step_tokens: that are run at once; None for what suits the device.
        answers: what one answer may hold.
    """

    timeout_s: float = 30.0
    max_queue_tokens: int = 262_144
    step_tokens: int | None = None
    answers: AnswerLimits = field(default_factory=AnswerLimits)


class Engine:
    """Prunes for many callers at once. Made in a running event loop; its answers are awaited there.

    Requests are encoded in a small pool of threads; one thread of the engine's own runs the network on the windows of
    whichever requests wait, first come first served, and sorts by length within a step.

    Args:
        pruner: a loaded pruner.
        name: under which the model is served; None for the model's own.
        limits: what it takes on.
        cache: for scores; None for no cache.
        metrics: told what happens.
        on_death: called, in any thread, should the engine's thread end by an error.
    """

    def __init__(
        self,
        pruner: Pruner,
        *,
        name: str | None = None,
        limits: EngineLimits = EngineLimits(),
        cache: ScoreCache | None = None,
        metrics: Metrics | None = None,
        on_death: Callable[[], None] = lambda: None,
    ) -> None:
        self.pruner = pruner
        self.name = name or pruner.config.name
        self.limits = limits
        self.admission = Admission(limits.max_queue_tokens)
        self._cache = cache
        self._metrics = metrics or Metrics()
        self._metrics.watch(self.name, lambda: self.admission.waiting)
        self._on_death = on_death
        self.step_tokens = limits.step_tokens or _STEP_TOKENS.get(pruner.backend.device, 4096)
        self._queue = WindowQueue()
        self._jobs: set[Job] = set()
        self._requests = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        self._dead = False
        self.workers = min(4, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix=f"secateur-encode-{self.name}")
        self._thread = threading.Thread(target=self._work, name=f"secateur-engine-{self.name}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether requests are answered."""
        return not self._dead and self._thread.is_alive()

    async def prune(self, request: PruneRequest, timeout_s: float | None = None) -> PruneResult:
        """Prune one request. Cancelling the call drops what has not run yet.

        Args:
            request: not yet checked.
            timeout_s: seconds until an answer is worth nothing; None for the engine's limit.

        Raises:
            InputError: the request is wrong.
            OverloadedError: too much waits already.
            DeadlineError: the time is over.
            BackendError: the runtime failed on this request.
            EngineDeadError: the engine has stopped.
        """
        if not self.alive or self._closing:
            raise EngineDeadError
        timeout_s = self.limits.timeout_s if timeout_s is None else timeout_s
        checked = check_request(request.query, request.passages, request.options)
        with self.admission.reserve(estimated_tokens(checked), timeout_s) as reservation, self._counted():
            try:
                async with asyncio.timeout(timeout_s):
                    result = await self._prune(checked, reservation)
            except TimeoutError:
                raise DeadlineError(timeout_s) from None
        self._metrics.answered(self.name, result)
        return result

    async def _prune(self, checked: CheckedRequest, reservation: Reservation) -> PruneResult:
        loop = asyncio.get_running_loop()
        admitted = time.perf_counter()
        encoded, keys, tokenize_s = await loop.run_in_executor(self._pool, self._encode, checked)
        known = await self._cached(encoded, keys)
        new = [number for number in range(len(encoded.passages)) if number not in known]
        job = Job.of([window for number in new for window in encoded.passages[number].running])
        reservation.resize(sum(map(len, job.windows)))
        outputs = await self._outputs(job)
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
            return self.pruner.finish(encoded, scores, timings), found

        result, found = await loop.run_in_executor(self._pool, finish)
        if self._cache is not None:
            await self._cache.put({keys[number]: scores for number, scores in found.items()})
        return result

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._requests += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._requests -= 1
            if self._requests == 0:
                self._idle.set()

    def _encode(self, checked: CheckedRequest) -> tuple[EncodedRequest, list[bytes], float]:
        """Return a request as windows, the cache's keys of its passages (none without a cache), and the seconds."""
        started = time.perf_counter()
        encoded = self.pruner.encode(checked)
        check_answer(encoded, self.limits.answers)
        keys = [self._cache.key(encoded, n) for n in range(len(encoded.passages))] if self._cache is not None else []
        return encoded, keys, time.perf_counter() - started

    async def _cached(self, encoded: EncodedRequest, keys: Sequence[bytes]) -> dict[int, PassageScores]:
        """Return the known scores by the number of the passage."""
        if self._cache is None:
            return {}
        units = [len(passage.unit_tokens) for passage in encoded.passages]
        known = await self._cache.get(dict(zip(keys, units, strict=True)))
        found = {number: known.scores[key] for number, key in enumerate(keys) if key in known.scores}
        self._metrics.looked_up(self.name, len(found), len(keys) - len(found), known.invalid)
        return found

    async def _outputs(self, job: Job) -> list[WindowOutput]:
        """Wait for a job; one that is no longer waited for is abandoned."""
        if not job.windows:
            return []
        self._jobs.add(job)
        try:
            if not self._queue.put(job):
                raise EngineDeadError
            return await job.answer
        finally:
            job.abandoned = True
            self._jobs.discard(job)

    def _work(self) -> None:
        """Run steps until the queue is closed; what the engine's thread does."""
        try:
            while slots := self._queue.take(self.step_tokens):
                self._step(slots)
        except BaseException as error:
            self._dead = True
            self._queue.close()
            log.critical("the engine of %s has died", self.name, exc_info=error)
            for job in list(self._jobs):
                job.fail(EngineDeadError())
            self._on_death()

    def _step(self, slots: Sequence[Slot]) -> None:
        try:
            self._run(slots)
        except Exception:
            by_job: dict[Job, list[Slot]] = {}
            for slot in slots:
                by_job.setdefault(slot.job, []).append(slot)
            log.exception("a batch of %d requests failed; each is tried alone", len(by_job))
            for job, its_slots in by_job.items():
                try:
                    self._run(its_slots)
                except Exception:
                    log.exception("a request failed alone too")
                    job.fail(BackendError())

    def _run(self, slots: Sequence[Slot]) -> None:
        started = time.perf_counter()
        outputs = self.pruner.run([slot.window for slot in slots])
        seconds = time.perf_counter() - started
        tokens = sum(len(slot.window) for slot in slots)
        self.admission.ran(tokens, seconds)
        self._metrics.ran(self.name, tokens, tokens / self.step_tokens, len({slot.job for slot in slots}))
        for slot, output in zip(slots, outputs, strict=True):
            slot.job.deliver(slot.number, output)

    async def close(self) -> None:
        """Take no more requests, answer those that there are, end the threads."""
        self._closing = True
        await self._idle.wait()
        self._queue.close()
        await asyncio.to_thread(self._thread.join)
        self._pool.shutdown()
