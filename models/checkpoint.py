"""The model directory: its files, and its `config.json` with the `secateur` section.

A model directory may come from anywhere, so every value that is used has a type and bounds. Unknown keys are ignored:
later versions, and transformers, write more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, TypeAdapter, ValidationError, model_validator
from pydantic_core import from_json
from tokenizers import Tokenizer

from secateur.models.errors import InputError, ModelError, shown
from secateur.models.files import read_model_file, write_atomically
from secateur.models.segmenters import check_segmenter

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
WEIGHTS = "model.safetensors"
CALIBRATION = "calibration.json"
ONNX_INT8 = "onnx/model_int8.onnx"
ONNX_FP16 = "onnx/model_fp16.onnx"
ONNX_FILES = {"int8": ONNX_INT8, "fp16": ONNX_FP16}
"""ONNX files by precision (see `registry.PRECISIONS`)."""

PRETRAINED = Path(__file__).parent / "pretrained"
DEFAULT_MODEL = "secateur-nano-en"

_MAX_JSON = 8 * 2**20
_MAX_TOKENIZER = 128 * 2**20  # those of the largest vocabularies have about 35 MB

RankHead = Literal["linear", "pooled", "classifier_tanh", "classifier_gelu", "classifier_relu"]
PruneHead = Literal["linear", "bilinear", "unit_pooled"]

_MAX_IDS = 2**24  # bound of vocabularies and positions; the largest vocabularies have about 2**18 tokens
# Encoders that number positions from the padding token's id + 1.
_OFFSET_POSITIONS = frozenset(
    {"camembert", "data2vec-text", "ibert", "longformer", "luke", "mpnet", "roberta", "roberta-prelayernorm"}
    | {"xlm-roberta", "xlm-roberta-xl", "xmod"}
)


def _printable(name: str) -> str:
    if not name.isprintable():
        raise ValueError(f"{shown(name)} has unprintable characters")
    return name


def _known_segmenter(name: str) -> str:
    try:
        return check_segmenter(name)
    except InputError as error:
        raise ValueError(f"{error.problem}; {error.hint}") from None


Probability = Annotated[float, Strict(), Field(ge=0, le=1)]
# A name goes into logs, metrics and responses.
ModelName = Annotated[str, Strict(), Field(min_length=1, max_length=255), AfterValidator(_printable)]
SegmenterName = Annotated[str, Strict(), AfterValidator(_known_segmenter)]
# Backends may pad to multiples of 32, which must not exceed the encoder's positions.
WindowSize = Annotated[int, Strict(), Field(ge=32, le=_MAX_IDS, multiple_of=32)]


class Content(BaseModel):
    """Base of the JSON objects of a model directory: strict and immutable."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class Encoder(Content):
    """The values of an encoder's configuration that are used here, or that decide how much memory it takes."""

    model_type: str | None = Field(None, max_length=100)
    vocab_size: int | None = Field(None, ge=1, le=_MAX_IDS)
    pad_token_id: int | None = Field(None, ge=0, le=_MAX_IDS)
    max_position_embeddings: int | None = Field(None, ge=1, le=_MAX_IDS)
    type_vocab_size: int | None = Field(None, ge=0, le=2**16)
    hidden_size: int | None = Field(None, ge=1, le=2**16)
    intermediate_size: int | None = Field(None, ge=1, le=2**20)
    num_hidden_layers: int | None = Field(None, ge=1, le=2**10)
    num_attention_heads: int | None = Field(None, ge=1, le=2**12)
    position_biased_input: bool = True

    @model_validator(mode="after")
    def _check_padding(self) -> Encoder:
        if self.pad_token_id is not None and self.vocab_size is not None and self.pad_token_id >= self.vocab_size:
            raise ValueError(f"pad_token_id {self.pad_token_id} is not in a vocabulary of {self.vocab_size}")
        return self

    @property
    def positions(self) -> int | None:
        """Largest number of tokens in one forward pass; None if unlimited or unknown."""
        if self.max_position_embeddings is None or not self.position_biased_input:  # DeBERTa: relative positions only
            return None
        padding = 1 if self.pad_token_id is None else self.pad_token_id
        return self.max_position_embeddings - (padding + 1 if self.model_type in _OFFSET_POSITIONS else 0)


_T = TypeVar("_T")


