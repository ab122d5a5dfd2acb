"""The model directory: which files it holds, and the `secateur` section of its `config.json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic_core import from_json
from tokenizers import Tokenizer

from secateur.models.errors import ModelError, shown
from secateur.models.files import is_model_file, read_model_file, write_atomically
from secateur.models.schema import Encoder, Section, validated
from secateur.models.segmenters import SEGMENTERS

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
WEIGHTS = "model.safetensors"
CALIBRATION = "calibration.json"
ONNX_INT8 = "onnx/model_int8.onnx"
ONNX_FP16 = "onnx/model_fp16.onnx"

PRETRAINED = Path(__file__).parent / "pretrained"
DEFAULT_MODEL = "secateur-nano-en"

_MAX_JSON = 8 * 2**20
_MAX_TOKENIZER = 128 * 2**20  # the largest vocabularies' have some 35 MB

RankHead = Literal["linear", "pooled", "classifier_tanh", "classifier_gelu", "classifier_relu"]
PruneHead = Literal["linear", "bilinear", "unit_pooled"]


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The `secateur` section of a model's `config.json`.

    Attributes:
        name: the model's name.
        window: tokens read at once, special tokens included.
        rank_head: `linear` (first token), `pooled`, or a `classifier` as cross-encoders have it, by its activation;
            see `secateur.models.heads`.
        prune_head: `linear`, `bilinear`, or `unit_pooled`.
        segmenter: sentence segmenter that the labels were made with.
        threshold: default keep threshold, in [0, 1].
        title: whether titles were seen in training.
        training: summary of the run that made the weights.
    """

    name: str
    window: int = 512
    rank_head: RankHead = "pooled"
    prune_head: PruneHead = "bilinear"
    segmenter: str = "nupunkt"
    threshold: float = 0.1
    title: bool = True
    training: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ModelError(f"{CONFIG}: secateur.threshold is {self.threshold}; it must lie in [0, 1]")
        if not isinstance(self.window, int) or self.window < 32 or self.window % 32:
            # Backends may pad to multiples of 32, which must not lead past the encoder's positions.
            raise ModelError(f"{CONFIG}: secateur.window is {self.window!r}; it must be a positive multiple of 32")
        if self.rank_head not in get_args(RankHead) or self.prune_head not in get_args(PruneHead):
            raise ModelError(
                f"{CONFIG}: unknown heads {self.rank_head!r} and {self.prune_head!r}; known: "
                f"{', '.join(get_args(RankHead))} and {', '.join(get_args(PruneHead))}"
            )
        if self.segmenter not in SEGMENTERS:
            raise ModelError(f"{CONFIG}: unknown secateur.segmenter {self.segmenter!r}; known: {sorted(SEGMENTERS)}")


def resolve(name_or_path: str | Path | None) -> Path:
    """Return the model directory that a name or a path means; None is the shipped default model.

    Raises:
        ModelError: there is no such directory.
    """
    if name_or_path is None:
        name_or_path = DEFAULT_MODEL
    path = Path(name_or_path)
    if path.is_dir():
        return path
    shipped = PRETRAINED / str(name_or_path)
    if len(path.parts) == 1 and shipped.is_dir():
        return shipped
    known = ", ".join(sorted(p.name for p in PRETRAINED.iterdir() if p.is_dir())) if PRETRAINED.is_dir() else "none"
    raise ModelError(f"no model directory {str(name_or_path)!r}; give a path or the name of a shipped model ({known})")


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file of a model directory that holds an object.

    Raises:
        ModelError: The file is missing, too large, or not a JSON object.
    """
    content = read_model_file(path, _MAX_JSON)
    try:
        found = from_json(content)  # bounds the depth, unlike `json.loads`
    except ValueError as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error}); replace it") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path}: holds no JSON object")
    return found


def check_encoder(section: dict[str, Any], where: Path | str, prefix: str = "") -> Encoder:
    """Return the numbers of an encoder's configuration.

    Args:
        section: the configuration.
        where: its file, for the message.
        prefix: where in the file the configuration is, for the message.

    Raises:
        ModelError: one is wrong.
    """
    return validated(section, Encoder, where, prefix, fix="take the encoder's own config.json")


def check_window(config: ModelConfig, encoder: Encoder, where: Path | str) -> None:
    """Refuse a window that is longer than what the encoder has positions for.

    Raises:
        ModelError: it is.
    """
    if encoder.positions is not None and config.window > encoder.positions:
        raise ModelError(
            f"{where}: secateur.window is {config.window}, but the encoder has {encoder.positions} positions; "
            f"give a multiple of 32 up to that"
        )


def read_config(directory: Path) -> ModelConfig:
    """Read the `secateur` section of a model directory's `config.json`.

    Raises:
        ModelError: the file or the section is missing or wrong.
    """
    path = directory / CONFIG
    content = read_json_object(path)
    section = content.pop("secateur", None)
    if not isinstance(section, dict):
        raise ModelError(f"{path} has no `secateur` section; train or convert the model first")
    if "name" not in section:
        raise ModelError(f"{path}: the `secateur` section is incomplete: name is missing; give the model a name")
    checked = validated(section, Section, path, "secateur", "correct it, or train the model anew")
    config = ModelConfig(**checked.model_dump(exclude_unset=True))
    check_window(config, check_encoder(content, path), path)
    return config


def has_heads(directory: Path) -> bool:
    """Whether a directory is a secateur model, and not a bare encoder."""
    return "secateur" in read_json_object(directory / CONFIG)


def read_encoder_config(directory: Path) -> dict[str, Any]:
    """Read the encoder's part of `config.json`."""
    return {key: value for key, value in read_json_object(directory / CONFIG).items() if key != "secateur"}


def write_config(directory: Path, encoder: dict[str, Any], config: ModelConfig) -> None:
    """Write `config.json`: the encoder's own configuration with the `secateur` section beside it."""
    content = {**encoder, "secateur": asdict(config)}
    write_atomically(directory / CONFIG, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def load_tokenizer(directory: Path) -> Tokenizer:
    """Load `tokenizer.json` and check that it fits the encoder's vocabulary.

    Raises:
        ModelError: the file is missing, broken, or of another model.
    """
    path = directory / TOKENIZER
    if not is_model_file(path):
        raise ModelError(f"{directory}: {TOKENIZER} is missing; only models with a fast tokenizer can be used")
    try:
        tokenizer: Tokenizer = Tokenizer.from_buffer(read_model_file(path, _MAX_TOKENIZER))
    except ModelError:
        raise
    except Exception as error:  # the Rust side raises bare Exception
        raise ModelError(f"{path}: cannot be read as a tokenizer ({shown(str(error), 200)})") from error
    vocabulary = check_encoder(read_encoder_config(directory), directory / CONFIG).vocab_size
    if vocabulary is not None:
        largest = max(tokenizer.get_vocab().values(), default=0) + 1  # ids may have gaps
        tokens = max(tokenizer.get_vocab_size(), largest)
        if tokens > vocabulary:
            raise ModelError(
                f"{directory}: {TOKENIZER} has {tokens} tokens, the encoder {vocabulary}; "
                "the tokenizer belongs to another model"
            )
    return tokenizer


def read_calibration(directory: Path) -> dict[float, float] | None:
    """Return thresholds by target recall; None if the model is not calibrated. See `Calibration.read`."""
    from secateur.models.calibration import Calibration

    calibration = Calibration.read(directory)
    return None if calibration is None else calibration.thresholds
