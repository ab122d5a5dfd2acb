"""Commands that make training data: the steps of `secateur data`, in the order of the pipeline."""
# ruff: noqa: B008  (the dataclasses are frozen)

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from cyclopts import Parameter

from secateur.cli.ending import UsageError
from secateur.cli.options import Examples, LlmJob, LlmJobOptions, Ray, Switch, arg, flat
from secateur.data_scripts import chunking, inspecting
from secateur.data_scripts import publish as publishing
from secateur.data_scripts.answer_spans import label_answer_spans
from secateur.data_scripts.building import build as building
from secateur.data_scripts.building.config import BuildConfig
from secateur.data_scripts.check import check_data
from secateur.data_scripts.chunking import ChunkOptions
from secateur.data_scripts.ingest import run as ingesting
from secateur.data_scripts.ingest.sources import Columns
from secateur.data_scripts.labels import run as labels_run
from secateur.data_scripts.labels import selecting
from secateur.data_scripts.labels.labelling import LabelOptions
from secateur.data_scripts.publish_filters import FilterOptions
from secateur.data_scripts.publish_leaks import check_leaks
from secateur.data_scripts.queries import round_trip as round_trips
from secateur.data_scripts.queries.generation import GenerateOptions
from secateur.data_scripts.queries.run import make_queries
from secateur.data_scripts.retrieval import retrieve as retrieving
from secateur.data_scripts.retrieval.dense import DenseOptions
from secateur.data_scripts.retrieval.index import build_index
from secateur.data_scripts.retrieval.negatives import PairOptions, make_pairs, parse_bands
from secateur.data_scripts.teacher import run as teaching
from secateur.data_scripts.teacher.llm_judge import REPLY_TOKENS, TeachOptions
from secateur.labelled.embedder import load_embedder
from secateur.labelled.yaml_files import read_yaml
from secateur.models.errors import DataError, InputError

Documents = Annotated[Path, arg("Documents as JSON lines.")]
Chunks = Annotated[Path, arg("Chunks as JSON lines.")]
Queries = Annotated[Path, arg("Queries as JSON lines.")]
Candidates = Annotated[Path, arg("Queries with their candidate passages, as JSON lines.")]
Pairs = Annotated[Path, arg("Pairs as JSON lines.")]
Labels = Annotated[Path, arg("Labels as JSON lines.")]
Segmenter = Annotated[str, arg("Sentence segmenter of the model that will be trained.")]
Seed = Annotated[int, arg("Seed of the random choice.")]

for _table in (GenerateOptions, LabelOptions, TeachOptions):
    # cyclopts would look up the names of inherited annotations in the module of the subclass.
    vars(_table)["__init__"].__annotations__.update(get_type_hints(_table, include_extras=True))


def _say(*lines: str) -> None:
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def build(config: Annotated[Path, arg("Configuration of the pipeline, a YAML file.")], /) -> None:
    """Run all steps from one configuration; a finished step is not repeated.

    Example: `secateur data build examples/handbook.yaml`
    """
    for line in building.build(read_yaml(config, BuildConfig)):
        _say(line)


def ingest(
    *sources: Annotated[
        Path,
        arg("Files (text, Markdown, HTML, PDF, JSON lines, CSV, Parquet), BEIR or `datasets` directories, folders."),
    ],
    out: Documents,
    columns: Annotated[Columns, flat(id="id-column", title="title-column", text="text-column")] = Columns(),
    options: Annotated[ingesting.IngestOptions, flat()] = ingesting.IngestOptions(),
) -> None:
    """Read documents of many formats, without duplicates.

    Example: `secateur data ingest docs/ wiki.parquet --out documents.jsonl`
    """
    if not sources:
        raise UsageError("SOURCES: is missing; give files or directories, as `secateur data ingest --help` shows")
    _say(*ingesting.ingest(list(sources), out, columns, options).lines())


def chunk(documents: Documents, /, *, out: Chunks, options: Annotated[ChunkOptions, flat()] = ChunkOptions()) -> None:
    """Cut documents into chunks of consecutive sentences.

    Example: `secateur data chunk documents.jsonl --out chunks.jsonl`
    """
    report = chunking.chunk(documents, out, options)
    _say(
        f"{report.chunks} chunks of {report.documents} documents; {report.blank} documents have no text; "
        f"{report.cut_units} units were longer than the longest chunk and were cut"
    )


def queries(
    chunks: Chunks,
    /,
    *,
    out: Queries,
    own: Annotated[Path | None, arg("Your own queries: a text file with one per line, or JSON lines.")] = None,
    rules: Annotated[bool, arg("Whether to use headings and questions of FAQs as queries.")] = True,
    options: Annotated[GenerateOptions, flat(*LlmJobOptions.LIMITS, styles="style")] = GenerateOptions(),
    llm: LlmJob = LlmJobOptions(),
) -> None:
    """Collect queries for chunks: your own, by rule, and by a language model.

    Example: `secateur data queries chunks.jsonl --out queries.jsonl --own questions.txt`
    """
    endpoint = None if llm.base_url is None else llm.job_endpoint(256)
    count, report = make_queries(chunks, out, own, rules, endpoint, replace(options, **llm.limits()), llm.cache)
    dropped = ", ".join(f"{number} {reason}" for reason, number in sorted(report.dropped.items()))
    _say(f"{count} queries{f'; dropped: {dropped}' if dropped else ''}")
    report.check_complete()


