"""Liveness, readiness and metrics."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from secateur.service.routes.runner import engines

router = APIRouter()

_DEAD: dict[int | str, dict[str, Any]] = {503: {"description": "An engine has died."}}


@router.get("/health/live", tags=["health"], summary="Liveness of the process")
async def live() -> dict[str, str]:
    """Return 200 while the event loop runs."""
    return {"status": "live"}


@router.get("/health", tags=["health"], summary="Readiness, same as /health/ready", responses=_DEAD)
@router.get("/health/ready", tags=["health"], summary="Readiness of the models", responses=_DEAD)
async def ready(request: Request) -> JSONResponse:
    """Return 200 while requests can be served, else 503. The port is open only after all models are loaded."""
    served = engines(request)
    if not served.alive:
        return JSONResponse({"status": "failed", "models": served.names}, status_code=503)
    return JSONResponse({"status": "ready", "model": served.default.name, "models": served.names})


@router.get("/metrics", tags=["operations"], summary="Metrics in Prometheus' text format", response_class=Response)
async def metrics(request: Request) -> Response:
    """Return counters, histograms and gauges, all named ``secateur_...``."""
    return Response(request.app.state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
