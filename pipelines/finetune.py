"""Retraining on a domain in one command: split, train, export, calibrate, measure before and after, say the verdict.

Everything lands in one directory: the model, and under ``work/`` the split data, the checkpoints and both reports.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

log = logging.getLogger(__name__)

TRAIN, CALIBRATION, TEST = "train", "calibration", "test"
_SHARES = {TRAIN: 0.7, CALIBRATION: 0.15, TEST: 0.15}
_PAIRS_PER_QUERY = 3.0  # a positive, its hard negatives and some of the others
_FEW, _MANY = 500, 5000
_STEPS_MIN = 40
WORK = "work"
SHOWN = ("area", "mrr", "compression_at_retention.0.90", "compression_at_retention.0.95")


@dataclass(frozen=True, slots=True)
class FinetuneOptions:
    """How to retrain.

    Attributes:
        base: model directory or shipped model's name to start from.
        minutes: that training may take, about; fewer pairs are drawn where the machine is too slow for all.
        seed: of the split and of training.
    """

    base: str = "secateur-nano-en"
    minutes: float = 60.0
    seed: int = 13

    def __post_init__(self) -> None:
        from secateur.models.errors import InputError

        if not (math.isfinite(self.minutes) and self.minutes > 0):
            raise InputError("--minutes", f"{self.minutes} is no time to train in", "give more than 0")


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """One figure on the held-out share.

    Attributes:
        figure: its name; higher is better.
        before: of the model that training started from.
        after: of the new one.
        low: lower end of the difference's 95% interval.
        high: upper end.
    """

    figure: str
    before: float
    after: float
    low: float
    high: float

    @property
    def outcome(self) -> str:
        """`better`, `worse` or `no significant change`."""
        if self.low > 0:
            return "better"
        return "worse" if self.high < 0 else "no significant change"


@dataclass(frozen=True, slots=True)
class FinetuneReport:
    """What retraining brought.

    Attributes:
        model: the new model's directory.
        queries: by part of the split.
        pairs: trained on, each once an epoch.
        epochs: passes over them.
        rows: figures before and after.
        losses: for each calibrated recall, the share of answers lost on the held-out share.
        warnings: what the user should know before using the model.
    """

    model: Path
    queries: dict[str, int]
    pairs: int
    epochs: int
    rows: tuple[VerdictRow, ...]
    losses: dict[float, float]
    warnings: tuple[str, ...] = field(default=())

    @property
    def worse(self) -> bool:
        """Whether the new model prunes or ranks significantly worse than the one it started from."""
        return any(row.outcome == "worse" for row in self.rows if row.figure in ("area", "mrr"))


def _pairs_per_second(base: str) -> float:
    """Measure how fast this machine trains: forward passes of typical pairs, three of which cost what a step does."""
    import torch

    from secateur.models.checkpoint import resolve
    from secateur.models.network import load_network
    from secateur.training.trainer import use_bf16

    cuda = torch.cuda.is_available()
    network = load_network(resolve(base)).to("cuda" if cuda else "cpu")
    ids = torch.full((8, 256), 1000, device="cuda" if cuda else "cpu")
    seconds = []
    with torch.inference_mode(), torch.autocast(ids.device.type, torch.bfloat16, enabled=use_bf16("auto")):
        for _ in range(4):
            started = time.perf_counter()
            network(ids, torch.ones_like(ids))[0].cpu()
            seconds.append(time.perf_counter() - started)
    return len(ids) / (3 * min(seconds))


@dataclass(frozen=True, slots=True)
class Settings:
    """What a data set of this size on a machine of this speed is trained with.

    Attributes:
        pairs: drawn.
        epochs: passes over them.
        learning_rate: peak rate.
        batch_size: pairs a step.
    """

    pairs: int
    epochs: int
    learning_rate: float
    batch_size: int


def choose_settings(queries: int, pairs_per_second: float, minutes: float) -> Settings:
    """Choose settings: small data is seen several times at a low rate, large data once, within the time given.

    Args:
        queries: to train on.
        pairs_per_second: that the machine trains.
        minutes: that training may take.
    """
    epochs, rate = (3, 3e-5) if queries < _FEW else (2, 5e-5) if queries < _MANY else (1, 1e-4)
    wanted = round(queries * _PAIRS_PER_QUERY)
    affordable = max(1, int(pairs_per_second * minutes * 60))
    epochs = max(1, min(epochs, affordable // wanted))
    pairs = min(wanted, affordable)
    batch = 16 if pairs * epochs >= 16 * _STEPS_MIN else max(4, pairs * epochs // _STEPS_MIN)
    return Settings(pairs, epochs, rate, batch)


def _settings(work: Path, queries: dict[str, int], options: FinetuneOptions) -> tuple[Settings, bool]:
    """Return the settings, and whether they are those of an earlier sitting, whose checkpoints then fit.

    They depend on how fast the machine was when it was asked, so they are asked for once and kept.
    """
    from secateur.models.files import write_atomically

    path = work / "settings.json"
    asked = {"queries": queries, **asdict(options)}
    if path.is_file():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["asked"] == asked:
            return Settings(**kept["settings"]), True
    settings = choose_settings(queries[TRAIN], _pairs_per_second(options.base), options.minutes)
    write_atomically(path, json.dumps({"asked": asked, "settings": asdict(settings)}, indent=1) + "\n")
    return settings, False


def _train(work: Path, name: str, settings: Settings, options: FinetuneOptions, *, resume: bool) -> Path:
    from secateur.models.checkpoint import read_config, resolve
    from secateur.training.config import DataConfig, LossConfig, OptimConfig, TrainConfig
    from secateur.training.run import train

    base = read_config(resolve(options.base))
    return train(
        TrainConfig(
            name=name,
            base=str(options.base),
            out=work,
            data=DataConfig(train=work / TRAIN, pairs=settings.pairs, hard_negatives=1.5, title_share=0.3),
            loss=LossConfig(relevance_listwise=0.2),
            optim=OptimConfig(
                epochs=settings.epochs,
                batch_size=settings.batch_size,
                learning_rate=settings.learning_rate,
                head_multiplier=2.0,
                pad_to_multiple_of=32,
            ),
            window=base.window,
            segmenter=base.segmenter,
            seed=options.seed,
            resume=resume,
        )
    )


def _losses(model: Path, test: Path, thresholds: dict[float, float]) -> dict[float, float]:
    """Return the share of answering units lost on the held-out share, by promised recall."""
    from secateur.models.pruner import Pruner
    from secateur.training.calibration import expected_loss, usable_examples
    from secateur.training.scoring import score_examples

    pruner = Pruner.load(model)
    scored = [passages for examples in usable_examples(test).values() for passages in score_examples(pruner, examples)]
    return {recall: expected_loss(scored, threshold) for recall, threshold in thresholds.items()}


def _check(data: Path) -> None:
    from secateur.data_scripts.check import check_data
    from secateur.models.errors import DataError

    report = check_data(data)
    if not report.usable:
        problems = [line.strip() for line in report.lines() if "error:" in line]
        raise DataError(f"{data}: {problems[0]}; `secateur data check {data}` says all")


def _verdict_rows(before: Path, after: Path) -> tuple[VerdictRow, ...]:
    from secateur.eval.significance import paired

    rows = [row for row in paired(before, after) if row.scope == "macro" and row.figure in SHOWN]
    return tuple(VerdictRow(row.figure, row.a, row.b, row.low, row.high) for row in rows)


def finetune(data: Path, out: Path, options: FinetuneOptions | None = None) -> FinetuneReport:
    """Retrain a model on labelled examples of a domain.

    Args:
        data: labelled examples; 70% of the queries are trained on, 15% calibrate, 15% test.
        out: directory of the new model; a killed run goes on from it.
        options: how.

    Raises:
        DataError: the data cannot be used.
        ModelError: the model to start from cannot be loaded.
        ExportError: the exported files are not faithful to the weights.
    """
    from secateur.data_scripts.split import split
    from secateur.eval.run import RunOptions, evaluate
    from secateur.models.checkpoint import resolve
    from secateur.models.errors import DataError
    from secateur.training.calibration import calibrate
    from secateur.training.export import check_enough, export
    from secateur.training.model_card import CardFigures, write_card

    options = options or FinetuneOptions()
    resolve(options.base)
    _check(data)
    work = out / WORK
    queries = split(data, work, _SHARES, options.seed)
    check_enough(work / TRAIN)
    settings, resume = _settings(work, queries, options)
    log.info("%s queries; %s", queries, settings)
    trained = _train(work, out.name, settings, options, resume=resume)
    for path in trained.iterdir():
        shutil.copyfile(path, out / path.name)
    export(out, work / TRAIN)
    warnings = []
    losses: dict[float, float] = {}
    try:
        calibration = calibrate(out, work / CALIBRATION)
        losses = _losses(out, work / TEST, {level.target_recall: level.threshold for level in calibration.levels})
    except DataError as error:
        warnings.append(f"not calibrated, so target_recall cannot be used: {error}")
    before, after = work / "before", work / "after"
    evaluate(work / TEST, before, RunOptions(systems=(f"secateur:{options.base}",)))
    metrics = evaluate(work / TEST, after, RunOptions(systems=(f"secateur:{out}",)))
    rows = _verdict_rows(before, after)
    report = FinetuneReport(out, queries, settings.pairs, settings.epochs, rows, losses, tuple(warnings))
    if report.worse:
        warnings.append("the new model is significantly WORSE than the one it started from: keep that one")
    elif not any(row.outcome == "better" for row in rows):
        warnings.append("no figure changed significantly: more labelled queries are needed to tell, or to gain")
    write_card(out, CardFigures.of(metrics, queries[TEST], losses))
    return FinetuneReport(out, queries, settings.pairs, settings.epochs, rows, losses, tuple(warnings))


def verdict_table(report: FinetuneReport) -> str:
    """Return the report as a Markdown table with its warnings."""
    lines = [
        f"Trained on {report.queries[TRAIN]} queries ({report.pairs} pairs, {report.epochs} times), calibrated on "
        f"{report.queries[CALIBRATION]}, measured on {report.queries[TEST]}.",
        "",
        "| figure | before | after | change | 95% interval | verdict |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    lines += [
        f"| {row.figure} | {row.before:.3f} | {row.after:.3f} | {row.after - row.before:+.3f} | "
        f"[{row.low:+.3f}, {row.high:+.3f}] | {row.outcome} |"
        for row in report.rows
    ]
    if report.losses:
        lines += ["", "| promised recall | answers lost on the held-out share |", "| ---: | ---: |"]
        lines += [f"| {recall:.2f} | {loss:.3f} |" for recall, loss in sorted(report.losses.items())]
    lines += ["", *(f"WARNING: {warning}" for warning in report.warnings)]
    return "\n".join(lines).rstrip() + "\n"
