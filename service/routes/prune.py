"""`POST /v1/prune`, the native API."""

from __future__ import annotations

import json
import uuid
from dataclasses import asdict

from fastapi import APIRouter, Request, Response

from secateur.models.types import PruneResult
from secateur.service.engine import Engine
from secateur.service.problems import Problem, UnknownModelError
from secateur.service.schemas import PruneBody, PruneResponse

router = APIRouter(tags=["prune"])


def _content(engine: Engine, body: PruneBody, result: PruneResult) -> dict[str, object]:
    content = asdict(result)
    if not body.return_units:
        for item in content["results"]:
            del item["units"]
    warnings = [*body.warnings, *content["warnings"]]
    return {"id": f"prune-{uuid.uuid4().hex[:20]}", "model": engine.model, **content, "warnings": warnings}


@router.post(
    "/v1/prune",
    summary="Prune and rerank passages",
    response_model=PruneResponse,
    responses={
        400: {"model": Problem, "description": "A body that cannot be read"},
        404: {"model": Problem, "description": "Unknown model"},
        415: {"model": Problem, "description": "A body of another type than JSON"},
        422: {"model": Problem, "description": "A wrong body"},
    },
)
async def prune(request: Request, body: PruneBody) -> Response:
    """Score every sentence and every passage against the query; return what is worth reading."""
    engine: Engine = request.app.state.engine
    if body.model is not None and body.model != engine.model:
        raise UnknownModelError(body.model, [engine.model])
    result = await engine.prune(body.request())
    # The result is well-formed by construction; validating it again would cost more than making it.
    content = json.dumps(_content(engine, body, result), ensure_ascii=False, separators=(",", ":"))
    return Response(content, media_type="application/json")
