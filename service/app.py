"""The FastAPI application, and the process that serves it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from importlib.metadata import version
from typing import Any

import uvicorn
from fastapi import FastAPI
from prometheus_client import disable_created_metrics
from starlette.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from secateur.models.pruner import Pruner
from secateur.service.engines import Engines, load_pruners, open_store
from secateur.service.exchange import REQUEST_ID_HEADER, Observer
from secateur.service.flags import unknown_variables
from secateur.service.keys import Keys
from secateur.service.logs import configure_logging, log_texts
from secateur.service.metrics import Metrics
from secateur.service.middleware.bodies import Bodies
from secateur.service.middleware.callers import Callers, is_open
from secateur.service.middleware.observe import Observe
from secateur.service.middleware.paths import Paths
from secateur.service.openapi import complete_openapi
from secateur.service.problems import install_problem_handlers
from secateur.service.protocol import MAX_HEAD_BYTES, PatientProtocol
from secateur.service.routes import batch, docs, health, metrics, playground, prune, rerank
from secateur.service.settings import Settings
from secateur.service.tracing import Traced, Tracer

log = logging.getLogger(__name__)


def create_app(pruners: dict[str, Pruner], settings: Settings, on_death: Callable[[], None] = lambda: None) -> FastAPI:
    """Make the application.

    Args:
        pruners: the models to serve, by name; the first is the default.
        settings: of the service.
        on_death: called, in any thread, should an engine die; the process is to end then.

    Raises:
        SecateurError: the settings' cache, API keys or tracing cannot be used.
    """
    store = open_store(settings)
    tracer = Tracer(settings.otlp_endpoint, settings.log_text) if settings.otlp_endpoint else None
    keys = Keys((key.get_secret_value() for key in settings.api_keys), settings.api_keys_file)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.engines = Engines(pruners, settings, store, app.state.metrics, on_death)
        with _reloading(keys):
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
        openapi_url=None,  # these three are in `docs`
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # see Paths
        strict_content_type=False,  # a body without a content type is read as JSON
    )
    app.state.settings = settings
    app.state.metrics = Metrics()
    install_problem_handlers(app)
    for routes in (prune, batch, rerank, health, metrics, playground, docs):
        app.include_router(routes.router)
    complete_openapi(app, lambda path: keys.required and not is_open(path, settings))
    _add_middleware(app, keys, settings, tracer)
    return app


def _add_middleware(app: FastAPI, keys: Keys, settings: Settings, tracer: Tracer | None) -> None:
    """Put the layers around the routes, the innermost first."""
    app.add_middleware(Callers, keys=keys, settings=settings)
    app.add_middleware(Bodies, settings=settings)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=[REQUEST_ID_HEADER, "Retry-After"],
        )
    observers: list[Observer] = [log_texts] if settings.log_text else []
    if tracer is not None:
        app.add_middleware(Traced, tracer=tracer)
        observers.append(tracer)
    app.add_middleware(Observe, metrics=app.state.metrics, observers=tuple(observers))
    proxied: Any = ProxyHeadersMiddleware  # uvicorn's types of ASGI are not Starlette's
    app.add_middleware(proxied, trusted_hosts=list(settings.trusted_proxies))
    app.add_middleware(Paths, settings=settings)


@contextmanager
def _reloading(keys: Keys) -> Iterator[None]:
    """Read the keys again on SIGHUP, where there is that signal and this is the thread that may wait for it."""
    if not hasattr(signal, "SIGHUP") or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, keys.reload)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


class _Server(uvicorn.Server):
    """A server that ends, after what is in flight, when an engine has died."""

    died = False

    def die(self) -> None:
        """Stop accepting; end with a failure. From any thread."""
        self.died = True
        self.should_exit = True


def _allow_connections() -> None:
    """Let the process have as many open files, of which each connection is one, as it may."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


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
    configure_logging(settings)
    for name in unknown_variables(os.environ):
        log.warning("%s is no setting; see `secateur serve --help`", name)
    _allow_connections()
    # The client library's own addition, which doubles the series.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    pruners = load_pruners(settings) if pruners is None else pruners
    server: _Server | None = None
    app = create_app(pruners, settings, on_death=lambda: server.die() if server else None)
    protocol: Any = partial(PatientProtocol, patience_s=settings.receive_timeout_s)
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            http=protocol,
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            ws="none",
            log_config=None,
            access_log=False,  # the service's own says more
            server_header=False,
            proxy_headers=False,  # the application reads them, after Paths
            timeout_graceful_shutdown=settings.drain_s,
        )
    )
    server.run()
    if not server.started:
        raise SystemExit(3)  # the port is taken, or the like; it has logged why
    return not server.died
