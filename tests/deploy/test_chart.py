"""Helm's own engine renders the chart, Kubernetes' schemas take what comes out, and it fits the service."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
from live_server import PATIENCE, Server, running
from prometheus_client.parser import text_string_to_metric_families

from secateur.service.flags import unknown_variables, variable
from secateur.service.settings import ModelSettings, Settings

helm = pytest.importorskip("helm_python", reason="helm-python-sdk, which carries Helm's engine, is not installed")
kubernetes = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/kubernetes"
CHART = FOLDER / "secateur"
DOCUMENT = ROOT / "docs/deployment.md"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
OLDEST, NEWEST = "1.30", "1.37"  # the chart's kubeVersion, and the newest whose schemas there are
METRIC = "secateur_queue_tokens"

Values = dict[str, Any]
Manifests = dict[str, dict[str, Any]]


def example(name: str) -> Values:
    values: Values = yaml.safe_load((FOLDER / "examples" / name).read_text(encoding="utf-8"))
    return values


CASES: dict[str, Values] = {
    "default": {},
    "gpu": example("gpu.yaml"),
    "all": example("all.yaml"),
    "image volume": {"modelVolume": {"image": "images.example.com/model:1"}, "image": {"digest": f"sha256:{'0' * 64}"}},
    "as little as can be": {
        "podDisruptionBudget": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "spreadOver": [],
    },
}
ALWAYS = {"ConfigMap", "Deployment", "Service"}


def rendered(values: Values | None = None, release: str = "secateur") -> dict[str, str]:
    with helm.Chart.load(CHART) as chart:
        texts: dict[str, str] = chart.render(values or {}, name=release, namespace="rag")
    return texts


def manifests(values: Values | None = None, release: str = "secateur") -> Manifests:
    """Return what is rendered, by kind; there is one of each."""
    texts = (text for name, text in rendered(values, release).items() if name.endswith(".yaml"))
    found = [document for text in texts for document in yaml.safe_load_all(text) if document]
    kinds = {document["kind"]: document for document in found}
    assert len(kinds) == len(found)
    return kinds


def pod(kinds: Manifests) -> dict[str, Any]:
    spec: dict[str, Any] = kinds["Deployment"]["spec"]["template"]["spec"]
    return spec


def container(kinds: Manifests) -> dict[str, Any]:
    (found,) = pod(kinds)["containers"]
    assert isinstance(found, dict)
    return found


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object within."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(part)


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", FOLDER / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("chart") / "log") as server:
        yield server


@pytest.fixture
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("SECATEUR_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize("case", CASES)
def test_the_linter_is_content(case: str) -> None:
    report = helm.lint(CHART, CASES[case], strict=True, kube_version=f"v{NEWEST}.0")
    assert report["errors"] == []
    assert [message["error"] for message in report["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize(
    ("case", "version"),
    [
        (case, version)
        for case in CASES
        for version in (OLDEST, NEWEST)
        if (case, version) != ("image volume", OLDEST)  # which did not have them
    ],
)
def test_kubernetes_takes_it(case: str, version: str) -> None:
    kinds = manifests(CASES[case])
    assert kinds.keys() >= ALWAYS
    for kind, manifest in kinds.items():
        assert manifest["metadata"]["namespace"] == "rag"
        if kind != "ServiceMonitor":  # is no object of Kubernetes
            kubernetes.validate(manifest, version, strict=True)


def test_words_are_those_of_kubernetes() -> None:
    """The schemas take any string for them."""
    kinds = manifests(CASES["all"])
    known = {
        "protocol": {"TCP", "UDP"},
        "imagePullPolicy": {"IfNotPresent"},
        "pathType": {"Prefix"},
        "whenUnsatisfiable": {"ScheduleAnyway"},
        "unhealthyPodEvictionPolicy": {"AlwaysAllow"},
        "fsGroupChangePolicy": {"OnRootMismatch"},
        # Of an update, seccomp, a Service, metrics with their targets, and policies of scaling.
        "type": {"RollingUpdate", "RuntimeDefault", "ClusterIP", "Pods", "Resource", "AverageValue"}
        | {"Utilization", "Percent"},
    }
    for name, words in known.items():
        assert {found[name] for found in walk(list(kinds.values())) if name in found} == words


def test_a_wrong_manifest_is_caught() -> None:
    manifest = manifests()["Deployment"]
    manifest["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(kubernetes.ValidationError, match="enableServiceLink"):
        kubernetes.validate(manifest, NEWEST, strict=True)


def test_what_is_there_is_what_was_asked_for() -> None:
    usual = ALWAYS | {"NetworkPolicy", "PodDisruptionBudget"}
    assert manifests().keys() == usual
    assert manifests(CASES["all"]).keys() == usual | {"HorizontalPodAutoscaler", "Ingress", "ServiceMonitor"}
    assert manifests(CASES["as little as can be"]).keys() == ALWAYS


def test_the_versions_are_the_projects() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (chart["version"], chart["appVersion"]) == (VERSION, VERSION)
    assert chart["kubeVersion"] == f">={OLDEST}.0-0"
    assert container(manifests())["image"] == f"secateur:{VERSION}-cpu"
    assert container(manifests(CASES["gpu"]))["image"] == f"secateur:{VERSION}-gpu"
    assert container(manifests(CASES["image volume"]))["image"] == f"secateur@sha256:{'0' * 64}"
    assert f"images.example.com/secateur:{VERSION}-cpu" in DOCUMENT.read_text(encoding="utf-8")
    for file in FOLDER.rglob("*.yaml"):
        assert ":latest" not in file.read_text(encoding="utf-8")


@pytest.mark.usefixtures("_no_variables")
@pytest.mark.parametrize("case", CASES)
def test_the_service_reads_its_settings_as_they_were_given(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = manifests(CASES[case])
    (source,) = container(kinds)["envFrom"]
    assert source["configMapRef"]["name"] == kinds["ConfigMap"]["metadata"]["name"]
    variables = kinds["ConfigMap"]["data"]
    assert unknown_variables(variables) == []
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    given = {"threads": 2} | CASES[case].get("settings", {})
    for name, value in given.items():
        assert getattr(settings, name) == (tuple(value) if isinstance(value, list) else value)
        assert (variable(name) in variables) == (value is not None)
    assert (settings.host, settings.port) == ("0.0.0.0", 8080)
    assert settings.device == ("cuda" if case == "gpu" else "auto")
    assert (settings.model == "/models") == any(volume["name"] == "model" for volume in pod(kinds)["volumes"])


@pytest.mark.usefixtures("_no_variables")
def test_numbers_lists_and_models_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    models = [{"model": "/models/a"}, {"model": "/models/b", "name": "b", "threads": 3}]
    kinds = manifests({"settings": {"models": models, "max_batch_bytes": 2**40, "warm_up": False}})
    for name, value in kinds["ConfigMap"]["data"].items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.models == (ModelSettings(model="/models/a"), ModelSettings(model="/models/b", name="b", threads=3))
    assert (settings.max_batch_bytes, settings.warm_up) == (2**40, False)


def test_other_settings_make_other_pods() -> None:
    def checksum(values: Values) -> str:
        annotations = manifests(values)["Deployment"]["spec"]["template"]["metadata"]["annotations"]
        return str(annotations["checksum/settings"])

    assert checksum({}) == checksum({"replicas": 5}) != checksum({"settings": {"log_level": "debug"}})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"settings": {"timout_ms": 1}}, r"/settings.*additional properties 'timout_ms' not allowed"),
        ({"settings": {"timeout_ms": 0}}, r"/settings/timeout_ms.*minimum"),
        ({"settings": {"timeout_ms": "30s"}}, r"/settings/timeout_ms.*got string, want integer"),
        ({"settings": {"backend": "tpu"}}, r"/settings/backend.*'openvino'"),
        ({"settings": {"models": [{"thread": 1}]}}, r"/settings/models/0.*'thread'"),
        ({"settings": {"port": 9000}}, r"'port' not allowed"),
        ({"settings": {"api_keys": ["secret"]}}, r"'api_keys' not allowed"),
        ({"settings": {"drain_s": None}}, r"/settings.*missing property 'drain_s'"),
        ({"replicaCount": 3}, r"'replicaCount' not allowed"),
        ({"autoscaling": {"enable": True}}, r"/autoscaling.*'enable' not allowed"),
        ({"networkPolicy": {"namespaces": "rag"}}, r"/networkPolicy/namespaces.*want array"),
        ({"image": {"tag": "latest"}}, r"/image/tag"),
        ({"gpu": {"count": 2}}, r"/gpu/count"),
        ({"modelVolume": {"claim": "a", "image": "b:1"}}, "not both"),
        ({"autoscaling": {"enabled": True, "queueTokens": 0}}, "nothing to scale by"),
        ({"autoscaling": {"enabled": True, "minReplicas": 20}}, "minReplicas 20 is more than maxReplicas 10"),
        ({"ingress": {"enabled": True}, "apiKeys": {"existingSecret": "a"}}, r"ingress\.host: give"),
        ({"ingress": {"enabled": True, "host": "a.example.com"}}, r"ingress\.enabled: without API keys"),
        ({"service": {"type": "LoadBalancer"}}, r"service\.type LoadBalancer: without API keys"),
        ({"service": {"type": "NodePort"}}, r"service\.type NodePort: without API keys"),
        ({"settings": {"redis_password": "secret"}}, r"'redis_password' not allowed"),
        ({"serviceMonitor": {"enabled": True}, "settings": {"metrics_need_key": True}}, "Prometheus needs a key"),
    ],
)
def test_a_wrong_value_is_refused_and_named(values: Values, said: str) -> None:
    with pytest.raises(helm.HelmError) as caught:
        manifests(values)
    assert re.search(said, str(caught.value), re.DOTALL), str(caught.value)


@pytest.mark.parametrize("case", CASES)
def test_selectors_find_the_pods(case: str) -> None:
    kinds = manifests(CASES[case])
    deployment = kinds["Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        kinds["Service"]["spec"]["selector"],
        *(constraint["labelSelector"]["matchLabels"] for constraint in pod(kinds).get("topologySpreadConstraints", [])),
    ]
    if budget := kinds.get("PodDisruptionBudget"):
        selectors.append(budget["spec"]["selector"]["matchLabels"])
    if policy := kinds.get("NetworkPolicy"):
        selectors.append(policy["spec"]["podSelector"]["matchLabels"])
    for selector in selectors:
        assert selector == deployment["spec"]["selector"]["matchLabels"]
        assert selector and selector.items() <= labels
    if monitor := kinds.get("ServiceMonitor"):
        assert monitor["spec"]["selector"]["matchLabels"].items() <= kinds["Service"]["metadata"]["labels"].items()
    if scaler := kinds.get("HorizontalPodAutoscaler"):
        target = scaler["spec"]["scaleTargetRef"]
        assert (target["apiVersion"], target["kind"]) == (deployment["apiVersion"], deployment["kind"])
        assert target["name"] == deployment["metadata"]["name"]
        assert "replicas" not in deployment["spec"]


def test_two_releases_keep_apart() -> None:
    one, other = manifests(release="secateur"), manifests(release="nano")
    assert other["Service"]["metadata"]["name"] == "nano-secateur"
    assert one["Service"]["spec"]["selector"] != other["Service"]["spec"]["selector"]


def test_ports_agree() -> None:
    kinds = manifests(CASES["all"])
    (port,) = container(kinds)["ports"]
    assert f"EXPOSE {port['containerPort']}\n" in (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
    assert str(port["containerPort"]) == kinds["ConfigMap"]["data"]["SECATEUR_PORT"]
    (of_service,) = kinds["Service"]["spec"]["ports"]
    assert of_service["targetPort"] == port["name"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container(kinds)[probe]["httpGet"]["port"] == port["name"]
    (rule,) = kinds["NetworkPolicy"]["spec"]["ingress"]
    assert [allowed["port"] for allowed in rule["ports"]] == [port["name"]]
    (endpoint,) = kinds["ServiceMonitor"]["spec"]["endpoints"]
    assert endpoint["port"] == of_service["name"]
    (host,) = kinds["Ingress"]["spec"]["rules"]
    (path,) = host["http"]["paths"]
    assert path["backend"]["service"] == {
        "name": kinds["Service"]["metadata"]["name"],
        "port": {"name": of_service["name"]},
    }


@pytest.mark.slow
def test_a_server_answers_where_it_is_probed_and_scraped(server: Server) -> None:
    kinds = manifests(CASES["all"])
    paths = [found["httpGet"]["path"] for found in walk(container(kinds)) if "httpGet" in found]
    assert len(paths) == 3
    paths += [endpoint["path"] for endpoint in kinds["ServiceMonitor"]["spec"]["endpoints"]]
    for path in paths:
        assert httpx.get(server.url + path, timeout=PATIENCE).status_code == 200, path


def test_it_scales_by_a_metric_of_the_service(server: Server) -> None:
    scrape = httpx.get(f"{server.url}/metrics", timeout=PATIENCE).text
    families = {family.name: family for family in text_string_to_metric_families(scrape)}
    assert families[METRIC].type == "gauge"
    queue, processors = manifests(CASES["all"])["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert queue["pods"] == {"metric": {"name": METRIC}, "target": {"type": "AverageValue", "averageValue": "30000"}}
    assert processors["resource"]["name"] == "cpu"
    fallback = {"autoscaling": {"enabled": True, "queueTokens": 0, "cpuUtilization": 70}}
    (only,) = manifests(fallback)["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert only["resource"]["target"] == {"type": "Utilization", "averageUtilization": 70}
    # A replica refuses work beyond its queue; it has to scale before that.
    with helm.Chart.load(CHART) as chart:
        aim = chart.values["autoscaling"]["queueTokens"]
    assert aim < Settings.model_fields["max_queue_tokens"].default / 4


def test_the_adapter_offers_that_metric() -> None:
    text = (FOLDER / "prometheus-adapter.yaml").read_text(encoding="utf-8")
    (rule,) = yaml.safe_load(text)["rules"]["custom"]
    assert rule["seriesQuery"].partition("{")[0] == rule["name"]["as"] == METRIC
    assert rule["resources"]["overrides"].keys() == {"namespace", "pod"}
    (shown,) = re.findall(r"```text\n(rules:\n.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert yaml.safe_load(shown) == yaml.safe_load(text)


@pytest.mark.parametrize("case", CASES)
def test_a_pod_that_stops_has_time_to(case: str) -> None:
    kinds = manifests(CASES[case])
    slept = container(kinds)["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = int(kinds["ConfigMap"]["data"]["SECATEUR_DRAIN_S"])
    assert slept > 0
    assert pod(kinds)["terminationGracePeriodSeconds"] > slept + drain
    assert kinds["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


@pytest.mark.parametrize("case", CASES)
def test_a_pod_may_do_little(case: str) -> None:
    kinds = manifests(CASES[case])
    spec, of_container = pod(kinds), container(kinds)
    assert spec["enableServiceLinks"] is False
    assert spec["automountServiceAccountToken"] is False
    security = spec["securityContext"]
    assert (security["runAsNonRoot"], security["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    user = f"USER {security['runAsUser']}:{security['runAsGroup']}\n"
    assert (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8").count(user) == 2
    assert of_container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    writable = [mount for mount in of_container["volumeMounts"] if not mount.get("readOnly")]
    assert writable == [{"name": "tmp", "mountPath": "/tmp"}]
    assert {mount["name"] for mount in of_container["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}
    assert of_container["resources"]["requests"].keys() >= {"cpu", "memory"}
    assert "memory" in of_container["resources"]["limits"]


def test_keys_are_where_the_service_looks() -> None:
    kinds = manifests({"apiKeys": {"existingSecret": "made-before", "key": "rag.txt"}})
    (mount,) = (mount for mount in container(kinds)["volumeMounts"] if mount["name"] == "api-keys")
    (volume,) = (volume for volume in pod(kinds)["volumes"] if volume["name"] == "api-keys")
    assert volume["secret"]["secretName"] == "made-before"
    (item,) = volume["secret"]["items"]
    assert item["key"] == "rag.txt"
    assert kinds["ConfigMap"]["data"]["SECATEUR_API_KEYS_FILE"] == f"{mount['mountPath']}/{item['path']}"
    assert volume["secret"]["defaultMode"] == 0o440  # of the pod's group
    assert "subPath" not in mount  # such a mount would not follow the Secret
    assert "SECATEUR_API_KEYS_FILE" not in manifests()["ConfigMap"]["data"]


def test_a_gpu_is_asked_for() -> None:
    resources = container(manifests(CASES["gpu"]))["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == 1
    assert not any("gpu" in name for name in container(manifests())["resources"]["limits"])


@pytest.mark.parametrize(
    ("settings", "ports"),
    [
        ({}, []),
        ({"cache": "memory"}, []),
        ({"cache": "redis://redis"}, [6379]),
        ({"cache": "rediss://:password@redis:6390/1"}, [6390]),
        ({"otlp_endpoint": "http://collector:4318/v1/traces"}, [4318]),
        ({"otlp_endpoint": "https://collector"}, [443]),
        ({"cache": "redis://[::1]:7000/0", "otlp_endpoint": "http://[::1]"}, [7000, 80]),
    ],
)
def test_a_pod_reaches_names_and_what_settings_name(settings: Values, ports: list[int]) -> None:
    names, *others = manifests({"settings": settings})["NetworkPolicy"]["spec"]["egress"]
    assert names["ports"] == [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]
    assert [rule["ports"] for rule in others] == [[{"port": port, "protocol": "TCP"}] for port in ports]


LABELLED = {"podSelector": {"matchLabels": {"secateur-client": "true"}}}
WEB = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "web"}}}
BLOCK = {"ipBlock": {"cidr": "10.0.0.0/8"}}


@pytest.mark.parametrize(
    ("policy", "sources"),
    [
        ({}, [LABELLED]),
        ({"namespaces": ["web"]}, [LABELLED, WEB]),
        ({"clients": [BLOCK]}, [BLOCK]),
        ({"clients": [], "namespaces": ["web"]}, [WEB]),
    ],
)
def test_what_reaches_a_pod_is_chosen(policy: Values, sources: list[Values]) -> None:
    spec = manifests({"networkPolicy": policy})["NetworkPolicy"]["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    (rule,) = spec["ingress"]
    assert rule["from"] == sources


def test_nobody_reaches_a_pod_where_nobody_is_named() -> None:
    spec = manifests({"networkPolicy": {"clients": []}})["NetworkPolicy"]["spec"]
    assert spec["ingress"] == []  # a rule without `from` would be one for everybody


@pytest.mark.parametrize(
    "keys",
    [
        {"apiKeys": {"existingSecret": "keys"}},
        {"apiKeys": {"required": False}},
        {"env": [{"name": "SECATEUR_API_KEYS", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "keys"}}}]},
        {"env": [{"name": "SECATEUR_API_KEYS_FILE", "value": "/vault/keys"}]},
    ],
)
def test_it_is_opened_to_the_outside_with_keys_or_on_purpose(keys: Values) -> None:
    assert "Ingress" not in manifests(keys)
    assert "Ingress" in manifests(keys | {"ingress": {"enabled": True, "host": "a.example.com"}})
    assert manifests(keys | {"service": {"type": "LoadBalancer"}})["Service"]["spec"]["type"] == "LoadBalancer"


def test_the_notes_say_what_is_open() -> None:
    notes = rendered()["secateur/templates/NOTES.txt"]
    assert "http://secateur.rag:8080" in notes
    assert "no API keys" in notes and '"secateur-client":"true"' in notes
    notes = rendered(CASES["all"])["secateur/templates/NOTES.txt"]
    assert "no API keys" not in notes and "monitoring" in notes and METRIC in notes
    assert "https://secateur.example.com/" in notes and "clear text" not in notes
    plain = {"ingress": {"enabled": True, "host": "a.example.com"}, "apiKeys": {"existingSecret": "keys"}}
    assert "clear text" in rendered(plain)["secateur/templates/NOTES.txt"]


def test_the_schema_and_the_table_are_fresh(generate: ModuleType) -> None:
    schema, page = (file.read_text(encoding="utf-8") for file in (generate.SCHEMA, DOCUMENT))
    assert generate.with_settings(schema) == schema
    assert generate.with_table(page) == page
    assert "| `autoscaling.queueTokens` | `16384` | Target number of waiting tokens" in page


def test_every_value_has_its_comment(generate: ModuleType) -> None:
    described = {path for path, _, _ in generate.commented()}

    def undescribed(values: Values, path: str = "") -> Iterator[str]:
        for key, value in values.items():
            full = f"{path}{key}"
            if full not in described:
                yield from undescribed(value, f"{full}.") if isinstance(value, dict) and value else [full]

    with helm.Chart.load(CHART) as chart:
        assert list(undescribed(chart.values)) == []


@pytest.mark.slow
def test_the_documented_commands_render() -> None:
    lines = re.findall(r"^helm upgrade --install (.*)$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        words = shlex.split(line)
        assert words[:2] == ["secateur", str(CHART.relative_to(ROOT))]
        values: Values = {}
        for flag, value in zip(words[2::2], words[3::2], strict=True):
            if flag == "--set":
                for key, part in helm.parse_set_string(value).items():
                    values.setdefault(key, {}).update(part)
            elif flag == "-f":
                values |= yaml.safe_load((ROOT / value).read_text(encoding="utf-8"))
            else:
                assert flag == "--namespace"
        manifests(values)
