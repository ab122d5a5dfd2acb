"""Commands that measure pruning and reranking: `secateur eval` and its steps."""
# ruff: noqa: B008  (the dataclasses are frozen)

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from secateur.cli.options import DefaultModel, LlmOptions, Switch, arg, flat
from secateur.eval import reranking
from secateur.eval import run as evaluation
from secateur.eval.collections import load_collection
from secateur.eval.documents import update_document
from secateur.eval.rag.report import rag_table
from secateur.eval.rag.run import run_rag
from secateur.eval.report.markdown import render_markdown
from secateur.eval.significance import compare_runs
from secateur.eval.systems.registry import BASELINES
from secateur.models.pruner import Pruner


def evaluate(
    *,
    data: Annotated[
        tuple[Path, ...],
        arg(
            "Labelled examples: a JSON-lines file, or a directory with one file per source. May be repeated."
            " Sources in directories named docs, lines or ml are averaged apart."
        ),
    ],
    out: Annotated[
        Path | None, arg("Directory for metrics.json, the report and the scores; nothing is written if unset.")
    ] = None,
    system: Annotated[
        tuple[str, ...], arg("Measured system as NAME or NAME:MODEL_DIR; repeatable; `all` stands for every baseline.")
    ] = ("secateur",),
    limit: Annotated[int | None, arg("Number of queries per source; all if unset.")] = None,
    titles: Annotated[bool, arg("Whether passages are read under their titles.")] = True,
    needle: Annotated[Switch, arg("Whether to run the needle test as well.")] = False,
    robustness: Annotated[Switch, arg("Whether to measure the robustness set as well.")] = False,
    update: Annotated[
        tuple[str, ...], arg("Document whose tables are rewritten, as FILE or FILE:BLOCK; repeatable.")
    ] = (),
) -> None:
    """Measure pruning and reranking on labelled examples.

    Example: `secateur eval --data test --out runs/report --system secateur --system all`
    """
    systems = tuple(name for spec in system for name in (BASELINES if spec == "all" else (spec,)))
    options = evaluation.RunOptions(systems=systems, limit=limit, titles=titles, needle=needle, robustness=robustness)
    metrics = evaluation.evaluate(data, out, options)
    for document in update:
        update_document(document, metrics)
    sys.stdout.write(render_markdown(metrics))


def rag(
    *,
    data: Annotated[Path, arg("Examples with `answers`: a JSON-lines file, or a directory of them.")],
    out: Annotated[Path, arg("Directory for rag.json, rag.jsonl and cached replies.")],
    model: DefaultModel = None,
    threshold: Annotated[
        float | None, arg("Lowest keep probability of a kept unit; the model's own threshold if unset.")
    ] = None,
    limit: Annotated[int | None, arg("Number of questions per source; all if unset.")] = None,
    judge: Annotated[Switch, arg("Whether a language model judges the answers as well.")] = False,
    judge_llm: Annotated[
        str | None, arg("Name of the judging language model; --llm if unset. Implies --judge.")
    ] = None,
    judge_base_url: Annotated[
        str | None, arg("Base URL of the judge's endpoint; --base-url if unset. Implies --judge.")
    ] = None,
    llm: Annotated[LlmOptions, flat(group="Language model")] = LlmOptions(),
) -> None:
    """Answer questions by a language model with full, pruned and no context, and judge the answers.

    Example: `secateur eval rag --data test --out runs/rag --base-url http://localhost:8000/v1 --llm NAME --judge`
    """
    endpoint = llm.endpoint()
    judged = judge or judge_llm or judge_base_url
    report = run_rag(
        Pruner.load(model),
        data,
        endpoint,
        llm.endpoint(model=judge_llm or llm.llm, base_url=judge_base_url or llm.base_url) if judged else None,
        out=out,
        limit=limit,
        threshold=threshold,
        prices=llm.charges(),
        concurrency=llm.concurrency,
    )
    sys.stdout.write(rag_table(report) + "\n")


def rerank(
    *,
    out: Annotated[Path, arg("Directory for rerank.json and the new run.")],
    beir: Annotated[Path | None, arg("Directory with corpus.jsonl, queries.jsonl and qrels/test.tsv.")] = None,
    collection: Annotated[
        Path | None, arg("Documents as .tsv (id, text) or .jsonl (_id or id, title, text), or either as .gz.")
    ] = None,
    queries: Annotated[
        Path | None, arg("Queries as .tsv (id, text) or .jsonl (_id or id, text), or either as .gz.")
    ] = None,
    qrels: Annotated[Path | None, arg("TREC qrels: query, 0, document, grade.")] = None,
    run: Annotated[Path | None, arg("TREC run: query, Q0, document, rank, score, tag.")] = None,
    depth: Annotated[int, arg("Number of reranked documents per query.")] = 100,
    limit: Annotated[int | None, arg("Number of queries; all if unset.")] = None,
    model: DefaultModel = None,
) -> None:
    """Rerank and prune a TREC run, or the BM25 ranking of a BEIR directory.

    Example: `secateur eval rerank --beir scifact --out runs/scifact`
    """
    documents = load_collection(beir=beir, collection=collection, queries=queries, qrels=qrels, run=run)
    options = reranking.RerankOptions(model=model, depth=depth, limit=limit)
    sys.stdout.write(reranking.rerank_table(reranking.rerank(documents, out, options)) + "\n")


def compare(
    a: Annotated[Path, arg("Directory of a run.")],
    b: Annotated[Path, arg("Directory of another run on the same data.")],
    /,
    *,
    system_a: Annotated[str | None, arg("System of A; its first if unset.")] = None,
    system_b: Annotated[str | None, arg("System of B; its first if unset.")] = None,
) -> None:
    """Compare two runs, with the significance of each difference.

    Example: `secateur eval compare runs/before runs/after`
    """
    sys.stdout.write(compare_runs(a, b, system_a, system_b))
