"""The model card: `README.md` of a model directory, from the model's own record, measured figures and given facts.

Marked blocks of an existing card, which `secateur eval --update` rewrites, are kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from secateur.labelled.json_files import read_json
from secateur.labelled.markdown_blocks import markdown_table, marked_blocks
from secateur.labelled.text_files import read_text
from secateur.models.calibration import Calibration
from secateur.models.checkpoint import ONNX_FP16, ONNX_INT8, WEIGHTS, ModelConfig, read_config
from secateur.models.errors import DataError
from secateur.models.files import write_atomically
from secateur.training.calibration import SourceLosses, held_out_losses, mean_losses

_FILES = {
    ONNX_INT8: "CPUs: static 8-bit (NNCF, SmoothQuant)",
    ONNX_FP16: "GPUs, and CPUs without 8-bit arithmetic: fp16 weights, computed in fp32",
    WEIGHTS: "torch: fp32 weights, for further training",
}
_LIMITS = (
    "The model is limited to what its training data covers: measure it first on other domains, languages and kinds of "
    "questions. Background that merely helps to understand an answer is dropped."
)
_TAGS = "tags: [context-pruning, reranking, rag]"
_UNTESTED = "It was not tested for bias. It only copies from the passages and adds nothing."
_REPRODUCE = (
    "`secateur train` with the configuration above (as YAML, with `out` and `data.train` added), then "
    "`secateur export`, `secateur calibrate` and `secateur eval`."
)


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """The data set that a source of the training data comes from, and the licence of its text."""

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


_NO_FACTS = CardFacts("", "", "")


def figures_table(metrics: Mapping[str, Any]) -> str:
    """Return the macro figures of the first system in the content of a `metrics.json`, as Markdown."""
    macro = next(iter(metrics["systems"].values()))["macro"]
    figures = [(name, name, macro.get(name)) for name in ("area", "mrr", "ndcg@10")]
    figures += [
        (f"compression_at_retention.{at}", f"compression at retention {at}", value)
        for at, value in (macro.get("compression_at_retention") or {}).items()
    ]
    rows = []
    for key, name, value in figures:
        if value is not None:
            ends = macro["intervals"].get(key)
            rows.append((name, f"{value:.3f}", f"[{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""))
    table = markdown_table(("figure", "value", "95% interval"), rows)
    return f"On {macro['queries']} held-out queries:\n\n{table}"


def _run(record: Mapping[str, Any]) -> str:
    minutes, cores = record.get("minutes_of_last_sitting"), record.get("cores")
    cost = f"; the last session took {minutes} minutes" if minutes else ""
    cost += f" on {cores} cores" if minutes and cores else ""
    return (
        f"from `{record.get('config', {}).get('base', 'unknown')}`: {record.get('pairs')} (query, passage) pairs, "
        f"{record.get('steps')} steps, {record.get('precision')}, final loss {record.get('final_loss')}{cost}."
    )


def _training(config: ModelConfig) -> str:
    runs: list[Mapping[str, Any]] = []
    record: Mapping[str, Any] | None = config.training
    while record:
        runs.append(record)
        record = record.get("continued")
    if not runs:
        return "`config.json` contains no record of a training run."
    lines = [f"{number}. {_run(run)}" for number, run in enumerate(reversed(runs), 1)]
    others = " (`config.json` contains those of the others)" if len(runs) > 1 else ""
    settings = json.dumps(runs[0].get("config", {}), indent=1)
    return "\n".join([*lines, "", f"Settings of the last run{others}:", "", "```json", settings, "```"])


def _data(config: ModelConfig, facts: CardFacts) -> str:
    rows = []
    for name, count in config.training.get("queries_by_source", {}).items():
        source = facts.sources.get(name, SourceFacts("", "not recorded"))
        rows.append((name, str(count), source.dataset, source.licence))
    table = markdown_table(("source", "queries", "dataset", "licence of the text"), rows)
    return f"{table}\n\n{facts.data}".rstrip()


def _calibration(directory: Path, losses: SourceLosses, facts: CardFacts) -> str:
    calibration = Calibration.read(directory)
    if calibration is None:
        return "Not calibrated: `target_recall` cannot be used."
    unseen = mean_losses({name: found for name, found in losses.items() if name in facts.unseen})
    lost = mean_losses(losses)
    header = ["target_recall", "threshold", "bound of the loss", "lost on held-out data"]
    header += ["lost on unseen sources"] * bool(unseen)
    rows = []
    for level in calibration.levels:
        values = [level.threshold, level.bound, lost.get(level.target_recall), unseen.get(level.target_recall)]
        cells = ["" if value is None else f"{value:.4f}" for value in values]
        rows.append([str(level.target_recall), *cells][: len(header)])
    titles = "with" if calibration.titles else "without"
    return (
        f"Method: {calibration.method}. Data: {sum(calibration.queries.values())} queries, scored by "
        f"{calibration.backend} {titles} the passages' titles.\n\n{markdown_table(header, rows)}"
    )


def write_card(directory: Path, figures: str, losses: SourceLosses, facts: CardFacts = _NO_FACTS) -> None:
    """Write `README.md` of a model directory; marked blocks of its card are kept.

    Args:
        directory: Model directory.
        figures: Figures measured on held-out data, see `figures_table`.
        losses: Losses on held-out data, see `held_out_losses`; empty to leave them out.
        facts: Facts that no file of the model records.
    """
    config = read_config(directory)
    card = directory / "README.md"
    files = [
        (f"`{name}`", f"{(directory / name).stat().st_size / 1e6:.0f}", use)
        for name, use in _FILES.items()
        if (directory / name).is_file()
    ]
    about = (
        "A cross-encoder that scores each sentence of a passage (keep or drop, for a query) and the passage as a whole "
        f"(relevance) in one forward pass. It reads {config.window} tokens at once, and longer passages in "
        f"windows. Heads: `{config.rank_head}` relevance, `{config.prune_head}` pruning. {facts.about}"
    )
    known = {name: getattr(facts, name) for name in ("language", "license", "base_model")}
    blocks = [
        "\n".join(["---", *(f"{name}: {value}" for name, value in known.items() if value), _TAGS, "---"]),
        f"# {config.name}",
        about.strip(),
        markdown_table(("file", "MB", "for"), files),
        "## Training",
        _training(config),
        _data(config, facts),
        "## Quality",
        figures,
        *(marked_blocks(read_text(card)).values() if card.is_file() else ()),
        "## Calibration",
        _calibration(directory, losses, facts),
        "## Limits",
        f"{facts.limits.strip()} {_UNTESTED}",
        "## To reproduce",
        "\n".join(["```bash", *facts.reproduce, "```"]) if facts.reproduce else _REPRODUCE,
    ]
    write_atomically(card, "\n\n".join(blocks) + "\n")


def make_card(directory: Path, metrics: Path, facts: CardFacts, data: Path | None = None) -> None:
    """Write a model's card from given facts and the `metrics.json` of an evaluation with the model as first system.

    ``data`` has held-out examples to measure the losses at the calibrated thresholds on.

    Raises:
        DataError: The metrics or the data cannot be read.
        ModelError: The directory holds no model.
    """
    try:
        figures = figures_table(read_json(metrics))
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
        raise DataError(f"{metrics}: is not a metrics.json of `secateur eval` ({error!r})") from error
    write_card(directory, figures, {} if data is None else held_out_losses(directory, data), facts)
