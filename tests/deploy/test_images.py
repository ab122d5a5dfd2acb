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
import zipfile
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

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


def locked(image: str) -> dict[str, str]:
    """Return the versions that an image has, by package, after a look at their hashes."""
    text = (ROOT / f"deploy/requirements-{image}.txt").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for line in text.replace("\\\n", " ").splitlines():
        if not line.startswith("#"):
            requirement, *hashes = line.split()
            assert hashes and all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", one) for one in hashes), line
            name, _, version = requirement.partition("==")
            assert version, f"{requirement}: the version is not pinned"
            found[canonicalize_name(name)] = version
    return found


def needed(requirements: list[str], seen: dict[str, set[str]] | None = None) -> dict[str, set[str]]:
    """Return all packages that requirements bring, and which of their extras, by what is installed here."""
    seen = {} if seen is None else seen
    for requirement in map(Requirement, requirements):
        name = canonicalize_name(requirement.name)
        if name in seen and requirement.extras <= seen[name]:
            continue
        seen.setdefault(name, set()).update(requirement.extras)
        with suppress(PackageNotFoundError):  # onnxruntime-gpu is for machines with a GPU
            needed(
                [
                    one
                    for one in requires(name) or ()
                    if (marker := Requirement(one).marker) is None
                    or any(marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras))
                ],
                seen,
            )
    return seen


@pytest.fixture(scope="module")
def lock() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lock", RELEASE / "lock.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("image", ["build", "cpu", "gpu"])
def test_the_images_install_what_pyproject_asks_for_at_the_tested_versions_by_hash(
    lock: ModuleType, image: str
) -> None:
    versions = locked(image)
    missing = needed(lock.wanted(image)).keys() - versions.keys()
    assert not missing, f"run: make lock ({sorted(missing)})"
    tested: dict[str, str] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, _, version = line.partition("==")
            tested[canonicalize_name(name)] = version
    assert {name: tested.get(name) for name in versions} == versions, "run: make lock"
    for requirement in map(Requirement, lock.wanted(image)):
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)])


def test_nothing_is_installed_in_an_image_but_by_hash_or_from_our_own_wheel(dockerfile: ModuleType) -> None:
    stages = dockerfile.read()
    for name, image in (("wheel", "build"), ("cpu-venv", "cpu"), ("gpu-venv", "gpu")):
        (command,) = stages[name].run
        installs = [part for part in command.split("&&") if " install " in part or " wheel " in part]
        assert len(installs) == 2
        by_hash, own = installs
        assert "--require-hashes" in by_hash and f"requirements-{image}.txt" in by_hash
        assert "--no-deps" in own and ("--no-index" in own or "--no-build-isolation" in own)
    assert not [
        name for name, stage in stages.items() if "pip" in " ".join(stage.run) and not name.endswith(("venv", "wheel"))
    ]


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
            (to / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, to / name)
    return to


@pytest.mark.slow
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
        [
            "env",
            f"PATH={path}",
            "bash",
            "-euc",
            command.replace("/wheel", str(out)).replace("/build", str(tmp_path / "build")),
        ],
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
