"""The training configuration: one YAML file, read into one frozen object."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from secateur.models.checkpoint import PruneHead, RankHead, has_heads, read_config
from secateur.models.errors import DataError, shown

_STRICT = ConfigDict(extra="forbid")
_Count = Annotated[int, Field(ge=1)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Which pairs are drawn.

    Attributes:
        train: directory (or file) of labelled examples, one JSON-lines file a source.
        exclude: sources left out.
        pairs: number of (query, passage) pairs to draw.
        mix_exponent: a source is drawn in proportion to its number of queries to this power (1: as they
            are, 0: evenly).
        hard_negatives: irrelevant passages of the same query drawn with each positive.
        random_negative_share: share of all pairs whose passage belongs to another query of the same source.
        recut_share: share of passages cut to a random run of units that holds the relevant ones.
        title_share: share of titled passages that are shown with their title.
    """

    __pydantic_config__ = _STRICT

    train: Path
    exclude: tuple[str, ...] = ()
    pairs: _Count = 28000
    mix_exponent: _NotNegative = 0.6
    hard_negatives: Annotated[int, Field(ge=0)] = 1
    random_negative_share: _Share = 0.12
    recut_share: _Share = 0.4
    title_share: _Share = 0.5


@dataclass(frozen=True, slots=True)
class OptimConfig:
    """How the network is fitted.

    Attributes:
        epochs: passes over the pairs.
        batch_size: pairs a step.
        learning_rate: peak rate of the encoder.
        head_multiplier: the heads learn this much faster.
        warmup: share of steps with a rising rate; it falls linearly after.
        weight_decay: decoupled weight decay, not on biases and norms.
        relevance_weight: lambda of the joint loss.
        unit_share: share of the per-unit loss in the pruning loss; the rest is the per-token loss.
        max_tokens: window in training; shorter than the model's own saves time.
        dropout: overrides the encoder's rates.
        freeze_embeddings: leave the embedding layer as it is.
        pad_to_multiple_of: padded lengths are multiples of this.
        max_grad_norm: gradients are clipped to this norm.
        precision: `auto` (bf16 where the processor multiplies it in hardware), `bf16` or `fp32`.
    """

    __pydantic_config__ = _STRICT

    epochs: _Positive = 1.0
    batch_size: _Count = 16
    learning_rate: _Positive = 1.2e-4
    head_multiplier: _Positive = 5.0
    warmup: _Share = 0.06
    weight_decay: _NotNegative = 0.01
    relevance_weight: _NotNegative = 0.4
    unit_share: _Share = 0.0
    max_tokens: Annotated[int, Field(ge=32)] = 320
    dropout: _Share | None = 0.0
    freeze_embeddings: bool = True
    pad_to_multiple_of: _Count = 16
    max_grad_norm: _Positive = 1.0
    precision: Literal["auto", "bf16", "fp32"] = "auto"


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A training run.

    Attributes:
        name: the model's name.
        base: where training starts: a Hugging Face encoder or an earlier secateur model with fp32 weights, whose
            heads go on learning; a directory, a hub name, or ``package:NAME/PATH`` for a directory inside an
            installed Python package.
        out: directory for checkpoints and the finished model.
        data: see `DataConfig`.
        optim: see `OptimConfig`.
        window: tokens that the finished model reads at once.
        rank_head: form of the relevance head.
        prune_head: form of the token head.
        segmenter: sentence splitter.
        seed: of everything that is drawn.
        save_steps: steps between checkpoints.
        resume: continue from the last checkpoint in ``out``, if there is one.
    """

    __pydantic_config__ = _STRICT

    name: str
    base: str
    out: Path
    data: DataConfig
    optim: OptimConfig = field(default_factory=OptimConfig)
    window: Annotated[int, Field(ge=32, multiple_of=32)] = 512
    rank_head: RankHead = "pooled"
    prune_head: PruneHead = "bilinear"
    segmenter: str = "nupunkt"
    seed: int = 13
    save_steps: _Count = 200
    resume: bool = True


def load_config(path: Path) -> TrainConfig:
    """Read a training configuration.

    Raises:
        DataError: the file is missing or wrong; the message names the key.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise DataError(f"{path}: not valid YAML ({error})") from error
    try:
        return TypeAdapter(TrainConfig).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{path}: {key}: {first['msg']} (found {shown(first['input'])})") from error


def config_dict(config: TrainConfig) -> dict[str, Any]:
    """Return the configuration as plain JSON values, without directories (which belong to one machine)."""
    content = asdict(config)
    for key in ("out", "resume", "save_steps"):
        content.pop(key)
    content["data"].pop("train")
    base = Path(config.base)
    if base.is_dir():
        content["base"] = read_config(base).name if has_heads(base) else base.resolve().name
    content["data"]["exclude"] = list(content["data"]["exclude"])
    return content
