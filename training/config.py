"""The training configuration: one YAML file, read into one frozen object."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from secateur.labelled.yaml_files import read_yaml
from secateur.models.checkpoint import PruneHead, RankHead, has_heads, read_config

_STRICT = ConfigDict(extra="forbid")
_Count = Annotated[int, Field(ge=1)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Which pairs are drawn, and how their passages are changed.

    Attributes:
        train: labelled examples: a file, a directory with one a source (JSON lines, gzipped or not, or Parquet), or a
            Hugging Face dataset on disk.
        streaming: read the examples again and again instead of keeping them and their pairs in memory.
        workers: processes that encode pairs while streaming; they change no batch.
        validation: the same, of examples that are not trained on; see `StopConfig`.
        exclude: sources left out.
        pairs: number of (query, passage) pairs to draw.
        mix_exponent: a source is drawn in proportion to its number of queries to this power (1: as they
            are, 0: evenly), the inverse of a mixture's temperature.
        source_weights: by source, a factor of its share; 1 where none is given.
        hard_negatives: irrelevant passages of the same query drawn with each positive; 1.5 means one or two.
        answering_negatives: take negatives only of the passages that answer another query of the training data, for
            queries that have such a one: those that never do would be learned by heart, see `drawing.Answering`. A
            query may so have fewer negatives than asked for.
        random_negative_share: share of all pairs whose passage belongs to another query of the same source.
        no_answer_share: share of positives that come a second time with their answering units removed, as negatives.
        recut_share: share of passages cut to a random run of units that holds the relevant ones.
        recut_max_units: units of such a run at most, unless the relevant ones lie further apart (Provence: 10).
        shuffle_share: share of passages whose units are put into another order, so that position tells nothing.
        title_share: share of titled passages that are shown with their title.
    """

    __pydantic_config__ = _STRICT

    train: Path
    validation: Path | None = None
    streaming: bool = False
    workers: Annotated[int, Field(ge=0)] = 0
    exclude: tuple[str, ...] = ()
    pairs: _Count = 28000
    mix_exponent: _NotNegative = 0.6
    source_weights: dict[str, _NotNegative] = field(default_factory=dict)
    hard_negatives: _NotNegative = 1
    answering_negatives: bool = True
    random_negative_share: _Share = 0.1
    no_answer_share: _Share = 0.1
    recut_share: _Share = 0.4
    recut_max_units: _Count = 10
    shuffle_share: _Share = 0.05
    title_share: _Share = 0.5


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Weights of the losses (0: not computed; see `secateur.training.losses`) and their settings.

    Attributes:
        token_bce: of binary cross-entropy a token.
        token_cross_entropy: of two-class cross-entropy a token.
        token_focal: of focal loss a token.
        unit_bce: of binary cross-entropy a unit.
        relevance_bce: of binary cross-entropy a pair.
        relevance_listwise: of softmax cross-entropy over a query's passages.
        relevance_mse: of squared error to a teacher's logit, where the data has one (Provence: 0.05).
        relevance_margin_mse: of squared error of margins to a teacher's, where the data has one.
        label_smoothing: of token labels.
        positive_weight: how many times as much a kept token counts in `token_bce`.
        focal_gamma: of `token_focal`.
    """

    __pydantic_config__ = _STRICT

    token_bce: _NotNegative = 0.5
    token_cross_entropy: _NotNegative = 0.0
    token_focal: _NotNegative = 0.0
    unit_bce: _NotNegative = 0.5
    relevance_bce: _NotNegative = 0.4
    relevance_listwise: _NotNegative = 0.0
    relevance_mse: _NotNegative = 0.05
    relevance_margin_mse: _NotNegative = 0.0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    positive_weight: _Positive = 1.0
    focal_gamma: _NotNegative = 2.0


@dataclass(frozen=True, slots=True)
class OptimConfig:
    """How the network is fitted.

    Attributes:
        epochs: passes over the pairs.
        batch_size: pairs a step and process, about: the passages of a query stay together.
        learning_rate: peak rate of the encoder.
        head_multiplier: the heads learn this much faster.
        warmup: share of steps with a rising rate; it falls linearly after.
        layer_decay: each layer of the encoder learns this much slower than the one above it; 1 for all the same.
        weight_decay: decoupled weight decay, not on biases and norms.
        gradient_accumulation: batches whose gradients are added up for a step.
        gradient_checkpointing: compute activations twice instead of keeping them: less memory, more time.
        max_tokens: window in training; shorter than the model's own saves time.
        dropout: overrides the encoder's rates.
        attention_dropout: overrides its rate on attention weights; as `dropout` where not given. With 0 the fused
            attention kernels stay in use: on processors `dropout` alone then costs a sixth more time instead of
            three quarters.
        freeze_embeddings: leave the embedding layer as it is.
        pad_to_multiple_of: padded lengths are multiples of this.
        max_grad_norm: gradients are clipped to this norm.
        precision: `auto` (bf16 where the processor multiplies it in hardware), `bf16`, `fp16` (CUDA only) or `fp32`.
    """

    __pydantic_config__ = _STRICT

    epochs: _Positive = 1.0
    batch_size: _Count = 16
    learning_rate: _Positive = 1.2e-4
    head_multiplier: _Positive = 5.0
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.06
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    weight_decay: _NotNegative = 0.01
    gradient_accumulation: _Count = 1
    gradient_checkpointing: bool = False
    max_tokens: Annotated[int, Field(ge=32)] = 320
    dropout: _Share | None = 0.0
    attention_dropout: _Share | None = None
    freeze_embeddings: bool = True
    pad_to_multiple_of: _Count = 16
    max_grad_norm: _Positive = 1.0
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """Low-rank adaptation of the encoder's linear layers (Hu et al. 2021), merged into them when the run ends.

    The heads are always trained whole.

    Attributes:
        rank: of the updates.
        alpha: their scale, times the rank.
        dropout: on the adapters' input.
    """

    __pydantic_config__ = _STRICT

    rank: _Count = 16
    alpha: _Count = 32
    dropout: _Share = 0.0


@dataclass(frozen=True, slots=True)
class DistillConfig:
    """A teacher whose keep probabilities and relevance are learned instead of the data's own labels.

    Its relevance logit is what `relevance_mse` and `relevance_margin_mse` learn.

    Attributes:
        teacher: model directory, published checkpoint's directory, or shipped model's name.
        backend: that runs it, see `Pruner.load`.
        gold_share: of the data's labels in the mixture with the teacher's.
    """

    __pydantic_config__ = _STRICT

    teacher: str
    backend: Literal["auto", "openvino", "onnx", "torch"] = "auto"
    gold_share: _Share = 0.0


@dataclass(frozen=True, slots=True)
class StopConfig:
    """Which checkpoint is the result, judged on ``data.validation`` each time that one is saved.

    Attributes:
        metric: `unit_ap` (average precision of units by keep probability over all passages) or `mrr`.
        queries: validation queries at most, evenly from all sources.
        patience: checkpoints without a better one after which the run ends; None to run to the end.
    """

    __pydantic_config__ = _STRICT

    metric: Literal["unit_ap", "mrr"] = "unit_ap"
    queries: _Count = 500
    patience: _Count | None = None


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """A training run.

    Attributes:
        name: the model's name.
        base: where training starts: a Hugging Face encoder, or an earlier secateur model, whose heads go on learning;
            a directory, a shipped model's name, a hub name, or ``package:NAME/PATH`` for a directory inside an
            installed Python package.
        base_share: of the starting model's weights in the finished one, the rest being what training made of them: the
            two averaged are often better than either, above all on data unlike the training data (WiSE-FT, Wortsman et
            al., CVPR 2022, arXiv 2109.01903). Needs an earlier secateur model as base, and no LoRA.
        out: directory for checkpoints and the finished model.
        data: see `DataConfig`.
        loss: see `LossConfig`.
        optim: see `OptimConfig`.
        lora: train low-rank updates of the encoder instead of its weights.
        distill: learn from a larger model's scores; see `secateur distill`.
        stop: which checkpoint is the result.
        window: tokens that the finished model reads at once.
        rank_head: form of the relevance head, see `secateur.models.heads`; `auto` for the earlier model's or the
            cross-encoder's own, and `pooled` on a bare encoder.
        prune_head: form of the token head; `auto` for the earlier model's, and `bilinear` on anything else.
        segmenter: sentence segmenter.
        seed: of everything that is drawn.
        save_steps: steps between checkpoints.
        report_to: installed trackers that `transformers` knows, e.g. `tensorboard`, `wandb`, `mlflow`.
        resume: continue from the last checkpoint in ``out``, if there is one.
    """

    __pydantic_config__ = _STRICT

    name: str
    base: str
    out: Path
    data: DataConfig
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    lora: LoraConfig | None = None
    distill: DistillConfig | None = None
    stop: StopConfig = field(default_factory=StopConfig)
    window: Annotated[int, Field(ge=32, multiple_of=32)] = 512
    rank_head: RankHead | Literal["auto"] = "auto"
    prune_head: PruneHead | Literal["auto"] = "auto"
    segmenter: str = "nupunkt"
    base_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    seed: int = 13
    save_steps: _Count = 200
    report_to: tuple[str, ...] = ()
    resume: bool = True


def load_config(path: Path) -> TrainConfig:
    """Read a training configuration; see `read_yaml`."""
    return read_yaml(path, TrainConfig)


def config_dict(config: TrainConfig) -> dict[str, Any]:
    """Return the configuration as plain JSON values, without directories (which belong to one machine)."""
    content = asdict(config)
    for key in ("out", "resume", "save_steps", "report_to"):
        content.pop(key)
    for key in ("train", "validation"):
        content["data"].pop(key)
    if config.distill is not None:
        content["distill"]["teacher"] = Path(config.distill.teacher).name
    base = Path(config.base)
    if base.is_dir():
        content["base"] = read_config(base).name if has_heads(base) else base.resolve().name
    content["data"]["exclude"] = list(content["data"]["exclude"])
    return content
