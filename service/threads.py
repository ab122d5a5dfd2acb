"""Work that grows with a request, off the event loop: in few threads, so that the loop soon gets the interpreter."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ParamSpec, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from fastapi import FastAPI, Request

LARGE = 32_768  # bytes, from which a body is large enough to be worth a thread

_THREADS = 2  # each competes with the event loop for the interpreter

P = ParamSpec("P")
T = TypeVar("T")


def install_threads(app: FastAPI) -> None:
    """Give an app its threads."""
    app.state.threads = CapacityLimiter(_THREADS)


async def off_loop(request: Request, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Call a function in one of the app's threads and wait for it."""
    call = partial(function, *arguments, **named)
    return await anyio.to_thread.run_sync(call, limiter=request.app.state.threads)


def is_large(request: Request) -> bool:
    """Return whether the body of a request, which has been read, was large; then so may be its answer."""
    return getattr(request.state, "large", False)
