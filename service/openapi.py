"""What FastAPI does not say in `/openapi.json`: the media type of errors, and where a key is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_SCHEME = "APIKey"


def complete_openapi(app: FastAPI, needs_key: Callable[[str], bool]) -> None:
    """Complete what an app says of itself.

    Args:
        app: with all its routes.
        needs_key: whether a path needs an API key.
    """
    original = app.openapi

    def completed() -> dict[str, Any]:
        content = original()  # made once, so the second time there is nothing to change
        for path, operations in content["paths"].items():
            for operation in operations.values():
                _name_problems(operation)
                if needs_key(path):
                    operation["security"] = [{_SCHEME: []}]
                    schemes = content["components"].setdefault("securitySchemes", {})
                    schemes[_SCHEME] = {"type": "http", "scheme": "bearer"}
        return content

    app.openapi = completed  # type: ignore[method-assign]


def _name_problems(operation: dict[str, Any]) -> None:
    """Give problem details their media type, which FastAPI takes to be that of the route's response."""
    for response in operation["responses"].values():
        bodies = response.get("content", {})
        for media_type in [name for name, body in bodies.items() if body.get("schema") == _PROBLEM]:
            bodies["application/problem+json"] = bodies.pop(media_type)
