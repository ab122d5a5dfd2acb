"""Fine-tuning on a domain in one command: split, train, export, calibrate, compare before and after.

Everything is written to one directory: the model, and under ``work/`` the split data, the checkpoints and both reports.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from secateur.labelled.markdown_blocks import markdown_table
from secateur.models.errors import DataError, InputError
from secateur.models.files import write_atomically

if TYPE_CHECKING:
    from secateur.eval.significance import ComparisonRow

log = logging.getLogger(__name__)

TRAIN, CALIBRATION, TEST = "train", "calibration", "test"
_SHARES = {TRAIN: 0.7, CALIBRATION: 0.15, TEST: 0.15}
_PAIRS_PER_QUERY = 3.0  # a positive, its hard negatives and some of the others
_FEW, _MANY = 500, 5000  # queries
_MIN_STEPS = 40
_SHOWN = ("area", "mrr", "compression_at_retention.0.90", "compression_at_retention.0.95")


@dataclass(frozen=True, slots=True)
class FinetuneOptions:
    """How to fine-tune.

    Attributes:
        base: Model directory or name of a shipped model to start from.
        minutes: Approximate training time in minutes; fewer pairs are sampled if the machine is too slow for all.
        seed: Seed of the split and of training.
    """

    base: str = "secateur-nano-en"
    minutes: float = 60.0
    seed: int = 13

    def __post_init__(self) -> None:
        if not (math.isfinite(self.minutes) and self.minutes > 0):
            raise InputError("--minutes", f"{self.minutes} is not a positive number", "give more than 0")


@dataclass(frozen=True, slots=True)
class Schedule:
    """The training settings that depend on the data and the machine; see `DataConfig` and `OptimConfig`."""

    pairs: int
    epochs: int
    learning_rate: float
    batch_size: int


@dataclass(frozen=True, slots=True)
class FinetuneReport:
    """The result of fine-tuning.

    Attributes:
        model: Directory of the new model.
        queries: Number of queries, by split.
        schedule: How it was trained.
        rows: Figures of the base and the new model on the held-out split.
        losses: Share of answers lost on the held-out split (mean over sources), by target recall.
        warnings: What to know before using the model.
    """

    model: Path
    queries: dict[str, int]
    schedule: Schedule
    rows: tuple[ComparisonRow, ...]
    losses: dict[float, float]
    warnings: tuple[str, ...] = ()

    @property
    def worse(self) -> bool:
        """Whether the new model prunes or ranks significantly worse than its base."""
        return any(row.outcome == "worse" for row in self.rows if row.figure in ("area", "mrr"))


def choose_schedule(queries: int, pairs_per_second: float, minutes: float) -> Schedule:
    """Choose a schedule: small data several times at a low rate, large data once, within the given time."""
    epochs, rate = (3, 3e-5) if queries < _FEW else (2, 5e-5) if queries < _MANY else (1, 1e-4)
    wanted = round(queries * _PAIRS_PER_QUERY)
    affordable = max(1, int(pairs_per_second * minutes * 60))
    epochs = max(1, min(epochs, affordable // wanted))
    pairs = min(wanted, affordable)
    batch = 16 if pairs * epochs >= 16 * _MIN_STEPS else max(4, pairs * epochs // _MIN_STEPS)
    return Schedule(pairs, epochs, rate, batch)


def _pairs_per_second(base: str) -> float:
    """Measure the training speed: a step costs about three forward passes."""
    import torch

    from secateur.models.checkpoint import resolve
    from secateur.models.network import load_network
    from secateur.training.trainer import use_bf16

    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = load_network(resolve(base)).to(device)
    ids = torch.full((8, 256), 1000, device=device)  # typical pairs
    seconds = []
    with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=use_bf16("auto")):
        for _ in range(4):
            started = time.perf_counter()
            network(ids, torch.ones_like(ids))[0].cpu()
            seconds.append(time.perf_counter() - started)
    return len(ids) / (3 * min(seconds))


def _schedule(work: Path, queries: dict[str, int], options: FinetuneOptions) -> tuple[Schedule, bool]:
    """Return the schedule, and whether an earlier session chose and stored it, so that its checkpoints fit."""
    path = work / "schedule.json"
    inputs = {"queries": queries, **asdict(options)}
    if path.is_file():
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored["inputs"] == inputs:
            return Schedule(**stored["schedule"]), True
    schedule = choose_schedule(queries[TRAIN], _pairs_per_second(options.base), options.minutes)
    write_atomically(path, json.dumps({"inputs": inputs, "schedule": asdict(schedule)}, indent=1) + "\n")
    return schedule, False


def _train(work: Path, name: str, schedule: Schedule, options: FinetuneOptions, *, resume: bool) -> Path:
    from secateur.models.checkpoint import read_config, resolve
    from secateur.models.segmenters import located
    from secateur.training.config import DataConfig, LossConfig, OptimConfig, TrainConfig
    from secateur.training.run import train

    directory = resolve(options.base)
    base = read_config(directory)
    settings = asdict(schedule)
    data = DataConfig(train=work / TRAIN, pairs=settings.pop("pairs"), hard_negatives=1.5, title_share=0.3)
    config = TrainConfig(
        name=name,
        base=options.base,
        out=work,
        data=data,
        loss=LossConfig(relevance_listwise=0.2),
        optim=OptimConfig(**settings, head_multiplier=2.0, pad_to_multiple_of=32),
        window=base.window,
        segmenter=located(base.segmenter, directory),
        seed=options.seed,
        resume=resume,
    )
    return train(config)


def finetune(data: Path, out: Path, options: FinetuneOptions | None = None) -> FinetuneReport:
    """Fine-tune a model on labelled examples of a domain: 70% for training, 15% for calibration, 15% for testing.

    The new model is written to ``out``; a killed run resumes from there.

    Raises:
        DataError: The data cannot be used.
        ModelError: The base cannot be loaded.
        ExportError: The exported files are not faithful to the weights.
    """
    from secateur.data_scripts.check import check_data
    from secateur.data_scripts.split import split
    from secateur.eval.run import RunOptions, evaluate
    from secateur.eval.significance import paired
    from secateur.models.checkpoint import resolve
    from secateur.training.calibration import calibrate, held_out_losses, mean_losses
    from secateur.training.export import check_enough, export
    from secateur.training.model_card import figures_table, write_card

    options = options or FinetuneOptions()
    resolve(options.base)
    checked = check_data(data)
    if not checked.usable:
        problem = next(line.strip() for line in checked.lines() if "error:" in line)
        raise DataError(f"{data}: {problem}; `secateur data check {data}` lists all problems")
    work = out / "work"
    queries = split(data, work, _SHARES, options.seed)
    check_enough(work / TRAIN)
    schedule, resume = _schedule(work, queries, options)
    log.info("%s queries; %s", queries, schedule)
    trained = _train(work, out.name, schedule, options, resume=resume)
    for path in trained.iterdir():
        shutil.copyfile(path, out / path.name)
    export(out, work / TRAIN)
    warnings = []
    try:
        calibrate(out, work / CALIBRATION)
    except DataError as error:
        warnings.append(f"not calibrated, so target_recall cannot be used: {error}")
    before, after = work / "before", work / "after"
    evaluate(work / TEST, before, RunOptions(systems=(f"secateur:{options.base}",)))
    metrics = evaluate(work / TEST, after, RunOptions(systems=(f"secateur:{out}",)))
    losses = held_out_losses(out, work / TEST)
    write_card(out, figures_table(metrics), losses)
    rows = tuple(row for row in paired(before, after) if row.scope == "macro" and row.figure in _SHOWN)
    report = FinetuneReport(out, queries, schedule, rows, mean_losses(losses))
    if report.worse:
        warnings.append("the new model is significantly WORSE than its base: do not use it")
    elif not any(row.outcome == "better" for row in rows):
        warnings.append("no figure changed significantly: label more queries")
    return replace(report, warnings=tuple(warnings))


def verdict_table(report: FinetuneReport) -> str:
    """Return the report as Markdown: tables and warnings."""
    queries, schedule = report.queries, report.schedule
    rows = [
        (r.figure, f"{r.a:.3f}", f"{r.b:.3f}", f"{r.difference:+.3f}", f"[{r.low:+.3f}, {r.high:+.3f}]", r.outcome)
        for r in report.rows
    ]
    parts = [
        f"Trained on {queries[TRAIN]} queries ({schedule.pairs} pairs, {schedule.epochs} epochs), calibrated on "
        f"{queries[CALIBRATION]}, measured on {queries[TEST]}.",
        markdown_table(("figure", "before", "after", "change", "95% interval", "verdict"), rows),
    ]
    if report.losses:
        lost = [(f"{recall:.2f}", f"{loss:.3f}") for recall, loss in sorted(report.losses.items())]
        parts.append(markdown_table(("promised recall", "answers lost on the held-out share"), lost))
    if report.warnings:
        parts.append("\n".join(f"WARNING: {warning}" for warning in report.warnings))
    return "\n\n".join(parts) + "\n"
