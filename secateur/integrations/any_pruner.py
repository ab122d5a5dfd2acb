"""What all integrations prune with: a model in this process or a service, and documents of their framework."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from pydantic import PrivateAttr

from secateur.client import AsyncClient, Client, passed_through
from secateur.client.settings import ClientSettings
from secateur.integrations.settings import PruneSettings
from secateur.llm.credentials import public_url
from secateur.models.errors import InputError
from secateur.models.processes import PerProcess
from secateur.models.segmentation import AUTO, FORMATS
from secateur.models.types import Passage, PassageResult, PruneResult

if TYPE_CHECKING:
    from secateur.models.pruner import Pruner


METADATA_KEY = "secateur"  # key of the metadata that integrations add

_FORMAT_OF_MEDIA_TYPE = {
    "text/markdown": "markdown",
    "text/html": "html",
    "application/xhtml+xml": "html",
    "text/csv": "lines",
    "application/json": "json",
    "application/x-ndjson": "json",
}


@dataclass(frozen=True, slots=True)
class CallerNames:
    """How errors and warnings name what the user of a framework gave."""

    names: Mapping[str, str]  # the framework's names for those of `Pruner.prune` and `Passage`
    positions: Sequence[int] | None = None  # indices in the user's list of what is pruned; None for the same

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Rename the field of every `InputError` that is raised inside."""
        try:
            yield
        except InputError as error:
            error.field = self._field(error.field)
            error.args = (f"{error.field}: {error.problem}; {error.hint}",)
            raise

    def result(self, result: PruneResult) -> PruneResult:
        """Return a result with the indices and warnings of the user's list."""
        items = tuple(replace(item, index=self._index(item.index)) for item in result.results)
        parts = (warning.partition(": ") for warning in result.warnings)
        warnings = tuple(self._field(field) + colon + rest for field, colon, rest in parts)
        return replace(result, results=items, warnings=warnings)

    def _index(self, index: int) -> int:
        if self.positions is None or index >= len(self.positions):  # a service's message can hold any index
            return index
        return self.positions[index]

    def _field(self, field: str) -> str:
        named = re.sub(r"[a-z_]+", lambda match: self.names.get(match[0], match[0]), field)
        return re.sub(r"\[([0-9]{1,9})\]", lambda match: f"[{self._index(int(match[1]))}]", named, count=1)


class AnyPruner:
    """Prunes in this process or on a service, sync or async. May be shared between threads and event loops.

    The model is loaded, or the client made, on first use.

    Args:
        settings: Model to load, or service to use if they have a `url`. The options are not read from them.
        pruner: Loaded model to use instead.
        client: Client to use instead; async calls use another one with the same settings.
    """

    def __init__(
        self, settings: PruneSettings, pruner: Pruner | None = None, client: Client | AsyncClient | None = None
    ) -> None:
        self._settings = settings
        self._given = pruner
        self._http: dict[str, Any] | None = None  # arguments of the clients
        if client is not None:
            self._http = {f.name: getattr(client.settings, f.name) for f in fields(ClientSettings) if f.init}
        elif pruner is None and settings.url is not None:
            key = settings.api_key
            self._http = {name: getattr(settings, name) for name in ("url", "model", "timeout_s", "on_error")}
            self._http["api_key"] = None if key is None else key.get_secret_value()
        self._open()

    def _open(self) -> None:
        http = self._http or {}
        self._model = PerProcess(self._load)
        self._client = PerProcess(lambda: Client(**http))
        self._async_client = PerProcess(lambda: AsyncClient(**http))

    def _load(self) -> Pruner:
        from secateur.models.pruner import Pruner

        own = self._settings
        chosen = {"backend": own.backend, "device": own.device, "precision": own.precision}
        return self._given or Pruner.load(own.model, **chosen, threads=own.threads, verify=own.verify)

    @property
    def model_name(self) -> str:
        """Name of the model, for events and logs."""
        return self._given.config.name if self._given is not None else self._settings.model or "secateur"

    def get(self) -> Pruner | Client:
        """Return the model or the client; the first call loads or makes it."""
        return self._model.get() if self._http is None else self._client.get()

    def __getstate__(self) -> dict[str, Any]:
        # A pickle may be stored, so it holds no key and no password: where it is loaded, the key is read from
        # SECATEUR_API_KEY. A model is pickled as the arguments that it was loaded with.
        http = self._http and {**self._http, "api_key": None, "url": public_url(self._http["url"])}
        return {"_settings": self._settings, "_given": self._given, "_http": http}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def __deepcopy__(self, memo: dict[int, Any]) -> AnyPruner:
        return self  # a copy of a component shares the loaded model and the connections

    def prune(
        self, query: str, passages: Sequence[Passage], options: dict[str, Any], names: CallerNames
    ) -> PruneResult:
        """Prune with options of `Pruner.prune`, and with names for its errors and warnings."""
        with names.errors():
            return names.result(self.get().prune(query, passages, **options))

    async def aprune(
        self, query: str, passages: Sequence[Passage], options: dict[str, Any], names: CallerNames
    ) -> PruneResult:
        """Prune without blocking the event loop: on a service by its async client, in this process in a thread."""
        if self._http is None:
            return await asyncio.to_thread(self.prune, query, passages, options, names)
        with names.errors():
            return names.result(await self._async_client.get().prune(query, passages, **options))


class PruningComponent(PruneSettings):
    """Base of a framework's component that is a pydantic model. Its subclasses describe the arguments."""

    _pruner: AnyPruner = PrivateAttr()

    def __init__(
        self, *, pruner: Pruner | None = None, client: Client | AsyncClient | None = None, **settings: Any
    ) -> None:
        super().__init__(**settings)
        self._pruner = AnyPruner(self, pruner, client)


def document_passage(text: str | None, metadata: Mapping[str, Any] | None, settings: PruneSettings) -> Passage:
    """Return the passage of a document, with the title and the format that its metadata names.

    A document without text becomes an empty passage. A format may be named by its media type. A title that is not a
    string or is blank, and a format that is not known, are ignored: the same keys may be used for other things.
    """
    metadata = metadata or {}
    title = metadata.get(settings.title_key) if settings.title_key is not None else None
    name = metadata.get(settings.format_key) if settings.format_key is not None else None
    return Passage(
        text or "",
        title=title if isinstance(title, str) and title.strip() else None,
        format=_format_named(name) if isinstance(name, str) else AUTO,
    )


def _format_named(name: str) -> str:
    media_type = name.partition(";")[0].strip().lower()
    return name if name in FORMATS else _FORMAT_OF_MEDIA_TYPE.get(media_type, AUTO)


def result_metadata(
    metadata: Mapping[str, Any] | None, text: str | None, item: PassageResult, result: PruneResult
) -> dict[str, Any]:
    """Return a deep copy of a document's metadata with what was done to the document, in types of JSON.

    A result that was passed through has no `relevance_score`.
    """
    added: dict[str, Any] = {} if passed_through(result) else {"relevance_score": item.score}
    added[METADATA_KEY] = {
        "spans": [list(span) for span in item.spans],
        "line_spans": [list(span) for span in item.line_spans],
        "format": item.format,
        "kept_units": item.kept_units,
        "total_units": item.total_units,
        "input_chars": len(text or ""),
        "output_chars": len(item.text),
        "index": item.index,
        **({"warnings": list(result.warnings)} if result.warnings else {}),
    }
    return {**deepcopy(dict(metadata or {})), **added}
