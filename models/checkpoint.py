"""The model directory: which files it holds, and the `secateur` section of its `config.json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

from tokenizers import Tokenizer

from secateur.models.errors import ModelError
from secateur.models.files import write_atomically
from secateur.models.splitters import SPLITTERS

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
WEIGHTS = "model.safetensors"
CALIBRATION = "calibration.json"
ONNX_INT8 = "onnx/model_int8.onnx"
ONNX_FP16 = "onnx/model_fp16.onnx"

PRETRAINED = Path(__file__).parent / "pretrained"
DEFAULT_MODEL = "secateur-nano-en"

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
        segmenter: sentence splitter that the labels were made with.
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
        if self.segmenter not in SPLITTERS:
            raise ModelError(f"{CONFIG}: unknown secateur.segmenter {self.segmenter!r}; known: {sorted(SPLITTERS)}")


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


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{path.parent}: {path.name} is missing; is this a secateur model directory?") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds no JSON object")
    return content


def read_config(directory: Path) -> ModelConfig:
    """Read the `secateur` section of a model directory's `config.json`.

    Raises:
        ModelError: the file or the section is missing or wrong.
    """
    section = _read_json(directory / CONFIG).get("secateur")
    if not isinstance(section, dict):
        raise ModelError(f"{directory / CONFIG} has no `secateur` section; train or convert the model first")
    known = {f.name for f in fields(ModelConfig)}
    try:
        return ModelConfig(**{key: value for key, value in section.items() if key in known})
    except TypeError as error:
        raise ModelError(f"{directory / CONFIG}: the `secateur` section is incomplete ({error})") from error


def has_heads(directory: Path) -> bool:
    """Whether a directory is a secateur model, and not a bare encoder."""
    return "secateur" in _read_json(directory / CONFIG)


def read_encoder_config(directory: Path) -> dict[str, Any]:
    """Read the encoder's part of `config.json`."""
    return {key: value for key, value in _read_json(directory / CONFIG).items() if key != "secateur"}


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
    if not path.is_file():
        raise ModelError(f"{directory}: {TOKENIZER} is missing; only models with a fast tokenizer can be used")
    try:
        tokenizer: Tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust side raises bare Exception
        raise ModelError(f"{path}: cannot be read as a tokenizer ({error})") from error
    vocabulary = read_encoder_config(directory).get("vocab_size")
    if isinstance(vocabulary, int) and tokenizer.get_vocab_size() > vocabulary:
        raise ModelError(
            f"{directory}: {TOKENIZER} has {tokenizer.get_vocab_size()} tokens, the encoder {vocabulary}; "
            "the tokenizer belongs to another model"
        )
    return tokenizer


def read_calibration(directory: Path) -> dict[float, float] | None:
    """Return thresholds by target recall from `calibration.json`, or None when the model has none.

    Raises:
        ModelError: the file is there and wrong.
    """
    path = directory / CALIBRATION
    if not path.is_file():
        return None
    try:
        levels = _read_json(path)["levels"]
        thresholds = {float(level["target_recall"]): float(level["threshold"]) for level in levels}
        wrong = [value for level in thresholds.items() for value in level if not 0 <= value <= 1]
        if wrong:
            raise ValueError(f"{wrong[0]} does not lie in [0, 1]")
        return thresholds
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: wrong content ({error!r}); recalibrate the model") from error
