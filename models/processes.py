"""Values that a forked child must not share with its parent: threads, locks, device streams."""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class PerProcess(Generic[T]):
    """A value that works only in the process that opened it. Safe to share between threads.

    A forked child opens its own value on first use. It never uses, closes or frees the parent's value and lock: even
    freeing could crash, or wait for threads that the child does not have.
    """

    def __init__(self, open: Callable[[], T]) -> None:
        self._open = open
        self._value: T | None = None
        self._lock = threading.RLock()
        self._pid = os.getpid()
        _ALL.add(self)

    def get(self) -> T:
        """Return this process's value. The first call opens it, and raises any error of that."""
        self._leave_parent()
        if (value := self._value) is None:
            with self._lock:
                if (value := self._value) is None:
                    value = self._value = self._open()
        return value

    @contextmanager
    def exclusive(self) -> Iterator[T]:
        """Yield the value to one thread at a time. The value is dropped after an error in the block."""
        self._leave_parent()
        with self._lock:
            value = self.get()
            try:
                yield value
            except Exception:
                self._value = None
                raise

    def _leave_parent(self) -> None:
        """Drop the parent's value and lock, if this process is a child that still has them."""
        if self._pid != os.getpid():
            if self._value is not None:
                # Keeping it in a list would not be enough: the interpreter frees the list at exit.
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._value))
            self._value = None
            self._lock = threading.RLock()
            self._pid = os.getpid()


def _leave_parents() -> None:
    for one in list(_ALL):
        one._leave_parent()


# `get` recognises a child by its process id: some servers written in C fork without calling this hook. The hook serves
# children that never use the value but free it, if only at exit.
_ALL: weakref.WeakSet[PerProcess[Any]] = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_parents)