def validated(content: Mapping[str, Any], kind: type[_T], where: Path | str, prefix: str = "", *, fix: str) -> _T:
    """Return a JSON object as an instance of a pydantic model or a dataclass.

    Raises:
        ModelError: A value is wrong. The message names it, the file (``where``), the place in it (``prefix``) and the
            ``fix``.
    """
    try:
        return TypeAdapter(kind).validate_python(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        name = ".".join(map(str, (*filter(None, [prefix]), *first["loc"])))
        problem = f"{name}: {first['msg']}".removeprefix(": ").replace("Value error, ", "", 1)
        found = "" if first["type"] in ("missing", "value_error") else f" (found {shown(first['input'])})"
        raise ModelError(f"{where}: {problem}{found}; {fix}") from error


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The `secateur` section of a model's `config.json`.

    Attributes:
        name: Name of the model.
        window: Tokens of one forward pass, special tokens included.
        rank_head: `linear` (first token), `pooled`, or the classifier of a cross-encoder, named by its activation.
        prune_head: See `secateur.models.heads`.
        segmenter: Segmenter that the training labels were made with.
        threshold: Default keep threshold, in [0, 1].
        instruction: Whether the model was trained with an instruction before the query.
        training: Summary of the training run.
    """

    name: ModelName
    window: WindowSize = 512
    rank_head: RankHead = "pooled"
    prune_head: PruneHead = "bilinear"
    segmenter: SegmenterName = "nupunkt"
    threshold: Probability = 0.1
    instruction: Annotated[bool, Strict()] = False
    training: dict[str, Any] = field(default_factory=dict)

    __pydantic_config__ = ConfigDict(extra="ignore", allow_inf_nan=False)


def resolve(name_or_path: str | Path | None) -> Path:
    """Return the model directory for a path or the name of a shipped model; the default model for None."""
    path = Path(DEFAULT_MODEL if name_or_path is None else name_or_path)
    if path.is_dir():
        return path
    if len(path.parts) == 1 and (PRETRAINED / path).is_dir():
        return PRETRAINED / path
    known = ", ".join(sorted(shipped.name for shipped in PRETRAINED.glob("*/")))
    raise ModelError(f"no model directory {str(path)!r}; give a path or the name of a shipped model ({known})")


def read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON file of a model directory that must hold an object."""
    content = read_model_file(path, _MAX_JSON)
    try:
        found = from_json(content)  # limits the depth, unlike `json.loads`
    except ValueError as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error}); replace it") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path}: is not a JSON object; replace it")
    return found


def check_encoder(section: dict[str, Any], where: Path | str, prefix: str = "") -> Encoder:
    """Return an encoder's configuration; see `validated`."""
    return validated(section, Encoder, where, prefix, fix="take the encoder's own config.json")


def check_window(config: ModelConfig, encoder: Encoder, where: Path | str) -> None:
    """Check that a model's window fits the positions of its encoder, or raise a `ModelError`."""
    if encoder.positions is not None and config.window > encoder.positions:
        problem = f"secateur.window is {config.window}, but the encoder has {encoder.positions} positions"
        raise ModelError(f"{where}: {problem}; give a multiple of 32 up to that")


def read_config(directory: Path) -> ModelConfig:
    """Read the `secateur` section of a model directory's `config.json`, or raise a ModelError of what is wrong."""
    path = directory / CONFIG
    content = read_json_object(path)
    section = content.pop("secateur", None)
    if not isinstance(section, dict):
        raise ModelError(f"{path} has no `secateur` section; train or convert the model first")
    config = validated(section, ModelConfig, path, "secateur", fix="correct it, or train the model again")
    check_window(config, check_encoder(content, path), path)
    return config


def has_heads(directory: Path) -> bool:
    """Whether a directory holds a Secateur model, not just an encoder."""
    return "secateur" in read_json_object(directory / CONFIG)


def read_encoder_config(directory: Path) -> dict[str, Any]:
    """Read the encoder's part of `config.json`."""
    return {key: value for key, value in read_json_object(directory / CONFIG).items() if key != "secateur"}


def write_config(directory: Path, encoder: dict[str, Any], config: ModelConfig) -> None:
    """Write `config.json`: the encoder's own configuration and the `secateur` section."""
    content = {**encoder, "secateur": asdict(config)}
    write_atomically(directory / CONFIG, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def load_tokenizer(directory: Path) -> Tokenizer:
    """Load `tokenizer.json`, or raise a ModelError if it is not valid or does not fit the encoder's vocabulary."""
    path = directory / TOKENIZER
    content = read_model_file(path, _MAX_TOKENIZER)
    try:
        tokenizer: Tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # the Rust library raises plain Exception
        raise ModelError(f"{path}: cannot be read as a tokenizer ({shown(str(error), 200)})") from error
    vocabulary = check_encoder(read_encoder_config(directory), directory / CONFIG).vocab_size
    tokens = max(tokenizer.get_vocab().values(), default=0) + 1  # ids may have gaps
    if vocabulary is not None and tokens > vocabulary:
        problem = f"{TOKENIZER} has {tokens} tokens, the encoder {vocabulary}"
        raise ModelError(f"{directory}: {problem}; the tokenizer belongs to another model")
    return tokenizer
