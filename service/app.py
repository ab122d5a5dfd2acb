"""The FastAPI application, and the process that serves it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version

import uvicorn
from fastapi import FastAPI

from secateur.models.pruner import Pruner
from secateur.service.engines import Engines, load_pruners, open_store
from secateur.service.metrics import Metrics
from secateur.service.problems import install_problem_handlers
from secateur.service.routes import batch, health, metrics, prune
from secateur.service.settings import Settings


def create_app(pruners: dict[str, Pruner], settings: Settings, on_death: Callable[[], None] = lambda: None) -> FastAPI:
    """Make the application.

    Args:
        pruners: the models to serve, by name; the first is the default.
        settings: of the service.
        on_death: called, in any thread, should an engine die; the process is to end then.

    Raises:
        SecateurError: the settings' cache cannot be used.
    """
    store = open_store(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.engines = Engines(pruners, settings, store, app.state.metrics, on_death)
        yield
        await app.state.engines.close()

    app = FastAPI(
        title="Secateur",
        summary="Context pruning and reranking for RAG",
        version=version("secateur"),
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        strict_content_type=False,  # a body without a content type is read as JSON
    )
    app.state.settings = settings
    app.state.metrics = Metrics()
    install_problem_handlers(app)
    for routes in (prune, batch, health, metrics):
        app.include_router(routes.router)
    return app


class _Server(uvicorn.Server):
    """A server that ends, after what is in flight, when an engine has died."""

    died = False

    def die(self) -> None:
        """Stop accepting; end with a failure. From any thread."""
        self.died = True
        self.should_exit = True


def serve(settings: Settings, pruners: dict[str, Pruner] | None = None) -> bool:
    """Serve until interrupted.

    Args:
        settings: of the service.
        pruners: loaded models, by name; None for those of the settings.

    Returns:
        Whether the end was wanted; False when an engine died.

    Raises:
        SecateurError: a model cannot be loaded, or a setting cannot be used.
    """
    pruners = load_pruners(settings) if pruners is None else pruners
    server: _Server | None = None
    app = create_app(pruners, settings, on_death=lambda: server.die() if server else None)
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            log_level="info",
            timeout_graceful_shutdown=settings.drain_s,
        )
    )
    server.run()
    if not server.started:
        raise SystemExit(3)  # the port is taken, or the like; it has logged why
    return not server.died
