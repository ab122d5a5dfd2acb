"""Commands that make a model: train it, calibrate it, export it, describe it."""
# ruff: noqa: B008  (the dataclasses are frozen)

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from secateur.cli.ending import UsageError
from secateur.cli.options import Examples, ModelName, Switch, arg, flat
from secateur.labelled.yaml_files import read_yaml
from secateur.models.checkpoint import read_config, resolve
from secateur.models.errors import MissingExtraError
from secateur.models.registry import BackendName, PrecisionName
from secateur.models.sums import write_sums
from secateur.pipelines import finetune as pipeline
from secateur.training import calibration
from secateur.training.config import load_config
from secateur.training.model_card import CardFacts, make_card


def _need(extra: str, *packages: str) -> None:
    for package in packages:
        if find_spec(package) is None:
            raise MissingExtraError(package, extra)


def _need_training() -> None:
    _need("train", "torch", "transformers", "accelerate", "yaml", "onnx", "nncf")
    # torch then uses huge pages for tensors, a quarter faster on CPUs; it reads this when it first allocates.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def finetune(
    *,
    data: Examples,
    out: Annotated[Path, arg("Directory of the new model.")],
    options: Annotated[pipeline.FinetuneOptions, flat()] = pipeline.FinetuneOptions(),
) -> None:
    """Retrain a model for a domain: split, train, export, calibrate, compare.

    Example: `secateur finetune --data my.jsonl --out my-model --minutes 60`
    """
    _need_training()
    _need("eval", "ir_measures", "matplotlib", "jinja2")
    sys.stdout.write(pipeline.verdict_table(pipeline.finetune(data, out, options)))


def train(config: Annotated[Path, arg("Training configuration, a YAML file; see training/configs.")], /) -> None:
    """Train a model on labelled examples, or on a larger model's scores (`teacher:`).

    Example: `secateur train training/configs/secateur-nano-en.yaml`
    """
    _need_training()
    settings = load_config(config)
    from secateur.training import run  # takes seconds, which a wrong configuration does not have to wait for

    sys.stdout.write(f"{run.train(settings)}\n")


def calibrate(
    model: ModelName,
    /,
    *,
    data: Annotated[Path, arg("Labelled examples that the model was not trained on.")],
    out: Annotated[Path | None, arg("File to write; the model's calibration.json if unset.")] = None,
    pooled: Annotated[Switch, arg("Whether all queries count the same instead of all sources.")] = False,
    titles: Annotated[bool, arg("Whether passages are read under their titles.")] = True,
    check: Annotated[
        Switch, arg("Whether to compare the scores of DATA with those of the calibration only; nothing is written.")
    ] = False,
    backend: Annotated[BackendName, arg("Backend of the model.")] = "auto",
    precision: Annotated[PrecisionName, arg("Precision of the ONNX file.")] = "auto",
) -> None:
    """Choose the threshold for each target recall.

    Example: `secateur calibrate runs/secateur-nano-en/model --data dev`
    """
    if check:
        if not titles:
            raise UsageError("--no-titles: cannot be used with --check, which reads as the calibration did; omit it")
        shift = calibration.check_shift(model, data, backend=backend, precision=precision)
        sys.stdout.write(shift.verdict + "\n")
        return
    chosen = calibration.calibrate(
        model, data, out=out, balance=not pooled, titles=titles, backend=backend, precision=precision
    )
    for level in chosen.levels:
        sys.stdout.write(
            f"target_recall {level.target_recall:g}: threshold {level.threshold:.4f}, loses {level.loss:.2%} of the "
            f"answers here, at most {level.bound:.2%} expected\n"
        )


def export(
    model: ModelName, /, *, data: Annotated[Path, arg("Labelled examples for quantization and comparison.")]
) -> None:
    """Write the ONNX files of a trained model and compare each with torch.

    Example: `secateur export runs/secateur-nano-en/model --data train`
    """
    _need_training()
    from secateur.training.export import export

    for report in export(resolve(model), data):
        sys.stdout.write(
            f"{report.file} on {report.runtime}: {report.megabytes:.0f} MB, {report.flips:.2%} of keep decisions "
            f"differ from torch, batch effect {report.batch_effect:.0e}\n"
        )


def card(
    model: ModelName,
    /,
    *,
    facts: Annotated[Path, arg("Licences and limits, a YAML file; see docs/cards.")],
    metrics: Annotated[Path, arg("metrics.json of a `secateur eval` whose first system is the model.")],
    data: Annotated[Path | None, arg("Held-out examples on which the calibrated thresholds are measured.")] = None,
) -> None:
    """Write a model's card; text in its marked blocks is kept.

    Example: `secateur card secateur-nano-en --facts docs/cards/secateur-nano-en.yaml --metrics runs/eval/metrics.json`
    """
    _need_training()
    make_card(resolve(model), metrics, read_yaml(facts, CardFacts), data)


def checksum(model: ModelName, /) -> None:
    """Write the checksums that a model's files are compared with when it is loaded.

    Example: `secateur checksum my-model`
    """
    directory = resolve(model)
    read_config(directory)  # checksums of anything but a model would mislead
    for name, digest in write_sums(directory).items():
        sys.stdout.write(f"{digest}  {name}\n")
