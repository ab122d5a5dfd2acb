"""Runs all data steps: each once, and again only when its settings or inputs have changed."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from secateur.data_scripts.building.config import BuildConfig
from secateur.data_scripts.chunking import chunk
from secateur.data_scripts.ingest.run import ingest
from secateur.data_scripts.ingest.sources import Columns
from secateur.data_scripts.labels.labelling import LabelOptions
from secateur.data_scripts.labels.run import label, label_by_answers
from secateur.data_scripts.labels.selecting import select
from secateur.data_scripts.publish import publish
from secateur.data_scripts.queries.generation import GenerateOptions
from secateur.data_scripts.queries.round_trip import round_trip
from secateur.data_scripts.queries.run import make_queries
from secateur.data_scripts.retrieval.index import build_index, stored_object
from secateur.data_scripts.retrieval.negatives import make_pairs
from secateur.data_scripts.retrieval.retrieve import retrieve
from secateur.data_scripts.teacher.llm_judge import REPLY_TOKENS, TeachOptions
from secateur.data_scripts.teacher.run import teach_by_endpoint, teach_by_model
from secateur.labelled.embedder import load_embedder
from secateur.labelled.fingerprints import fingerprint
from secateur.models.files import write_atomically

log = logging.getLogger(__name__)

_STATE = "steps.json"


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the pipeline: its command, its first input's way to its output, and what the output depends on."""

    name: str
    run: Callable[[BuildConfig, Path, Path], str]
    settings: Any
    inputs: tuple[Path, ...]
    output: Path

    def fingerprint(self) -> str:
        """Return the SHA-256 of the settings and of the inputs' bytes."""
        content = json.dumps(self.settings, sort_keys=True, default=_plain)
        return hashlib.sha256(f"{content}\0{fingerprint(*self.inputs)}".encode()).hexdigest()


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else asdict(value)


def steps(config: BuildConfig) -> Iterator[Step]:
    """Yield the steps of a configuration in their order."""
    out = config.out
    documents, chunks, queries, found, pairs, labels = (
        out / f"{name}.jsonl" for name in ("documents", "chunks", "queries", "candidates", "pairs", "labels")
    )
    llm = config.llm and config.llm.shaping()
    own, manifest = config.queries.own, out / "index" / "index.json"
    yield Step("ingest", _ingest, config.ingest, config.ingest.sources, documents)
    yield Step("chunk", _chunk, config.chunk, (documents,), chunks)
    settings = [config.queries, config.queries.llm and llm]
    yield Step("queries", _queries, settings, (chunks, own) if own else (chunks,), queries)
    yield Step("index", _index, config.index, (chunks,), manifest)
    yield Step("retrieve", _retrieve, config.retrieve, (queries, manifest), found)
    if config.round_trip is not None:
        inputs, found = (found,), out / "candidates-found.jsonl"
        yield Step("round-trip", _round_trip, config.round_trip, inputs, found)
    if config.teach is not None:
        inputs, found = (found,), out / "candidates-scored.jsonl"
        yield Step("teach", _teach, [config.teach, config.teach.model is None and llm], inputs, found)
    yield Step("pairs", _pairs, config.pairs, (found,), pairs)
    if config.select is not None:
        inputs, pairs = (pairs,), out / "pairs-selected.jsonl"
        yield Step("select", _select, config.select, inputs, pairs)
    yield Step("label", _label, [config.label, config.label.method != "spans" and llm], (pairs,), labels)
    yield Step("publish", _publish, config.publish, (labels,), out / "dataset")


def _ingest(config: BuildConfig, source: Path, out: Path) -> str:
    given = config.ingest
    report = ingest(given.sources, out, Columns(given.id_column, given.title_column, given.text_column), given)
    return "; ".join(line.strip() for line in report.lines())


def _chunk(config: BuildConfig, source: Path, out: Path) -> str:
    report = chunk(source, out, config.chunk)
    return f"{report.chunks} chunks of {report.documents} documents"


def _queries(config: BuildConfig, source: Path, out: Path) -> str:
    given = config.queries
    endpoint = options = None
    if given.llm:
        endpoint = config.model.endpoint()
        limits = config.model.limits()
        options = GenerateOptions(styles=given.styles, per_topic=given.per_topic, topics=given.topics, **limits)
    count, report = make_queries(source, out, given.own, given.rules, endpoint, options, config.replies)
    report.check_complete()
    return f"{count} queries"


def _index(config: BuildConfig, source: Path, out: Path) -> str:
    given = config.index
    made = build_index(source, out.parent, given.options, bm25=given.bm25, dense=given.dense, ray=config.ray)
    return f"{made['rows']} chunks"


def _retrieve(config: BuildConfig, source: Path, out: Path) -> str:
    count = retrieve(source, config.out / "index", out, config.retrieve, out.with_suffix(".trec"))
    return f"passages for {count} queries"


def _round_trip(config: BuildConfig, source: Path, out: Path) -> str:
    kept, left_out = round_trip(source, out, config.round_trip or 0)
    return f"{kept} queries find their chunk, {left_out} left out"


def _teach(config: BuildConfig, source: Path, out: Path) -> str:
    given = config.teach
    assert given is not None
    if given.model is not None:
        report = teach_by_model(source, out, given.model, ray=config.ray)
    else:
        endpoint = config.model.endpoint(REPLY_TOKENS[given.mode])
        options = TeachOptions(mode=given.mode, **config.model.limits())
        report = teach_by_endpoint(source, out, endpoint, options, config.replies)
    report.check_complete()
    return f"{report.scored} passages scored"


def _pairs(config: BuildConfig, source: Path, out: Path) -> str:
    return f"{make_pairs(source, out, config.pairs)} pairs"


def _select(config: BuildConfig, source: Path, out: Path) -> str:
    given, options = config.select, config.index.options
    assert given is not None

    def embed(texts: Any) -> Any:  # loads the embedder only where it is used
        return load_embedder(options.embedder, options.max_tokens)(texts)

    return f"{select(source, out, given.count, given.by, embed, given.seed)} pairs selected"


def _label(config: BuildConfig, source: Path, out: Path) -> str:
    given = config.label
    if given.method == "spans":
        return "; ".join(label_by_answers(source, out, given.segmenter).lines())
    limits = config.model.limits()
    options = LabelOptions(style=given.method, samples=given.samples, segmenter=given.segmenter, **limits)
    report = label(source, out, config.model.endpoint(), options, config.replies, ray=config.ray)
    report.check_complete()
    return "; ".join(report.lines())


def _publish(config: BuildConfig, source: Path, out: Path) -> str:
    return "; ".join(publish(source, out, config.publish).lines())


def build(config: BuildConfig) -> Iterator[str]:
    """Make a dataset from documents, and yield a line for each step.

    Everything is in ``config.out``: the files of each step, the replies of the language model, the dataset, and notes
    of what is done. A run that was killed resumes where it stopped.
    """
    path = config.out / _STATE
    for step in steps(config):
        key = step.fingerprint()
        if stored_object(path).get(step.name) == key and step.output.exists():
            yield f"{step.name}: up to date"
            continue
        log.info("%s ...", step.name)
        line = step.run(config, step.inputs[0], step.output)
        write_atomically(path, json.dumps({**stored_object(path), step.name: key}, indent=1) + "\n")
        yield f"{step.name}: {line}"
