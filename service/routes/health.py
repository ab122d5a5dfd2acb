"""Liveness and readiness."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from secateur.service.routes.running import engines

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live", summary="The process answers")
async def live() -> dict[str, str]:
    """Answer 200 as long as the event loop runs."""
    return {"status": "live"}


@router.get("", summary="The same as /health/ready", responses={503: {"description": "An engine has died."}})
@router.get("/ready", summary="The models answer", responses={503: {"description": "An engine has died."}})
async def ready(request: Request) -> JSONResponse:
    """Answer 200 while requests can be served, 503 otherwise. The port is open only once all models are loaded."""
    served = engines(request)
    if not served.alive:
        return JSONResponse({"status": "failed", "models": served.names}, status_code=503)
    return JSONResponse({"status": "ready", "model": served.default.name, "models": served.names})
