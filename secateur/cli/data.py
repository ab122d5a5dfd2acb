"""Commands that make training data: the steps of `secateur data`, in the order of the pipeline."""
# ruff: noqa: B008  (the dataclasses are frozen)

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from secateur.cli.ending import UsageError
from secateur.cli.options import LlmJobOptions, Switch, flat
from secateur.data_scripts.chunking import ChunkOptions
from secateur.data_scripts.ingest.run import IngestOptions
from secateur.data_scripts.ingest.sources import Columns
from secateur.data_scripts.publish import PublishOptions
from secateur.data_scripts.publish_filters import FilterOptions
from secateur.data_scripts.queries.generation import GenerateOptions
from secateur.data_scripts.retrieval.retrieve import RetrieveOptions
from secateur.data_scripts.teacher.asking import TeachOptions

_LLM = flat(group="Language model")


def _say(lines: Iterable[str]) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def build(config: Path, /) -> None:
    """Run all steps from one configuration; a finished step is not repeated.

    Example: `secateur data build examples/handbook.yaml`

    Args:
        config: Configuration of the pipeline, a YAML file.
    """
    from secateur.data_scripts.building.build import build
    from secateur.data_scripts.building.config import BuildConfig
    from secateur.labelled.yaml_files import read_yaml

    for line in build(read_yaml(config, BuildConfig)):
        _say([line])


def ingest(
    *sources: Path,
    out: Path,
    columns: Annotated[Columns, flat(id="id-column", title="title-column", text="text-column")] = Columns(),
    options: Annotated[IngestOptions, flat()] = IngestOptions(),
) -> None:
    """Read documents of many formats, each once.

    Example: `secateur data ingest docs/ wiki.parquet --out documents.jsonl`

    Args:
        sources: Files (text, Markdown, HTML, PDF, JSON lines, CSV, Parquet), BEIR or `datasets` directories, folders.
        out: Documents to write, as JSON lines.
        columns: Columns of tables.
        options: What to leave out.
    """
    from secateur.data_scripts.ingest.run import ingest

    if not sources:
        raise UsageError("SOURCES: is missing; give files or directories, as `secateur data ingest --help` shows")
    _say(ingest(list(sources), out, columns, options).lines())


def chunk(documents: Path, /, *, out: Path, options: Annotated[ChunkOptions, flat()] = ChunkOptions()) -> None:
    """Cut documents into chunks of consecutive sentences.

    Example: `secateur data chunk documents.jsonl --out chunks.jsonl`

    Args:
        documents: Documents as JSON lines.
        out: Chunks to write, as JSON lines.
        options: How to cut.
    """
    from secateur.data_scripts.chunking import chunk

    report = chunk(documents, out, options)
    _say(
        [
            f"{report.chunks} chunks of {report.documents} documents; {report.blank} documents have no text; "
            f"{report.cut_units} units were longer than the longest chunk and were cut"
        ]
    )


def queries(
    chunks: Path,
    /,
    *,
    out: Path,
    own: Path | None = None,
    rules: bool = True,
    options: Annotated[GenerateOptions, flat("concurrency", styles="style")] = GenerateOptions(),
    llm: Annotated[LlmJobOptions, _LLM] = LlmJobOptions(),
) -> None:
    """Make queries for chunks: your own, by rule, by a language model.

    Example: `secateur data queries chunks.jsonl --out queries.jsonl --own questions.txt`

    Args:
        chunks: Chunks as JSON lines.
        out: Queries to write, as JSON lines.
        own: Your own queries: a text file with one per line, or JSON lines.
        rules: Headings and questions of FAQs as queries.
        options: What to ask for.
        llm: The language model; not asked if --base-url is unset.
    """
    from secateur.data_scripts.queries.run import Asking, make_queries
    from secateur.llm.budget import Budget, Pace
    from secateur.models.errors import DataError

    asking = None
    if llm.base_url is not None:
        asking = Asking(
            llm.job_endpoint(256),
            replace(options, concurrency=llm.concurrency),
            llm.cache or out.with_name(f"{out.name}.replies"),
            Budget(llm.charges(), llm.max_cost),
            Pace(llm.requests_per_minute),
        )
    count, report = make_queries(chunks, out, own, rules, asking)
    dropped = ", ".join(f"{number} {reason}" for reason, number in sorted(report.dropped.items()))
    _say([f"{count} queries{f'; dropped: {dropped}' if dropped else ''}"])
    if report.stopped is not None:
        raise report.stopped
    if report.missing:
        raise DataError(f"{report.missing.total()} requests had no reply; run again to repeat only these")


