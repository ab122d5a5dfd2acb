"""Runs all data steps: each once, and again only when its settings or inputs have changed."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any

from secateur.data_scripts.building.config import (
    BuildConfig,
    LabelConfig,
    LlmConfig,
    QueriesConfig,
    SelectConfig,
    TeachConfig,
)
from secateur.data_scripts.chunking import chunk
from secateur.data_scripts.ingest.run import IngestOptions, ingest
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
    """A step of the pipeline.

    Attributes:
        name: Name of the command that runs it alone.
        settings: Settings that its output depends on.
        inputs: Files and directories that it reads.
        output: File or directory that it writes.
        run: Runs it, and returns a line for people.
    """

    name: str
    settings: Any
    inputs: tuple[Path, ...]
    output: Path
    run: Callable[[], str]

    def fingerprint(self) -> str:
        """Return the SHA-256 of the settings and of the inputs' bytes."""
        plain = asdict(self.settings) if is_dataclass(self.settings) else self.settings  # type: ignore[arg-type]
        content = json.dumps(plain, sort_keys=True, default=str)
        return hashlib.sha256(f"{content}\0{fingerprint(*self.inputs)}".encode()).hexdigest()


def run_steps(steps: Iterable[Step], directory: Path) -> Iterator[str]:
    """Run steps in turn and yield a line for each; the directory notes what is done, for the next run."""
    path = directory / _STATE
    for step in steps:
        key = step.fingerprint()
        if stored_object(path).get(step.name) == key and step.output.exists():
            yield f"{step.name}: up to date"
            continue
        log.info("%s ...", step.name)
        line = step.run()
        write_atomically(path, json.dumps({**stored_object(path), step.name: key}, indent=1) + "\n")
        yield f"{step.name}: {line}"


