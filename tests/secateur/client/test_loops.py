"""One client in many event loops, threads and processes: it works in each, and leaves nothing open."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from live_server import PATIENCE, Server

from secateur import AsyncClient, Client, Passage, Pruner
from secateur.integrations.any_pruner import AnyPruner, CallerNames
from secateur.integrations.settings import PruneSettings

QUERY = "When was it finished?"
TEXTS = ["It was finished in 1889. It rained."]


def connections(server: Server) -> int:
    """Count the connections of this process to a server."""
    port = int(server.url.rpartition(":")[2])
    found = psutil.Process().net_connections("tcp")
    return sum(bool(one.raddr) and one.raddr.port == port and one.status == "ESTABLISHED" for one in found)


@pytest.fixture
def client(service: Server, service_key: str) -> AsyncClient:
    return AsyncClient(service.url, api_key=service_key, timeout_s=PATIENCE)


@pytest.mark.parametrize("on_error", ["raise", "passthrough"])
def test_it_works_in_one_loop_after_another(service: Server, service_key: str, pruner: Pruner, on_error: Any) -> None:
    client = AsyncClient(service.url, api_key=service_key, timeout_s=PATIENCE, on_error=on_error, retries=0)
    wanted = pruner.prune(QUERY, TEXTS)
    before = connections(service)
    for _ in range(4):
        found = asyncio.run(client.prune(QUERY, TEXTS))
        assert (found.text, found.warnings) == (wanted.text, ())
        assert connections(service) == before  # the loop's end closes them


def test_its_connections_are_kept_within_a_loop(client: AsyncClient, service: Server) -> None:
    async def run() -> int:
        before = connections(service)
        for _ in range(3):
            await client.models()
        return connections(service) - before

    assert asyncio.run(run()) == 1


def test_loops_in_threads_at_once(client: AsyncClient, service: Server) -> None:
    together = threading.Barrier(4)

    def run(_: int) -> list[tuple[str, ...]]:
        async def ask() -> list[tuple[str, ...]]:
            together.wait(PATIENCE)
            return [await client.models() for _ in range(5)]

        return asyncio.run(ask())

    before = connections(service)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(run, range(4)))
    assert found == [[("secateur-nano-en",)] * 5] * 4
    assert connections(service) == before


def test_close_is_for_the_running_loop_and_a_later_call_opens_anew(client: AsyncClient, service: Server) -> None:
    opened, closed = threading.Event(), threading.Event()

    async def other() -> tuple[str, ...]:
        await client.models()
        opened.set()
        await asyncio.to_thread(closed.wait, PATIENCE)
        return await client.models()  # on the connection that it has

    async def run() -> list[int]:
        counts = []
        async with client:
            await client.models()
            counts.append(connections(service))
        counts.append(connections(service))
        await client.close()
        await client.models()
        counts.append(connections(service))
        return counts

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(asyncio.run, other())
        assert opened.wait(PATIENCE)
        one, two, three = asyncio.run(run())
        assert (one - two, three - two) == (1, 1)
        closed.set()
        assert waiting.result(PATIENCE) == ("secateur-nano-en",)


def test_a_loop_that_was_only_closed_leaves_the_client_usable(client: AsyncClient) -> None:
    for _ in range(3):
        loop = asyncio.new_event_loop()
        assert loop.run_until_complete(client.models()) == ("secateur-nano-en",)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(client.models())
    loop.close()  # without shutdown_asyncgens
    assert asyncio.run(client.models()) == ("secateur-nano-en",)


@pytest.mark.slow
def test_a_client_that_is_dropped_closes_its_connections(service: Server, service_key: str) -> None:
    gc.collect()

    async def run() -> int:
        before = connections(service)
        for _ in range(5):
            await AsyncClient(service.url, api_key=service_key).models()
        gc.collect()
        await asyncio.sleep(0.2)
        return connections(service) - before

    assert asyncio.run(run()) == 0


@pytest.mark.slow
def test_nothing_warns_of_what_was_left_open(service: Server, service_key: str, tmp_path: Path) -> None:
    code = (
        "import asyncio, secateur\n"
        f"client = secateur.AsyncClient({service.url!r}, api_key={service_key!r}, timeout_s={PATIENCE})\n"
        "async def stop():\n"
        "    task = asyncio.ensure_future(client.prune('q', ['a. b.']))\n"
        "    await asyncio.sleep(0.01)\n"
        "    task.cancel()\n"
        "for _ in range(3):\n"
        "    print(asyncio.run(client.models())[0])\n"
        "asyncio.run(stop())\n"
        f"with secateur.Client({service.url!r}, api_key={service_key!r}) as sync: print(sync.models()[0])\n"
        "print(sync.models()[0])\n"
        "sync.close()\n"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.stdout.split(), done.stderr) == (["secateur-nano-en"] * 5, "")


def test_an_integration_shares_one_client_between_loops(service: Server, service_key: str) -> None:
    pruner = AnyPruner(PruneSettings(url=service.url, api_key=service_key, timeout_s=PATIENCE))
    passages = [Passage(text) for text in TEXTS]
    texts = {asyncio.run(pruner.aprune(QUERY, passages, {}, CallerNames({}))).text for _ in range(3)}
    assert len(texts) == 1


def _in_a_child(client: Client, answers: Any) -> None:
    answers.put([client.models() for _ in range(20)])


def test_a_forked_child_has_connections_of_its_own(service: Server, service_key: str) -> None:
    with Client(service.url, api_key=service_key, timeout_s=PATIENCE) as client:
        client.models()  # a connection that the child inherits
        context = multiprocessing.get_context("fork")
        answers = context.Queue()
        children = [context.Process(target=_in_a_child, args=(client, answers)) for _ in range(2)]
        for child in children:
            child.start()
        ours = [client.models() for _ in range(20)]
        theirs = [answers.get(timeout=PATIENCE) for _ in children]
        for child in children:
            child.join(PATIENCE)
    assert [ours, *theirs] == [[("secateur-nano-en",)] * 20] * 3


def test_a_client_is_not_pickled(service: Server) -> None:
    for client in (Client(service.url, api_key="key-0123456789"), AsyncClient(service.url)):
        with pytest.raises(TypeError, match="make one in each process"):
            pickle.dumps(client)


def test_the_sync_client_closes_and_opens_anew(service: Server, service_key: str) -> None:
    before = connections(service)
    client = Client(service.url, api_key=service_key, timeout_s=PATIENCE)
    assert client.models() and connections(service) == before + 1
    client.close()
    client.close()
    assert connections(service) == before
    assert client.models()
    client.close()


def test_a_sync_client_that_is_dropped_ends_its_thread(service: Server, service_key: str) -> None:
    def threads() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "secateur-client"}

    gc.collect()
    before, others = connections(service), threads()
    client = Client(service.url, api_key=service_key, timeout_s=PATIENCE)
    client.models()
    (own,) = threads() - others
    del client
    gc.collect()
    own.join(PATIENCE)
    assert not own.is_alive() and connections(service) == before
