"""The FastAPI application, and the process that serves it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from types import FrameType
from typing import Any

import uvicorn
from anyio import CapacityLimiter
from fastapi import FastAPI
from prometheus_client import disable_created_metrics
from starlette.middleware.cors import CORSMiddleware

from secateur.models.pruner import Pruner
from secateur.service.credentials import Keys
from secateur.service.dialects.common import WARNINGS_HEADER
from secateur.service.engines import Engines, load_pruners, open_store
from secateur.service.exchange import REQUEST_ID_HEADER, Observer
from secateur.service.flags import unknown_variables
from secateur.service.logs import configure_logging, log_texts
from secateur.service.metrics import Metrics
from secateur.service.middleware.auth import AuthMiddleware, is_open
from secateur.service.middleware.bodies import BodyLimitMiddleware, UnreadBodyMiddleware
from secateur.service.middleware.proxies import ProxyMiddleware
from secateur.service.middleware.recording import RecordingMiddleware
from secateur.service.problems import install_problem_handlers
from secateur.service.protocol import MAX_HEAD_BYTES, BoundedProtocol
from secateur.service.routes import pages, prune, rerank
from secateur.service.settings import Settings
from secateur.service.tracing import Tracer, TracingMiddleware

log = logging.getLogger(__name__)


def create_app(pruners: dict[str, Pruner], settings: Settings, on_death: Callable[[], None] = lambda: None) -> FastAPI:
    """Return the application for models by name, of which the first is the default model.

    If an engine dies, ``on_death`` is called, from any thread; the process should then end.

    Raises:
        SecateurError: The cache, the API keys or the tracing of the settings cannot be used.
    """
    store = open_store(settings)
    tracer = Tracer(settings.otlp_endpoint, settings.log_text) if settings.otlp_endpoint else None
    keys = Keys((key.get_secret_value() for key in settings.api_keys), settings.api_keys_file)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.engines = Engines(pruners, settings, store, app.state.metrics, on_death)
        if hasattr(signal, "SIGHUP") and threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, keys.reload)
        yield
        await app.state.engines.close()
        if tracer is not None:
            await tracer.close()

    app = FastAPI(
        title="Secateur",
        summary="Context pruning and reranking for RAG",
        version=version("secateur"),
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        openapi_url=None,  # these three are in `routes.pages`
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # see ProxyMiddleware
    )
    app.state.settings = settings
    app.state.metrics = Metrics()
    app.state.threads = CapacityLimiter(2)  # of `off_loop`; each competes with the event loop for the interpreter
    install_problem_handlers(app)
    for routes in (prune, rerank, pages):
        app.include_router(routes.router)
    pages.complete_openapi(app, lambda path: keys.required and not is_open(path, settings))
    _add_middleware(app, keys, settings, tracer)
    return app


def _add_middleware(app: FastAPI, keys: Keys, settings: Settings, tracer: Tracer | None) -> None:
    """Add all middleware, the innermost first."""
    app.add_middleware(AuthMiddleware, keys=keys, settings=settings)
    app.add_middleware(BodyLimitMiddleware, settings=settings)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=[REQUEST_ID_HEADER, "Retry-After", WARNINGS_HEADER],
        )
    observers: list[Observer] = [log_texts] if settings.log_text else []
    if tracer is not None:
        app.add_middleware(TracingMiddleware, tracer=tracer)
        observers.append(tracer)
    app.add_middleware(RecordingMiddleware, metrics=app.state.metrics, observers=tuple(observers))
    app.add_middleware(ProxyMiddleware, settings=settings)
    app.add_middleware(UnreadBodyMiddleware)


class _Server(uvicorn.Server):
    died = False
    interrupted = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.interrupted = self.interrupted or sig == signal.SIGINT
        super().handle_exit(sig, frame)

    def die(self) -> None:
        """Finish the requests, and end with a failure. Can be called from any thread."""
        self.died = self.should_exit = True


def _raise_file_limit() -> None:
    """Allow as many open files, and so connections, as the process may have."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def serve(settings: Settings, pruners: dict[str, Pruner] | None = None) -> bool:
    """Serve the given models, or those of the settings, until interrupted; return False if an engine died.

    Raises:
        SecateurError: A model cannot be loaded, or a setting cannot be used.
        KeyboardInterrupt: The service was stopped by SIGINT, and all requests are finished.
    """
    configure_logging(settings)
    for name in unknown_variables(os.environ):
        log.warning("unknown setting %s; see `secateur serve --help`", name)
    _raise_file_limit()
    # The client library adds these by default, which doubles the number of series.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    pruners = load_pruners(settings) if pruners is None else pruners
    server: _Server | None = None
    app = create_app(pruners, settings, on_death=lambda: server.die() if server else None)
    protocol: Any = partial(BoundedProtocol, settings=settings, receiving={})
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=protocol,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            ws="none",
            log_config=None,
            access_log=False,  # RecordingMiddleware logs more
            server_header=False,
            proxy_headers=False,  # see ProxyMiddleware
            timeout_graceful_shutdown=settings.drain_s,
        )
    )
    server.run()
    if not server.started:
        raise SystemExit(3)  # for example, the port is in use; uvicorn has logged the reason
    if server.interrupted and not server.died:
        raise KeyboardInterrupt
    return not server.died
