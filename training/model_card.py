"""The model card: `README.md` of a model directory, written from its own record, what was measured, and given facts.

Blocks between ``<!-- NAME:begin -->`` and ``<!-- NAME:end -->``, which `secateur eval --update` rewrites, are taken
over from the card that is there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from secateur.labelled.text_files import parse_json, read_text
from secateur.models.checkpoint import CALIBRATION, ONNX_FP16, ONNX_INT8, WEIGHTS, ModelConfig, read_config
from secateur.models.errors import DataError
from secateur.models.files import write_atomically
from secateur.training.calibration import held_out_losses

CARD = "README.md"

_FILES = {
    ONNX_INT8: "CPUs: static 8-bit (NNCF, SmoothQuant)",
    ONNX_FP16: "GPUs, and CPUs without 8-bit arithmetic: fp16 weights, computed in fp32",
    WEIGHTS: "torch: fp32 weights, to train on",
}
_TITLES = {True: ", under the passages' titles", False: ", without the passages' titles"}
_WATTS_A_CORE = 10.0  # of a server processor under load, roughly
_BLOCK = re.compile(r"<!-- (\S+?):begin[^>]*-->\n.*?<!-- \1:end -->", re.DOTALL)
_LIMITS = (
    "It knows what its training data shows: other domains, languages and kinds of questions need a measurement first. "
    "Background that merely helps to understand an answer is dropped."
)
_UNTESTED = "It was not tested for bias; it copies what stands in the passages and adds nothing."
_REPRODUCE = (
    "`secateur train` with the configuration above (as YAML, with `out` and `data.train` added), then "
    "`secateur export`, `secateur calibrate` and `secateur eval`."
)


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """Where a source of the training data comes from.

    Attributes:
        dataset: its name.
        licence: of its text.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    dataset: str
    licence: str


