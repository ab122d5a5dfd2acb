"""The trainer: `transformers.Trainer` with the joint loss, batches of whole queries, and complete checkpoints."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import EarlyStoppingCallback, Trainer, TrainingArguments
from transformers.integrations.integration_utils import get_available_reporting_integrations

from secateur.labelled.hardware import has_bf16
from secateur.models.errors import DataError, ModelError
from secateur.training.config import TrainConfig
from secateur.training.losses import Targets, joint_loss, loss_parts
from secateur.training.pairs import Group
from secateur.training.validation import validate

_CHECKPOINTS = "checkpoints"  # folder of a run's output directory
_COMPLETE = "complete"  # file that marks a checkpoint as complete
_LAYER = re.compile(r"\.layers?\.(\d+)\.")


def use_bf16(precision: str) -> bool:
    """Whether to train in bf16; with `auto` where the hardware supports it. Emulated, it is 20 times slower."""
    if precision != "auto":
        return precision == "bf16"
    return torch.cuda.is_bf16_supported() if torch.cuda.is_available() else has_bf16()


def check_machine(config: TrainConfig) -> None:
    """Raise a `DataError` for a run that this machine cannot do, before anything is read."""
    if config.optim.precision == "fp16" and not torch.cuda.is_available():
        raise DataError("optim.precision: fp16 needs a CUDA device, but there is none; use auto, bf16 or fp32")
    trackers: list[str] = get_available_reporting_integrations() if config.report_to else []  # type: ignore[no-untyped-call]
    for name in config.report_to:
        if name not in trackers:
            problem = f"the tracker {name!r} is not installed (installed: {', '.join(trackers) or 'none'})"
            raise DataError(f"report_to: {problem}; install it or leave it out")


def last_checkpoint(out: Path) -> Path | None:
    """Return a run's newest complete checkpoint; None if there is none."""
    complete = [path.parent for path in out.glob(f"{_CHECKPOINTS}/checkpoint-*/{_COMPLETE}")]
    return max(complete, key=lambda path: int(path.name.partition("-")[2]), default=None)


class PruningTrainer(Trainer):
    """Trains a `PruningNetwork` on this process's batches of all epochs; see `training_arguments`.

    Checkpoints are judged by the encoded queries in ``validation``, if there are any.
    """

    def __init__(
        self,
        config: TrainConfig,
        network: torch.nn.Module,
        arguments: TrainingArguments,
        loader: DataLoader[Any],
        validation: Sequence[Group],
    ) -> None:
        super().__init__(
            model=network,
            args=arguments,
            train_dataset=loader.dataset,
            eval_dataset=cast("Dataset[Group]", validation) if validation else None,
            data_collator=loader.collate_fn,
        )
        if validation and config.stop.patience:
            self.add_callback(EarlyStoppingCallback(config.stop.patience))
        self.model_accepts_loss_kwargs = False
        self._config = config
        self._validation = validation
        self._parts: dict[str, list[float]] = {}
        self._loader = loader

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the batches, which are divided among processes already."""
        return self._loader

    def compute_loss(self, model: torch.nn.Module, inputs: dict[str, Tensor | Any], *_: Any, **__: Any) -> Tensor:
        """Return the joint loss; raise the error of one that is not finite, or of a batch too large for memory."""
        targets = Targets(**{field.name: inputs.pop(field.name) for field in fields(Targets)})
        try:
            relevance, keep = model(**inputs)
        except torch.OutOfMemoryError as error:
            rows, tokens = inputs["input_ids"].shape
            fix = "lower optim.batch_size (and raise optim.gradient_accumulation), or set optim.gradient_checkpointing"
            raise ModelError(f"out of memory on a batch of {rows} pairs of {tokens} tokens; {fix}") from error
        if not (torch.isfinite(relevance).all() and torch.isfinite(keep).all()):
            raise self._not_finite("the network's output")
        parts = loss_parts(relevance, keep, targets, self._config.loss)
        for name, part in parts.items():
            self._parts.setdefault(name, []).append(part.item())
        loss = joint_loss(parts, self._config.loss)
        if not math.isfinite(loss.item()):
            raise self._not_finite("the loss")
        return loss

    def _not_finite(self, what: str) -> DataError:
        fix = "lower optim.learning_rate or use optim.precision: fp32"
        return DataError(f"{what} is not finite at step {self.state.global_step}; {fix}")

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the parts of the loss since the last log."""
        if "loss" in logs:
            logs |= {name: round(sum(values) / len(values), 4) for name, values in self._parts.items()}
            self._parts.clear()
        super().log(logs, start_time)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Measure the network on the validation pairs."""
        found = validate(self.accelerator.unwrap_model(self.model), self._validation, self._loader.collate_fn)
        metrics = {f"eval_{name}": value for name, value in found.items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        folder = self._config.out / _CHECKPOINTS / f"checkpoint-{self.state.global_step}"
        if self.args.should_save and folder.is_dir():
            (folder / _COMPLETE).touch()

    def create_optimizer(self, model: torch.nn.Module | None = None) -> torch.optim.Optimizer:
        """Return AdamW with faster heads and slower lower layers; no decay on biases, norms and scalars."""
        if self.optimizer is None:
            optim = self._config.optim
            named = dict((model or self.model).named_parameters())  # type: ignore[union-attr]
            depths = {name: int(found[1]) for name in named if (found := _LAYER.search(name))}
            layers = max(depths.values(), default=-1) + 1
            groups: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
            for name, parameter in named.items():
                if parameter.requires_grad:
                    of_encoder = name.removeprefix("module.").startswith("encoder.")
                    below = layers - depths.get(name, -1) - 1  # layers between this one and the heads
                    scale = optim.layer_decay**below if of_encoder else optim.head_multiplier
                    decay = optim.weight_decay if parameter.ndim > 1 else 0.0
                    groups.setdefault((optim.learning_rate * scale, decay), []).append(parameter)
            self.optimizer = torch.optim.AdamW(
                [{"params": group, "lr": rate, "weight_decay": decay} for (rate, decay), group in groups.items()],
                lr=optim.learning_rate,
            )
        return self.optimizer


def training_arguments(config: TrainConfig, *, judged: bool) -> TrainingArguments:
    """Return a run's settings for `transformers`; with ``judged`` every checkpoint is measured on validation pairs."""
    optim = config.optim
    cuda = torch.cuda.is_available()
    return TrainingArguments(
        output_dir=str(config.out / _CHECKPOINTS),
        num_train_epochs=1,  # the loader yields the batches of all epochs
        per_device_train_batch_size=optim.batch_size,
        gradient_accumulation_steps=optim.gradient_accumulation,
        learning_rate=optim.learning_rate,
        warmup_steps=optim.warmup,
        max_grad_norm=optim.max_grad_norm,
        bf16=use_bf16(optim.precision),
        fp16=optim.precision == "fp16",
        use_cpu=not cuda,
        seed=config.seed,
        save_steps=config.save_steps,
        save_total_limit=2,
        eval_strategy="steps" if judged else "no",
        eval_steps=config.save_steps,
        load_best_model_at_end=judged,
        metric_for_best_model=f"eval_{config.stop.metric}",
        logging_steps=20,
        logging_first_step=True,
        remove_unused_columns=False,
        report_to=list(config.report_to) or "none",
        ddp_find_unused_parameters=True,  # an encoder's own pooler is not used
    )
