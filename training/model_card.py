"""The model card: `README.md` of a model directory, from the model's own record, measured figures and given facts.

Blocks between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``, which `secateur eval --update` rewrites, are kept
from the existing card.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from secateur.labelled.json_files import read_json
from secateur.models.calibration import Calibration
from secateur.models.checkpoint import ONNX_FP16, ONNX_INT8, WEIGHTS, ModelConfig, read_config
from secateur.models.errors import DataError
from secateur.models.files import write_atomically
from secateur.training.calibration import held_out_losses

CARD = "README.md"

_FILES = {
    ONNX_INT8: "CPUs: static 8-bit (NNCF, SmoothQuant)",
    ONNX_FP16: "GPUs, and CPUs without 8-bit arithmetic: fp16 weights, computed in fp32",
    WEIGHTS: "torch: fp32 weights, for further training",
}
_BLOCK = re.compile(r"<!-- (\S+?):begin[^>]*-->\n.*?<!-- \1:end -->", re.DOTALL)
_LIMITS = (
    "The model is limited to what its training data covers: measure it first on other domains, languages and kinds of "
    "questions. Background that merely helps to understand an answer is dropped."
)
_UNTESTED = "It was not tested for bias. It only copies from the passages and adds nothing."
_REPRODUCE = (
    "`secateur train` with the configuration above (as YAML, with `out` and `data.train` added), then "
    "`secateur export`, `secateur calibrate` and `secateur eval`."
)


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """The origin of a source of the training data.

    Attributes:
        dataset: Name of the data set.
        licence: Licence of its text.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    dataset: str
    licence: str


