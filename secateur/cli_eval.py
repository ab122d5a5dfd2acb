"""The command that measures: `secateur eval`, and its steps `rag`, `rerank` and `compare`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secateur.llm.endpoint import Endpoint

_ALL = "all"


def _eval(arguments: argparse.Namespace) -> None:
    from secateur.eval.documents import update_document
    from secateur.eval.report.markdown import render_markdown
    from secateur.eval.run import RunOptions, evaluate
    from secateur.eval.systems.registry import BASELINES
    from secateur.models.errors import InputError

    if arguments.data is None:
        raise InputError("--data", "is missing", "give labelled examples: a file, or a directory with a file a source")
    systems: list[str] = []
    for spec in arguments.system or ["secateur"]:
        systems += BASELINES if spec == _ALL else [spec]
    options = RunOptions(
        systems=tuple(systems),
        limit=arguments.limit,
        titles=arguments.titles,
        needle=arguments.needle,
        robustness=arguments.robustness,
    )
    metrics = evaluate(arguments.data, arguments.out, options)
    for document in arguments.update:
        update_document(document, metrics)
    sys.stdout.write(render_markdown(metrics))


def _compare(arguments: argparse.Namespace) -> None:
    from secateur.eval.significance import compare_runs

    sys.stdout.write(compare_runs(arguments.a, arguments.b, arguments.system_a, arguments.system_b))


def _json_object(text: str) -> dict[str, object]:
    from secateur.models.errors import InputError, shown

    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InputError("--extra", f"{shown(text)} is no JSON object", 'give one such as {"seed": 1}')
    return value


def _endpoint(arguments: argparse.Namespace, prefix: str) -> Endpoint:
    from secateur.llm.endpoint import Endpoint

    def of(name: str) -> str | None:
        value: str | None = getattr(arguments, f"{prefix}{name}")
        return value

    return Endpoint(
        base_url=of("base_url") or arguments.base_url,
        model=of("chat_model") or arguments.chat_model,
        api_key=os.environ.get(arguments.api_key_env),
        timeout_s=arguments.timeout,
        retries=arguments.retries,
        extra=_json_object(arguments.extra) if arguments.extra else {},
    )


def _rag(arguments: argparse.Namespace) -> None:
    from secateur.eval.rag.report import rag_table
    from secateur.eval.rag.run import run_rag
    from secateur.llm.budget import Prices
    from secateur.models.pruner import Pruner

    report = run_rag(
        Pruner.load(arguments.model),
        arguments.data,
        _endpoint(arguments, ""),
        _endpoint(arguments, "judge_") if arguments.judge else None,
        out=arguments.out,
        limit=arguments.limit,
        threshold=arguments.threshold,
        prices=Prices(*arguments.prices) if arguments.prices else None,
        concurrency=arguments.concurrency,
    )
    sys.stdout.write(rag_table(report) + "\n")


def _rerank(arguments: argparse.Namespace) -> None:
    from secateur.eval.collections import load_collection
    from secateur.eval.reranking import RerankOptions, rerank, rerank_table

    collection = load_collection(
        beir=arguments.beir,
        collection=arguments.collection,
        queries=arguments.queries,
        qrels=arguments.qrels,
        run=arguments.run_file,
    )
    options = RerankOptions(model=arguments.model, depth=arguments.depth, limit=arguments.limit)
    sys.stdout.write(rerank_table(rerank(collection, arguments.out, options)) + "\n")


def _add_rag(steps: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    help = "Answer questions by an LLM with full, pruned and no context, and judge the answers."
    rag = steps.add_parser("rag", help=help, description=help)
    rag.set_defaults(run=_rag)
    rag.add_argument("--data", type=Path, required=True, help="examples with `answers`: a file, or a directory of them")
    rag.add_argument("--out", type=Path, required=True, help="directory for rag.json, rag.jsonl and cached replies")
    rag.add_argument("--base-url", required=True, help="OpenAI-compatible endpoint, e.g. http://localhost:8000/v1")
    rag.add_argument("--chat-model", required=True, help="the answering model's name there")
    rag.add_argument("--judge", action="store_true", help="have answers judged by an LLM too")
    rag.add_argument("--judge-base-url", help="the judge's endpoint (default: the answering one)")
    rag.add_argument("--judge-chat-model", help="the judge's model (default: the answering one)")
    rag.add_argument("--api-key-env", default="OPENAI_API_KEY", help="environment variable with the API key")
    rag.add_argument("--extra", help="further fields of each request, as a JSON object")
    rag.add_argument("--timeout", type=float, default=60.0, help="seconds for one try")
    rag.add_argument("--retries", type=int, default=2)
    rag.add_argument("--concurrency", type=int, default=8, help="most calls under way at once")
    rag.add_argument("--limit", type=int, help="questions of each source")
    rag.add_argument("--threshold", type=float, help="keep threshold (default: the model's)")
    rag.add_argument("--prices", type=float, nargs=2, metavar=("IN", "OUT"), help="of a million tokens in and out")
    rag.add_argument("--model", help="pruner: model directory or shipped model's name")


def _add_rerank(steps: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    help = "Rerank (and prune) a TREC run, or a BEIR directory by BM25 first."
    rerank = steps.add_parser("rerank", help=help, description=help)
    rerank.set_defaults(run=_rerank)
    rerank.add_argument("--beir", type=Path, help="directory with corpus.jsonl, queries.jsonl and qrels/test.tsv")
    rerank.add_argument("--collection", type=Path, help=".tsv (id, text) or .jsonl (_id or id, title, text), .gz too")
    rerank.add_argument("--queries", type=Path, help=".tsv (id, text) or .jsonl (_id or id, text), .gz too")
    rerank.add_argument("--qrels", type=Path, help="TREC qrels: query, 0, document, grade")
    rerank.add_argument("--run", dest="run_file", type=Path, help="TREC run: query, Q0, document, rank, score, tag")
    rerank.add_argument("--depth", type=int, default=100, help="documents of each query that are reranked")
    rerank.add_argument("--limit", type=int, help="queries")
    rerank.add_argument("--out", type=Path, required=True, help="directory for rerank.json and the new run")
    rerank.add_argument("--model", help="pruner: model directory or shipped model's name")


def _add_compare(steps: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    help = "Say what changed from one run to another, and whether it is significant."
    compare = steps.add_parser("compare", help=help, description=help)
    compare.set_defaults(run=_compare)
    compare.add_argument("a", type=Path, metavar="A", help="directory of a run")
    compare.add_argument("b", type=Path, metavar="B", help="directory of another, on the same data")
    compare.add_argument("--system-a", help="system of A (default: its first)")
    compare.add_argument("--system-b", help="system of B (default: its first)")


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add `eval`.

    Args:
        command: makes a command of a name, what it runs, and a line of help.
    """
    evaluate = command("eval", _eval, "Measure pruning and reranking on labelled examples.")
    evaluate.add_argument("--data", type=Path, help="labelled examples: a file, or a directory with a file a source")
    evaluate.add_argument("--out", type=Path, help="directory for metrics.json, the report and the scores")
    evaluate.add_argument(
        "--system",
        action="append",
        metavar="NAME[:MODEL_DIR]",
        help=f"what is measured, may be given again (default: secateur; {_ALL!r}: every baseline)",
    )
    evaluate.add_argument("--limit", type=int, help="queries of each source")
    evaluate.add_argument(
        "--no-titles", dest="titles", action="store_false", help="do not show the passages' titles to the systems"
    )
    evaluate.add_argument("--needle", action="store_true", help="run the needle test too")
    evaluate.add_argument("--robustness", action="store_true", help="run the robustness set too")
    evaluate.add_argument(
        "--update", action="append", default=[], metavar="FILE[:BLOCK]", help="rewrite this document's tables, or one"
    )
    steps = evaluate.add_subparsers(metavar="STEP", help="or one of these")
    _add_rag(steps)
    _add_rerank(steps)
    _add_compare(steps)
