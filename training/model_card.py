"""The model card: `README.md` of a model directory, written from its own record and what was measured."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from secateur.models.checkpoint import CALIBRATION, ONNX_FP16, ONNX_INT8, WEIGHTS, ModelConfig, read_config
from secateur.models.files import write_atomically

_FILES = {
    ONNX_INT8: "CPUs: static 8-bit (NNCF, SmoothQuant)",
    ONNX_FP16: "GPUs, and CPUs without 8-bit arithmetic: fp16 weights, computed in fp32",
    WEIGHTS: "torch: fp32 weights, to train on",
}
_WATTS_A_CORE = 10.0  # of a server processor under load, roughly


@dataclass(frozen=True, slots=True)
class CardFigures:
    """What was measured on held-out data.

    Attributes:
        figures: value and 95% interval by name.
        queries: that they were measured on.
        losses: share of lost answers by promised recall.
    """

    figures: Mapping[str, tuple[float, tuple[float, float] | None]]
    queries: int
    losses: Mapping[float, float]

    @classmethod
    def of(cls, metrics: Mapping[str, Any], queries: int, losses: Mapping[float, float]) -> CardFigures:
        """Take macro figures off a `metrics.json`."""
        macro = next(iter(metrics["systems"].values()))["macro"]
        found: dict[str, tuple[float, tuple[float, float] | None]] = {}
        for name in ("area", "mrr", "ndcg@10"):
            if macro.get(name) is not None:
                ends = macro["intervals"].get(name)
                found[name] = (macro[name], (ends[0], ends[1]) if ends else None)
        for level, value in (macro.get("compression_at_retention") or {}).items():
            found[f"compression at retention {level}"] = (value, None)
        return cls(found, queries, losses)


def _training(config: ModelConfig) -> list[str]:
    record = config.training
    if not record:
        return ["No record of a training run stands in `config.json`."]
    settings = record.get("config", {})
    minutes = record.get("minutes_of_last_sitting")
    lines = [
        f"Start: `{settings.get('base', 'unknown')}`"
        + (", itself trained as `secateur.training.continued` in `config.json` says" if "continued" in record else "")
        + f". {record.get('pairs')} (query, passage) pairs, {record.get('steps')} steps, {record.get('precision')}, "
        f"final loss {record.get('final_loss')}."
    ]
    if minutes is not None:
        cores = int(record.get("cores", 0))
        energy = f", some {minutes / 60 * cores * _WATTS_A_CORE:.0f} Wh" if cores else ""
        lines.append(f"The last sitting took {minutes} minutes" + (f" on {cores} cores{energy}." if cores else "."))
    lines.append("")
    lines += ["```json", json.dumps(settings, indent=1), "```"]
    return lines


def _data(config: ModelConfig, licences: Mapping[str, str]) -> list[str]:
    sources = config.training.get("queries_by_source", {})
    lines = ["| source | queries | licence |", "| --- | ---: | --- |"]
    return lines + [f"| {name} | {count} | {licences.get(name, 'not recorded')} |" for name, count in sources.items()]


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
    content = json.loads(path.read_text(encoding="utf-8"))
    losses = figures.losses if figures else {}
    lines = [
        f"By {content.get('method', 'unknown method')} on {sum(content.get('queries', {}).values())} queries, scored "
        f"by {content.get('backend', 'an unknown backend')}.",
        "",
        "| target_recall | threshold | bound of the loss | lost on held-out data |",
        "| ---: | ---: | ---: | ---: |",
    ]
    for level in content["levels"]:
        lost = losses.get(level["target_recall"])
        bound = level.get("bound")
        lines.append(
            f"| {level['target_recall']} | {level['threshold']:.4f} | {'' if bound is None else f'{bound:.4f}'} | "
            f"{'' if lost is None else f'{lost:.4f}'} |"
        )
    return lines


def model_card(directory: Path, figures: CardFigures | None = None, licences: Mapping[str, str] | None = None) -> str:
    """Return a model's card as Markdown.

    Args:
        directory: the model's.
        figures: measured on held-out data.
        licences: of the training data, by source.
    """
    config = read_config(directory)
    files = [f"| `{name}` | {what} |" for name, what in _FILES.items() if (directory / name).is_file()]
    blocks = [
        "---\ntags: [context-pruning, reranking, rag]\n---",
        f"# {config.name}",
        "A cross-encoder that scores each sentence of a passage (keep or drop, for a query) and the passage as a whole "
        f"(relevance) in one forward pass. It reads {config.window} tokens at once; longer passages are read in "
        f"windows. Heads: `{config.rank_head}` relevance, `{config.prune_head}` pruning.",
        "\n".join(["| file | for |", "| --- | --- |", *files]),
        "## Training",
        "\n".join(_training(config)),
        "\n".join(_data(config, licences or {})),
        "## Quality",
        "\n".join(_figures(figures)) if figures else "Not measured yet: `secateur eval`.",
        "## Calibration",
        "\n".join(_calibration(directory, figures)),
        "## Limits",
        "It knows what its training data shows: other domains, languages and kinds of questions need a measurement "
        "first. Background that merely helps to understand an answer is dropped. It was not tested for bias; it copies "
        "what stands in the passages and adds nothing.",
        "## To reproduce",
        "`secateur train` with the configuration above (as YAML, with `out` and `data.train` added), then "
        "`secateur export`, `secateur calibrate` and `secateur eval`.",
    ]
    return "\n\n".join(blocks) + "\n"


def write_card(directory: Path, figures: CardFigures | None = None, licences: Mapping[str, str] | None = None) -> None:
    """Write `README.md` of a model directory; see `model_card`."""
    write_atomically(directory / "README.md", model_card(directory, figures, licences))
