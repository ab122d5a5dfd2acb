"""The trainer: fine-tunes an encoder with both heads on `transformers.Trainer`, and writes a model directory."""

from __future__ import annotations

import importlib.util
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.utils.data import Dataset, Sampler
from transformers import Trainer, TrainingArguments, set_seed
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.trainer_utils import get_last_checkpoint

from secateur.models.checkpoint import TOKENIZER, ModelConfig, has_heads, read_config
from secateur.models.encoding import PairEncoder
from secateur.models.errors import DataError, ModelError
from secateur.models.network import PruningNetwork, continued_network, new_network, save_network
from secateur.models.splitters import get_splitter
from secateur.training.config import OptimConfig, TrainConfig, config_dict
from secateur.training.data import IGNORED, Pair, build_pairs
from secateur.training.losses import joint_loss

log = logging.getLogger(__name__)


def base_directory(base: str) -> Path:
    """Return the directory that a config's ``base`` means.

    Raises:
        ModelError: the package or the directory is missing, or has no fast tokenizer.
    """
    if base.startswith("package:"):
        package, _, inner = base.removeprefix("package:").partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise ModelError(f"base: the Python package {package!r} is not installed")
        directory = Path(next(iter(spec.submodule_search_locations))) / inner
    else:
        directory = Path(base).expanduser()
        if not directory.is_dir():
            from huggingface_hub import snapshot_download

            directory = Path(snapshot_download(base, ignore_patterns=["*.bin", "*.onnx", "*.h5", "*.msgpack"]))
    if not (directory / TOKENIZER).is_file():
        raise ModelError(f"base: {directory} has no {TOKENIZER}; only encoders with a fast tokenizer can be trained")
    return directory


def use_bf16(precision: str) -> bool:
    """Whether to train in bf16: where asked for, or by `auto` where the hardware multiplies it.

    Without such hardware bf16 is emulated, some twenty times slower than fp32.
    """
    if precision != "auto":
        return precision == "bf16"
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


