"""From a framework's document to a `Passage`, and from a result to the metadata of a new document."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from secateur.client.passthrough import passed_through
from secateur.models.errors import InputError
from secateur.models.types import Passage, PassageResult, PruneResult

KEY = "secateur"  # of the metadata that integrations add


@dataclass(frozen=True, slots=True)
class Naming:
    """How errors and warnings name what the user of a framework gave.

    Args:
        names: of the framework, by those of `Pruner.prune` and `Passage`.
        positions: index in the user's list, by index in the list that is pruned; default: the same.
    """

    names: Mapping[str, str]
    positions: Sequence[int] | None = None

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Let every `InputError` name the user's field.

        Raises:
            InputError: something inside raised it.
        """
        try:
            yield
        except InputError as error:
            error.field = self._field(error.field)
            error.args = (f"{error.field}: {error.problem}; {error.hint}",)
            raise

    def result(self, result: PruneResult) -> PruneResult:
        """Return a result whose indices and warnings are those of the user's list."""
        items = tuple(replace(item, index=self._index(item.index)) for item in result.results)
        split = (warning.partition(": ") for warning in result.warnings)
        warnings = tuple(self._field(field) + colon + rest for field, colon, rest in split)
        return replace(result, results=items, warnings=warnings)

    def _index(self, index: int) -> int:
        if self.positions is None or index >= len(self.positions):  # a service can name any
            return index
        return self.positions[index]

    def _field(self, field: str) -> str:
        named = re.sub(r"[a-z_]+", lambda match: self.names.get(match[0], match[0]), field)
        return re.sub(r"\[([0-9]{1,9})\]", lambda match: f"[{self._index(int(match[1]))}]", named, count=1)


def as_passage(text: str | None, metadata: Mapping[str, Any] | None, title_key: str | None) -> Passage:
    """Return a document's passage; one without text is an empty passage, and comes back as it was.

    Args:
        text: of the document.
        metadata: of the document, in which a title may be.
        title_key: of that title; None for no titles.
    """
    title = (metadata or {}).get(title_key) if title_key is not None else None
    return Passage(text or "", title=title if isinstance(title, str) and title.strip() else None)


def described(
    metadata: Mapping[str, Any] | None, text: str | None, item: PassageResult, result: PruneResult
) -> dict[str, Any]:
    """Return a deep copy of a document's metadata with what was done to it, in JSON's types.

    Args:
        metadata: of the original document.
        text: of the original document.
        item: its result.
        result: that the item is part of; one that was passed through has no scores to tell.
    """
    added: dict[str, Any] = {} if passed_through(result) else {"relevance_score": item.score}
    added[KEY] = {
        "spans": [list(span) for span in item.spans],
        "kept_units": item.kept_units,
        "total_units": item.total_units,
        "input_chars": len(text or ""),
        "output_chars": len(item.text),
        "index": item.index,
        **({"warnings": list(result.warnings)} if result.warnings else {}),
    }
    return {**deepcopy(dict(metadata or {})), **added}