def index(
    chunks: Chunks,
    /,
    *,
    out: Annotated[Path, arg("Directory of the index.")],
    only: Annotated[Literal["bm25", "dense"] | None, arg("The one index to build; both if unset.")] = None,
    options: Annotated[DenseOptions, flat(max_tokens="max-passage-tokens")] = DenseOptions(),
    ray: Ray = False,
) -> None:
    """Index chunks by BM25 and by embeddings.

    Example: `secateur data index chunks.jsonl --out index`
    """
    manifest = build_index(chunks, out, options, bm25=only != "dense", dense=only != "bm25", ray=ray)
    dense = f", dense ({manifest['kind']})" if manifest["dense"] else ""
    _say(f"{manifest['rows']} chunks indexed{', BM25' * manifest['bm25']}{dense}")


def retrieve(
    queries: Queries,
    /,
    *,
    index: Annotated[Path, arg("Directory of the index.")],
    out: Candidates,
    trec: Annotated[Path | None, arg("TREC run to write as well.")] = None,
    options: Annotated[retrieving.RetrieveOptions, flat(constant="rrf-k")] = retrieving.RetrieveOptions(),
) -> None:
    """Retrieve the passages of each query.

    Example: `secateur data retrieve queries.jsonl --index index --out candidates.jsonl`
    """
    _say(f"passages retrieved for {retrieving.retrieve(queries, index, out, options, trec)} queries")


def round_trip(
    candidates: Candidates,
    /,
    *,
    out: Candidates,
    k: Annotated[int, arg("Lowest permitted rank of a query's own chunk.")] = 10,
) -> None:
    """Keep the queries that retrieve the chunk they were made from.

    Example: `secateur data round-trip candidates.jsonl --out found.jsonl`
    """
    kept, left_out = round_trips.round_trip(candidates, out, k)
    _say(f"{kept} {'query' if kept == 1 else 'queries'} kept, {left_out} left out")


def teach(
    candidates: Candidates,
    /,
    *,
    out: Candidates,
    teacher: Annotated[str | None, arg("Directory of a cross-encoder or of a Secateur model.")] = None,
    teacher_tokens: Annotated[int, arg("Number of tokens that a cross-encoder reads of a pair.")] = 512,
    batch: Annotated[int, arg("Number of pairs that a cross-encoder reads at once.")] = 32,
    ray: Ray = False,
    options: Annotated[TeachOptions, flat(*LlmJobOptions.LIMITS)] = TeachOptions(),
    llm: LlmJob = LlmJobOptions(),
) -> None:
    """Score each query's passages by a larger model.

    Example: `secateur data teach found.jsonl --out scored.jsonl --teacher CROSS_ENCODER_DIR`
    """
    if (teacher is None) == (llm.base_url is None):
        problem = "is missing" if teacher is None else "cannot be used with --base-url"
        raise InputError("--teacher", problem, "give a model directory, or an endpoint by --base-url and --llm")
    if teacher is not None:
        scored = teaching.teach_by_model(candidates, out, teacher, max_tokens=teacher_tokens, batch=batch, ray=ray)
        _say(*scored.lines())
        return
    if ray:
        raise InputError("--ray", "cannot be used with --base-url", "the endpoint does the work; raise --concurrency")
    endpoint = llm.job_endpoint(REPLY_TOKENS[options.mode])
    report = teaching.teach_by_endpoint(candidates, out, endpoint, replace(options, **llm.limits()), llm.cache)
    _say(*report.lines())
    report.check_complete()


def pairs(
    candidates: Candidates,
    /,
    *,
    out: Pairs,
    top: Annotated[int, arg("Number of first passages, besides the query's own chunk.")] = 2,
    bands: Annotated[str, arg("Ranks of hard negatives, as FIRST-LAST:COUNT,...")] = "3-10:2,11-20:1",
    margin: Annotated[float | None, arg("Lowest margin over a hard negative, in logits of the teacher.")] = None,
    seed: Seed = 13,
) -> None:
    """Choose the passages of each query to label, with hard negatives.

    Example: `secateur data pairs scored.jsonl --out pairs.jsonl --margin 2`
    """
    _say(f"{make_pairs(candidates, out, PairOptions(top, parse_bands(bands), margin, seed))} pairs")


def select(
    pairs: Pairs,
    /,
    *,
    out: Pairs,
    count: Annotated[int, arg("Number of chosen pairs.")],
    by: Annotated[
        Literal["random", "diverse", "uncertain"],
        arg("Criterion of the choice; `diverse` and `uncertain` show no clear gain over `random`."),
    ] = "random",
    embedder: Annotated[Path | None, arg("Embedder for `diverse`; all-MiniLM-L6-v2 if unset.")] = None,
    model: Annotated[str | None, arg("Model for `uncertain`; secateur-nano-en if unset.")] = None,
    seed: Seed = 13,
) -> None:
    """Choose the pairs that are most worth a label.

    Example: `secateur data select pairs.jsonl --out selected.jsonl --count 1000`
    """

    def embed(texts: Any) -> Any:
        return load_embedder(embedder, None)(texts)

    _say(f"{selecting.select(pairs, out, count, by, embed, seed, model)} pairs selected")


