"""`POST /v1/prune`, the native API."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from secateur.service.answers import prune_json
from secateur.service.problems import PROBLEMS
from secateur.service.reading import StrictRoute
from secateur.service.routes.running import answer, engines, respond
from secateur.service.schemas import PruneBody, PruneResponse

router = APIRouter(tags=["prune"], route_class=StrictRoute)


@router.post("/v1/prune", summary="Prune and rerank passages", response_model=PruneResponse, responses=PROBLEMS)
async def prune(request: Request, body: PruneBody) -> Response:
    """Score every sentence and every passage against the query; return what is worth reading."""
    engine = engines(request).named(body.model)
    asked = body.request()
    result = await answer(request, engine, asked)
    # The result is well-formed by construction; validating it again would cost more than making it.
    return await respond(request, lambda: prune_json(engine.name, body, result), large=asked.options.return_units)
