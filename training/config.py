"""The training configuration: one YAML file, read into one frozen object."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from secateur.labelled.yaml_files import read_yaml
from secateur.models.checkpoint import ModelName, PruneHead, RankHead, SegmenterName, has_heads, read_config
from secateur.models.registry import BackendName

_Count = Annotated[int, Field(ge=1)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Section:
    """A section of the file; pydantic refuses unknown keys."""

    __slots__ = ()
    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class DataConfig(_Section):
    """Which pairs are sampled, and how their passages are changed.

    Attributes:
        train: Labelled examples, in any form that `labelled_sources` reads.
        validation: Labelled examples that are not trained on; see `StopConfig`.
        streaming: Whether to read the examples repeatedly instead of keeping them in memory.
        workers: Processes that encode pairs while streaming. Their number does not change the batches.
        exclude: Sources to leave out.
        pairs: Number of (query, passage) pairs to sample.
        mix_exponent: Exponent of a source's size in its share of the pairs; 1 samples in proportion to size, 0 evenly.
        source_weights: Factor of a source's share, by source; 1 for all others.
        hard_negatives: Irrelevant passages of the same query sampled with each positive; 1.5 means one or two.
        answering_negatives: Whether to take negatives only from passages that answer another query, if a query has any.
        random_negative_share: Share of pairs whose passage belongs to another query of the same source.
        no_answer_share: Share of positives that are repeated, as negatives, with their answering units removed.
        recut_share: Share of passages cut to a random run of units that contains the relevant ones.
        recut_max_units: Longest such run, unless the relevant units are further apart (Provence: 10).
        shuffle_share: Share of passages whose units are shuffled, so that position carries no signal.
        title_share: Share of titled passages that are shown with their title.
    """

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
class LossConfig(_Section):
    """Weights of the losses of `secateur.training.losses`; a loss with weight 0 is not computed.

    Attributes:
        token_bce: Weight of binary cross-entropy per token.
        unit_bce: Weight of binary cross-entropy per unit.
        relevance_bce: Weight of binary cross-entropy per pair.
        relevance_listwise: Weight of softmax cross-entropy over a query's passages.
        relevance_mse: Weight of the squared error to a teacher's logits, where there are any (Provence: 0.05).
        relevance_margin_mse: Weight of the squared error of margins to a teacher's, where there are any.
    """

    token_bce: _NotNegative = 0.5
    unit_bce: _NotNegative = 0.5
    relevance_bce: _NotNegative = 0.4
    relevance_listwise: _NotNegative = 0.0
    relevance_mse: _NotNegative = 0.05
    relevance_margin_mse: _NotNegative = 0.0


@dataclass(frozen=True, slots=True)
class OptimConfig(_Section):
    """How the network is optimised.

    Attributes:
        epochs: Passes over the pairs.
        batch_size: Approximate number of pairs per step and process; the passages of a query stay together.
        learning_rate: Peak learning rate of the encoder.
        head_multiplier: Factor of the learning rate for the heads.
        warmup: Share of steps with a rising learning rate; it falls linearly afterwards.
        layer_decay: Factor of the learning rate from each layer of the encoder to the one below; 1 for a uniform rate.
        weight_decay: Decoupled weight decay, not applied to biases and norms.
        gradient_accumulation: Batches whose gradients are added up for a step.
        gradient_checkpointing: Whether to recompute activations instead of keeping them: less memory, more time.
        max_tokens: Window in training; a shorter one than the model's saves time.
        dropout: Dropout rate of the encoder; None for its own.
        attention_dropout: Dropout rate of attention weights; `dropout` if unset. With 0 the fused kernels stay in use.
        freeze_embeddings: Whether to leave the embedding layer unchanged.
        pad_to_multiple_of: Number that padded lengths are a multiple of.
        max_grad_norm: Norm that gradients are clipped to.
        precision: `auto` (bf16 where the hardware supports it), `bf16`, `fp16` (CUDA only) or `fp32`.
    """

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
class LoraConfig(_Section):
    """Low-rank adaptation of the encoder's linear layers (Hu et al. 2021), merged at the end. Heads train in full.

    Attributes:
        rank: Rank of the updates.
        alpha: Scale of the updates, times the rank.
        dropout: Dropout rate of the adapters' input.
    """

    rank: _Count = 16
    alpha: _Count = 32
    dropout: _Share = 0.0


@dataclass(frozen=True, slots=True)
class TeacherConfig(_Section):
    """Distillation (Hinton et al. 2015): a model whose scores become the labels and the targets of `relevance_*mse`.

    Attributes:
        model: Model directory, directory of a published checkpoint, or name of a shipped model.
        backend: Backend that runs the teacher, see `Pruner.load`.
        gold_share: Share of the data's own labels in the mixture with the teacher's.
    """

    model: str
    backend: BackendName = "auto"
    gold_share: _Share = 0.0


@dataclass(frozen=True, slots=True)
class StopConfig(_Section):
    """Which checkpoint is the result, judged on ``data.validation`` whenever one is saved.

    Attributes:
        metric: `unit_ap` or `mrr`, see `validation.validate`.
        queries: Largest number of validation queries, taken evenly from all sources.
        patience: Checkpoints without improvement after which the run stops; None to run to the end.
    """

    metric: Literal["unit_ap", "mrr"] = "unit_ap"
    queries: _Count = 500
    patience: _Count | None = None


@dataclass(frozen=True, slots=True)
class TrainConfig(_Section):
    """A training run.

    Attributes:
        name: Name of the model.
        base: Hugging Face encoder or earlier Secateur model: a directory, the name of a shipped model, a hub name, or
            ``package:NAME/PATH`` for a directory in a Python package.
        out: Directory for checkpoints and the finished model.
        data: Sampling of the training pairs.
        loss: Weights of the losses.
        optim: Optimisation.
        lora: Low-rank updates of the encoder; None to train its weights.
        teacher: Model to distil; None to train on the data's own labels.
        stop: Choice of the resulting checkpoint.
        window: Tokens that the finished model reads at once.
        rank_head: Form of the rank head, see `secateur.models.heads`; `auto` for the base's own, or else `pooled`.
        prune_head: Form of the prune head; `auto` for the base's own, or else `bilinear`.
        segmenter: Sentence segmenter.
        base_share: Share of the base's weights in an average with the trained ones, often better than either on data
            unlike the training data (WiSE-FT, arXiv 2109.01903). Needs an earlier Secateur model as base, and no LoRA.
        seed: Seed of every random choice.
        save_steps: Steps between checkpoints.
        report_to: Installed trackers that `transformers` supports, e.g. `tensorboard`, `wandb`, `mlflow`.
        resume: Whether to continue from the last checkpoint in ``out``, if there is one.
    """

    name: ModelName
    base: str
    out: Path
    data: DataConfig
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    lora: LoraConfig | None = None
    teacher: TeacherConfig | None = None
    stop: StopConfig = field(default_factory=StopConfig)
    window: Annotated[int, Field(ge=32, multiple_of=32)] = 512
    rank_head: RankHead | Literal["auto"] = "auto"
    prune_head: PruneHead | Literal["auto"] = "auto"
    segmenter: SegmenterName = "nupunkt"
    base_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    seed: int = 13
    save_steps: _Count = 200
    report_to: tuple[str, ...] = ()
    resume: bool = True


def load_config(path: Path) -> TrainConfig:
    """Read a training configuration; see `read_yaml`."""
    return read_yaml(path, TrainConfig)


def config_dict(config: TrainConfig) -> dict[str, Any]:
    """Return the configuration as plain JSON values, without the directories of this machine."""
    content = asdict(config)
    for key in ("out", "resume", "save_steps", "report_to"):
        del content[key]
    del content["data"]["train"], content["data"]["validation"]
    if config.teacher is not None:
        content["teacher"]["model"] = Path(config.teacher.model).name
    base = Path(config.base)
    if base.is_dir():
        content["base"] = read_config(base).name if has_heads(base) else base.resolve().name
    content["data"]["exclude"] = list(content["data"]["exclude"])
    return content