@dataclass(frozen=True, slots=True)
class CardFacts:
    """What no file of a model records; a YAML file by hand, see `secateur card`.

    Attributes:
        language: of the texts, as ISO 639 has it.
        license: of the weights.
        base_model: hub name of the encoder that training began with.
        about: Markdown, the size and whatever else the first paragraph should say.
        sources: of the training data.
        unseen: held-out sources that training had nothing of.
        data: Markdown, what is to be known about the training data.
        limits: Markdown.
        reproduce: commands, in order.
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
    """What was measured on held-out data.

    Attributes:
        figures: value and 95% interval by name.
        queries: that they were measured on.
        losses: share of lost answers by promised recall.
        unseen_losses: the same, on sources that training had nothing of; empty where none is known to be such.
    """

    figures: Mapping[str, tuple[float, tuple[float, float] | None]]
    queries: int
    losses: Mapping[float, float]
    unseen_losses: Mapping[float, float] = field(default_factory=dict)

    @classmethod
    def of(cls, metrics: Mapping[str, Any], queries: int, losses: Mapping[float, float]) -> CardFigures:
        """Take macro figures of the first system off a `metrics.json`."""
        macro = next(iter(metrics["systems"].values()))["macro"]
        compression = macro.get("compression_at_retention") or {}
        values = {
            **{name: (name, macro.get(name)) for name in ("area", "mrr", "ndcg@10")},
            **{
                f"compression_at_retention.{at}": (f"compression at retention {at}", v) for at, v in compression.items()
            },
        }
        found: dict[str, tuple[float, tuple[float, float] | None]] = {}
        for key, (name, value) in values.items():
            if value is not None:
                ends = macro["intervals"].get(key)
                found[name] = (value, (ends[0], ends[1]) if ends else None)
        return cls(found, queries, losses)

    def with_losses(self, by_source: Mapping[str, Mapping[float, float]], unseen: Sequence[str]) -> CardFigures:
        """Return these with the mean losses over sources, and over the unseen ones; see `held_out_losses`."""

        def mean(rows: Sequence[Mapping[float, float]]) -> dict[float, float]:
            return {recall: sum(row[recall] for row in rows) / len(rows) for recall in rows[0]} if rows else {}

        rest = [row for name, row in by_source.items() if name in unseen]
        return CardFigures(self.figures, self.queries, mean(list(by_source.values())), mean(rest))


def _sitting(record: Mapping[str, Any]) -> str:
    minutes, cores = record.get("minutes_of_last_sitting"), int(record.get("cores", 0))
    cost = ""
    if minutes is not None:
        cost = f"; the last sitting took {minutes} minutes"
        if cores:
            cost += f" on {cores} cores, some {minutes / 60 * cores * _WATTS_A_CORE / 1000:.2g} kWh"
    return (
        f"from `{record.get('config', {}).get('base', 'unknown')}`: {record.get('pairs')} (query, passage) pairs, "
        f"{record.get('steps')} steps, {record.get('precision')}, final loss {record.get('final_loss')}{cost}."
    )


def _training(config: ModelConfig) -> list[str]:
    record: Mapping[str, Any] | None = config.training
    if not record:
        return ["No record of a training run stands in `config.json`."]
    runs = []
    while record:
        runs.append(record)
        record = record.get("continued")
    lines = [f"{number}. {_sitting(run)}" for number, run in enumerate(reversed(runs), 1)]
    kept = ["", "Settings of the last run" + (", the others' stand in `config.json`:" if len(runs) > 1 else ":"), ""]
    return [*lines, *kept, "```json", json.dumps(runs[0].get("config", {}), indent=1), "```"]


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
    path = directory / CALIBRATION
    if not path.is_file():
        return ["Not calibrated: `target_recall` cannot be used."]
    content = parse_json(read_text(path))
    losses = figures.losses if figures else {}
    unseen = figures.unseen_losses if figures else {}
    header = ["target_recall", "threshold", "bound of the loss", "lost on held-out data"]
    header += ["lost on unseen sources"] * bool(unseen)
    lines = [
        f"By {content.get('method', 'unknown method')} on {sum(content.get('queries', {}).values())} queries, scored "
        f"by {content.get('backend', 'an unknown backend')}{_TITLES.get(content.get('titles'), '')}.",
        "",
        f"| {' | '.join(header)} |",
        f"|{' ---: |' * len(header)}",
    ]
    for level in content["levels"]:
        recall = level["target_recall"]
        cells = [level.get("bound"), losses.get(recall), *([unseen.get(recall)] * bool(unseen))]
        shown = ["" if value is None else f"{value:.4f}" for value in cells]
        lines.append(f"| {' | '.join([str(recall), format(level['threshold'], '.4f'), *shown])} |")
    return lines


def _front_matter(facts: CardFacts | None) -> str:
    known = f"language: {facts.language}\nlicense: {facts.license}\nbase_model: {facts.base_model}\n" if facts else ""
    return f"---\n{known}tags: [context-pruning, reranking, rag]\n---"


def _blocks(card: Path) -> list[str]:
    """Return the marked blocks of a card; none where there is no card."""
    text = card.read_text(encoding="utf-8") if card.is_file() else ""
    return [found[0] for found in _BLOCK.finditer(text)]


def model_card(directory: Path, figures: CardFigures | None = None, facts: CardFacts | None = None) -> str:
    """Return a model's card as Markdown.

    Args:
        directory: the model's; marked blocks of the card in it are kept.
        figures: measured on held-out data.
        facts: that no file of the model records.
    """
    config = read_config(directory)
    sizes = {name: (directory / name).stat().st_size / 1e6 for name in _FILES if (directory / name).is_file()}
    files = [f"| `{name}` | {size:.0f} | {_FILES[name]} |" for name, size in sizes.items()]
    about = (
        "A cross-encoder that scores each sentence of a passage (keep or drop, for a query) and the passage as a whole "
        f"(relevance) in one forward pass. It reads {config.window} tokens at once; longer passages are read in "
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
        "\n".join(_figures(figures)) if figures else "Not measured yet: `secateur eval`.",
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
    """Write a model's card from the `metrics.json` of an evaluation, whose first system it is, and given facts.

    Args:
        directory: the model's.
        metrics: see `secateur.eval.run`.
        facts: that no file records.
        data: held-out examples to measure the calibrated thresholds' losses on; None to leave these out.

    Raises:
        DataError: the metrics or the data cannot be read.
        ModelError: the directory holds no model.
    """
    try:
        content = parse_json(read_text(metrics))
        figures = CardFigures.of(content, next(iter(content["systems"].values()))["macro"]["queries"], {})
    except (DataError, ValueError, LookupError, TypeError, StopIteration) as error:
        raise DataError(f"{metrics}: is no metrics.json of `secateur eval` ({error!r})") from error
    if data is not None:
        figures = figures.with_losses(held_out_losses(directory, data), facts.unseen)
    write_card(directory, figures, facts)
