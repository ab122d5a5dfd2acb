"""The configuration of `secateur data build`: one YAML file with a section for each step."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from secateur.data_scripts.chunking import ChunkOptions
from secateur.data_scripts.ingest.run import IngestOptions
from secateur.data_scripts.labels.selecting import SelectBy
from secateur.data_scripts.llm_run import LlmLimits
from secateur.data_scripts.publish import PublishOptions
from secateur.data_scripts.queries.generation import STYLES, QueryStyle
from secateur.data_scripts.retrieval.dense import DenseOptions
from secateur.data_scripts.retrieval.negatives import PairOptions
from secateur.data_scripts.retrieval.retrieve import RetrieveOptions
from secateur.data_scripts.teacher.llm_judge import Mode
from secateur.llm.endpoint import Endpoint
from secateur.models.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestConfig(IngestOptions):
    """Files and directories that are read, the columns of tables, and the options of ingestion."""

    sources: Annotated[tuple[Path, ...], Field(min_length=1)]
    id_column: str | None = None
    title_column: str | None = None
    text_column: str | None = None


@dataclass(frozen=True, slots=True)
class QueriesConfig:
    """Sources of queries: the user's file, headings and FAQs, and with ``llm`` a model; see `GenerateOptions`."""

    own: Path | None = None
    rules: bool = True
    llm: bool = False
    styles: tuple[QueryStyle, ...] = STYLES
    per_topic: int = 2
    topics: int = 4


@dataclass(frozen=True, slots=True)
class IndexConfig:
    """Parts of the index, and the options of the dense one."""

    bm25: bool = True
    dense: bool = True
    options: DenseOptions = field(default_factory=DenseOptions)


@dataclass(frozen=True, slots=True)
class TeachConfig:
    """The teacher: a cross-encoder or Secateur model, or without ``model`` the language model in some mode."""

    model: str | None = None
    mode: Mode = "pointwise"


@dataclass(frozen=True, slots=True)
class SelectConfig:
    """The pairs that the budget goes to; see `select`."""

    count: int
    by: SelectBy = "random"
    seed: int = 13


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """How pairs are labelled: ``spans`` by known answers, else by the language model; see `LabelOptions`."""

    method: Literal["answer", "select", "spans"] = "answer"
    samples: int = 1
    segmenter: str = "nupunkt"


@dataclass(frozen=True, slots=True, kw_only=True)
class LlmConfig(LlmLimits):
    """The language model of all steps; see `Endpoint` and `LlmLimits`. ``max_cost`` is the limit of each step."""

    base_url: str
    model: str
    api_key_env: str = "OPENAI_API_KEY"
    max_tokens: int = 256
    temperature: float = 0.0
    timeout_s: float = 60.0
    retries: int = 4

    def endpoint(self, max_tokens: int | None = None) -> Endpoint:
        """Return the endpoint, with the API key of the environment."""
        same = {name: getattr(self, name) for name in ("base_url", "model", "timeout_s", "retries", "temperature")}
        key = os.environ.get(self.api_key_env)
        return Endpoint(**same, api_key=key, max_tokens=max_tokens or self.max_tokens)

    def limits(self) -> dict[str, Any]:
        """Return the fields of `LlmLimits`."""
        return {item.name: getattr(self, item.name) for item in fields(LlmLimits)}

    def shaping(self) -> dict[str, Any]:
        """Return what the replies depend on."""
        return {name: getattr(self, name) for name in ("base_url", "model", "max_tokens", "temperature")}


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """The sections.

    Attributes:
        out: Directory of all files; the dataset is in ``out/dataset``.
        round_trip: Last rank at which a query must find the chunk that it was made from; None keeps all queries.
        ray: Whether embedding, teaching by a model and labelling run on Ray.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")  # also for the sections

    out: Path
    ingest: IngestConfig
    chunk: ChunkOptions = field(default_factory=ChunkOptions)
    queries: QueriesConfig = field(default_factory=QueriesConfig)
    index: IndexConfig = field(default_factory=IndexConfig)
    retrieve: RetrieveOptions = field(default_factory=RetrieveOptions)
    round_trip: int | None = None
    teach: TeachConfig | None = None
    pairs: PairOptions = field(default_factory=PairOptions)
    select: SelectConfig | None = None
    label: LabelConfig = field(default_factory=LabelConfig)
    publish: PublishOptions = field(default_factory=PublishOptions)
    llm: LlmConfig | None = None
    ray: bool = False

    def __post_init__(self) -> None:
        users = {
            "queries.llm": self.queries.llm,
            "teach": self.teach is not None and self.teach.model is None,
            "label.method": self.label.method != "spans",
        }
        if self.llm is None and any(users.values()):
            names = ", ".join(name for name, uses in users.items() if uses)
            raise InputError("llm", f"is missing, but needed by {names}", "add the section, with base_url and model")

    @property
    def replies(self) -> Path:
        """Directory of the language model's replies."""
        return self.out / "replies"

    @property
    def model(self) -> LlmConfig:
        """The language model, for the steps that need one."""
        assert self.llm is not None
        return self.llm
