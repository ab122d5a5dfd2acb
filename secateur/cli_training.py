"""The commands that make a model: `train`, `distill`, `finetune`, `calibrate`, `export`, `card` and `checksum`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path


def _need_train_extra() -> None:
    from importlib.util import find_spec

    from secateur.models.errors import MissingExtraError

    for package in ("torch", "transformers", "accelerate", "yaml", "onnx", "nncf"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "train")


def _distill(arguments: argparse.Namespace) -> None:
    _need_train_extra()
    _use_huge_pages()
    from secateur.models.errors import DataError
    from secateur.training.config import load_config

    config = load_config(arguments.config)
    if config.distill is None:
        raise DataError(f"{arguments.config}: has no section `distill`; add one with `teacher: MODEL`")
    from secateur.training.run import train

    sys.stdout.write(f"{train(config)}\n")


def _need_eval_extra() -> None:
    from importlib.util import find_spec

    from secateur.models.errors import MissingExtraError

    for package in ("ir_measures", "matplotlib", "jinja2"):
        if find_spec(package) is None:
            raise MissingExtraError(package, "eval")


def _use_huge_pages() -> None:
    """Have torch use huge pages for tensors, a quarter faster on CPUs; to be called before it first allocates."""
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def _train(arguments: argparse.Namespace) -> None:
    _need_train_extra()
    _use_huge_pages()
    from secateur.training.config import load_config

    config = load_config(arguments.config)
    from secateur.training.run import train  # takes seconds, which a wrong configuration need not wait for

    sys.stdout.write(f"{train(config)}\n")


def _calibrate(arguments: argparse.Namespace) -> None:
    from secateur.training.calibration import calibrate, check_shift

    runtime = {"backend": arguments.backend, "precision": arguments.precision}
    if arguments.check:
        shift = check_shift(arguments.model, arguments.data, **runtime)
        sys.stdout.write(shift.verdict + "\n")
        return
    calibration = calibrate(
        arguments.model,
        arguments.data,
        out=arguments.out,
        balance=not arguments.pooled,
        titles=arguments.titles,
        **runtime,
    )
    for level in calibration.levels:
        sys.stdout.write(
            f"target_recall {level.target_recall:g}: threshold {level.threshold:.4f}, loses {level.loss:.2%} of the "
            f"answers here, at most {level.bound:.2%} expected\n"
        )


def _finetune(arguments: argparse.Namespace) -> None:
    _need_train_extra()
    _need_eval_extra()
    _use_huge_pages()
    from secateur.pipelines.finetune import FinetuneOptions, finetune, verdict_table

    options = FinetuneOptions(base=arguments.base, minutes=arguments.minutes, seed=arguments.seed)
    report = finetune(arguments.data, arguments.out, options)
    sys.stdout.write(verdict_table(report))


def _card(arguments: argparse.Namespace) -> None:
    _need_train_extra()
    from secateur.labelled.yaml_files import read_yaml
    from secateur.models.checkpoint import resolve
    from secateur.training.model_card import CardFacts, make_card

    facts = read_yaml(arguments.facts, CardFacts)
    make_card(resolve(arguments.model), arguments.metrics, facts, arguments.data)


def _export(arguments: argparse.Namespace) -> None:
    _need_train_extra()
    from secateur.models.checkpoint import resolve
    from secateur.training.export import export

    for report in export(resolve(arguments.model), arguments.data):
        sys.stdout.write(
            f"{report.file} on {report.runtime}: {report.megabytes:.0f} MB, {report.flips:.2%} of keep decisions "
            f"differ from torch, batch effect {report.batch_effect:.0e}\n"
        )


def _checksum(arguments: argparse.Namespace) -> None:
    from secateur.models.checkpoint import read_config, resolve
    from secateur.models.sums import write_sums

    directory = resolve(arguments.model)
    read_config(directory)  # sums of what is no model would only mislead
    for name, digest in write_sums(directory).items():
        sys.stdout.write(f"{digest}  {name}\n")


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands.

    Args:
        command: makes a command of a name, what it runs, and a line of help.
    """
    train = command("train", _train, "Fine-tune an encoder; see training/configs.")
    train.add_argument("config", type=Path, metavar="CONFIG.yaml")

    distill = command("distill", _distill, "Train a small model on a large one's scores (section `distill`).")
    distill.add_argument("config", type=Path, metavar="CONFIG.yaml")

    finetune = command("finetune", _finetune, "Retrain a model on a domain: split, train, export, calibrate, compare.")
    finetune.add_argument("--data", type=Path, required=True, help="labelled examples: a file, or a directory of them")
    finetune.add_argument("--out", type=Path, required=True, help="directory of the new model")
    finetune.add_argument("--base", default="secateur-nano-en", help="model to start from (default: the shipped one)")
    finetune.add_argument("--minutes", type=float, default=60.0, help="that training may take, about (default: 60)")
    finetune.add_argument("--seed", type=int, default=13)

    calibrate = command("calibrate", _calibrate, "Choose the thresholds that keep a promised recall.")
    calibrate.add_argument("model", metavar="MODEL", help="model directory or shipped model's name")
    calibrate.add_argument("--data", type=Path, required=True, help="labelled examples that were not trained on")
    calibrate.add_argument("--out", type=Path, help="file to write (default: the model's calibration.json)")
    calibrate.add_argument("--pooled", action="store_true", help="count queries alike, not sources")
    shown = calibrate.add_mutually_exclusive_group()
    shown.add_argument(
        "--no-titles", dest="titles", action="store_false", help="do not show the passages' titles to the model"
    )
    shown.add_argument(
        "--check",
        action="store_true",
        help="only say whether DATA's scores are like those before; read with titles if those were",
    )
    calibrate.add_argument("--backend", default="auto", choices=("auto", "openvino", "onnx", "torch"))
    calibrate.add_argument("--precision", default="auto", choices=("auto", "int8", "fp16"), help="of the ONNX file")

    export = command("export", _export, "Write a trained model's ONNX files, each proved against torch.")
    export.add_argument("model", metavar="MODEL_DIR")
    export.add_argument("--data", type=Path, required=True, help="labelled examples to calibrate and check with")

    card = command("card", _card, "Write a model's card; what stands in its marked blocks is kept.")
    card.add_argument("model", metavar="MODEL", help="model directory or shipped model's name")
    card.add_argument(
        "--facts", type=Path, required=True, metavar="FACTS.yaml", help="licences, limits; see docs/cards"
    )
    card.add_argument(
        "--metrics", type=Path, required=True, help="metrics.json of `secateur eval` with the model first"
    )
    card.add_argument("--data", type=Path, help="held-out examples to measure the calibrated thresholds on")

    checksum = command("checksum", _checksum, "Write the sums that a model's files are checked by when it is loaded.")
    checksum.add_argument("model", metavar="MODEL", help="model directory or shipped model's name")
