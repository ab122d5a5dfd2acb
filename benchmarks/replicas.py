"""The service on Ray Serve with one replica and with two, one of which is killed."""

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
from benchmarks.server import HOST, Running, Server, StatusError, running, secateur_server
from benchmarks.tables import BenchTable, check_positive
from benchmarks.workload import mixed_requests
from secateur.models.errors import SecateurError

_TITLE = "ray::ServeReplica:secateur:Replica"  # title of the process of a replica
_NOT_READY = (404, 503)  # statuses of Ray's proxy before the application runs


@dataclass(frozen=True, slots=True)
class ReplicaOptions:
    """How replicas are measured.

    Attributes:
        clients: Number of concurrent clients.
        passages: Passages of a request.
        requests: Requests of a block.
        rounds: Blocks of each server.
        seconds: Duration of load; one of two replicas is killed after a third of it.
    """

    clients: int = 16
    passages: int = 10
    requests: int = 64
    rounds: int = 5
    seconds: float = 30.0

    def __post_init__(self) -> None:
        check_positive(self, "clients", "passages", "requests", "rounds", "seconds")


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
    """Return the service with that many replicas, each with one processor."""

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
    """Kill a replica while clients send requests, and describe how the requests ended."""
    bodies = server.server.bodies(mixed_requests(data, options.passages, options.requests))
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
        raise SecateurError(f"{server.server.name}: has no replica among its processes")
    replicas[0].kill()
    killed = time.perf_counter()
    for client in clients:
        client.join()
    while len(_processes(server)) < len(replicas) and time.perf_counter() - killed < 2 * options.seconds:
        time.sleep(0.1)
    failed = sum(seen.values()) - seen["200"]
    return (
        f"{options.clients} clients sent requests to the two replicas for {options.seconds:g} s, during which one "
        f"replica was killed with SIGKILL: {seen['200']} requests were answered with 200, {failed} failed"
        f"{f' ({dict(seen)})' if failed else ''}; a new replica had replaced it after at most "
        f"{time.perf_counter() - killed:.0f} s."
    )


def measure_replicas(data: Path, options: ReplicaOptions) -> BenchTable:
    """Measure our service alone and on Ray Serve, then kill a replica under load.

    Raises:
        DataError: The data has too few passages.
        SecateurError: A server failed.
    """
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
        f"Requests of {options.passages} real passages of mixed lengths over loopback, {http.block(options.clients)} "
        f"per block, {options.rounds} blocks of each server in turn after one to warm up. Secateur alone has all "
        "processors, a replica has one; Ray's own processes and the clients share them. Two replicas on the same "
        "processors gain nothing over one process: a cluster adds machines. Peak memory includes Ray's own processes. "
        f"{said}"
    )
    return BenchTable(HEADER, rows, note)