class Pipeline:
    """The steps of a configuration."""

    def __init__(self, config: BuildConfig) -> None:
        self._config = config
        self._replies = config.out / "replies"

    @property
    def _llm(self) -> LlmConfig:
        assert self._config.llm is not None  # checked by BuildConfig
        return self._config.llm

    def steps(self) -> Iterator[Step]:
        """Yield the steps in the order of the pipeline."""
        config, out = self._config, self._config.out
        documents, chunks, queries, found, pairs, labels = (
            out / f"{name}.jsonl" for name in ("documents", "chunks", "queries", "candidates", "pairs", "labels")
        )
        index, manifest, dataset = out / "index", out / "index" / "index.json", out / "dataset"
        yield Step("ingest", config.ingest, config.ingest.sources, documents, partial(self._ingest, documents))
        yield Step("chunk", config.chunk, (documents,), chunks, partial(self._chunk, documents, chunks))
        settings, own = self._settings(config.queries, config.queries.llm), config.queries.own
        read = (chunks,) if own is None else (chunks, own)
        yield Step("queries", settings, read, queries, partial(self._make_queries, chunks, queries))
        yield Step("index", config.index, (chunks,), manifest, partial(self._build_index, chunks, index))
        run = partial(self._retrieve, queries, index, found)
        yield Step("retrieve", config.retrieve, (queries, manifest), found, run)
        if (k := config.round_trip) is not None:
            read, found = (found,), out / "candidates-found.jsonl"
            yield Step("round-trip", k, read, found, partial(self._round_trip, *read, found, k))
        if (teach := config.teach) is not None:
            read, found = (found,), out / "candidates-scored.jsonl"
            run = partial(self._teach, teach, *read, found)
            yield Step("teach", self._settings(teach, teach.model is None), read, found, run)
        yield Step("pairs", config.pairs, (found,), pairs, partial(self._make_pairs, found, pairs))
        if (selecting := config.select) is not None:
            read, pairs = (pairs,), out / "pairs-selected.jsonl"
            yield Step("select", selecting, read, pairs, partial(self._select, selecting, *read, pairs))
        settings = self._settings(config.label, config.label.method != "spans")
        yield Step("label", settings, (pairs,), labels, partial(self._label, pairs, labels))
        yield Step("publish", config.publish, (labels,), dataset, partial(self._publish, labels, dataset))

    def _settings(self, section: QueriesConfig | TeachConfig | LabelConfig, llm: bool) -> list[Any]:
        """Return the settings of a step, with those of the language model if it uses one."""
        return [asdict(section), self._llm.shaping() if llm else None]

    def _ingest(self, out: Path) -> str:
        given = self._config.ingest
        columns = Columns(given.id_column, given.title_column, given.text_column)
        report = ingest(given.sources, out, columns, IngestOptions(given.near_duplicates, strict=given.strict))
        return "; ".join(line.strip() for line in report.lines())

    def _chunk(self, documents: Path, out: Path) -> str:
        report = chunk(documents, out, self._config.chunk)
        return f"{report.chunks} chunks of {report.documents} documents"

    def _make_queries(self, chunks: Path, out: Path) -> str:
        given = self._config.queries
        endpoint = options = None
        if given.llm:
            endpoint = self._llm.endpoint()
            options = GenerateOptions(
                styles=given.styles, per_topic=given.per_topic, topics=given.topics, **self._llm.limits()
            )
        count, report = make_queries(chunks, out, given.own, given.rules, endpoint, options, self._replies)
        report.check_complete()
        return f"{count} queries"

    def _build_index(self, chunks: Path, out: Path) -> str:
        given = self._config.index
        manifest = build_index(chunks, out, given.options, bm25=given.bm25, dense=given.dense, ray=self._config.ray)
        return f"{manifest['rows']} chunks"

    def _retrieve(self, queries: Path, index: Path, out: Path) -> str:
        count = retrieve(queries, index, out, self._config.retrieve, out.with_suffix(".trec"))
        return f"passages for {count} queries"

    def _round_trip(self, source: Path, out: Path, k: int) -> str:
        kept, left_out = round_trip(source, out, k)
        return f"{kept} queries find their chunk, {left_out} left out"

    def _teach(self, given: TeachConfig, source: Path, out: Path) -> str:
        if given.model is not None:
            report = teach_by_model(source, out, given.model, ray=self._config.ray)
        else:
            endpoint = self._llm.endpoint(REPLY_TOKENS[given.mode])
            options = TeachOptions(mode=given.mode, **self._llm.limits())
            report = teach_by_endpoint(source, out, endpoint, options, self._replies)
        report.check_complete()
        return f"{report.scored} passages scored"

    def _make_pairs(self, source: Path, out: Path) -> str:
        return f"{make_pairs(source, out, self._config.pairs)} pairs"

    def _select(self, given: SelectConfig, source: Path, out: Path) -> str:
        options = self._config.index.options

        def embed(texts: Any) -> Any:  # loads the embedder only where it is used
            return load_embedder(options.embedder, options.max_tokens)(texts)

        return f"{select(source, out, given.count, given.by, embed, given.seed)} pairs selected"

    def _label(self, pairs: Path, out: Path) -> str:
        given = self._config.label
        if given.method == "spans":
            report = label_by_answers(pairs, out, given.segmenter)
        else:
            options = LabelOptions(
                style=given.method, samples=given.samples, segmenter=given.segmenter, **self._llm.limits()
            )
            report = label(pairs, out, self._llm.endpoint(), options, self._replies, ray=self._config.ray)
            report.check_complete()
        return "; ".join(report.lines())

    def _publish(self, labels: Path, out: Path) -> str:
        return "; ".join(publish(labels, out, self._config.publish).lines())


def build(config: BuildConfig) -> Iterator[str]:
    """Make a dataset from documents.

    Everything is in ``config.out``: the files of each step, the replies of the language model, and the dataset. A run
    that was killed resumes where it stopped.

    Yields:
        A line for each step.

    Raises:
        SecateurError: a step failed.
    """
    yield from run_steps(Pipeline(config).steps(), config.out)
