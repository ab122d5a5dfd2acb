"""Threads for what a request needs beside the network: checking, segmenting, encoding, selecting."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from secateur.service.batching.jobs import Job

_LONG_TOKENS = 16_384  # a request with more has its threads apart, where it keeps no short one waiting

_T = TypeVar("_T")


class Threads:
    """A pool for short requests and one for long ones.

    Args:
        name: of the model, for the names of the threads.
    """

    def __init__(self, name: str) -> None:
        self.workers = min(4, os.cpu_count() or 1)
        self._short = ThreadPoolExecutor(self.workers, f"secateur-short-{name}")
        self._long = ThreadPoolExecutor(max(1, self.workers // 2), f"secateur-long-{name}")

    async def run(self, job: Job, work: Callable[[], _T]) -> _T:
        """Run a part of a job. When nobody waits for it any more, it does not begin, or stops at its next `Job.watch`.

        The job's reservation is held until the work has really ended.
        """

        def held() -> _T:
            with job.reservation:
                job.watch(0)
                return work()

        pool = self._long if job.reservation.load.tokens > _LONG_TOKENS else self._short
        return await asyncio.get_running_loop().run_in_executor(pool, held)

    async def close(self) -> None:
        """Wait for what runs, and end the threads."""
        for pool in (self._short, self._long):
            await asyncio.to_thread(pool.shutdown)
