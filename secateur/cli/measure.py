"""Commands that measure pruning and reranking: `secateur eval` and its steps."""
# ruff: noqa: B008  (the dataclasses are frozen)

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from secateur.cli.options import LlmOptions, Switch, flat


def evaluate(
    *,
    data: Path,
    out: Path | None = None,
    system: tuple[str, ...] = ("secateur",),
    limit: int | None = None,
    titles: bool = True,
    needle: Switch = False,
    robustness: Switch = False,
    update: tuple[str, ...] = (),
) -> None:
    """Measure pruning and reranking on labelled examples.

    Example: `secateur eval --data test --out runs/report --system secateur --system all`

    Args:
        data: Labelled examples: a JSON-lines file, or a directory with one file per source.
        out: Directory for metrics.json, the report and the scores; nothing is written if unset.
        system: Measured system as NAME or NAME:MODEL_DIR; repeatable; `all` stands for every baseline.
        limit: Number of queries per source; all if unset.
        titles: Passages read under their titles.
        needle: Needle test as well.
        robustness: Robustness set as well.
        update: Document whose tables are rewritten, as FILE or FILE:BLOCK; repeatable.
    """
    from secateur.eval.documents import update_document
    from secateur.eval.report.markdown import render_markdown
    from secateur.eval.run import RunOptions, evaluate
    from secateur.eval.systems.registry import BASELINES

    systems = tuple(name for spec in system for name in (BASELINES if spec == "all" else (spec,)))
    options = RunOptions(systems=systems, limit=limit, titles=titles, needle=needle, robustness=robustness)
    metrics = evaluate(data, out, options)
    for document in update:
        update_document(document, metrics)
    sys.stdout.write(render_markdown(metrics))


def rag(
    *,
    data: Path,
    out: Path,
    model: str | None = None,
    threshold: float | None = None,
    limit: int | None = None,
    judge: Switch = False,
    judge_llm: str | None = None,
    judge_base_url: str | None = None,
    llm: Annotated[LlmOptions, flat(group="Language model")] = LlmOptions(),
) -> None:
    """Answer questions by a language model with full, pruned and no context, and judge the answers.

    Example: `secateur eval rag --data test --out runs/rag --base-url http://localhost:8000/v1 --llm NAME --judge`

    Args:
        data: Examples with `answers`: a JSON-lines file, or a directory of them.
        out: Directory for rag.json, rag.jsonl and cached replies.
        model: Model directory, or name of a shipped model; secateur-nano-en if unset.
        threshold: Lowest keep probability of a kept unit; the model's own threshold if unset.
        limit: Number of questions per source; all if unset.
        judge: Answers judged by a language model as well.
        judge_llm: Name of the judging language model; --llm if unset. Implies --judge.
        judge_base_url: Base URL of the judge's endpoint; --base-url if unset. Implies --judge.
        llm: The language model.
    """
    from secateur.eval.rag.report import rag_table
    from secateur.eval.rag.run import run_rag
    from secateur.models.pruner import Pruner

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
    out: Path,
    beir: Path | None = None,
    collection: Path | None = None,
    queries: Path | None = None,
    qrels: Path | None = None,
    run: Path | None = None,
    depth: int = 100,
    limit: int | None = None,
    model: str | None = None,
) -> None:
    """Rerank and prune a TREC run, or the BM25 ranking of a BEIR directory.

    Example: `secateur eval rerank --beir scifact --out runs/scifact`

    Args:
        out: Directory for rerank.json and the new run.
        beir: Directory with corpus.jsonl, queries.jsonl and qrels/test.tsv.
        collection: Documents as .tsv (id, text) or .jsonl (_id or id, title, text), or either as .gz.
        queries: Queries as .tsv (id, text) or .jsonl (_id or id, text), or either as .gz.
        qrels: TREC qrels: query, 0, document, grade.
        run: TREC run: query, Q0, document, rank, score, tag.
        depth: Number of reranked documents per query.
        limit: Number of queries; all if unset.
        model: Model directory, or name of a shipped model; secateur-nano-en if unset.
    """
    from secateur.eval.collections import load_collection
    from secateur.eval.reranking import RerankOptions, rerank, rerank_table

    documents = load_collection(beir=beir, collection=collection, queries=queries, qrels=qrels, run=run)
    options = RerankOptions(model=model, depth=depth, limit=limit)
    sys.stdout.write(rerank_table(rerank(documents, out, options)) + "\n")


def compare(a: Path, b: Path, /, *, system_a: str | None = None, system_b: str | None = None) -> None:
    """Compare two runs, with the significance of each difference.

    Example: `secateur eval compare runs/before runs/after`

    Args:
        a: Directory of a run.
        b: Directory of another run on the same data.
        system_a: System of A; its first if unset.
        system_b: System of B; its first if unset.
    """
    from secateur.eval.significance import compare_runs

    sys.stdout.write(compare_runs(a, b, system_a, system_b))
