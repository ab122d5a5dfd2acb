"""What a release is made by: one version, a wheel that is the same when built again, checks that fail, a workflow."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import secateur

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "deploy/release"
ZIZMOR = shutil.which("zizmor", path=Path(sys.executable).parent)
WORKFLOW = ROOT / ".github/workflows/ci.yml"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SOURCES = sorted(PROJECT["tool"]["setuptools"]["package-dir"].values())


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Import a script of the release, which are no package."""
    monkeypatch.syspath_prepend(str(RELEASE))

    def load(name: str) -> ModuleType:
        monkeypatch.delitem(sys.modules, name, raising=False)
        return importlib.import_module(name)

    return load


def test_the_version_is_that_of_pyproject() -> None:
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", stated)
    assert version("secateur") == secateur.__version__ == stated
    assigned = re.compile(r"""^\s*(__version__|version|VERSION)\s*(:.*)?=\s*["']\d""", re.MULTILINE)
    modules = [path for folder in SOURCES for path in (ROOT / folder).rglob("*.py")]
    assert not [path for path in modules if assigned.search(path.read_text(encoding="utf-8"))]


def build(folder: Path, out: Path) -> str:
    """Build a wheel of a copy of the sources, less the weights, which take long to pack; return its digest."""
    for name in SOURCES:
        shutil.copytree(
            ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors", "*.onnx")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, folder / name)
    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", f"--wheel-dir={out}"]
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = out.glob("*.whl")
    return hashlib.sha256(wheel.read_bytes()).hexdigest()


@pytest.mark.slow
def test_a_wheel_that_is_built_again_is_the_same_to_the_bit(tmp_path: Path) -> None:
    digests = []
    for number in range(2):
        folder = tmp_path / f"copy-{number}"
        folder.mkdir()
        (folder / "later").touch()
        digests.append(build(folder, tmp_path / f"wheel-{number}"))
    assert digests[0] == digests[1]


def test_what_is_too_heavy_fails_the_check(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check = script("check")
    monkeypatch.setattr(check, "HEAVY", ("pytest", "nothing_of_that_name"))
    with pytest.raises(SystemExit, match="holds pytest"):
        check.check_contents(Path(sys.executable), tmp_path, dict(os.environ))


@pytest.mark.parametrize(
    "results",
    [
        '[{"id": "louvre", "text": "It was completed in March 1889."}]',
        '[{"id": "tower", "text": "completed in March 1889", "kept_units": 2, "total_units": 2}, {"empty": true}]',
        '[{"id": "tower", "text": "completed in March 1889", "kept_units": 1, "total_units": 2}, {"empty": false}]',
        '[{"id": "tower", "text": "", "kept_units": 0, "total_units": 2}, {"empty": true}]',
    ],
)
def test_wrong_pruning_fails_the_check(script: Any, tmp_path: Path, results: str) -> None:
    command = tmp_path / "secateur"
    command.write_text(f"#!/bin/sh\necho '{{\"results\": {results}}}'\n", encoding="utf-8")
    command.chmod(0o755)
    with pytest.raises(SystemExit, match="prunes wrongly"):
        script("check").check_pruning(command, tmp_path, dict(os.environ))


def test_a_service_that_does_not_start_fails_the_check(script: Any, tmp_path: Path) -> None:
    check, dockerfile = script("check"), script("dockerfile")
    stage = dockerfile.Stage("", [("CMD", '["sh", "-c", "echo no model"]'), ("HEALTHCHECK", 'CMD ["false"]')])
    with pytest.raises(SystemExit, match="no model"):
        check.check_service(stage, tmp_path, dict(os.environ))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("pip_audit") is None, reason="pip-audit is not installed")
def test_an_audit_without_the_network_says_so_and_fails_nothing(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text("requests==2.31.0\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(RELEASE / "audit.py"), str(requirements)],
        env=os.environ | {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("audit: NOT DONE, it needs the network (")


def test_an_audit_tells_what_it_found_and_what_it_did_not_look_up(script: Any) -> None:
    told = script("audit").told
    good = {"name": "a", "version": "1", "vulns": []}
    bad = {
        "name": "b",
        "version": "2",
        "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}, {"id": "CVE-2", "fix_versions": []}],
    }
    unknown = {"name": "c", "skip_reason": "not found"}
    assert told([good]) == ["audit: of 1 versions, 0 have known vulnerabilities"]
    assert told([good, bad, unknown]) == [
        "b 2: CVE-1, fixed in 3",
        "b 2: CVE-2, fixed in no version yet",
        "audit: of 2 versions, 1 have known vulnerabilities",
        "not looked up: c",
    ]
    assert told([unknown])[0].startswith("audit: NOT DONE")


# Answers as `docker buildx imagetools inspect` does; no registry can be reached here.
DOCKER = """#!/usr/bin/env python3
import hashlib, sys
assert sys.argv[1:6] == ["buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}"], sys.argv
name = sys.argv[6]
if name.startswith("FAILS"):
    sys.exit("no such image")
print("sha256:" + hashlib.sha256(name.encode()).hexdigest())
"""


@pytest.fixture
def checkout(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files that name images, beside a docker that knows every image."""
    for file in script("images").FILES:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        text = (ROOT / file).read_text(encoding="utf-8")
        (tmp_path / file).write_text(re.sub(r"@sha256:[0-9a-f]{64}", "", text), encoding="utf-8")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/docker").write_text(DOCKER, encoding="utf-8")
    (tmp_path / "bin/docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_every_image_of_others_is_found(script: Any) -> None:
    found = {name for _, name, _ in script("images").images()}
    text = "".join((ROOT / file).read_text(encoding="utf-8") for file in script("images").FILES)
    ours = {"secateur:cpu", "secateur:gpu"}
    named = set(re.findall(r"(?:image: |_IMAGE=|container: )([^\s@]+)", text)) - ours
    assert found == named and len(found) == 7


@pytest.mark.slow
def test_images_are_pinned_by_what_the_registry_says_and_pinned_again(script: Any, checkout: Path) -> None:
    images = script("images")
    before = list(images.images(checkout))
    assert all(digest is None for _, _, digest in before)
    for _ in range(2):
        images.pin(checkout)
        after = list(images.images(checkout))
        assert [(file, name) for file, name, _ in after] == [(file, name) for file, name, _ in before]
        for _, name, digest in after:
            assert digest == f"@sha256:{hashlib.sha256(name.encode()).hexdigest()}"
    for file in images.FILES:
        left = re.sub(r"@sha256:[0-9a-f]{64}", "", (checkout / file).read_text(encoding="utf-8"))
        assert left == re.sub(r"@sha256:[0-9a-f]{64}", "", (ROOT / file).read_text(encoding="utf-8"))
    stages = script("dockerfile").read(checkout / "deploy/Dockerfile")
    assert all("@sha256:" in stage.base for stage in stages.values() if stage.base not in stages)


def test_nothing_is_pinned_when_a_digest_cannot_be_had(script: Any, checkout: Path) -> None:
    compose = checkout / "docker-compose.yml"
    compose.write_text(compose.read_text(encoding="utf-8").replace("nginx:", "FAILS:"), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"FAILS:1.*no such image"):
        script("images").pin(checkout)
    assert "@sha256:" not in (checkout / "deploy/Dockerfile").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_release_needs_digests(script: Any, checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = checkout / "deploy/release"
    shutil.copytree(RELEASE, copied, ignore=shutil.ignore_patterns("__pycache__"))
    check = [sys.executable, str(copied / "images.py"), "check"]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 1
    assert "redis:7" in done.stdout and "make pin" in done.stdout
    assert subprocess.run([*check[:2], "pin"], capture_output=True).returncode == 0
    done = subprocess.run(check, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "all 7 images are pinned by their digests\n")
    job = WORKFLOW.read_text(encoding="utf-8").partition("  images:")[2]
    assert re.search(r"if: github\.ref_type == 'tag'\n +run: make pinned\n", job), "no release is made without"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("check_jsonschema") is None, reason="check-jsonschema is not installed")
@pytest.mark.parametrize("schema", ["vendor.github-workflows", "custom.github-workflows-require-timeout"])
def test_the_workflow_is_one(schema: str) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(WORKFLOW)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(ZIZMOR is None, reason="zizmor is not installed")
def test_the_workflow_is_safe() -> None:
    command = [str(ZIZMOR), "--offline", "--no-progress", str(WORKFLOW)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_workflow_pins_its_actions_and_calls_what_there_is() -> None:
    text = WORKFLOW.read_text(encoding="utf-8")
    used = re.findall(r"uses: (.*)", text)
    assert used
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action) for action in used)
    assert "- run: .ci/run\n" in text
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"run: make (\w+)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    stages = (ROOT / "deploy/Dockerfile").read_text(encoding="utf-8")
    for target in re.findall(r"target: \[(.*)\]", text)[0].split(", "):
        assert f" AS {target}\n" in stages
