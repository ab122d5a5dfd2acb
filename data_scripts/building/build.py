"""Running all data steps: each is done once, and again only when its settings or what it reads have changed."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, is_dataclass, replace
from pathlib import Path
from typing import Any

from secateur.data_scripts.building.config import BuildConfig
from secateur.labelled.fingerprints import fingerprint
from secateur.models.errors import DataError
from secateur.models.files import write_atomically

log = logging.getLogger(__name__)

_STATE = "steps.json"
# Of the endpoint: what it replies does not depend on them.
_NOT_SHAPING = ("api_key_env", "concurrency", "requests_per_minute", "timeout_s", "retries", "prices", "max_cost")


@dataclass(frozen=True, slots=True)
class Step:
    """A step of the pipeline.

    Attributes:
        name: of the command that does it alone.
        settings: that shape its output.
        inputs: files or directories that it reads.
        output: what it writes, whole or not at all.
        run: does it; returns a line for people.
    """

    name: str
    settings: Any
    inputs: tuple[Path, ...]
    output: Path
    run: Callable[[], str]


def _fingerprint(step: Step) -> str:
    """Return what a step's output is of: the SHA-256 of its settings and of the bytes that it reads."""
    plain = asdict(step.settings) if is_dataclass(step.settings) else step.settings  # type: ignore[arg-type]
    what = json.dumps(plain, sort_keys=True, default=str)
    return hashlib.sha256(f"{what}\0{fingerprint(*step.inputs)}".encode()).hexdigest()


def _state(path: Path) -> dict[str, str]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def run_steps(steps: Iterable[Step], directory: Path) -> Iterator[str]:
    """Run steps in turn.

    Args:
        steps: in the order of what they read.
        directory: where it is noted what is done.

    Yields:
        A line a step.

    Raises:
        SecateurError: a step failed; those before it are not done again by the next run.
    """
    path = directory / _STATE
    for step in steps:
        key = _fingerprint(step)
        if _state(path).get(step.name) == key and step.output.exists():
            yield f"{step.name}: up to date"
            continue
        log.info("%s ...", step.name)
        line = step.run()
        write_atomically(path, json.dumps({**_state(path), step.name: key}, indent=1) + "\n")
        yield f"{step.name}: {line}"


def _complete(missing: int, stopped: Exception | None) -> None:
    """Raise where a step must be run again: its output would be taken for whole."""
    if stopped is not None:
        raise stopped
    if missing:
        raise DataError(f"{missing} requests had no reply; run again to ask for these alone")


