"""`POST /v1/prune`, the native API."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request, Response

from secateur.service.problems import PROBLEMS
from secateur.service.reading import StrictRoute
from secateur.service.routes.running import answer, engines
from secateur.service.schemas import PruneBody, PruneResponse, response_content

router = APIRouter(tags=["prune"], route_class=StrictRoute)


def as_json(content: Any) -> str:
    """Return compact JSON."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


@router.post("/v1/prune", summary="Prune and rerank passages", response_model=PruneResponse, responses=PROBLEMS)
async def prune(request: Request, body: PruneBody) -> Response:
    """Score every sentence and every passage against the query; return what is worth reading."""
    engine = engines(request).named(body.model)
    result = await answer(request, engine, body.request())
    # The result is well-formed by construction; validating it again would cost more than making it.
    return Response(as_json(response_content(engine.name, body, result)), media_type="application/json")