def index(
    chunks: Path,
    /,
    *,
    out: Path,
    only: Literal["bm25", "dense"] | None = None,
    embedder: Path | None = None,
    max_passage_tokens: int = 128,
    shard: int = 4096,
    kind: Literal["flat", "hnsw", "ivf"] | None = None,
    ray: Switch = False,
) -> None:
    """Index chunks by BM25 and by embeddings.

    Example: `secateur data index chunks.jsonl --out index`

    Args:
        chunks: Chunks as JSON lines.
        out: Directory of the index.
        only: The one index to build; both if unset.
        embedder: sentence-transformers directory; all-MiniLM-L6-v2 if unset.
        max_passage_tokens: Number of tokens of a chunk that are embedded.
        shard: Number of chunks embedded at a time; an interrupted run continues after the last of them.
        kind: Kind of the dense index; chosen by its size if unset.
        ray: Run on the Ray cluster of RAY_ADDRESS, or on a local one.
    """
    from secateur.data_scripts.retrieval.dense import DenseOptions
    from secateur.data_scripts.retrieval.index import build_index

    options = DenseOptions(embedder, max_passage_tokens, shard, kind)
    manifest = build_index(chunks, out, options, bm25=only != "dense", dense=only != "bm25", ray=ray)
    dense = f", dense ({manifest['kind']})" if manifest["dense"] else ""
    _say([f"{manifest['rows']} chunks indexed{', BM25' * manifest['bm25']}{dense}"])


def retrieve(
    queries: Path,
    /,
    *,
    index: Path,
    out: Path,
    trec: Path | None = None,
    options: Annotated[RetrieveOptions, flat(constant="rrf-k")] = RetrieveOptions(),
) -> None:
    """Retrieve each query's passages.

    Example: `secateur data retrieve queries.jsonl --index index --out candidates.jsonl`

    Args:
        queries: Queries as JSON lines.
        index: Directory of the index.
        out: Candidates to write, as JSON lines.
        trec: TREC run to write as well.
        options: How to retrieve.
    """
    from secateur.data_scripts.retrieval.retrieve import retrieve

    _say([f"passages retrieved for {retrieve(queries, index, out, options, trec)} queries"])


def round_trip(candidates: Path, /, *, out: Path, k: int = 10) -> None:
    """Keep the queries that retrieve the chunk they were made from.

    Example: `secateur data round-trip candidates.jsonl --out found.jsonl`

    Args:
        candidates: Candidates as JSON lines.
        out: Candidates to write, as JSON lines.
        k: Lowest permitted rank of a query's own chunk.
    """
    from secateur.data_scripts.queries.round_trip import round_trip

    kept, left_out = round_trip(candidates, out, k)
    _say([f"{kept} {'query' if kept == 1 else 'queries'} kept, {left_out} left out"])


def teach(
    candidates: Path,
    /,
    *,
    out: Path,
    teacher: str | None = None,
    teacher_tokens: int = 512,
    batch: int = 32,
    ray: Switch = False,
    options: Annotated[TeachOptions, flat("concurrency", "requests_per_minute", "prices", "max_cost")] = TeachOptions(),
    llm: Annotated[LlmJobOptions, _LLM] = LlmJobOptions(),
) -> None:
    """Score each query's passages by a larger model.

    Example: `secateur data teach found.jsonl --out scored.jsonl --teacher CROSS_ENCODER_DIR`

    Args:
        candidates: Candidates as JSON lines.
        out: Scored candidates to write, as JSON lines.
        teacher: Directory of a cross-encoder or of a Secateur model; required without --base-url.
        teacher_tokens: Number of tokens that a cross-encoder reads of a pair.
        batch: Number of pairs that a cross-encoder reads at once.
        ray: Run on the Ray cluster of RAY_ADDRESS, or on a local one; with --teacher.
        options: How to ask a language model.
        llm: The language model.
    """
    from secateur.data_scripts.teacher import run
    from secateur.data_scripts.teacher.asking import REPLY_TOKENS
    from secateur.models.errors import InputError

    if (teacher is None) == (llm.base_url is None):
        problem = "is missing" if teacher is None else "cannot be used with --base-url"
        raise InputError("--teacher", problem, "give a model directory, or an endpoint by --base-url and --llm")
    if teacher is not None:
        scored = run.teach_by_model(candidates, out, teacher, max_tokens=teacher_tokens, batch=batch, ray=ray)
        _say(scored.lines())
        return
    if ray:
        raise InputError("--ray", "cannot be used with --base-url", "the endpoint does the work; raise --concurrency")
    endpoint = llm.job_endpoint(REPLY_TOKENS[options.mode])
    report = run.teach_by_endpoint(candidates, out, endpoint, replace(options, **llm.limits()), llm.cache)
    _say(report.lines())
    if report.stopped is not None:
        raise report.stopped