class Pipeline:
    """The steps of a configuration.

    Args:
        config: what to do.
    """

    def __init__(self, config: BuildConfig) -> None:
        self._config = config
        self._out = config.out
        self._queries = self._out / "queries.jsonl"
        self._documents = self._out / "documents.jsonl"
        self._chunks = self._out / "chunks.jsonl"
        self._index = self._out / "index"
        self._pairs = self._out / "pairs.jsonl"
        self._labels = self._out / "labels.jsonl"

    def steps(self) -> Iterator[Step]:
        """Yield the steps; each is made when the one before it has run."""
        config = self._config
        yield Step("ingest", config.ingest, config.ingest.sources, self._documents, self._ingest)
        yield Step("chunk", config.chunk, (self._documents,), self._chunks, self._chunk)
        own = () if config.queries.own is None else (config.queries.own,)
        asked = self._asking() if config.queries.model else None
        yield Step("queries", [asdict(config.queries), asked], (self._chunks, *own), self._queries, self._make_queries)
        yield Step("index", config.index, (self._chunks,), self._index / "index.json", self._build_index)
        found = self._out / "candidates.jsonl"
        inputs = (self._queries, self._index / "index.json")
        yield Step("retrieve", config.retrieve, inputs, found, lambda: self._retrieve(found))
        if config.round_trip is not None:
            found, source = self._out / "candidates-found.jsonl", found
            k = config.round_trip
            yield Step("round-trip", k, (source,), found, lambda: self._round_trip(source, found, k))
        if config.teach is not None:
            taught, before = self._out / "candidates-scored.jsonl", found
            asked = self._asking() if config.teach.model is None else None
            yield Step("teach", [asdict(config.teach), asked], (before,), taught, lambda: self._teach(before, taught))
            found = taught
        candidates = found
        yield Step("pairs", config.pairs, (candidates,), self._pairs, lambda: self._make_pairs(candidates))
        pairs = self._pairs
        if config.select is not None:
            pairs = self._out / "pairs-selected.jsonl"
            yield Step("select", config.select, (self._pairs,), pairs, lambda: self._select(pairs))
        asked = self._asking() if config.label.method != "spans" else None
        yield Step("label", [asdict(config.label), asked], (pairs,), self._labels, lambda: self._label(pairs))
        dataset = self._out / "dataset"
        yield Step("publish", config.publish, (self._labels,), dataset, lambda: self._publish(dataset))

    def _asking(self) -> dict[str, Any]:
        """Return what of the endpoint shapes its replies."""
        assert self._config.endpoint is not None
        content = asdict(self._config.endpoint)
        return {key: value for key, value in content.items() if key not in _NOT_SHAPING}

    def _ingest(self) -> str:
        from secateur.data_scripts.ingest.run import IngestOptions, ingest
        from secateur.data_scripts.ingest.sources import Columns

        given = self._config.ingest
        columns = Columns(given.id_column, given.title_column, given.text_column)
        report = ingest(
            given.sources, self._documents, columns, IngestOptions(given.near_duplicates, strict=given.strict)
        )
        return "; ".join(line.strip() for line in report.lines())

    def _chunk(self) -> str:
        from secateur.data_scripts.chunking import chunk

        report = chunk(self._documents, self._chunks, self._config.chunk)
        return f"{report.chunks} chunks of {report.documents} documents"

    def _make_queries(self) -> str:
        from secateur.data_scripts.queries.run import Asking, make_queries

        given, endpoint = self._config.queries, self._config.endpoint
        asking = None
        if given.model and endpoint is not None:
            cache = self._out / "replies"
            asking = Asking(endpoint.endpoint(), endpoint.generation(given), cache, endpoint.budget(), endpoint.pace())
        count, report = make_queries(self._chunks, self._queries, given.own, given.rules, asking)
        _complete(report.missing.total(), report.stopped)
        return f"{count} queries"

    def _build_index(self) -> str:
        from secateur.data_scripts.retrieval.index import build_index

        given = self._config.index
        manifest = build_index(
            self._chunks, self._index, given.options, bm25=given.bm25, dense=given.dense, ray=self._config.ray
        )
        return f"{manifest['rows']} chunks"

    def _retrieve(self, out: Path) -> str:
        from secateur.data_scripts.retrieval.retrieve import retrieve

        count = retrieve(self._queries, self._index, out, self._config.retrieve, out.with_suffix(".trec"))
        return f"passages for {count} queries"

    def _round_trip(self, source: Path, out: Path, k: int) -> str:
        from secateur.data_scripts.queries.round_trip import round_trip

        stay, left_out = round_trip(source, out, k)
        return f"{stay} queries find their chunk, {left_out} left out"

    def _teach(self, source: Path, out: Path) -> str:
        from secateur.data_scripts.teacher.asking import REPLY_TOKENS, TeachOptions
        from secateur.data_scripts.teacher.run import teach_by_endpoint, teach_by_model

        given, endpoint = self._config.teach, self._config.endpoint
        assert given is not None
        if given.model is not None:
            report = teach_by_model(source, out, given.model, ray=self._config.ray)
        else:
            assert endpoint is not None
            labelling = endpoint.labelling(self._config.label)
            options = TeachOptions(
                mode=given.mode,
                concurrency=endpoint.concurrency,
                requests_per_minute=endpoint.requests_per_minute,
                prices=labelling.prices,
                max_cost=endpoint.max_cost,
            )
            asked = replace(endpoint.endpoint(), max_tokens=REPLY_TOKENS[given.mode])
            report = teach_by_endpoint(source, out, asked, options, self._out / "replies")
            _complete(report.missing.total(), report.stopped)
        return f"{report.scored} passages scored"

    def _make_pairs(self, source: Path) -> str:
        from secateur.data_scripts.retrieval.negatives import PairOptions, make_pairs, parse_bands

        given = self._config.pairs
        options = PairOptions(given.top, parse_bands(given.bands), given.margin, given.seed)
        return f"{make_pairs(source, self._pairs, options)} pairs"

    def _select(self, out: Path) -> str:
        from secateur.data_scripts.labels.selecting import select
        from secateur.labelled.embedder import load_embedder

        given, options = self._config.select, self._config.index.options
        assert given is not None
        # Loaded by the first call only: the other ways to select need none.
        count = select(
            self._pairs,
            out,
            given.count,
            given.by,
            lambda texts: load_embedder(options.embedder, options.max_tokens)(texts),
            given.seed,
        )
        return f"{count} pairs selected"

    def _label(self, pairs: Path) -> str:
        from secateur.data_scripts.labels.run import label, label_by_answers

        given, endpoint = self._config.label, self._config.endpoint
        if given.method == "spans" or endpoint is None:
            report = label_by_answers(pairs, self._labels, given.segmenter)
        else:
            options = endpoint.labelling(given)
            report = label(
                pairs, self._labels, endpoint.endpoint(), options, self._out / "replies", ray=self._config.ray
            )
            _complete(report.missing.total(), report.calls.stopped)
        return "; ".join(report.lines())

    def _publish(self, out: Path) -> str:
        from secateur.data_scripts.publish import publish

        report = publish(self._labels, out, self._config.publish)
        return "; ".join(report.lines())


def build(config: BuildConfig) -> Iterator[str]:
    """Make a dataset from documents.

    Everything is in ``config.out``: what each step made, the replies of the endpoint, and the dataset. A run that was
    killed goes on where it stopped.

    Yields:
        A line a step.

    Raises:
        SecateurError: a step failed.
    """
    pipeline = Pipeline(config)
    yield from run_steps(pipeline.steps(), config.out)