@dataclass(frozen=True, slots=True)
class CardFacts:
    """Facts that no file of a model records; a handwritten YAML file, see `secateur card`.

    Attributes:
        language: ISO 639 code of the texts' language.
        license: Licence of the weights.
        base_model: Hub name of the encoder that training started from.
        about: Markdown, rest of the first paragraph, such as the model's size.
        sources: Sources of the training data.
        unseen: Held-out sources that no training split contains.
        data: Markdown, notes on the training data.
        limits: Markdown, limits of the model.
        reproduce: Commands that make the model, in order.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    language: str
    license: str
    base_model: str
    about: str = ""
    sources: dict[str, SourceFacts] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()
    data: str = ""
    limits: str = _LIMITS
    reproduce: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CardFigures:
    """Figures measured on held-out data.

    Attributes:
        figures: Value and 95% interval, by name.
        queries: Number of queries that they were measured on.
        losses: Mean share of lost answering units over sources, by target recall.
        unseen_losses: The same over unseen sources; empty if there are none.
    """

    figures: Mapping[str, tuple[float, tuple[float, float] | None]]
    queries: int
    losses: Mapping[float, float] = field(default_factory=dict)
    unseen_losses: Mapping[float, float] = field(default_factory=dict)

    @classmethod
    def of(cls, metrics: Mapping[str, Any]) -> CardFigures:
        """Return the macro figures of the first system in a `metrics.json`."""
        macro = next(iter(metrics["systems"].values()))["macro"]
        compression = macro.get("compression_at_retention") or {}
        values = [(name, name, macro.get(name)) for name in ("area", "mrr", "ndcg@10")]
        values += [
            (f"compression_at_retention.{at}", f"compression at retention {at}", v) for at, v in compression.items()
        ]
        intervals = {key: (low, high) for key, (low, high) in macro["intervals"].items()}
        figures = {name: (value, intervals.get(key)) for key, name, value in values if value is not None}
        return cls(figures, macro["queries"])

    def with_losses(self, by_source: Mapping[str, Mapping[float, float]], unseen: Sequence[str]) -> CardFigures:
        """Return the figures with the mean losses over sources, and over unseen ones; see `held_out_losses`."""

        def mean(rows: Sequence[Mapping[float, float]]) -> dict[float, float]:
            return {recall: sum(row[recall] for row in rows) / len(rows) for recall in rows[0]} if rows else {}

        of_unseen = [row for name, row in by_source.items() if name in unseen]
        return replace(self, losses=mean(list(by_source.values())), unseen_losses=mean(of_unseen))


def _run(record: Mapping[str, Any]) -> str:
    minutes = record.get("minutes_of_last_sitting")
    cost = "" if minutes is None else f"; the last session took {minutes} minutes on {record.get('cores')} cores"
    return (
        f"from `{record.get('config', {}).get('base', 'unknown')}`: {record.get('pairs')} (query, passage) pairs, "
        f"{record.get('steps')} steps, {record.get('precision')}, final loss {record.get('final_loss')}{cost}."
    )


def _training(config: ModelConfig) -> list[str]:
    record: Mapping[str, Any] | None = config.training
    if not record:
        return ["`config.json` contains no record of a training run."]
    runs = []
    while record:
        runs.append(record)
        record = record.get("continued")
    lines = [f"{number}. {_run(run)}" for number, run in enumerate(reversed(runs), 1)]
    others = " (`config.json` contains those of the others)" if len(runs) > 1 else ""
    settings = json.dumps(runs[0].get("config", {}), indent=1)
    return [*lines, "", f"Settings of the last run{others}:", "", "```json", settings, "```"]


def _data(config: ModelConfig, facts: CardFacts | None) -> list[str]:
    lines = ["| source | queries | dataset | licence of the text |", "| --- | ---: | --- | --- |"]
    known = facts.sources if facts else {}
    for name, count in config.training.get("queries_by_source", {}).items():
        source = known.get(name, SourceFacts("", "not recorded"))
        lines.append(f"| {name} | {count} | {source.dataset} | {source.licence} |")
    return [*lines, "", facts.data] if facts and facts.data else lines


def _figures(figures: CardFigures) -> list[str]:
    lines = [
        f"On {figures.queries} held-out queries:",
        "",
        "| figure | value | 95% interval |",
        "| --- | ---: | ---: |",
    ]
    for name, (value, ends) in figures.figures.items():
        lines.append(f"| {name} | {value:.3f} | {f'[{ends[0]:.3f}, {ends[1]:.3f}]' if ends else ''} |")
    return lines


def _calibration(directory: Path, figures: CardFigures | None) -> list[str]:
    calibration = Calibration.read(directory)
    if calibration is None:
        return ["Not calibrated: `target_recall` cannot be used."]
    losses, unseen = (figures.losses, figures.unseen_losses) if figures else ({}, {})
    header = ["target_recall", "threshold", "bound of the loss", "lost on held-out data"]
    header += ["lost on unseen sources"] * bool(unseen)
    titles = "with" if calibration.titles else "without"
    lines = [
        f"Method: {calibration.method}. Data: {sum(calibration.queries.values())} queries, scored by "
        f"{calibration.backend} {titles} the passages' titles.",
        "",
        f"| {' | '.join(header)} |",
        f"|{' ---: |' * len(header)}",
    ]
    for level in calibration.levels:
        recall = level.target_recall
        cells = [level.bound, losses.get(recall), *([unseen.get(recall)] * bool(unseen))]
        shown = ["" if value is None else f"{value:.4f}" for value in cells]
        lines.append(f"| {' | '.join([str(recall), f'{level.threshold:.4f}', *shown])} |")
    return lines


def _front_matter(facts: CardFacts | None) -> str:
    known = f"language: {facts.language}\nlicense: {facts.license}\nbase_model: {facts.base_model}\n" if facts else ""
    return f"---\n{known}tags: [context-pruning, reranking, rag]\n---"


def _blocks(card: Path) -> list[str]:
    """Return the marked blocks of a card; none if there is no card."""
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    return [found[0] for found in _BLOCK.finditer(text)]


def model_card(directory: Path, figures: CardFigures | None = None, facts: CardFacts | None = None) -> str:
    """Return a model's card as Markdown.

    Args:
        directory: Model directory; marked blocks of its card are kept.
        figures: Figures measured on held-out data.
        facts: Facts that no file of the model records.
    """
    config = read_config(directory)
    sizes = {name: (directory / name).stat().st_size / 1e6 for name in _FILES if (directory / name).is_file()}
    files = [f"| `{name}` | {size:.0f} | {_FILES[name]} |" for name, size in sizes.items()]
    about = (
        "A cross-encoder that scores each sentence of a passage (keep or drop, for a query) and the passage as a whole "
        f"(relevance) in one forward pass. It reads {config.window} tokens at once, and longer passages in "
        f"windows. Heads: `{config.rank_head}` relevance, `{config.prune_head}` pruning."
    )
    commands = facts.reproduce if facts else ()
    blocks = [
        _front_matter(facts),
        f"# {config.name}",
        f"{about} {facts.about}".strip() if facts else about,
        "\n".join(["| file | MB | for |", "| --- | ---: | --- |", *files]),
        "## Training",
        "\n".join(_training(config)),
        "\n".join(_data(config, facts)),
        "## Quality",
        "\n".join(_figures(figures)) if figures else "Not measured yet; run `secateur eval`.",
        *_blocks(directory / CARD),
        "## Calibration",
        "\n".join(_calibration(directory, figures)),
        "## Limits",
        f"{facts.limits.strip() if facts else _LIMITS} {_UNTESTED}",
        "## To reproduce",
        "\n".join(["```bash", *commands, "```"]) if commands else _REPRODUCE,
    ]
    return "\n\n".join(blocks) + "\n"


def write_card(directory: Path, figures: CardFigures | None = None, facts: CardFacts | None = None) -> None:
    """Write `README.md` of a model directory; see `model_card`."""
    write_atomically(directory / CARD, model_card(directory, figures, facts))


def make_card(directory: Path, metrics: Path, facts: CardFacts, data: Path | None = None) -> None:
    """Write a model's card from given facts and the `metrics.json` of an evaluation with the model as first system.

    Args:
        directory: Model directory.
        metrics: File that `secateur.eval.run` wrote.
        facts: Facts that no file of the model records.
        data: Held-out examples to measure the losses at the calibrated thresholds on; None to leave them out.

    Raises:
        DataError: the metrics or the data cannot be read.
        ModelError: the directory holds no model.
    """
    try:
        figures = CardFigures.of(read_json(metrics))
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
        raise DataError(f"{metrics}: is not a metrics.json of `secateur eval` ({error!r})") from error
    if data is not None:
        figures = figures.with_losses(held_out_losses(directory, data), facts.unseen)
    write_card(directory, figures, facts)