def label(
    *,
    pairs: Annotated[Pairs, Parameter(name="--in")],
    out: Labels,
    method: Annotated[
        Literal["answer", "select", "spans"],
        arg("Answers with citations (Provence), sentence numbers alone, or the pairs' known answers, without a model."),
    ] = "answer",
    ray: Ray = False,
    dry_run: Annotated[Switch, arg("Whether to show prompts and the projected cost only; nothing is sent.")] = False,
    options: Annotated[LabelOptions, flat("style", *LlmJobOptions.LIMITS)] = LabelOptions(),
    llm: LlmJob = LlmJobOptions(),
) -> None:
    """Label the sentences of each pair's passage that answer its query.

    Example: `secateur data label --in pairs.jsonl --out labels.jsonl --base-url URL --llm NAME --dry-run`
    """
    if method == "spans":
        report = labels_run.label_by_answers(pairs, out, options.segmenter)
    else:
        endpoint = llm.job_endpoint(256)
        options = replace(options, style=method, **llm.limits())
        if dry_run:
            projection = labels_run.project(pairs, out, endpoint, options, llm.cache)
            _say(*(f"{prompt}\n\n{'-' * 80}\n" for prompt in projection.prompts))
            tokens = projection.completion_tokens
            completion = "any number of" if tokens is None else f"at most {tokens}"
            cost = "" if projection.cost is None else f", cost at most about {projection.cost:.4f}"
            _say(
                f"{projection.pairs} pairs, {projection.requests} requests left, about {projection.prompt_tokens} "
                f"tokens in, {completion} out{cost}; nothing was sent"
            )
            return
        report = labels_run.label(pairs, out, endpoint, options, llm.cache, ray=ray)
    _say(*report.lines())
    report.check_complete()


def _shares(text: str) -> dict[str, float]:
    try:
        pairs = [(name.strip(), float(share)) for name, share in (entry.split("=") for entry in text.split(","))]
    except ValueError:
        pairs = []
    if not pairs or len(dict(pairs)) < len(pairs):
        raise UsageError(f"--shares: {text!r} is not NAME=SHARE,... with unique names; give e.g. train=0.8,dev=0.2")
    return dict(pairs)


def publish(
    labels: Labels,
    /,
    *,
    out: Annotated[Path, arg("Directory of the data set.")],
    shares: Annotated[str, arg("Share of the queries in each split.")] = "train=0.8,dev=0.1,test=0.1",
    options: Annotated[publishing.PublishOptions, flat("filters", "shares")] = publishing.PublishOptions(),
    filters: Annotated[FilterOptions, flat("seed")] = FilterOptions(),
) -> None:
    """Filter, balance and split labels into a data set to train on and share.

    Example: `secateur data publish labels.jsonl --out dataset --name mine --licence cc-by-4.0`
    """
    options = replace(options, shares=_shares(shares), filters=replace(filters, seed=options.seed))
    _say(*publishing.publish(labels, out, options).lines())


def leaks(
    data: Annotated[Path, arg("Directory with one directory per split.")],
    /,
    *,
    near_duplicates: Annotated[float, arg("Similarity of near-duplicates; 0 for equal passages only.")] = 0.9,
) -> None:
    """Find what two splits of a published data set have in common.

    Example: `secateur data leaks dataset`
    """
    check_leaks(data, near_duplicates)
    _say("no query, document or near-duplicate passage is in two splits")


def inspect(
    file: Annotated[Path, arg("Labels, or published examples, as JSON lines.")],
    /,
    *,
    n: Annotated[int, arg("Number of samples.")] = 5,
    seed: Seed = 13,
    html: Annotated[Path | None, arg("HTML page to write instead.")] = None,
) -> None:
    """Show samples with their labels in colour.

    Example: `secateur data inspect labels.jsonl --n 10`
    """
    inspecting.inspect(file, n, seed, html)


def spans(
    source: Annotated[Path, arg("JSON lines of {query, answers, passages}.")],
    target: Annotated[Path, arg("Labelled examples to write, as JSON lines.")],
    /,
) -> None:
    """Label passages by where their answer strings occur.

    Example: `secateur data spans faq.jsonl train/faq.jsonl`
    """
    report = label_answer_spans(source, target)
    _say(
        f"{report.queries} queries, {report.passages} passages, {report.relevant} of them with an answer; "
        f"{report.unanswered} queries whose answers are in no passage"
    )


def check(data: Examples, /, *, segmenter: Segmenter = "nupunkt") -> None:
    """Report what is wrong with labelled examples before training on them.

    Example: `secateur data check my.jsonl`
    """
    report = check_data(data, segmenter)
    _say(*report.lines())
    if not report.usable:
        raise DataError(f"{data}: cannot be used for training; correct the lines above")
