"""The registries: complete, and importable without a runtime."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from secateur.models.backends import Backend
from secateur.models.checkpoint import ONNX_FILES
from secateur.models.errors import InputError, unknown_name
from secateur.models.options import PruneOptions, option_table
from secateur.models.pruner import Pruner
from secateur.models.registry import BACKENDS, DEVICES, PRECISIONS, RUNTIMES, either


def test_the_types_name_every_entry() -> None:
    assert ("auto", *RUNTIMES) == BACKENDS
    assert ("auto", *ONNX_FILES) == PRECISIONS
    assert {device for runtime in RUNTIMES.values() for device in runtime.devices} == set(DEVICES) - {"auto"}


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_backend_is_the_class_that_its_entry_names(name: str) -> None:
    module, _, kind = RUNTIMES[name].kind.partition(":")
    backend = getattr(import_module(module), kind)
    assert issubclass(backend, Backend) and backend.name == name


def test_the_values_are_listed_in_words() -> None:
    assert either(DEVICES) == "auto, cpu or cuda"


def test_the_registries_cost_no_runtime() -> None:
    modules = "registry", "options", "segmentation", "segmenters"
    heavy = {"numpy", "onnxruntime", "openvino", "pydantic", "tokenizers", "torch", "nupunkt", "nltk"}
    code = "import sys\n" + "\n".join(f"import secateur.models.{name}" for name in modules) + "\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=Path.cwd())
    assert not heavy & set(done.stdout.split())


def test_an_unknown_option_is_refused_with_the_closest_names(pruner: Pruner) -> None:
    for call in (lambda: PruneOptions.of(thresold=0.5), lambda: pruner.prune("q", ["a"], thresold=0.5)):
        with pytest.raises(InputError) as error:
            call()
        assert error.value.field == "thresold"
        assert "did you mean threshold?" in error.value.hint
        assert all(name in error.value.hint for name in option_table())
    assert PruneOptions.of(threshold=0.5) == PruneOptions(threshold=0.5)


def test_prune_shows_every_option_in_its_signature() -> None:
    parameters = inspect.signature(Pruner.prune).parameters
    assert list(parameters) == ["self", "query", "passages", *option_table()]


def test_a_short_registry_is_listed_without_a_guess() -> None:
    assert unknown_name("device", "device", "cpus", DEVICES).hint == "use one of auto, cpu, cuda"