def pairs(
    candidates: Path,
    /,
    *,
    out: Path,
    top: int = 2,
    bands: str = "3-10:2,11-20:1",
    margin: float | None = None,
    seed: int = 13,
) -> None:
    """Choose the passages of each query to label, with hard negatives.

    Example: `secateur data pairs scored.jsonl --out pairs.jsonl --margin 2`

    Args:
        candidates: Candidates as JSON lines.
        out: Pairs to write, as JSON lines.
        top: Number of first passages, besides the query's own chunk.
        bands: Ranks of hard negatives, as FIRST-LAST:COUNT,...
        margin: Smallest difference in teacher logits between the best passage and a hard negative; no filter if unset.
        seed: Seed of the choice.
    """
    from secateur.data_scripts.retrieval.negatives import PairOptions, make_pairs, parse_bands

    _say([f"{make_pairs(candidates, out, PairOptions(top, parse_bands(bands), margin, seed))} pairs"])


def select(
    pairs: Path,
    /,
    *,
    out: Path,
    count: int,
    by: Literal["random", "diverse", "uncertain"] = "diverse",
    embedder: Path | None = None,
    model: str | None = None,
    seed: int = 13,
) -> None:
    """Choose the pairs that are most worth a label.

    Example: `secateur data select pairs.jsonl --out selected.jsonl --count 1000`

    Args:
        pairs: Pairs as JSON lines.
        out: Chosen pairs to write, as JSON lines.
        count: Number of chosen pairs.
        by: Criterion of the choice.
        embedder: sentence-transformers directory for `diverse`; all-MiniLM-L6-v2 if unset.
        model: Model directory or name of a shipped model for `uncertain`; secateur-nano-en if unset.
        seed: Seed of `random`.
    """
    from secateur.data_scripts.labels.selecting import select
    from secateur.labelled.embedder import load_embedder

    def embed(texts: Any) -> Any:
        return load_embedder(embedder, None)(texts)

    _say([f"{select(pairs, out, count, by, embed, seed, model)} pairs selected"])


def label(
    *,
    pairs: Annotated[Path, Parameter(name="--in")],
    out: Path,
    method: Literal["answer", "select", "spans"] = "answer",
    samples: int = 1,
    segmenter: str = "nupunkt",
    ray: Switch = False,
    dry_run: Switch = False,
    llm: Annotated[LlmJobOptions, _LLM] = LlmJobOptions(),
) -> None:
    """Label the sentences of each pair's passage that answer its query.

    Example: `secateur data label --in pairs.jsonl --out labels.jsonl --base-url URL --llm NAME --dry-run`

    Args:
        pairs: Pairs as JSON lines.
        out: Labels to write, as JSON lines.
        method: Answers with citations (Provence), sentence numbers alone, or the pairs' known answers, without a model.
        samples: Number of replies per pair; a label is the share that agree.
        segmenter: Sentence segmenter of the model to be trained.
        ray: Run on the Ray cluster of RAY_ADDRESS, or on a local one.
        dry_run: Prompts and projected cost, without a request.
        llm: The language model; required unless --method is spans.
    """
    from secateur.data_scripts.labels import run
    from secateur.data_scripts.labels.labelling import LabelOptions
    from secateur.models.errors import DataError

    if method == "spans":
        report = run.label_by_answers(pairs, out, segmenter)
    else:
        endpoint = llm.job_endpoint(256)
        options = LabelOptions(style=method, samples=samples, segmenter=segmenter, **llm.limits())
        if dry_run:
            projection = run.project(pairs, out, endpoint, options, llm.cache)
            _say([f"{prompt}\n\n{'-' * 80}\n" for prompt in projection.prompts])
            tokens = projection.completion_tokens
            completion = "any number of" if tokens is None else f"at most {tokens}"
            cost = "" if projection.cost is None else f", cost at most about {projection.cost:.4f}"
            _say(
                [
                    f"{projection.pairs} pairs, {projection.requests} requests left, about "
                    f"{projection.prompt_tokens} tokens in, {completion} out{cost}; nothing was sent"
                ]
            )
            return
        report = run.label(pairs, out, endpoint, options, llm.cache, ray=ray)
    _say(report.lines())
    if report.calls.stopped is not None:
        raise report.calls.stopped
    if missing := report.missing.total():
        total = report.labelled + report.dropped.total() + missing
        raise DataError(f"{missing} of {total} pairs have no labels, as no reply came; run again to repeat only these")


