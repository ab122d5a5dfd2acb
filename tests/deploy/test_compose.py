"""What compose starts: valid, hardened, checked for health, and in keeping with the service and with each other."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from secateur.service.flags import unknown_variables
from secateur.service.settings import Settings

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
KEYS = ROOT / "deploy/compose.keys.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = ("secateur", "secateur-gpu", "replica")
ALIAS = "secateur-metrics"
PATIENCE = 120


def loaded(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("check_jsonschema") is None, reason="check-jsonschema is not installed")
def test_both_files_are_what_the_compose_specification_says() -> None:
    schema = ["--builtin-schema", "vendor.compose-spec"]
    command = [sys.executable, "-m", "check_jsonschema", *schema, str(FILE), str(KEYS)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def compose_client() -> list[str] | None:
    """Return the command of Docker Compose 2, or of 1, which knows no `name`."""
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else None


@pytest.mark.slow
@pytest.mark.skipif(compose_client() is None, reason="no Docker Compose is installed")
@pytest.mark.parametrize(
    "variables",
    [{}, {"SECATEUR_CACHE": "redis://redis:6379/0", "SECATEUR_REDIS_PASSWORD": "secret", "SECATEUR_REPLICAS": "5"}],
)
def test_a_compose_client_reads_it_with_all_variables_filled_in(tmp_path: Path, variables: dict[str, str]) -> None:
    file = tmp_path / "compose.yml"
    file.write_text(re.sub(r"^name: .*\n", "", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE), encoding="utf-8")
    client = compose_client()
    assert client is not None
    profiles = {"COMPOSE_PROFILES": "cache,gpu,observability,scale"}
    done = subprocess.run(
        [*client, "--project-directory", str(ROOT), "-f", str(file), "-f", str(KEYS), "config"],
        env={name: value for name, value in os.environ.items() if not name.startswith("SECATEUR")}
        | profiles
        | variables,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    services = yaml.safe_load(done.stdout)["services"]
    assert services.keys() == SERVICES.keys()
    assert int(services["replica"]["deploy"]["replicas"]) == int(variables.get("SECATEUR_REPLICAS", 2))
    for name in OURS:
        environment = services[name]["environment"]
        assert environment["SECATEUR_API_KEYS_FILE"] == "/run/secrets/api_keys"
        for variable in ("SECATEUR_CACHE", "SECATEUR_REDIS_PASSWORD"):
            assert environment.get(variable) == variables.get(variable)
    assert services["redis"]["environment"]["REDISCLI_AUTH"] == variables.get("SECATEUR_REDIS_PASSWORD", "")


def test_each_profile_has_its_services() -> None:
    profiles = {name: service.get("profiles", []) for name, service in SERVICES.items()}
    assert profiles == {
        "secateur": [],
        "secateur-gpu": ["gpu"],
        "replica": ["scale"],
        "proxy": ["scale"],
        "redis": ["cache"],
        "prometheus": ["observability"],
        "grafana": ["observability"],
    }


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_may_do_little_and_is_watched(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] and service["mem_limit"]
    assert service["healthcheck"]["test"][0] == "CMD"
    if name not in OURS:  # what our images run as is tested with them
        assert not service["user"].startswith(("0", "root"))
        assert service["cpus"]
        image = r":v?\d+\.\d+\.\d+(-alpine)?(@sha256:[0-9a-f]{64})?$"
        assert re.search(image, service["image"]), "the version is not pinned"
    for port in service.get("ports", []):
        assert port.startswith("${SECATEUR_BIND:-127.0.0.1}:")


def test_all_ports_differ() -> None:
    ports = [
        re.findall(r"_PORT:-(\d+)}", port)[0] for service in SERVICES.values() for port in service.get("ports", [])
    ]
    assert len(set(ports)) == len(ports) == 5


def test_what_is_mounted_exists() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source, _, mode = volume.partition(":")
            if source.startswith("."):
                assert (ROOT / source).exists(), source
                assert mode.endswith(":ro")
            else:
                assert source in COMPOSE["volumes"]


def test_the_service_knows_its_variables() -> None:
    environments = [SERVICES[name]["environment"] for name in OURS] + [
        loaded("deploy/compose.keys.yml")["x-keys"]["environment"]
    ]
    unknown = {name for environment in environments for name in unknown_variables(environment)}
    assert not unknown
    assert all(value is None for value in COMPOSE["x-settings"].values()), (
        "a default of compose would hide the service's"
    )


def test_no_secret_stands_in_a_variable() -> None:
    """But that of Redis: a file would have to be there for the services without a cache, too."""
    assert COMPOSE["secrets"].keys() == {"grafana_password"}
    assert SERVICES["redis"]["environment"] == {"REDISCLI_AUTH": "${SECATEUR_REDIS_PASSWORD:-}"}
    given = [name for name in SERVICES if "SECATEUR_REDIS_PASSWORD" in SERVICES[name].get("environment", {})]
    assert given == list(OURS)
    assert COMPOSE["x-settings"]["SECATEUR_REDIS_PASSWORD"] is None
    assert SERVICES["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana_password"
    keys = loaded("deploy/compose.keys.yml")
    assert keys["services"].keys() == set(OURS)
    assert keys["secrets"].keys() == {"api_keys"}
    tracked = subprocess.run(["git", "ls-files", "deploy/secrets"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode == 0:
        assert tracked.stdout.split() in ([], ["deploy/secrets/.gitignore"])


def test_containers_have_time_to_finish() -> None:
    for name in (*OURS, "proxy"):
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > Settings().drain_s


def test_the_proxy_and_prometheus_find_the_replicas() -> None:
    proxy = (ROOT / "deploy/nginx/nginx.conf").read_text(encoding="utf-8")
    assert "server replica:8080 resolve" in proxy
    version = re.search(r"nginx:(\d+)\.(\d+)\.(\d+)", SERVICES["proxy"]["image"])
    assert version and tuple(map(int, version.groups())) >= (1, 27, 3), "`resolve` needs it"

    (job,) = (
        job for job in loaded("deploy/prometheus/prometheus.yml")["scrape_configs"] if job["job_name"] == "secateur"
    )
    assert job["dns_sd_configs"] == [{"names": [ALIAS], "type": "A", "port": 8080, "refresh_interval": "15s"}]
    found = [name for name, service in SERVICES.items() if ALIAS in str(service.get("networks"))]
    assert found == list(OURS)


def test_grafana_is_given_the_dashboard_and_prometheus() -> None:
    (source,) = loaded("deploy/grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    (provider,) = loaded("deploy/grafana/provisioning/dashboards/secateur.yml")["providers"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert str(Path(home).parent) == provider["options"]["path"]
    assert f"./deploy/grafana/secateur.json:{home}:ro" in SERVICES["grafana"]["volumes"]
    dashboard = json.loads((ROOT / "deploy/grafana/secateur.json").read_text(encoding="utf-8"))
    (variable,) = (item for item in dashboard["templating"]["list"] if item["type"] == "datasource")
    assert variable["query"] == source["type"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_takes_its_configuration() -> None:
    command = ["promtool", "check", "config", str(ROOT / "deploy/prometheus/prometheus.yml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Names(socketserver.BaseRequestHandler):
    """A name server that knows one name, and two addresses of it."""

    ADDRESSES = ("127.0.0.2", "127.0.0.3")

    def handle(self) -> None:
        data, out = self.request
        end = data.index(b"\0", 12) + 5
        known = (
            data[12:end].startswith(bytes([len(ALIAS)]) + ALIAS.encode() + b"\0") and data[end - 4 : end - 2] == b"\0\1"
        )
        answers = [b"\xc0\x0c\0\1\0\1\0\0\0\5\0\4" + socket.inet_aton(address) for address in self.ADDRESSES if known]
        flags = b"\x81\x80" if known else b"\x81\x83"
        head = data[:2] + flags + struct.pack(">4H", 1, len(answers), 0, 0)
        out.sendto(head + data[12:end] + b"".join(answers), self.client_address)


class Exposed(BaseHTTPRequestHandler):
    """A replica's metrics."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/metrics" else 404)
        self.end_headers()
        self.wfile.write(b"secateur_queue_tokens 7\n")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")
