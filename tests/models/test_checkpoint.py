"""A model directory is read whole, or refused with what is wrong with it."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models

from secateur.models.calibration import Calibration
from secateur.models.checkpoint import (
    CALIBRATION,
    CONFIG,
    DEFAULT_MODEL,
    ONNX_INT8,
    TOKENIZER,
    ModelConfig,
    load_tokenizer,
    read_config,
    read_encoder_config,
    resolve,
    write_config,
)
from secateur.models.errors import ModelError
from secateur.models.pruner import Pruner

EditConfig = Callable[..., None]

EMPTY_LIST: list[object] = []
EMPTY_MAPPING: dict[str, object] = {}


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
    config = ModelConfig("mine", window=128, rank_head="linear", threshold=0.25, instruction=True, training={"seed": 1})
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
    with pytest.raises(ModelError, match=r"secateur\.name: Field required"):
        Pruner.load(model_copy)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        *(("threshold", value) for value in (-0.1, 1.1, float("nan"), "high", None)),
        *(("window", value) for value in (31, 48, 0, -1, 512.0, "512", None, True)),
        ("rank_head", "cubic"),
        ("prune_head", "cubic"),
        *(("instruction", value) for value in ("yes", 1, None)),
        *(("segmenter", value) for value in ("spacy", "", None, EMPTY_LIST)),
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


def test_the_shipped_model_says_what_it_is(shipped: Path) -> None:
    config = read_config(shipped)
    assert (config.name, config.window, config.segmenter) == (DEFAULT_MODEL, 512, "nupunkt")
    assert read_encoder_config(shipped)["max_position_embeddings"] >= config.window


@pytest.mark.slow
def test_a_model_loads_from_anywhere(shipped: Path, model_copy: Path, tmp_path: Path) -> None:
    moved = tmp_path / "räume und 空間"
    shutil.move(model_copy, moved)
    for backend in ("openvino", "onnx"):
        pruner = Pruner.load(moved, backend=backend, device="cpu", threads=1)
        assert pruner.config == read_config(shipped)
        assert pruner.prune("query", ["A text."]).results[0].total_units == 1


@pytest.mark.parametrize("name", [CONFIG, TOKENIZER, CALIBRATION, ONNX_INT8])
@pytest.mark.parametrize("kind", ["directory", "fifo", "device", "socket", "loop", "dangling link"])
def test_what_is_no_regular_file_is_refused_unopened(model_copy: Path, name: str, kind: str) -> None:
    path = model_copy / name
    path.unlink(missing_ok=True)
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)  # whoever opened it would wait for ever
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path.name)
    elif kind == "dangling link":
        path.symlink_to("gone")
    else:
        with socket.socket(socket.AF_UNIX) as listener, tempfile.TemporaryDirectory(dir="/tmp") as short:
            listener.bind(f"{short}/s")  # the name of a socket may have 107 characters
            Path(short, "s").rename(path)
    with pytest.raises(ModelError, match=re.escape(str(path))):
        Pruner.load(model_copy, device="cpu")


def test_a_snapshot_of_a_hugging_face_cache_is_read_through_its_links(model_copy: Path, tmp_path: Path) -> None:
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for number, name in enumerate((CONFIG, TOKENIZER)):
        blob = blobs / str(number)
        shutil.move(model_copy / name, blob)
        (model_copy / name).symlink_to(f"../blobs/{number}")
    assert Pruner.load(model_copy, device="cpu", threads=1).config.name == DEFAULT_MODEL


def test_a_link_to_a_file_without_end_is_read_up_to_a_bound(model_copy: Path) -> None:
    (model_copy / CONFIG).unlink()
    with (model_copy / CONFIG).open("wb") as file:
        file.truncate(2**40)  # a hole that takes no disk
    with pytest.raises(ModelError, match=rf"{CONFIG}: is larger than \d+ bytes"):
        Pruner.load(model_copy)


def edited(directory: Path, **changes: object) -> None:
    content = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
    (directory / CONFIG).write_text(json.dumps(content | changes), encoding="utf-8")


@pytest.mark.parametrize("name", [CONFIG, CALIBRATION])
@pytest.mark.parametrize("depth", [300, 100_000])
@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_is_refused(model_copy: Path, name: str, depth: int, brackets: tuple[str, str]) -> None:
    opening, closing = brackets
    (model_copy / name).write_text(f'{{"secateur": {opening * depth}1{closing * depth}}}', encoding="utf-8")
    with pytest.raises(ModelError, match=rf"{name}: cannot be read as JSON .*recursion"):
        Pruner.load(model_copy)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("pad_token_id", value) for value in (2**70, -1, 30522, "0", 0.0, True, [0])),
        *(("vocab_size", value) for value in (0, -1, 2**70, 1e300, "30522", EMPTY_MAPPING)),
        *(("max_position_embeddings", value) for value in (0, 2**70, "512", float("nan"))),
        *(("hidden_size", value) for value in (0, 2**40, "384")),
        ("num_hidden_layers", 10**9),
        ("type_vocab_size", -1),
        ("model_type", 5),
        ("model_type", "b" * 10**6),
    ],
)
def test_a_wrong_number_of_the_encoder_is_named(model_copy: Path, field: str, value: object) -> None:
    edited(model_copy, **{field: value})
    with pytest.raises(ModelError, match=rf"{CONFIG}: {field}.*(found|is not in a vocabulary)") as caught:
        Pruner.load(model_copy)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("name", value) for value in ("", "n" * 10**6, "two\nlines", "\x1b[31m", 5, None, ["n"])),
        *(("window", value) for value in (2**70, 2**30, [512])),
        *(("threshold", value) for value in (float("inf"), -float("inf"), True, EMPTY_LIST, "0.1", 10**400)),
        *(("training", value) for value in (EMPTY_LIST, "run", None)),
        *(("rank_head", value) for value in (5, None, "r" * 10**6)),
    ],
)
def test_a_wrong_value_of_the_section_is_named(
    model_copy: Path, edit_config: EditConfig, field: str, value: object
) -> None:
    edit_config(**{field: value})
    with pytest.raises(ModelError, match=rf"secateur\S*{field}|secateur: {field}") as caught:
        Pruner.load(model_copy)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("model_type", "pad", "positions", "most"),
    [
        ("bert", 0, 512, 512),
        ("bert", 0, 64, 64),
        ("roberta", 1, 514, 512),
        ("roberta", 1, 512, 480),
        ("xlm-roberta", None, 514, 512),
        ("mpnet", 1, 130, 128),
        ("modernbert", 0, 1024, 1024),
    ],
)
def test_the_window_fits_the_positions_of_the_encoder(
    tmp_path: Path, model_type: str, pad: int | None, positions: int, most: int
) -> None:
    encoder = {"model_type": model_type, "pad_token_id": pad, "max_position_embeddings": positions}
    write_config(tmp_path, encoder, ModelConfig("mine", window=most))
    assert read_config(tmp_path).window == most
    write_config(tmp_path, encoder, ModelConfig("mine", window=most + 32))
    with pytest.raises(ModelError, match=rf"secateur\.window is {most + 32}, but the encoder has \d+ positions"):
        read_config(tmp_path)


def test_relative_positions_bound_no_window(tmp_path: Path) -> None:
    encoder = {"model_type": "deberta-v2", "max_position_embeddings": 512, "position_biased_input": False}
    write_config(tmp_path, encoder, ModelConfig("mine", window=1024))
    assert read_config(tmp_path).window == 1024


@given(
    config=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["secateur", "name", "window", "threshold", "vocab_size", "pad_token_id", "levels"])
                | st.text(max_size=5),
                inner,
                max_size=4,
            )
        ),
        max_leaves=12,
    )
)
@settings(max_examples=150)
def test_no_json_is_a_foreign_error(tmp_path_factory: pytest.TempPathFactory, config: object) -> None:
    directory = tmp_path_factory.getbasetemp()
    for name, read in ((CONFIG, read_config), (CALIBRATION, Calibration.read)):
        (directory / name).write_text(json.dumps(config), encoding="utf-8", errors="surrogatepass")
        with suppress(ModelError):
            read(directory)


def test_ids_beyond_the_vocabulary_are_found_behind_gaps(model_copy: Path) -> None:
    other = Tokenizer(models.WordLevel({"[UNK]": 0, "far": 10**6}, unk_token="[UNK]"))
    other.save(str(model_copy / TOKENIZER))
    with pytest.raises(ModelError, match=r"1000001 tokens, the encoder"):
        load_tokenizer(model_copy)
