"""The Dockerfile: linted, and its commands run outside of a container.

`deploy/release/check.py`, which `make release` runs, makes the CPU image's environment by the Dockerfile's commands and
starts its service; here are the stage that builds the wheel, and what is common to the images.
"""

from __future__ import annotations

import fnmatch
import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
RELEASE = ROOT / "deploy/release"


@pytest.fixture(scope="module")
def dockerfile() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dockerfile", RELEASE / "dockerfile.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(shutil.which("hadolint", path=Path(sys.executable).parent) is None, reason="no hadolint")
def test_hadolint_finds_nothing() -> None:
    command = [str(Path(sys.executable).parent / "hadolint"), str(ROOT / "deploy/Dockerfile")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_both_images_run_the_same_without_rights(dockerfile: ModuleType) -> None:
    stages = dockerfile.read()
    assert list(stages)[-1] == "cpu", "a build without --target makes the image that runs anywhere"
    cpu, gpu = stages["cpu"], stages["gpu"]
    for name in ("USER", "ENV", "WORKDIR", "EXPOSE", "HEALTHCHECK", "CMD"):
        assert cpu.all(name) == gpu.all(name) != []
    assert cpu.all("USER") == ["10001:10001"]
    assert not cpu.run and not gpu.run, "what builds is not in what runs"
    bases = [stage.base for stage in stages.values() if stage.base not in stages]
    assert all(re.search(r":\d+\.\d+", base) for base in bases), bases


def test_compose_asks_after_health_as_the_images_do(dockerfile: ModuleType) -> None:
    yaml = pytest.importorskip("yaml")
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    for name in ("secateur", "secateur-gpu", "replica"):
        assert services[name]["healthcheck"]["test"] == ["CMD", *dockerfile.read()["cpu"].health]


def test_the_extras_that_are_installed_exist(dockerfile: ModuleType) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for target in ("cpu", "gpu"):
        (command,) = dockerfile.read()[f"{target}-venv"].run
        (extras,) = re.findall(r"\.whl\)\[([\w,]+)\]", command)
        assert extras.split(",") == [target, "redis", "otel"]
        assert set(extras.split(",")) <= project["optional-dependencies"].keys()


def build_context(to: Path) -> Path:
    """Copy what .dockerignore lets through; it has names of the root after `!`, and patterns of files anywhere."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    wanted = [line[1:].rstrip("/") for line in lines if line.startswith("!")]
    unwanted = [line.removeprefix("**/") for line in lines if line.startswith("**/")]
    assert len(wanted) + len(unwanted) + 1 == len([line for line in lines if line and not line.startswith("#")])
    for name in wanted:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns(*unwanted))
        else:
            shutil.copy(ROOT / name, to / name)
    return to


def test_the_wheel_is_built_of_what_goes_to_the_build(dockerfile: ModuleType, tmp_path: Path) -> None:
    source, out = tmp_path / "src", tmp_path / "wheel"
    source.mkdir()
    build_context(source)
    for stage in ("cpu-venv", "gpu-venv"):
        for copied in dockerfile.read()[stage].all("COPY"):
            assert (source / copied.split()[0]).is_file()
    (command,) = dockerfile.read()["wheel"].run
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        ["env", f"PATH={path}", "bash", "-euc", command.replace("/wheel", str(out))],
        cwd=source,
        capture_output=True,
        text=True,
    )
    if "No matching distribution found for setuptools" in done.stdout + done.stderr:
        pytest.skip("there is no package index")
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = out.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("model_int8.onnx", "model_fp16.onnx"):
        assert f"secateur/models/pretrained/secateur-nano-en/onnx/{name}" in names
    modules = [path.relative_to(source) for path in source.rglob("*.py") if "build" not in path.parts]
    inside = {name.removeprefix("secateur/") for name in names}
    missing = [str(path) for path in modules if path.as_posix().removeprefix("secateur/") not in inside]
    assert not missing


@pytest.mark.parametrize(
    "ignored", ["models/pretrained/secateur-nano-en/model.safetensors", "service/__pycache__/a.pyc"]
)
def test_what_is_not_shipped_does_not_go_to_the_build(ignored: str) -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line.removeprefix("**/") for line in lines if line.startswith("**/")]
    assert any(fnmatch.fnmatch(part, pattern) for part in Path(ignored).parts for pattern in patterns)