def test_prometheus_reads_all_replicas_by_one_name(tmp_path: Path) -> None:
    """A real one, before two replicas that a name server tells of; each has an address, and all have one port."""
    with socket.create_server(("127.0.0.2", 0)) as free, socket.create_server(("127.0.0.1", 0)) as another:
        port, own = free.getsockname()[1], another.getsockname()[1]
    config = (ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8")
    (tmp_path / "prometheus.yml").write_text(config.replace("port: 8080", f"port: {port}"), encoding="utf-8")
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.53\n", encoding="utf-8")
    files = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    retention = [flag for flag in SERVICES["prometheus"]["command"] if "retention" in flag]
    command = ["prometheus", *files, *retention, f"--web.listen-address=127.0.0.1:{own}"]
    asks = 'mount --make-rprivate / && mount --bind "$0/resolv.conf" /etc/resolv.conf && exec "$@"'
    with ExitStack() as stack:
        try:
            stack.enter_context(serving(socketserver.UDPServer(("127.0.0.53", 53), Names)))
        except OSError as error:
            pytest.skip(f"no name server can be run: {error}")
        for address in Names.ADDRESSES:
            stack.enter_context(serving(ThreadingHTTPServer((address, port), Exposed)))
        log = stack.enter_context((tmp_path / "log").open("wb"))
        wrapped = ["unshare", "--mount", "bash", "-c", asks, str(tmp_path), *command]
        process = subprocess.Popen(wrapped, stdout=log, stderr=subprocess.STDOUT)
        stack.callback(process.wait, PATIENCE)
        stack.callback(process.terminate)
        wanted = {f"{address}:{port}" for address in Names.ADDRESSES}
        deadline = time.monotonic() + PATIENCE
        found: set[str] = set()
        while found != wanted:
            said = (tmp_path / "log").read_text()
            if process.poll() is not None and "unshare" in said:
                pytest.skip("needs the right to mount")
            assert process.poll() is None and time.monotonic() < deadline, f"{found}\n{said}"
            time.sleep(0.2)
            with suppress(httpx.TransportError):
                query = httpx.get(
                    f"http://127.0.0.1:{own}/api/v1/query", params={"query": "secateur_queue_tokens"}, timeout=PATIENCE
                ).json()
                found = {item["metric"]["instance"] for item in query.get("data", {}).get("result", [])}


def test_only_the_service_reaches_redis() -> None:
    assert COMPOSE["networks"] == {"cache": {"internal": True}}
    members = [name for name, service in SERVICES.items() if "cache" in service.get("networks", [])]
    assert members == [*OURS, "redis"]
    assert SERVICES["redis"]["networks"] == ["cache"]
    assert "ports" not in SERVICES["redis"]


def of_redis(key: str) -> list[str]:
    """Return a command of its container, as compose hands it on."""
    words = SERVICES["redis"]["healthcheck"]["test"][1:] if key == "healthcheck" else SERVICES["redis"]["command"]
    return [word.replace("$$", "$") for word in words]


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
def test_redis_takes_its_command_and_asks_for_its_password(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    *shell, script = of_redis("command")
    command = [*shell, script.replace("exec redis-server", f"exec redis-server --port {port} --bind 127.0.0.1")]
    program, *arguments = of_redis("healthcheck")
    secret = "0123abcDEF"  # letters and digits

    def ask(*words: str, password: str | None = secret) -> subprocess.CompletedProcess[str]:
        given = os.environ | ({"REDISCLI_AUTH": password} if password else {})
        return subprocess.run([program, "-p", port, *words], env=given, capture_output=True, text=True)

    server = subprocess.Popen(
        command, cwd=tmp_path, env=os.environ | {"REDISCLI_AUTH": secret}, stdout=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while ask(*arguments).stdout.strip() != "PONG":
            assert server.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        assert ask("config", "get", "maxmemory-policy").stdout.split() == ["maxmemory-policy", "allkeys-lru"]
        assert ask("config", "get", "maxmemory").stdout.split() == ["maxmemory", str(256 * 2**20)]
        assert ask("config", "get", "save").stdout.split() == ["save"]
        for wrong in (None, "wrong"):
            assert ask(*arguments, password=wrong).returncode != 0, "it is healthy only for those who know the password"
            refused = ask("get", "key", password=wrong)
            assert "NOAUTH" in refused.stdout + refused.stderr
        assert secret not in Path(f"/proc/{server.pid}/cmdline").read_text(encoding="utf-8")
    finally:
        server.terminate()
        assert server.wait(PATIENCE) == 0, "the signal reaches it"
    assert not list(tmp_path.iterdir()), "it wrote to the disk"


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
@pytest.mark.parametrize("password", ["", "two words", "line\nsave 1 1", '"', "a\\"])
def test_redis_does_not_start_without_a_password(tmp_path: Path, password: str) -> None:
    done = subprocess.run(
        of_redis("command"),
        cwd=tmp_path,
        env=os.environ | {"REDISCLI_AUTH": password},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr.partition(":")[0]) == (1, "SECATEUR_REDIS_PASSWORD")


def test_what_can_be_set_is_documented() -> None:
    page = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    text = FILE.read_text(encoding="utf-8") + KEYS.read_text(encoding="utf-8")
    names = {*re.findall(r"\$\{(\w+):-", text), *COMPOSE["x-settings"]}
    assert not [name for name in sorted(names) if f"`{name}`" not in page]