def _shares(_: Any, tokens: Any) -> dict[str, float]:
    shares: dict[str, float] = {}
    for entry in tokens[0].value.split(","):
        name, sign, share = (part.strip() for part in entry.partition("="))
        if not sign or not name or name in shares:
            raise ValueError(f"{entry!r} is not NAME=SHARE with a unique name.")
        shares[name] = float(share)
    return shares


def publish(
    labels: Path,
    /,
    *,
    out: Path,
    shares: Annotated[dict[str, float], Parameter(converter=_shares, accepts_keys=False)] | None = None,
    options: Annotated[PublishOptions, flat("filters", "shares")] = PublishOptions(),
    filters: Annotated[FilterOptions, flat("seed")] = FilterOptions(),
) -> None:
    """Filter, balance and split labels into a data set to train on and share.

    Example: `secateur data publish labels.jsonl --out dataset --name mine --licence cc-by-4.0`

    Args:
        labels: Labels as JSON lines.
        out: Directory of the data set.
        shares: Share of the queries in each split, as NAME=SHARE,...; train=0.8,dev=0.1,test=0.1 if unset.
        options: What to publish.
        filters: What to drop.
    """
    from secateur.data_scripts.publish import publish

    options = replace(options, shares=shares or options.shares, filters=replace(filters, seed=options.seed))
    _say(publish(labels, out, options).lines())


def leaks(data: Path, /, *, near_duplicates: float = 0.9) -> None:
    """Find what two splits of a published data set have in common.

    Example: `secateur data leaks dataset`

    Args:
        data: Directory with one directory per split.
        near_duplicates: Similarity from which passages are near-duplicates; 0 finds equal ones only.
    """
    from secateur.data_scripts.publish_leaks import check_leaks

    check_leaks(data, near_duplicates)
    _say(["no query, document or near-duplicate passage is in two splits"])


def inspect(file: Path, /, *, n: int = 5, seed: int = 13, html: Path | None = None) -> None:
    """Show samples with their labels in colour.

    Example: `secateur data inspect labels.jsonl --n 10`

    Args:
        file: Labels, or published examples, as JSON lines.
        n: Number of samples.
        seed: Seed of the choice.
        html: HTML page to write instead.
    """
    from secateur.data_scripts.inspecting import inspect

    inspect(file, n, seed, html)


def spans(source: Path, target: Path, /) -> None:
    """Label passages by where their answer strings occur.

    Example: `secateur data spans faq.jsonl train/faq.jsonl`

    Args:
        source: JSON lines of {query, answers, passages}.
        target: Labelled examples to write, as JSON lines.
    """
    from secateur.data_scripts.answer_spans import label_answer_spans

    report = label_answer_spans(source, target)
    _say(
        [
            f"{report.queries} queries, {report.passages} passages, {report.relevant} of them with an answer; "
            f"{report.unanswered} queries whose answers are in no passage"
        ]
    )


def check(data: Path, /, *, segmenter: str = "nupunkt") -> None:
    """Report what is wrong with labelled examples before training on them.

    Example: `secateur data check my.jsonl`

    Args:
        data: Labelled examples: a JSON-lines file, or a directory of them.
        segmenter: Sentence segmenter of the model to be trained.
    """
    from secateur.data_scripts.check import check_data
    from secateur.models.errors import DataError

    report = check_data(data, segmenter)
    _say(report.lines())
    if not report.usable:
        raise DataError(f"{data}: cannot be used for training; correct the lines above")
