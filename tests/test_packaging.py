"""What the wheel holds, who may import whom, and what `import secateur` costs."""

from __future__ import annotations

import ast
import importlib.metadata
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
FACE = "secateur"
# The "may import" table of the design: a folder imports itself and these; the face imports all, its modules lazily.
MAY_IMPORT: dict[str, set[str]] = {
    "models": set(),
    "labelled": {"models"},
    "llm": {"models"},
    "service": {"models"},
    "training": {"models", "labelled"},
    "data_scripts": {"models", "labelled", "llm"},
    "eval": {"models", "labelled", "llm"},
    "pipelines": {"models", "labelled", "training", "data_scripts", "eval"},
    FACE: {"models", "labelled", "llm", "service", "training", "data_scripts", "eval", "pipelines"},
}
HEAVY = ("torch", "transformers", "langchain", "langchain_core", "onnxruntime", "openvino", "fastapi")
# Byte code, and fp32 weights that may lie beside the exported model of a developer.
UNSHIPPED = {".pyc", ".safetensors"}


def source_files(folder: str) -> list[Path]:
    """Return the files under a source folder, relative to the root."""
    files = (path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.is_file())
    return sorted(path for path in files if path.suffix not in UNSHIPPED and "__pycache__" not in path.parts)


def installed_name(path: Path) -> str:
    """Return where the wheel holds a source file."""
    return path.as_posix() if path.parts[0] == FACE else f"{FACE}/{path.as_posix()}"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in the wheel, built from a copy: setuptools would ship what an older build left in the tree."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for folder in MAY_IMPORT:
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    command = [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = out.glob("*.whl")
    return zipfile.ZipFile(built).namelist()


@pytest.mark.slow
@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_the_wheel_holds_every_file_of_a_source_folder(wheel: list[str], folder: str) -> None:
    files = source_files(folder)
    assert files
    missing = [str(path) for path in files if installed_name(path) not in wheel]
    assert not missing, f"add to [tool.setuptools] packages or package-data in pyproject.toml: {missing}"


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for name in MAY_IMPORT for path in source_files(name) if path.suffix == ".py"}
    assert not [str(folder) for folder in folders if not (ROOT / folder / "__init__.py").is_file()]


def test_the_wheel_holds_nothing_else(wheel: list[str]) -> None:
    expected = {installed_name(path) for folder in MAY_IMPORT for path in source_files(folder)}
    extra = [name for name in wheel if name not in expected and ".dist-info/" not in name]
    assert not extra, f"nothing but {FACE}/ may be installed: {extra}"


def test_the_wheel_holds_the_package_data(wheel: list[str]) -> None:
    assert f"{FACE}/py.typed" in wheel
    assert any(name.startswith(f"{FACE}/training/configs/") and name.endswith(".yaml") for name in wheel)
    shipped = f"{FACE}/models/pretrained/secateur-nano-en"
    for name in ("config.json", "tokenizer.json", "README.md", "onnx/model_int8.onnx", "secateur.sha256"):
        assert f"{shipped}/{name}" in wheel


@dataclass(frozen=True, slots=True)
class Import:
    """One of our modules, imported by a line of another."""

    line: int
    module: str
    lazy: bool

    @property
    def folder(self) -> str:
        """The source folder that it reaches: the face, when it is not in one of the mapped packages."""
        _, _, rest = self.module.partition(".")
        part = rest.partition(".")[0]
        return part if part in MAY_IMPORT else FACE


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _modules(node: ast.AST, package: str) -> list[str]:
    """Return the full names that an import statement, or a call by a constant name, reaches."""
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom():
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *filter(None, [node.module])])
            return [f"{base}.{alias.name}" for alias in node.names]
        case ast.Call(func=func, args=[ast.Constant(value=str(name)), *_]):
            return [name] if ast.unparse(func).rpartition(".")[2] in ("import_module", "__import__") else []
    return []


def imports(tree: ast.AST, package: str, lazy: bool = False) -> Iterator[Import]:
    """Yield the imports of our modules; one in a function or for type checkers only is lazy."""
    for node in ast.iter_child_nodes(tree):
        for module in _modules(node, package):
            if module.split(".")[0] == FACE:
                assert isinstance(node, ast.stmt | ast.expr)
                yield Import(node.lineno, module, lazy)
        deferred = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            yield from imports(ast.Module(node.body, []), package, True)
            yield from imports(ast.Module(node.orelse, []), package, lazy)
        else:
            yield from imports(node, package, lazy or deferred)


