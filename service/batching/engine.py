"""The engine: merges the windows of all requests into batches, which one thread runs."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice

from secateur.models.encoding import Window
from secateur.models.errors import BackendUnusableError
from secateur.models.merging import PassageScores, WindowOutput, merge
from secateur.models.pruner import EncodedRequest, Pruner
from secateur.models.requests import check_request
from secateur.models.types import Passage, PruneRequest, PruneResult, Timings
from secateur.service.batching.admission import Admission, estimated_load
from secateur.service.batching.answers import AnswerLimits, check_answer
from secateur.service.batching.cache import ScoreCache
from secateur.service.batching.errors import BackendError, DeadlineError, EngineDeadError
from secateur.service.batching.jobs import Job, Slot, WindowQueue
from secateur.service.batching.speed import Load
from secateur.service.batching.threads import Threads
from secateur.service.metrics import Metrics

log = logging.getLogger(__name__)

# A step of the engine takes about this many tokens: enough to fill the runtime and to sort by length, few enough for a
# small request to get its turn soon.
_STEP_TOKENS = {"cpu": 4096, "cuda": 32768}
PROBE = PruneRequest("Is the engine warm?", tuple(Passage("The engine is warm. " * n) for n in (1, 8, 40)))
"""A request that every engine can answer."""


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """What an engine takes on.

    Attributes:
        timeout_s: seconds that a request has if it does not say.
        max_queue_tokens: of a request and what is ahead of it.
        step_tokens: that are run at once; None for what suits the device.
        answers: what one answer may hold.
        max_units: of a request.
    """

    timeout_s: float = 30.0
    max_queue_tokens: int = 262_144
    step_tokens: int | None = None
    answers: AnswerLimits = field(default_factory=AnswerLimits)
    max_units: int = 250_000


class Engine:
    """Prunes for many callers at once. Made in a running event loop; its answers are awaited there.

    Requests are checked, encoded and finished in a few threads; one thread of the engine's own runs the network on the
    windows of whichever requests wait, in turns, and sorts by length within a step. A request is told to `admission`
    until all of its work has ended, also when nobody waits for it any more.

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
        self.step_tokens = limits.step_tokens or _STEP_TOKENS.get(pruner.backend.device, 4096)
        self.admission = Admission(limits.max_queue_tokens, self.step_tokens)
        self._cache = cache
        self._metrics = metrics or Metrics()
        self._metrics.watch(self.name, lambda: self.admission.waiting)
        self._on_death = on_death
        self._queue = WindowQueue()
        self._jobs: set[Job] = set()
        self._requests = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._closing = False
        self._dead = False
        self._threads = Threads(self.name)
        self.workers = self._threads.workers
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
            InputError: the request is wrong, or more than can be done in its time.
            OverloadedError: too much waits already.
            DeadlineError: the time is over.
            BackendError: the runtime failed on this request.
            EngineDeadError: the engine has stopped.
        """
        if not self.alive or self._closing:
            raise EngineDeadError
        timeout_s = self.limits.timeout_s if timeout_s is None else timeout_s
        load = estimated_load(request, self.pruner.encoder.window)
        with self.admission.reserve(load, timeout_s) as reservation, self._counted():
            job = Job(reservation, self.limits.max_units)
            try:
                async with asyncio.timeout(timeout_s):
                    result = await self._prune(request, job, time.perf_counter() + timeout_s)
            except TimeoutError:
                raise DeadlineError(timeout_s) from None
            finally:
                job.abandoned = True
        self._metrics.answered(self.name, result)
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
            return self.pruner.finish(encoded, scores, timings), found

        result, found = await self._threads.run(job, finish)
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

    def _encode(self, request: PruneRequest, job: Job) -> tuple[EncodedRequest, list[bytes], float]:
        """Return a request as windows, the cache's keys of its passages (none without a cache), and the seconds."""
        started = time.perf_counter()
        checked = check_request(request.query, request.passages, request.options)
        encoded = self.pruner.encode(checked, job.watch)
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

    async def _outputs(self, job: Job, windows: Sequence[Window]) -> list[WindowOutput]:
        """Wait for the windows of a job."""
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
        except BackendUnusableError:
            raise
        except Exception:
            by_job: dict[Job, list[Slot]] = {}
            for slot in slots:
                by_job.setdefault(slot.job, []).append(slot)
            log.exception("a batch of %d requests failed; each is tried alone", len(by_job))
            for job, its_slots in by_job.items():
                self._run_alone(job, its_slots)

    def _run_alone(self, job: Job, slots: Sequence[Slot]) -> None:
        """Run a job's part of a batch that failed. If that fails too, the job is at fault, or else the runtime.

        Raises:
            Exception: it is the runtime: it no longer runs what it ran before, so the engine is to die.
        """
        try:
            self._run(slots)
        except BackendUnusableError:
            raise
        except Exception:
            log.exception("a request failed alone too")
            self.pruner.prune_request(PROBE)
            job.fail(BackendError())

    def _run(self, slots: Sequence[Slot]) -> None:
        jobs = {slot.job for slot in slots}
        load = Load(len(slots), sum(len(slot.window) for slot in slots))
        with ExitStack() as held:
            for job in jobs:
                held.enter_context(job.reservation)
            started = time.perf_counter()
            outputs = self.pruner.run([slot.window for slot in slots])
            self.admission.speed.ran(load, time.perf_counter() - started)
        self._metrics.ran(self.name, load.tokens, load.tokens / self.step_tokens, len(jobs))
        for slot, output in zip(slots, outputs, strict=True):
            slot.job.deliver(slot.number, output)

    async def close(self) -> None:
        """Take no more requests, answer those that there are, end the threads."""
        self._closing = True
        await self._idle.wait()
        self._queue.close()
        await asyncio.to_thread(self._thread.join)
        await self._threads.close()
