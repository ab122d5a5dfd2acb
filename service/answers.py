"""JSON of answers. Long lists are encoded in slices, since the encoder blocks all other threads."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pydantic_core import to_json

from secateur.models.types import PassageResult, PruneResult
from secateur.service.schemas import PruneBody

_SLICE = 1000  # spans or units per call of the encoder

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def as_json(content: Any) -> str:
    """Return compact JSON. The items of a list at the top, or of one in an object at the top, are encoded one by one.

    Raises:
        ValueError: A number is not finite.
    """
    if isinstance(content, list):
        return f"[{','.join(map(_ENCODER.encode, content))}]"
    if isinstance(content, dict):
        return f"{{{','.join(_members(content))}}}"
    return _ENCODER.encode(content)


def _members(content: Mapping[str, Any]) -> Iterator[str]:
    for name, value in content.items():
        yield f"{_ENCODER.encode(name)}:{as_json(value) if isinstance(value, list) else _ENCODER.encode(value)}"


def prune_json(model: str, body: PruneBody, result: PruneResult, **first: Any) -> str:
    """Return the JSON of a `PruneResponse`, with the fields ``first`` before all others."""
    head = {**first, "id": f"prune-{uuid.uuid4().hex[:20]}", "model": model}
    tail = {
        "threshold": result.threshold,
        "usage": asdict(result.usage),
        "timings": asdict(result.timings),
        "warnings": [*body.warnings, *result.warnings],
    }
    results = ",".join(map(_result, result.results))
    return f'{_ENCODER.encode(head)[:-1]},"results":[{results}],{as_json(tail)[1:]}'


def _result(item: PassageResult) -> str:
    head = {"index": item.index, "id": item.id, "score": item.score, "text": item.text}
    tail = {
        "kept_units": item.kept_units,
        "total_units": item.total_units,
        "empty": item.empty,
        "metadata": item.metadata,
    }
    units = "" if item.units is None else f',"units":{_sliced(item.units)}'
    return f'{_ENCODER.encode(head)[:-1]},"spans":{_sliced(item.spans)},{_ENCODER.encode(tail)[1:-1]}{units}}}'


def _sliced(items: Sequence[Any]) -> str:
    """Return the JSON of spans or units, which have the fields of `UnitOut`."""
    slices = (items[start : start + _SLICE] for start in range(0, len(items), _SLICE))
    return f"[{','.join(to_json(part)[1:-1].decode() for part in slices)}]"