def violations(source: str, path: Path) -> list[str]:
    """Return the imports of a module that the table forbids; ``path`` is relative to the root."""
    folder = path.parts[0]
    package = installed_name(path.parent / "x").rpartition("/")[0].replace("/", ".")
    found = []
    for item in imports(ast.parse(source), package):
        if item.folder == folder:
            continue
        if item.folder not in MAY_IMPORT[folder]:
            found.append(f"{path}:{item.line}: {folder} may not import {item.module}")
        # The face's subpackages cost whoever imports them; only its modules come with `import secateur` and the CLI.
        elif folder == FACE and len(path.parts) == 2 and not item.lazy:
            found.append(f"{path}:{item.line}: {item.module} must be imported inside the function that needs it")
    return found


def test_imports_keep_to_the_table() -> None:
    modules = [path for folder in MAY_IMPORT for path in source_files(folder) if path.suffix == ".py"]
    found = [line for path in modules for line in violations((ROOT / path).read_text(encoding="utf-8"), path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("models/pruner.py", "from secateur.service import app"),
        ("models/pruner.py", "from secateur import training"),
        ("models/pruner.py", "import secateur.eval.metrics"),
        ("models/pruner.py", "from secateur import Pruner"),
        ("models/backends/onnx.py", "from ...training import data"),
        ("models/backends/onnx.py", "def run():\n    from secateur.eval import metrics"),
        ("models/pruner.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import secateur.service"),
        ("models/pruner.py", "import importlib\nimportlib.import_module('secateur.training.trainer')"),
        ("service/app.py", "try:\n    import secateur.training\nexcept ImportError:\n    pass"),
        ("eval/metrics.py", "from secateur.training.pairs import build_groups"),
        ("service/app.py", "from secateur.llm.endpoint import Endpoint"),
        ("models/pruner.py", "from secateur.labelled.examples import Example"),
        ("training/run.py", "from secateur.pipelines.finetune import finetune"),
        ("eval/metrics.py", "from secateur.client import Client"),
        ("secateur/__init__.py", "from secateur.models.pruner import Pruner"),
        ("secateur/cli.py", "from .models import pruner"),
        ("secateur/client.py", "class Client:\n    from secateur.models import errors"),
        ("secateur/cli.py", "if TYPE_CHECKING:\n    pass\nelse:\n    import secateur.models"),
    ],
)
def test_a_forbidden_import_is_caught(path: str, source: str) -> None:
    assert len(violations(source, Path(path))) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("models/pruner.py", "import json\nfrom secateur.models.errors import InputError\nfrom .types import Unit"),
        ("models/backends/onnx.py", "from ..types import Unit\nfrom . import base"),
        ("service/app.py", "import secateur.models.pruner\nfrom secateur.models import errors"),
        ("secateur/__init__.py", "def __getattr__(name):\n    from secateur.models.pruner import Pruner"),
        ("secateur/__init__.py", "if TYPE_CHECKING:\n    from secateur.models.pruner import Pruner"),
        ("secateur/cli.py", "from secateur import client\nfrom secateur.client import Client"),
        ("secateur/client/wire.py", "from secateur.models.types import Passage"),
        ("eval/rag/run.py", "from secateur.llm.endpoint import Endpoint"),
    ],
)
def test_an_allowed_import_passes(path: str, source: str) -> None:
    assert violations(source, Path(path)) == []


def test_no_module_is_over_400_lines() -> None:
    modules = [path for folder in MAY_IMPORT for path in source_files(folder) if path.suffix == ".py"]
    lengths = {path: len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in modules}
    assert not [f"{path}: {lines}" for path, lines in lengths.items() if lines > 400]


