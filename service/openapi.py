"""What `/openapi.json` says of errors."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

_PROBLEM = {"$ref": "#/components/schemas/Problem"}


def document_problems(app: FastAPI) -> None:
    """Give problem details their media type, which FastAPI takes to be that of the route's response."""
    original = app.openapi

    def documented() -> dict[str, Any]:
        content = original()  # made once, so the second time there is nothing to change
        for path in content["paths"].values():
            for operation in path.values():
                for response in operation["responses"].values():
                    bodies = response.get("content", {})
                    for media_type in [name for name, body in bodies.items() if body.get("schema") == _PROBLEM]:
                        bodies["application/problem+json"] = bodies.pop(media_type)
        return content

    app.openapi = documented  # type: ignore[method-assign]
