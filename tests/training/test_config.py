from __future__ import annotations

from pathlib import Path

import pytest

from secateur.models.errors import DataError
from secateur.training.config import config_dict, load_config

VALID = "name: tiny\nbase: some/base\nout: runs/tiny\ndata:\n  train: data\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_shipped_config_loads(pytestconfig: pytest.Config) -> None:
    config = load_config(pytestconfig.rootpath / "training" / "configs" / "secateur-nano-en.yaml")
    assert config.name == "secateur-nano-en"
    assert config.optim.learning_rate == pytest.approx(1.2e-4)


def test_a_number_written_without_a_point_is_a_number(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, VALID + "optim:\n  learning_rate: 1e-5\n"))
    assert config.optim.learning_rate == pytest.approx(1e-5)


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ("optim:\n  learning_rte: 1\n", "optim.learning_rte"),
        ("optim:\n  batch_size: 0\n", "optim.batch_size"),
        ("optim:\n  precision: fp8\n", "optim.precision"),
        ("optim:\n  learning_rate: .nan\n", "optim.learning_rate"),
        ("rank_head: cubic\n", "rank_head"),
        ("data: 3\n", "data"),
        ("data: [\n", "YAML"),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, extra: str, named: str) -> None:
    text = VALID.split("data:")[0] + extra if extra.startswith("data") else VALID + extra
    with pytest.raises(DataError, match=named):
        load_config(write(tmp_path, text))


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="base"):
        load_config(write(tmp_path, VALID.replace("base: some/base\n", "")))


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load_config(tmp_path / "none.yaml")


def test_the_record_holds_no_directory_of_this_machine(tmp_path: Path) -> None:
    record = config_dict(load_config(write(tmp_path, VALID)))
    assert "out" not in record
    assert "train" not in record["data"]
    assert record["optim"]["batch_size"] == 16
