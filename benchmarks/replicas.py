"""The service on Ray Serve by one replica and by two, of which one is killed (`secateur bench ray`)."""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.http import HEADER, HttpOptions, measure_servers, server_row
from benchmarks.report import BenchTable
from benchmarks.server import HOST, Running, Server, StatusError, running, secateur_server
from benchmarks.workload import mixed_requests
from secateur.models.errors import InputError, SecateurError

_TITLE = "ray::ServeReplica:secateur:Replica"  # of a replica's process
_NOT_READY = (404, 503)  # of Ray's proxy, before the application runs


@dataclass(frozen=True, slots=True)
class ReplicaOptions:
    """How replicas are asked.

    Attributes:
        clients: at once.
        passages: of a request.
        requests: of a block.
        rounds: blocks of each server.
        seconds: of load, in which one of two replicas is killed after a third.
    """

    clients: int = 16
    passages: int = 10
    requests: int = 64
    rounds: int = 5
    seconds: float = 30.0

    def __post_init__(self) -> None:
        if min(self.clients, self.passages, self.requests, self.rounds) < 1:
            raise InputError("--rounds", "rounds, clients, passages and requests must be positive", "give 1 or more")
        if not self.seconds > 0:
            raise InputError("--seconds", f"{self.seconds:g} is no duration", "give seconds above 0")


def _config(port: int, replicas: int) -> dict[str, object]:
    return {
        "proxy_location": "HeadOnly",
        "http_options": {"host": HOST, "port": port},
        "applications": [
            {
                "name": "secateur",
                "route_prefix": "/",
                "import_path": "secateur.service.on_ray:build",
                "args": {},
                "deployments": [
                    {"name": "Replica", "num_replicas": replicas, "ray_actor_options": {"num_cpus": 1}},
                    {"name": "Front", "num_replicas": 1},
                ],
            }
        ],
    }


def _on_ray(replicas: int, room: Path) -> Server:
    """Return the service by so many replicas of a processor each."""

    def command(port: int) -> list[str]:
        config = room / f"serve-{replicas}.yaml"
        config.write_text(json.dumps(_config(port, replicas)), encoding="utf-8")  # JSON is YAML
        return [sys.executable, "-c", "from ray.serve.scripts import cli; cli()", "run", str(config)]

    ours = secateur_server()
    return Server(
        name=f"Ray Serve, {replicas} {'replica' if replicas == 1 else 'replicas'} of one processor",
        does=ours.does,
        command=command,
        path=ours.path,
        body=ours.body,
        environment={"RAY_AUTH_MODE": "disabled"},
        starting=_NOT_READY,
    )


def _processes(server: Running) -> list[psutil.Process]:
    tree = psutil.Process(server.pid).children(recursive=True)
    return [one for one in tree if " ".join(one.cmdline()).startswith(_TITLE)]


def _client(server: Running, bodies: Sequence[bytes], until: float, seen: Counter[str]) -> None:
    connection = server.connect()
    number = 0
    while time.perf_counter() < until:
        try:
            connection.post(bodies[number % len(bodies)])
            seen["200"] += 1
        except StatusError as error:
            seen[str(error.status)] += 1
        except OSError:
            seen["no answer"] += 1
        number += 1
    connection.close()


def _kill_one(server: Running, data: Path, options: ReplicaOptions) -> str:
    """Have clients ask, kill a replica among that, and say how the requests ended."""
    requests = mixed_requests(data, options.passages, options.requests)
    bodies = [json.dumps(server.server.body(request)).encode() for request in requests]
    seen: Counter[str] = Counter()
    until = time.perf_counter() + options.seconds
    clients = [
        threading.Thread(target=_client, args=(server, bodies[n:] + bodies[:n], until, seen))
        for n in range(options.clients)
    ]
    for client in clients:
        client.start()
    time.sleep(options.seconds / 3)
    replicas = _processes(server)
    if not replicas:
        raise SecateurError(f"{server.server.name}: no replica was found among its processes")
    replicas[0].kill()
    killed = time.perf_counter()
    for client in clients:
        client.join()
    while len(_processes(server)) < len(replicas) and time.perf_counter() - killed < 2 * options.seconds:
        time.sleep(0.1)
    failed = sum(seen.values()) - seen["200"]
    return (
        f"Killed: {options.clients} clients asked the two replicas for {options.seconds:g} s, in which one of them was "
        f"killed by SIGKILL: {seen['200']} requests were answered by 200, {failed} failed"
        f"{f' ({dict(seen)})' if failed else ''}; another replica's process stood in its place after at most "
        f"{time.perf_counter() - killed:.0f} s."
    )


def measure_replicas(data: Path, options: ReplicaOptions | None = None) -> BenchTable:
    """Measure our service alone and on Ray Serve, then kill a replica under load.

    Args:
        data: labelled examples to take queries and passages from.
        options: how.

    Raises:
        DataError: there are too few passages.
        SecateurError: a server failed under way.
    """
    options = options or ReplicaOptions()
    http = HttpOptions((options.clients,), options.passages, options.requests, options.rounds)
    first = mixed_requests(data, options.passages, 1)[0]
    with ExitStack() as stack:
        room = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="secateur-bench-")))
        kinds = [secateur_server(), _on_ray(1, room), _on_ray(2, room)]
        servers = [stack.enter_context(running(kind, first)) for kind in kinds]
        series = measure_servers(servers, data, options.clients, http)
        rows = [
            server_row(server.server, options.clients, http, its_series, series[0])
            for server, its_series in zip(servers, series, strict=True)
        ]
        said = _kill_one(servers[-1], data, options)
    note = (
        f"Requests of {options.passages} real passages of mixed lengths over loopback, {http.block(options.clients)} a "
        f"block, {options.rounds} blocks of each server in turn after one to warm up. Secateur by itself has all "
        "processors, a replica has one; Ray's own processes and the clients share them. Two replicas gain nothing over "
        "one process where the processors are the same: what a cluster adds is machines. Peak memory has Ray's own "
        f"processes in it. {said}"
    )
    return BenchTable(HEADER, rows, note)
