"""The worth of choosing the pairs to label: quality after fine-tuning on pairs chosen in each way of `data select`."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tables import BenchTable, check_positive
from secateur.data_scripts.labels.selecting import SelectBy, select
from secateur.data_scripts.records import Pair
from secateur.eval.run import RunOptions, evaluate
from secateur.labelled.embedder import load_embedder
from secateur.labelled.examples import data_files
from secateur.labelled.json_files import json_lines, write_json_lines
from secateur.models.checkpoint import read_config, resolve
from secateur.models.errors import InputError
from secateur.training.config import DataConfig, LossConfig, OptimConfig, TrainConfig
from secateur.training.run import train

_WAYS: dict[SelectBy, str] = {"random": "random (default)", "diverse": "diverse (vote-k)", "uncertain": "uncertain"}
_SEED = 7


@dataclass(frozen=True, slots=True)
class SelectionOptions:
    """How much is chosen, trained on and measured.

    Attributes:
        validation: Labelled examples of the same sources, on which the models are measured.
        queries: Queries of each source in the pool.
        count: Pairs to choose from the pool.
        seeds: Training runs for each way.
        limit: Queries of each source that are measured.
    """

    validation: Path | None = None
    queries: int = 60
    count: int = 500
    seeds: int = 3
    limit: int = 20

    def __post_init__(self) -> None:
        check_positive(self, "queries", "count", "seeds", "limit")


Rows = dict[str, list[dict[str, Any]]]
"""Labelled examples of each source, as their JSON lines."""


def draw(data: Path, queries: int) -> Rows:
    """Draw queries with all their passages, equally many of each source; every passage is read as plain text."""
    sources = {path.name: [row for _, row in json_lines(path)] for path in data_files(data)}
    drawn = {name: random.Random(_SEED).sample(rows, min(queries, len(rows))) for name, rows in sources.items()}
    for row in (row for rows in drawn.values() for row in rows):
        row["passages"] = [passage | {"format": "text"} for passage in row["passages"]]
    return drawn


def pairs_of(pool: Rows) -> Iterator[Pair]:
    """Yield the pairs of a pool without their labels; an identifier is the place of the passage in the pool."""
    for name, rows in pool.items():
        for number, row in enumerate(rows):
            for place, passage in enumerate(row["passages"]):
                yield Pair(
                    f"{name}/{number}/{place}",
                    row["query"],
                    passage["text"],
                    title=passage.get("title") or "",
                )


def with_chosen(pool: Rows, chosen: set[str]) -> Rows:
    """Return the examples with the chosen passages alone; queries and sources without any are left out."""
    found: Rows = {}
    for name, rows in pool.items():
        for number, row in enumerate(rows):
            passages = [p for place, p in enumerate(row["passages"]) if f"{name}/{number}/{place}" in chosen]
            if passages:
                found.setdefault(name, []).append({**row, "passages": passages})
    return found


def _fine_tuned(data: Path, out: Path, count: int, seed: int) -> Path:
    base = read_config(resolve(None))
    # The schedule of `secateur finetune` for small data; all that was labelled is trained on, as it was labelled.
    config = TrainConfig(
        name="selection",
        base=base.name,
        out=out,
        data=DataConfig(
            train=data,
            pairs=count,
            mix_exponent=1.0,
            hard_negatives=100.0,
            answering_negatives=False,
            random_negative_share=0.0,
            no_answer_share=0.0,
            recut_share=0.0,
            title_share=1.0,
        ),
        loss=LossConfig(relevance_listwise=0.2),
        optim=OptimConfig(epochs=3, learning_rate=3e-5, head_multiplier=2.0, pad_to_multiple_of=32),
        window=base.window,
        segmenter=base.segmenter,
        seed=seed,
        resume=False,
    )
    return train(config)


def _quality(model: Path, data: Path) -> tuple[float, float]:
    run = RunOptions(systems=(f"secateur-torch:{model}",))
    macro = evaluate(data, options=run)["systems"]["secateur-torch"]["macro"]
    return macro["area"], macro["mrr"]


def _write(rows: Rows, directory: Path) -> Path:
    for name, of_source in rows.items():
        write_json_lines(directory / name, of_source)
    return directory


def measure_selection(data: Path, options: SelectionOptions) -> BenchTable:
    """Fine-tune the shipped model on pairs that `data select` chooses in each of its ways, and measure each model.

    Args:
        data: Labelled examples; the pool is drawn from them.
        options: Sizes, and the examples to measure on.

    Raises:
        InputError: There are no examples to measure on.
        DataError: The data cannot be used.
    """
    if options.validation is None:
        raise InputError("--validation", "is missing", "give labelled examples of the same sources as --data")
    pool = draw(data, options.queries)
    with tempfile.TemporaryDirectory(prefix="secateur-bench-") as name:
        work = Path(name)
        validation = _write(draw(options.validation, options.limit), work / "validation")
        before = _quality(resolve(None), validation)
        cells = [["none: the shipped model", "–", f"{before[0]:.3f}", f"{before[1]:.3f}"]]
        pairs = write_json_lines(work / "pairs.jsonl", pairs_of(pool))
        embed = load_embedder(None, None)
        for way, title in _WAYS.items():
            found, answering = [], []
            for seed in range(options.seeds):
                folder = work / f"{way}-{seed}"
                select(work / "pairs.jsonl", work / "chosen.jsonl", options.count, way, embed, seed)
                chosen = {row["id"] for _, row in json_lines(work / "chosen.jsonl")}
                labelled = with_chosen(pool, chosen)
                answering += [
                    bool(p["relevant_spans"]) for of in labelled.values() for row in of for p in row["passages"]
                ]
                model = _fine_tuned(_write(labelled, folder / "data"), folder, options.count, seed)
                found.append(_quality(model, validation))
            figures = [f"{np.mean(column):.3f} ± {np.std(column):.3f}" for column in zip(*found, strict=True)]
            cells.append([title, f"{np.mean(answering):.2f}", *figures])
    note = (
        f"{options.count} of {pairs} pairs of {len(pool)} sources of {data.name}, measured on {options.limit} queries "
        f"of each source of {options.validation.name}; mean and standard deviation over {options.seeds} runs. `random` "
        "draws other pairs for each run, the other ways always choose the same. All passages are read as plain text."
    )
    return BenchTable(["chosen by", "that answer", "area", "MRR"], cells, note)
