"""A model's files are compared with their sums when it is loaded, and the commands that write files write sums."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from secateur.cli import main
from secateur.models.checkpoint import CALIBRATION, CONFIG, ONNX_FP16, ONNX_INT8, TOKENIZER, WEIGHTS, read_config
from secateur.models.errors import ModelError
from secateur.models.network import load_network, save_network
from secateur.models.pruner import Pruner
from secateur.models.sums import SUMS, check_sums, read_sums, write_sums
from secateur.training.export import export

USED = (CONFIG, TOKENIZER, CALIBRATION, ONNX_INT8)


@pytest.fixture
def summed(shipped: Path, tmp_path: Path) -> Path:
    """A copy of the shipped model, with its sums."""
    return Path(shutil.copytree(shipped, tmp_path / "summed"))


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def load(directory: Path, **options: object) -> Pruner:
    return Pruner.load(directory, **{"backend": "openvino", "precision": "int8", "threads": 1} | options)  # type: ignore[arg-type]


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_shipped_model_is_whole_and_every_file_that_is_read_has_a_sum(shipped: Path) -> None:
    present = [name for name in (CONFIG, TOKENIZER, CALIBRATION, ONNX_INT8, ONNX_FP16) if (shipped / name).is_file()]
    sums = read_sums(shipped)
    assert sums is not None
    assert set(sums) - {WEIGHTS} == set(present)  # fp32 weights may lie beside it here
    assert check_sums(shipped, present)


def test_the_file_is_one_of_sha256sum(summed: Path) -> None:
    done = subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=summed, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_model_with_sums_loads_without_a_word(summed: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert load(summed).prune("query", ["A text."]).results[0].total_units == 1
    assert warnings_of(caplog) == []


@pytest.mark.parametrize("name", USED)
def test_a_flipped_bit_is_found_before_anything_is_run(summed: Path, name: str) -> None:
    flip(summed / name)
    with pytest.raises(ModelError, match=rf"{re.escape(str(summed / name))}: is damaged.*secateur checksum"):
        load(summed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "precision", "name"),
    [
        ("openvino", "int8", ONNX_INT8),
        ("onnx", "fp16", ONNX_FP16),
        ("onnx", "int8", ONNX_INT8),
        ("torch", "auto", ONNX_FP16),
    ],
)
def test_the_file_that_a_backend_runs_is_compared_and_no_other(
    summed: Path, backend: str, precision: str, name: str
) -> None:
    other = ONNX_FP16 if name == ONNX_INT8 else ONNX_INT8
    flip(summed / other)
    assert load(summed, backend=backend, precision=precision, device="cpu").config == read_config(summed)
    flip(summed / name)
    with pytest.raises(ModelError, match=rf"{name}: is damaged"):
        load(summed, backend=backend, precision=precision, device="cpu")


def test_a_tokenizer_that_was_cut_does_not_run_silently(summed: Path) -> None:
    content = json.loads((summed / TOKENIZER).read_text(encoding="utf-8"))
    vocabulary = content["model"]["vocab"]
    content["model"]["vocab"] = {word: number for word, number in vocabulary.items() if number < len(vocabulary) // 2}
    (summed / TOKENIZER).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ModelError, match=rf"{TOKENIZER}: is damaged"):
        load(summed)


@pytest.mark.parametrize("name", [CONFIG, TOKENIZER, CALIBRATION, ONNX_INT8, ONNX_FP16])
def test_a_file_that_has_a_sum_must_be_there(summed: Path, name: str) -> None:
    (summed / name).unlink()
    with pytest.raises(ModelError, match=rf"{name} is missing, though {SUMS} lists it"):
        load(summed)


@pytest.mark.parametrize("name", USED)
def test_a_file_that_is_used_must_have_a_sum(summed: Path, name: str) -> None:
    lines = (summed / SUMS).read_text(encoding="utf-8").splitlines(keepends=True)
    (summed / SUMS).write_text("".join(line for line in lines if name not in line), encoding="utf-8")
    with pytest.raises(ModelError, match=rf"{name} has no checksum in {SUMS}"):
        load(summed)


@pytest.mark.slow
@pytest.mark.parametrize("damage", [flip, lambda path: path.unlink()])
def test_without_verifying_nothing_is_compared(summed: Path, damage: Callable[[Path], None]) -> None:
    (summed / SUMS).write_text("no sums", encoding="utf-8")
    damage(summed / ONNX_FP16)
    assert load(summed, verify=False).prune("query", ["A text."]).results
    with pytest.raises(ModelError, match=SUMS):
        load(summed)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no sums\n", "line 1: 'no sums' is not a line of sha256sum"),
        (b"\xff\xfe\n", "line 1"),
        (b"0" * 63 + b"  config.json\n", "line 1"),
        (b"g" * 64 + b"  config.json\n", "line 1"),
        (b"0" * 64 + b"  /etc/passwd\n", "outside the directory"),
        (b"0" * 64 + b"  ../other/config.json\n", "outside the directory"),
        (b"0" * 64 + b"  onnx/../../config.json\n", "outside the directory"),
        (b"0" * 64 + b"  config.json\n" + b"1" * 64 + b"  config.json\n", "two checksums"),
        (b"\\" + b"0" * 64 + b"  a\\nb\n", "line 1"),
        (b"0" * 64 + b"  " + b"n" * 10**6 + b"\n", "larger than"),
        (b"0" * 64 + b"  a\x00b\n", "a"),
    ],
)
def test_a_broken_file_of_sums_is_named(summed: Path, content: bytes, said: str) -> None:
    (summed / SUMS).write_bytes(content)
    with pytest.raises(ModelError, match=said):
        load(summed)


@pytest.mark.slow
def test_the_other_forms_of_sha256sum_are_read(summed: Path) -> None:
    lines = (summed / SUMS).read_text(encoding="utf-8").splitlines()
    upper = "\r\n".join(f"{line[:64].upper()} *./{line[66:]}" for line in lines)
    (summed / SUMS).write_text(upper, encoding="utf-8")
    assert load(summed)


@pytest.mark.slow
def test_a_model_without_sums_is_warned_of_once(summed: Path, caplog: pytest.LogCaptureFixture) -> None:
    (summed / SUMS).unlink()
    assert load(summed)
    (warning,) = warnings_of(caplog)
    assert str(summed) in warning and f"secateur checksum {summed}" in warning
    caplog.clear()
    assert load(summed, verify=False)
    assert warnings_of(caplog) == []


def test_comparing_costs_little(shipped: Path) -> None:
    started = time.perf_counter()
    assert check_sums(shipped, USED)
    assert time.perf_counter() - started < 5  # some 30 ms on an idle machine


@pytest.mark.slow
def test_the_command_writes_sums_of_what_was_changed_on_purpose(
    summed: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    content = json.loads((summed / CONFIG).read_text(encoding="utf-8"))
    content["secateur"]["threshold"] = 0.2
    (summed / CONFIG).write_text(json.dumps(content), encoding="utf-8")
    (summed / ONNX_FP16).unlink()
    with pytest.raises(ModelError):
        load(summed)
    assert main(["checksum", str(summed)]) == 0
    printed = capsys.readouterr().out
    assert CONFIG in printed and ONNX_FP16 not in printed
    assert load(summed).config.threshold == 0.2
    assert warnings_of(caplog) == []


def test_the_command_writes_none_where_there_is_no_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / CONFIG).write_text("{}", encoding="utf-8")
    assert main(["checksum", str(tmp_path)]) == 1
    assert "has no `secateur` section" in capsys.readouterr().err
    assert not (tmp_path / SUMS).exists()


def test_what_was_not_changed_keeps_its_sum_so_that_damage_stays_visible(summed: Path) -> None:
    before = read_sums(summed)
    flip(summed / TOKENIZER)
    (summed / ONNX_FP16).unlink()
    (summed / CALIBRATION).write_text('{"levels": [{"target_recall": 0.9, "threshold": 0.1}]}', encoding="utf-8")
    after = write_sums(summed, changed=[CALIBRATION])
    assert before is not None
    assert {name for name in after if after[name] != before[name]} == {CALIBRATION}
    with pytest.raises(ModelError, match=f"{ONNX_FP16} is missing"):
        load(summed)


def test_saving_a_model_writes_sums_and_nothing_is_exported_from_damaged_weights(
    torch_model: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "trained"
    save_network(load_network(torch_model), torch_model, directory)
    assert set(read_sums(directory) or ()) == {CONFIG, TOKENIZER, WEIGHTS}
    flip(directory / WEIGHTS)
    with pytest.raises(ModelError, match=f"{WEIGHTS}: is damaged"):
        export(directory, tmp_path)
    with pytest.raises(ModelError, match=f"{WEIGHTS}: is damaged"):
        Pruner.load(directory, backend="torch", device="cpu")
    flip(directory / WEIGHTS)
    (directory / CALIBRATION).write_text('{"levels": []}', encoding="utf-8")
    sums = write_sums(directory, changed=[ONNX_INT8])
    assert set(sums) == {CONFIG, TOKENIZER, WEIGHTS, CALIBRATION}, "a file without a sum gets one"


@pytest.mark.slow
def test_the_flag_reaches_the_loading(summed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (summed / CALIBRATION).write_text('{"levels": []}', encoding="utf-8")
    passage = tmp_path / "passage.txt"
    passage.write_text("It was finished in 1889.", encoding="utf-8")
    command = ["prune", "-q", "When was it finished?", "--model", str(summed), "--threads", "1", str(passage)]
    assert main(command) == 1
    assert f"{CALIBRATION}: is damaged" in capsys.readouterr().err
    assert main([*command, "--no-verify"]) == 0
    assert "1889" in capsys.readouterr().out
