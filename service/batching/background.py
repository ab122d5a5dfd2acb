"""Turns for work that may wait, so that what people wait for is not behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from secateur.service.batching.engine import Engine

_STEPS = 2  # of an engine that may wait while more is begun: it has no pause, and others wait for no more than these
_POLL_S = 0.01
_PATIENCE_S = 5.0  # then a piece of work is begun behind whatever else waits, if it is the only one


class Background:
    """Work of one engine that gives way to all other requests: it begins when next to nothing waits.

    Args:
        engine: that does it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._turn = asyncio.Lock()  # first come, first served
        self._tokens = 0

    @asynccontextmanager
    async def turn(self, tokens: int) -> AsyncIterator[None]:
        """Wait for a turn to do work of about so many tokens, within the context."""
        async with self._turn:
            until = asyncio.get_running_loop().time() + _PATIENCE_S
            while not self._may_begin(tokens, patient=asyncio.get_running_loop().time() < until):
                await asyncio.sleep(_POLL_S)
            self._tokens += tokens
        try:
            yield
        finally:
            self._tokens -= tokens

    def _may_begin(self, tokens: int, *, patient: bool) -> bool:
        # What has just begun is not yet among what waits in the engine.
        waiting = max(self._tokens, self._engine.admission.waiting)
        if waiting == 0 or waiting + tokens <= _STEPS * self._engine.step_tokens:
            return True
        return not patient and self._tokens == 0
