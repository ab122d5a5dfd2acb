"""From a framework's document to a `Passage`, and from a result to the metadata of a new document."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from secateur.client import passed_through
from secateur.integrations.settings import PruneSettings
from secateur.models.errors import InputError
from secateur.models.segmentation import FORMATS
from secateur.models.types import Passage, PassageResult, PruneResult

METADATA_KEY = "secateur"  # key of the metadata that integrations add


@dataclass(frozen=True, slots=True)
class CallerNames:
    """How errors and warnings name what the user of a framework gave.

    Args:
        names: the framework's name for each name of `Pruner.prune` and `Passage`.
        positions: index in the user's list for each index in the list that is pruned; default: the same.
    """

    names: Mapping[str, str]
    positions: Sequence[int] | None = None

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


def document_passage(text: str | None, metadata: Mapping[str, Any] | None, settings: PruneSettings) -> Passage:
    """Return the passage of a document, with the title and the format that its metadata names.

    A document without text becomes an empty passage. A title that is not a string or is blank, and a format that is
    not known, are ignored: the same keys may be used for other things.

    Args:
        text: text of the document.
        metadata: its metadata.
        settings: settings with `title_key` and `format_key`.
    """
    metadata = metadata or {}
    title = metadata.get(settings.title_key) if settings.title_key is not None else None
    name = metadata.get(settings.format_key) if settings.format_key is not None else None
    return Passage(
        text or "",
        title=title if isinstance(title, str) and title.strip() else None,
        format=name if isinstance(name, str) and name in FORMATS else "text",
    )


def result_metadata(
    metadata: Mapping[str, Any] | None, text: str | None, item: PassageResult, result: PruneResult
) -> dict[str, Any]:
    """Return a deep copy of a document's metadata with what was done to the document, in types of JSON.

    Args:
        metadata: metadata of the original document.
        text: text of the original document.
        item: result of the document.
        result: the whole result; if it was passed through, there is no `relevance_score`.
    """
    added: dict[str, Any] = {} if passed_through(result) else {"relevance_score": item.score}
    added[METADATA_KEY] = {
        "spans": [list(span) for span in item.spans],
        "kept_units": item.kept_units,
        "total_units": item.total_units,
        "input_chars": len(text or ""),
        "output_chars": len(item.text),
        "index": item.index,
        **({"warnings": list(result.warnings)} if result.warnings else {}),
    }
    return {**deepcopy(dict(metadata or {})), **added}
