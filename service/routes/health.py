"""Liveness and readiness."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live", summary="The process answers")
async def live() -> dict[str, str]:
    """Answer 200 as long as the event loop runs."""
    return {"status": "live"}


@router.get("/ready", summary="A model is loaded", responses={503: {"description": "Still loading."}})
async def ready(request: Request) -> JSONResponse:
    """Answer 200 once requests can be served, 503 before."""
    engine = getattr(request.app.state, "engine", None)
    if engine is None:
        return JSONResponse({"status": "loading"}, status_code=503)
    return JSONResponse({"status": "ready", "model": engine.model})
