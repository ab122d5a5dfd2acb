"""The engine: one thread owns the pruner, so that inference never blocks the event loop."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from secateur.models.pruner import Pruner
from secateur.models.types import PruneRequest, PruneResult


class Engine:
    """Runs requests one after the other on its own thread.

    Args:
        pruner: a loaded pruner.
    """

    def __init__(self, pruner: Pruner) -> None:
        self.pruner = pruner
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="secateur-engine")

    @property
    def model(self) -> str:
        """The model's name."""
        return self.pruner.config.name

    async def prune(self, request: PruneRequest) -> PruneResult:
        """Prune one request; its timings include the wait for the engine.

        Raises:
            InputError: the request is wrong.
        """
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._run, request, time.perf_counter())

    def _run(self, request: PruneRequest, enqueued: float) -> PruneResult:
        queue_ms = (time.perf_counter() - enqueued) * 1e3
        result = self.pruner.prune_request(request)
        timings = replace(result.timings, queue_ms=queue_ms, total_ms=result.timings.total_ms + queue_ms)
        return replace(result, timings=timings)

    def close(self) -> None:
        """Finish what runs, drop what waits."""
        self._executor.shutdown(wait=True, cancel_futures=True)
