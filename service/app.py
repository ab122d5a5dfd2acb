"""The FastAPI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import uvicorn
from fastapi import FastAPI

from secateur.models.pruner import Pruner
from secateur.service.engine import Engine
from secateur.service.problems import install_problem_handlers
from secateur.service.routes import health, prune
from secateur.service.settings import Settings


def create_app(pruner: Pruner) -> FastAPI:
    """Make the application.

    Args:
        pruner: the model to serve.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.engine = Engine(pruner)
        yield
        app.state.engine.close()

    app = FastAPI(
        title="Secateur",
        summary="Context pruning and reranking for RAG",
        version=version("secateur"),
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        strict_content_type=False,  # a body without a content type is read as JSON
    )
    install_problem_handlers(app)
    app.include_router(prune.router)
    app.include_router(health.router)
    return app


def serve(settings: Settings) -> None:
    """Load the model and serve until interrupted.

    Raises:
        SecateurError: the model cannot be loaded.
    """
    pruner = Pruner.load(
        settings.model,
        backend=settings.backend,
        device=settings.device,
        precision=settings.precision,
        threads=settings.threads,
    )
    uvicorn.run(create_app(pruner), host=settings.host, port=settings.port, log_level="info")
