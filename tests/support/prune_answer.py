"""A good answer of `/v1/prune`, and ways to change it."""

from __future__ import annotations

import copy
from typing import Any

QUERY = "When was it finished?"
TEXT = "It was finished in 1889. It rained. Millions come."
UNITS = [(0, 25), (25, 36), (36, 50)]
GOOD: dict[str, Any] = {
    "results": [
        {"index": 0, "score": 0.75, "text": "It was finished in 1889. Millions come.", "spans": [[0, 24], [36, 50]]}
        | {"line_spans": [[1, 1], [1, 1]], "format": "text", "kept_units": 2, "total_units": 3, "empty": False}
        | {
            "units": [
                {"start": s, "end": e, "kind": "sentence", "score": 0.5, "kept": s != 25, "tokens": 4}
                | {"reason": None if s == 25 else "score"}
                for s, e in UNITS
            ]
        },
        {"index": 1, "score": 0.25, "text": "", "spans": [], "line_spans": [], "format": "text"}
        | {"kept_units": 0, "total_units": 1, "empty": True}
        | {"units": [{"start": 0, "end": 6, "kind": "sentence", "score": 0.1, "kept": False, "tokens": 2}]},
    ],
    "threshold": 0.1,
    "usage": {"query_tokens": 5, "input_tokens": 14, "output_tokens": 8, "compression": 0.43},
    "timings": {"queue_ms": 0, "tokenize_ms": 1, "inference_ms": 2.5, "total_ms": 3.5},
    "warnings": [],
}
TEXTS = [TEXT, "Bread."]


def changed(path: str, value: Any) -> Any:
    """Return the good answer with one field changed; a path is parted by points."""
    answer = copy.deepcopy(GOOD)
    at: Any = answer
    *way, last = [int(name) if name.isdigit() else name for name in path.split(".")]
    for name in way:
        at = at[name]
    at[last] = value
    return answer


def field_pattern(path: str) -> str:
    """Return how a message names a path, as a pattern."""
    first, *names = path.split(".")
    name = first + "".join(rf"\[{name}\]" if name.isdigit() else rf"\.{name}" for name in names)
    return f"`{name}`"