class PairDataset(Dataset[dict[str, Any]]):
    """Encoded pairs as the items that the trainer wants."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"pair": self.pairs[index]}


class PairCollator:
    """Pads pairs to one length, a multiple of ``multiple``.

    Args:
        pad_id: the tokenizer's padding token.
        multiple: few distinct lengths keep kernels warm.
        passage_type: token type of the passage.
    """

    def __init__(self, pad_id: int, multiple: int, passage_type: int) -> None:
        self._pad_id = pad_id
        self._multiple = multiple
        self._passage_type = passage_type

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, Tensor]:
        """Return the network's inputs, ``labels`` and ``units`` int64[batch, tokens], ``relevant`` float32[batch]."""
        pairs: list[Pair] = [item["pair"] for item in items]
        longest = max(len(pair.input_ids) for pair in pairs)
        shape = (len(pairs), -(-longest // self._multiple) * self._multiple)
        input_ids = torch.full(shape, self._pad_id)
        attention_mask = torch.zeros(shape, dtype=torch.long)
        token_type_ids = torch.zeros(shape, dtype=torch.long)
        labels = torch.full(shape, IGNORED)
        units = torch.zeros(shape, dtype=torch.long)
        for row, pair in enumerate(pairs):
            n = len(pair.input_ids)
            input_ids[row, :n] = torch.from_numpy(pair.input_ids)
            attention_mask[row, :n] = 1
            token_type_ids[row, pair.passage_start : n] = self._passage_type
            labels[row, :n] = torch.from_numpy(pair.labels)
            units[row, :n] = torch.from_numpy(pair.units)
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
            "labels": labels,
            "units": units,
            "relevant": torch.tensor([float(pair.relevant) for pair in pairs]),
        }


class PruningTrainer(Trainer):
    """`transformers.Trainer` with the joint loss, faster heads and length-grouped batches."""

    def __init__(self, optim: OptimConfig, lengths: list[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model_accepts_loss_kwargs = False
        self._optim = optim
        self._lengths = lengths
        self._parts: dict[str, list[float]] = {"prune_loss": [], "relevance_loss": []}

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the joint loss of a batch (and the logits, when asked for)."""
        labels, units, relevant = inputs.pop("labels"), inputs.pop("units"), inputs.pop("relevant")
        relevance, keep = model(**inputs)
        loss = joint_loss(
            relevance,
            keep,
            relevant,
            labels,
            units,
            weight=self._optim.relevance_weight,
            unit_share=self._optim.unit_share,
        )
        self._parts["prune_loss"].append(loss.prune.item())
        self._parts["relevance_loss"].append(loss.relevance.item())
        return (loss.total, {"relevance": relevance, "keep": keep}) if return_outputs else loss.total

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the parts of the loss since the last log."""
        if "loss" in logs:
            for name, values in self._parts.items():
                if values:
                    logs[name] = round(sum(values) / len(values), 4)
                    values.clear()
        super().log(logs, start_time)

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW with faster heads; no decay on biases, norms and scalars."""
        if self.optimizer is None:
            groups: dict[tuple[bool, bool], list[torch.nn.Parameter]] = {}
            for name, parameter in (model or self.model).named_parameters():  # type: ignore[union-attr]
                if parameter.requires_grad:
                    groups.setdefault((name.startswith("encoder."), parameter.ndim > 1), []).append(parameter)
            rate, decay = self._optim.learning_rate, self._optim.weight_decay
            self.optimizer = torch.optim.AdamW(
                [
                    {
                        "params": parameters,
                        "lr": rate if in_encoder else rate * self._optim.head_multiplier,
                        "weight_decay": decay if is_matrix else 0.0,
                    }
                    for (in_encoder, is_matrix), parameters in groups.items()
                ],
                lr=rate,
            )
        return self.optimizer

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        generator = torch.Generator().manual_seed(self.args.seed)
        return LengthGroupedSampler(self.args.train_batch_size, lengths=self._lengths, generator=generator)


def _arguments(config: TrainConfig, steps: int) -> TrainingArguments:
    optim = config.optim
    cuda = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(config.out / "checkpoints"),
        num_train_epochs=optim.epochs,
        per_device_train_batch_size=optim.batch_size,
        learning_rate=optim.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=round(optim.warmup * steps),
        max_grad_norm=optim.max_grad_norm,
        bf16=use_bf16(optim.precision),
        use_cpu=not cuda,
        dataloader_pin_memory=cuda,
        seed=config.seed,
        save_steps=config.save_steps,
        save_total_limit=2,
        logging_steps=20,
        logging_first_step=True,
        remove_unused_columns=False,
        report_to="none",
    )


def _prepare(config: TrainConfig, base: Path) -> tuple[PruningNetwork, PairEncoder, Tokenizer]:
    tokenizer: Tokenizer = Tokenizer.from_file(str(base / TOKENIZER))
    encoder = PairEncoder(tokenizer, min(config.optim.max_tokens, config.window))
    model_config = ModelConfig(
        name=config.name,
        window=config.window,
        rank_head=config.rank_head,
        prune_head=config.prune_head,
        segmenter=config.segmenter,
        title=config.data.title_share > 0,
    )
    start = continued_network if has_heads(base) else new_network
    network = start(base, model_config, encoder.template, dropout=config.optim.dropout)
    positions = getattr(network.encoder.config, "max_position_embeddings", config.window)
    if config.window > int(positions):
        raise DataError(f"window: {config.window} is more than the {positions} positions of the encoder")
    if config.optim.freeze_embeddings:
        for parameter in network.encoder.get_input_embeddings().parameters():  # type: ignore[operator]
            parameter.requires_grad = False
    return network, encoder, tokenizer


def _pad_id(base: Path) -> int:
    value = json.loads((base / "config.json").read_text(encoding="utf-8")).get("pad_token_id")
    return int(value) if value is not None else 0


def train(config: TrainConfig) -> Path:
    """Run (or resume) a training run.

    Args:
        config: the run.

    Returns:
        The finished model's directory, ``config.out / "model"``, with fp32 weights.

    Raises:
        DataError: the data cannot be trained on.
        ModelError: the base cannot be used.
    """
    set_seed(config.seed)
    base = base_directory(config.base)
    network, encoder, _ = _prepare(config, base)
    pairs, sources = build_pairs(config.data, encoder, get_splitter(config.segmenter), config.seed)
    steps = int(-(-len(pairs) // config.optim.batch_size) * config.optim.epochs)
    log.info("%d pairs from %d sources, %d steps", len(pairs), len(sources), steps)
    trainer = PruningTrainer(
        config.optim,
        [len(pair.input_ids) for pair in pairs],
        model=network,
        args=_arguments(config, steps),
        train_dataset=PairDataset(pairs),
        data_collator=PairCollator(
            _pad_id(base), config.optim.pad_to_multiple_of, encoder.template.passage_type if network.uses_types else 0
        ),
    )
    checkpoints = config.out / "checkpoints"
    last = None
    if config.resume and checkpoints.is_dir():
        last = get_last_checkpoint(str(checkpoints))  # type: ignore[no-untyped-call]
    started = time.monotonic()
    outcome = trainer.train(resume_from_checkpoint=last)
    if not torch.isfinite(torch.tensor(outcome.training_loss)):
        raise DataError("the loss is not finite; lower optim.learning_rate or use optim.precision: fp32")
    network.model_config.training.update(
        {
            "config": config_dict(config),
            "queries_by_source": sources,
            "pairs": len(pairs),
            "steps": outcome.global_step,
            "final_loss": round(outcome.training_loss, 4),
            "minutes_of_last_sitting": round((time.monotonic() - started) / 60, 1),
            "precision": "bf16" if use_bf16(config.optim.precision) else "fp32",
        }
    )
    if has_heads(base):
        network.model_config.training["continued"] = read_config(base).training
    directory = config.out / "model"
    save_network(network, base, directory)
    return directory
