"""A model directory is read whole, or refused with what is wrong with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models

from secateur.models.checkpoint import (
    CALIBRATION,
    CONFIG,
    DEFAULT_MODEL,
    TOKENIZER,
    ModelConfig,
    load_tokenizer,
    read_calibration,
    read_config,
    read_encoder_config,
    resolve,
    write_config,
)
from secateur.models.errors import ModelError
from secateur.models.pruner import Pruner

EditConfig = Callable[..., None]


def test_a_name_a_path_and_nothing_mean_the_shipped_model(shipped: Path) -> None:
    assert resolve(DEFAULT_MODEL) == resolve(None) == resolve(str(shipped)) == resolve(shipped)
    assert shipped.name == DEFAULT_MODEL


@pytest.mark.parametrize("name", ["no-such-model", "no/such/model", Path("/no/such/model"), "../pretrained"])
def test_a_missing_model_lists_what_is_shipped(name: str | Path) -> None:
    with pytest.raises(ModelError, match=rf"no model directory '{name}'; .*\({DEFAULT_MODEL}\)"):
        Pruner.load(name)


def test_a_file_is_no_model(shipped: Path) -> None:
    with pytest.raises(ModelError, match="no model directory"):
        resolve(shipped / CONFIG)


def test_a_config_is_read_as_it_was_written(tmp_path: Path) -> None:
    config = ModelConfig("mine", window=128, rank_head="linear", threshold=0.25, training={"seed": 1})
    write_config(tmp_path, {"vocab_size": 10, "model_type": "bert"}, config)
    assert read_config(tmp_path) == config
    assert read_encoder_config(tmp_path) == {"vocab_size": 10, "model_type": "bert"}


def test_a_setting_of_a_later_version_is_passed_over(model_copy: Path, edit_config: EditConfig) -> None:
    before = read_config(model_copy)
    edit_config(invented_later=1)
    assert read_config(model_copy) == before


@pytest.mark.parametrize("name", [CONFIG, TOKENIZER])
def test_a_missing_file_is_named(model_copy: Path, name: str) -> None:
    (model_copy / name).unlink()
    with pytest.raises(ModelError, match=rf"{name} is missing"):
        Pruner.load(model_copy)


@pytest.mark.parametrize("name", [CONFIG, TOKENIZER, CALIBRATION])
@pytest.mark.parametrize("content", [b"{", b"", b"[]", b'"text"', b"\xff\xfe"])
def test_a_broken_file_is_named(model_copy: Path, name: str, content: bytes) -> None:
    (model_copy / name).write_bytes(content)
    with pytest.raises(ModelError, match=name):
        Pruner.load(model_copy)


@pytest.mark.parametrize("section", [None, [], "nano"])
def test_a_config_without_our_section_is_refused(model_copy: Path, section: object) -> None:
    content = json.loads((model_copy / CONFIG).read_text(encoding="utf-8"))
    (model_copy / CONFIG).write_text(json.dumps(content | {"secateur": section}), encoding="utf-8")
    with pytest.raises(ModelError, match="has no `secateur` section"):
        Pruner.load(model_copy)


def test_a_section_without_a_name_is_incomplete(model_copy: Path) -> None:
    (model_copy / CONFIG).write_text('{"secateur": {"window": 512}}', encoding="utf-8")
    with pytest.raises(ModelError, match=r"section is incomplete.*name"):
        Pruner.load(model_copy)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("threshold", value) for value in (-0.1, 1.1, float("nan"), "high", None)),
        *(("window", value) for value in (31, 48, 0, -1, 512.0, "512", None, True)),
        ("rank_head", "cubic"),
        ("prune_head", "cubic"),
        *(("segmenter", value) for value in ("spacy", "", None, [])),
    ],
)
def test_a_wrong_setting_is_refused(model_copy: Path, edit_config: EditConfig, setting: str, value: object) -> None:
    edit_config(**{setting: value})
    with pytest.raises(ModelError, match=CONFIG):
        Pruner.load(model_copy)


@pytest.mark.parametrize(("setting", "value"), [("threshold", 1.5), ("window", 16), ("segmenter", "spacy")])
def test_a_wrong_setting_is_named_with_its_value(
    model_copy: Path, edit_config: EditConfig, setting: str, value: object
) -> None:
    edit_config(**{setting: value})
    with pytest.raises(ModelError, match=rf"secateur\.{setting}.*{value}"):
        read_config(model_copy)


def test_the_tokenizer_of_another_model_is_refused(model_copy: Path) -> None:
    size = read_encoder_config(model_copy)["vocab_size"]
    other = Tokenizer(models.WordLevel({f"w{number}": number for number in range(size + 1)}, unk_token="w0"))
    other.save(str(model_copy / TOKENIZER))
    with pytest.raises(ModelError, match=rf"{size + 1} tokens, the encoder {size}; .*another model"):
        load_tokenizer(model_copy)


def test_a_model_without_calibration_has_none(model_copy: Path) -> None:
    assert read_calibration(model_copy) is None


def test_a_calibration_maps_recall_to_threshold(model_copy: Path) -> None:
    levels = [{"target_recall": 0.9, "threshold": 0.05, "n": 500}, {"target_recall": 0.95, "threshold": 0}]
    (model_copy / CALIBRATION).write_text(json.dumps({"levels": levels, "alpha": 0.1}), encoding="utf-8")
    assert read_calibration(model_copy) == {0.9: 0.05, 0.95: 0.0}


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        '{"levels": 3}',
        '{"levels": [0.9]}',
        '{"levels": ["0.9"]}',
        '{"levels": [{"target_recall": 0.9}]}',
        '{"levels": [{"target_recall": "most", "threshold": 0.1}]}',
        '{"levels": [{"target_recall": 0.9, "threshold": null}]}',
        '{"levels": [{"target_recall": 0.9, "threshold": 1.5}]}',
        '{"levels": [{"target_recall": 90, "threshold": 0.1}]}',
        '{"levels": [{"target_recall": 0.9, "threshold": NaN}]}',
    ],
)
def test_a_wrong_calibration_is_refused(model_copy: Path, content: str) -> None:
    (model_copy / CALIBRATION).write_text(content, encoding="utf-8")
    with pytest.raises(ModelError, match=rf"{CALIBRATION}: wrong content.*recalibrate"):
        read_calibration(model_copy)


def test_the_shipped_model_says_what_it_is(shipped: Path) -> None:
    config = read_config(shipped)
    assert (config.name, config.window, config.segmenter) == (DEFAULT_MODEL, 512, "nupunkt")
    assert read_encoder_config(shipped)["max_position_embeddings"] >= config.window


def test_a_model_loads_from_anywhere(shipped: Path, model_copy: Path, tmp_path: Path) -> None:
    moved = tmp_path / "räume und 空間"
    shutil.move(model_copy, moved)
    for backend in ("openvino", "onnx"):
        pruner = Pruner.load(moved, backend=backend, device="cpu", threads=1)
        assert pruner.config == read_config(shipped)
        assert pruner.prune("query", ["A text."]).results[0].total_units == 1
