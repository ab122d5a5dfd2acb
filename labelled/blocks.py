"""Mapping a function over blocks of data, in this process or on a Ray cluster."""

from __future__ import annotations

import logging
import os
import pickle
import socket
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import TypeVar

from secateur.models.errors import DataError, MissingExtraError, SecateurError

_B = TypeVar("_B")
_R = TypeVar("_R")

_HEAD_TIMEOUT_S = 5.0  # to connect to the head of a cluster
_BLOCKS_AT_ONCE = 256  # blocks in one Ray dataset: enough for a large cluster, few enough for memory


def blocks(items: Iterable[_B], size: int) -> Iterator[list[_B]]:
    """Yield lists of ``size`` items; the last may be shorter."""
    iterator = iter(items)
    while block := list(islice(iterator, size)):
        yield block


def map_blocks(work: Callable[[_B], _R], items: Iterable[_B], *, ray: bool = False) -> Iterator[_R]:
    """Yield the result for each block, in the order of the blocks.

    Args:
        work: Function that can be pickled and has no side effects except on files.
        items: Blocks.
        ray: Whether to run on Ray: the cluster that is already connected, or that of ``RAY_ADDRESS``, or a local one.
            Files that ``work`` uses must be visible to every worker.

    Raises:
        MissingExtraError: Ray is not installed.
        DataError: The cluster cannot be reached, or a block failed there.
    """
    if not ray:
        yield from map(work, items)
        return
    try:
        import ray as ray_core
        import ray.data as ray_data
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error

    if not ray_core.is_initialized():
        _check_head(os.environ.get("RAY_ADDRESS", ""))
        try:
            ray_core.init(logging_level=logging.WARNING, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise DataError(f"ray: no cluster could be reached or started ({error}); check RAY_ADDRESS") from error
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    try:
        for group in blocks(items, _BLOCKS_AT_ONCE):
            rows = [{"block": pickle.dumps(item)} for item in group]
            dataset = ray_data.from_items(rows, override_num_blocks=len(rows)).map(partial(_run, work))
            dataset.context.execution_options.preserve_order = True
            dataset.context.enable_progress_bars = False
            for row in dataset.iter_rows():
                if row["error"]:
                    raise DataError(f"ray: a block failed: {row['error']}")
                yield pickle.loads(row["result"])
    except ray_core.exceptions.RayError as error:
        raise DataError(f"ray: a block failed ({' '.join(str(error).split())[:500]})") from error


def _check_head(address: str) -> None:
    """Refuse an address that does not respond; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return  # "auto", "local" or none: Ray finds or starts a cluster
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_HEAD_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise DataError(f"ray: no head answers at RAY_ADDRESS {address!r} ({error}); start one, or unset it") from error


def _run(work: Callable[[_B], _R], row: dict[str, bytes]) -> dict[str, bytes | str]:
    """Run the function for one row of a dataset."""
    try:
        return {"result": pickle.dumps(work(pickle.loads(row["block"]))), "error": ""}
    except SecateurError as error:  # raised here, its message would be buried in Ray's own text
        return {"result": b"", "error": str(error)}