def requirements(*extras: str) -> list[Requirement]:
    """Return what the distribution requires with these extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = [Requirement(line) for line in project["dependencies"]]
    for extra in extras:
        for requirement in map(Requirement, project["optional-dependencies"][extra]):
            found += requirements(*requirement.extras) if requirement.name == FACE else [requirement]
    return found


def closure(wanted: list[Requirement]) -> set[str]:
    """Return the names of all distributions that requirements bring, by what is installed here."""
    names: set[str] = set()
    pending = [(requirement, "") for requirement in wanted]
    while pending:
        requirement, extra = pending.pop()
        name = canonicalize_name(requirement.name)
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": extra})
        if applies and name not in names:
            names.add(name)
            lines = importlib.metadata.requires(name) or []
            pending += [(Requirement(line), extra) for line in lines for extra in ("", *requirement.extras)]
    return names


def test_the_base_install_has_no_web_framework() -> None:
    assert not closure(requirements()) & {"fastapi", "starlette", "uvicorn", "prometheus-client", "torch"}
    assert {"fastapi", "uvicorn"} <= closure(requirements("serve"))


def third_party(folder: str) -> set[str]:
    """Return the top-level modules of others that a folder's modules import."""
    found: set[str] = set()
    for path in source_files(folder):
        if path.suffix == ".py":
            for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {FACE}


def test_every_module_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {canonicalize_name(r.name) for r in requirements(*project["optional-dependencies"])}
    homes = importlib.metadata.packages_distributions()
    undeclared = {
        (folder, module)
        for folder in MAY_IMPORT
        for module in third_party(folder)
        if not declared & {canonicalize_name(name) for name in homes.get(module, [module])}
    }
    assert not undeclared


def test_import_secateur_is_light(tmp_path: Path) -> None:
    code = f"import sys, secateur; print(*sorted({{m.partition('.')[0] for m in sys.modules}} & set({HEAVY})))"
    # Away from the checkout, whose folders are not the package.
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# For what reads data of others: bounds that leave out the vulnerabilities known when they were set. Runtimes, which
# read models, and pypdf, which reads documents, are held close to what is tested.
SAFE = {
    "h11": "0.16",  # request smuggling by chunks, CVE-2025-43859
    "jinja2": "3.1.6",  # a way out of the sandbox, CVE-2025-27516
    "langchain-core": "1.2.11",  # injection by templates and by what is loaded, CVE-2025-65106, CVE-2025-68664
    "nltk": "3.9.3",  # code by downloads that are unpacked, CVE-2024-39705, CVE-2025-14009
    "onnx": "1.21",  # files outside of the model's directory, CVE-2025-51480
    "onnxruntime": "1.24",
    "onnxruntime-gpu": "1.24",
    "openvino": "2026.0",
    "pyarrow": "23.0.1",  # use after free in reading IPC
    "pypdf": "7.1",  # several ways to take all memory or time
    "ray": "2.54",  # commands by a page in the browser, CVE-2025-62593
    "requests": "2.32.4",  # credentials of .netrc to others, CVE-2024-47081
    "setuptools": "78.1.1",  # files outside of its folder, CVE-2025-47273
    "starlette": "0.49.1",  # quadratic Range, CVE-2025-62727
    "torch": "2.8",  # code by weights that are loaded, CVE-2025-32434, and memory that is corrupted
    "urllib3": "2.6.3",  # decompression without bounds, CVE-2025-66471, CVE-2026-21441
}


def lowest(requirement: Requirement) -> Version | None:
    """Return the lower bound of a requirement."""
    bounds = [Version(one.version) for one in requirement.specifier if one.operator == ">="]
    assert len(bounds) <= 1
    return bounds[0] if bounds else None


def test_lower_bounds_are_safe_and_no_higher_than_what_is_tested() -> None:
    content = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = content["project"]
    lines = [*content["build-system"]["requires"], *project["dependencies"]]
    lines += [line for lines in project["optional-dependencies"].values() for line in lines]
    tested = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, _, version = line.partition("==")
            tested[canonicalize_name(name)] = Version(version)
    seen = set()
    for requirement in map(Requirement, lines):
        name = canonicalize_name(requirement.name)
        bound = lowest(requirement)
        seen.add(name)
        if bound is not None:
            assert bound <= tested[name], f"{requirement}: {tested[name]} is tested"
        if name in SAFE:
            assert bound is not None and bound >= Version(SAFE[name]), f"{requirement}: at least {SAFE[name]}"
    assert seen >= SAFE.keys()


def test_what_reads_the_requests_has_a_lower_bound_of_ours() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {canonicalize_name(Requirement(line).name) for line in project["optional-dependencies"]["serve"]}
    assert {"h11", "starlette", "uvicorn", "fastapi"} <= named
