"""The configuration of `secateur data build`: one YAML file, a section a step."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict

from secateur.data_scripts.chunking import ChunkOptions
from secateur.data_scripts.labels.labelling import LabelOptions
from secateur.data_scripts.labels.selecting import SelectBy
from secateur.data_scripts.publish import PublishOptions
from secateur.data_scripts.queries.generation import STYLES, GenerateOptions, QueryStyle
from secateur.data_scripts.retrieval.dense import DenseOptions
from secateur.data_scripts.retrieval.retrieve import RetrieveOptions
from secateur.llm.budget import Budget, Pace, Prices
from secateur.llm.endpoint import Endpoint
from secateur.models.errors import InputError

_STRICT = ConfigDict(extra="forbid")  # pydantic passes it on to the steps' own options


@dataclass(frozen=True, slots=True)
class IngestConfig:
    """What is read.

    Attributes:
        sources: files and directories.
        near_duplicates: similarity from which a document is left out; 0 keeps all.
        id_column: of tables; None for the usual names.
        title_column: likewise.
        text_column: likewise.
        strict: stop at the first file or row that cannot be read.
    """

    sources: tuple[Path, ...]
    near_duplicates: float = 0.9
    id_column: str | None = None
    title_column: str | None = None
    text_column: str | None = None
    strict: bool = False


@dataclass(frozen=True, slots=True)
class QueriesConfig:
    """Where queries come from.

    Attributes:
        own: the user's file.
        rules: headings and the questions of FAQs.
        model: whether the endpoint writes some, too.
        styles: of those.
        per_topic: queries of a topic and style.
        topics: of a document at most.
    """

    own: Path | None = None
    rules: bool = True
    model: bool = False
    styles: tuple[QueryStyle, ...] = STYLES
    per_topic: int = 2
    topics: int = 4


@dataclass(frozen=True, slots=True)
class IndexConfig:
    """How chunks are indexed.

    Attributes:
        bm25: whether by BM25.
        dense: whether by embeddings.
        options: of the dense index.
    """

    bm25: bool = True
    dense: bool = True
    options: DenseOptions = field(default_factory=DenseOptions)


@dataclass(frozen=True, slots=True)
class TeachConfig:
    """Who scores the passages.

    Attributes:
        model: directory of a cross-encoder, or directory or name of a secateur model; None for the endpoint.
        mode: of asking the endpoint.
    """

    model: str | None = None
    mode: Literal["pointwise", "pairwise", "listwise"] = "pointwise"


@dataclass(frozen=True, slots=True)
class PairsConfig:
    """Which passages are labelled; see `PairOptions`. ``bands`` are written as FIRST-LAST:COUNT, parted by commas."""

    top: int = 2
    bands: str = "3-10:2,11-20:1"
    margin: float | None = None
    seed: int = 13


@dataclass(frozen=True, slots=True)
class SelectConfig:
    """Which pairs the budget goes to; see `select`."""

    count: int
    by: SelectBy = "diverse"
    seed: int = 13


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """How pairs are labelled; ``spans`` takes known answers, the others ask the endpoint; see `LabelOptions`."""

    method: Literal["answer", "select", "spans"] = "answer"
    samples: int = 1
    segmenter: str = "nupunkt"


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """The language model that steps ask; see `Endpoint`, `Budget` and `Pace`. ``max_cost`` is that of each step."""

    base_url: str
    model: str
    api_key_env: str = "OPENAI_API_KEY"
    max_tokens: int = 256
    temperature: float = 0.0
    timeout_s: float = 60.0
    retries: int = 4
    concurrency: int = 8
    requests_per_minute: float | None = None
    prices: tuple[float, float] | None = None
    max_cost: float | None = None

    def endpoint(self) -> Endpoint:
        """Return the endpoint, with the key that the environment holds."""
        return Endpoint(
            base_url=self.base_url,
            model=self.model,
            api_key=os.environ.get(self.api_key_env),
            timeout_s=self.timeout_s,
            retries=self.retries,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
        )

    def budget(self) -> Budget:
        """Return what a step may spend."""
        return Budget(self._prices(), self.max_cost)

    def pace(self) -> Pace:
        """Return how fast a step may ask."""
        return Pace(self.requests_per_minute)

    def _prices(self) -> Prices | None:
        return None if self.prices is None else Prices(*self.prices)

    def labelling(self, config: LabelConfig) -> LabelOptions:
        """Return how pairs are labelled."""
        return LabelOptions(
            style="select" if config.method == "select" else "answer",
            samples=config.samples,
            segmenter=config.segmenter,
            concurrency=self.concurrency,
            requests_per_minute=self.requests_per_minute,
            prices=self._prices(),
            max_cost=self.max_cost,
        )

    def generation(self, config: QueriesConfig) -> GenerateOptions:
        """Return how queries are written."""
        return GenerateOptions(config.styles, config.per_topic, config.topics, self.concurrency)


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """All steps.

    Attributes:
        out: directory of what the steps make; the dataset is in ``out/dataset``.
        round_trip: rank within which a query must find the chunk it was made from; None keeps all queries.
        ray: whether embedding and labelling run on Ray.

    Raises:
        InputError: a step asks an endpoint, and none is given.
    """

    __pydantic_config__ = _STRICT

    out: Path
    ingest: IngestConfig
    chunk: ChunkOptions = field(default_factory=ChunkOptions)
    queries: QueriesConfig = field(default_factory=QueriesConfig)
    index: IndexConfig = field(default_factory=IndexConfig)
    retrieve: RetrieveOptions = field(default_factory=RetrieveOptions)
    round_trip: int | None = None
    teach: TeachConfig | None = None
    pairs: PairsConfig = field(default_factory=PairsConfig)
    select: SelectConfig | None = None
    label: LabelConfig = field(default_factory=LabelConfig)
    publish: PublishOptions = field(default_factory=PublishOptions)
    endpoint: EndpointConfig | None = None
    ray: bool = False

    def __post_init__(self) -> None:
        asking = {
            "queries.model": self.queries.model,
            "teach": self.teach is not None and self.teach.model is None,
            "label.method": self.label.method != "spans",
        }
        if self.endpoint is None and any(asking.values()):
            names = ", ".join(name for name, asks in asking.items() if asks)
            raise InputError(
                "endpoint", f"is missing, and {names} asks one", "add the section, with base_url and model"
            )
