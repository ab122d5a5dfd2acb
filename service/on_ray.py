"""The service on Ray Serve: ``serve run deploy/ray/serve.yaml`` (see docs/deployment.md).

A replica runs the same application as `secateur serve`. The front sends each request to a replica, and to another one
if the first dies before its answer starts. Requests have no side effects, so a retry is safe.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, MutableMapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from secateur.models.errors import MissingExtraError
from secateur.service.app import create_app
from secateur.service.engines import load_pruners
from secateur.service.flags import usage_error
from secateur.service.logs import configure_logging
from secateur.service.problems import error_response
from secateur.service.settings import Settings

if TYPE_CHECKING:
    from ray.serve import Application
    from ray.serve.handle import DeploymentHandle

_Message = MutableMapping[str, Any]

# The keys of an ASGI scope that can be sent to another process.
_SCOPE = ("type", "asgi", "http_version", "method", "scheme", "path", "raw_path", "query_string", "headers")
_TRIES = 5  # per request
_ONGOING = 64  # concurrent requests of a replica, enough to fill the batches of its engine
_QUEUED = 1024  # largest number of waiting requests of a front


def _settings(arguments: dict[str, Any]) -> Settings:
    try:
        return Settings(**arguments)
    except ValidationError as error:
        raise usage_error(error, "args.{}".format) from None


class Replica:
    """A process with the service's application and its engines; the arguments are settings."""

    async def __init__(self, arguments: dict[str, Any]) -> None:  # type: ignore[misc]  # Ray awaits it
        import ray

        context: Any = ray.get_runtime_context()
        processors = max(1, int(context.get_assigned_resources().get("CPU", 0)))
        settings = _settings(arguments)
        models = [one.model_copy(update={"threads": one.threads or processors}) for one in settings.all_models()]
        settings = settings.model_copy(update={"models": tuple(models)})
        configure_logging(settings)
        pruners = await asyncio.to_thread(load_pruners, settings)
        # A process without its engine is useless: it ends, and Ray starts another.
        self._app = create_app(pruners, settings, on_death=lambda: os._exit(1))
        self._running = AsyncExitStack()
        await self._running.enter_async_context(self._app.router.lifespan_context(self._app))

    async def __call__(self, scope: dict[str, Any], body: bytes) -> AsyncIterator[_Message]:
        """Yield the ASGI messages of the answer to a request, whose scope has only what can be pickled."""
        sent: asyncio.Queue[_Message | None] = asyncio.Queue()
        requests: list[_Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> _Message:
            if requests:
                return requests.pop()
            await asyncio.Event().wait()  # a client that disconnects cancels the task
            raise AssertionError

        async def run() -> None:
            try:
                await self._app({**scope, "state": {}}, receive, sent.put)
            finally:
                await sent.put(None)

        task = asyncio.create_task(run())
        try:
            while (message := await sent.get()) is not None:
                yield message
            await task
        finally:
            task.cancel()

    def check_health(self) -> None:
        """Raise an error if an engine has stopped: Ray calls this now and then."""
        if not self._app.state.engines.alive:
            raise RuntimeError("an engine has stopped")

    async def __del__(self) -> None:
        if hasattr(self, "_running"):  # the constructor succeeded
            await self._running.aclose()


class Front:
    """Sends requests to the replicas. A larger body is not read further; the application refuses it."""

    def __init__(self, replicas: DeploymentHandle[Any], max_body_bytes: int) -> None:
        self._replicas: Any = replicas.options(stream=True)
        self._max_body_bytes = max_body_bytes

    async def __call__(self, request: Request) -> Response:
        """Answer a request as one of the replicas does."""
        from ray.exceptions import RayActorError
        from ray.serve.exceptions import BackPressureError

        scope = {key: request.scope[key] for key in _SCOPE if key in request.scope}
        scope["client"] = tuple(request.client) if request.client else None
        body = bytearray()
        try:
            async for part in request.stream():
                body += part
                if len(body) > self._max_body_bytes:
                    break
        except ClientDisconnect:
            return Response(status_code=499)
        for left in reversed(range(_TRIES)):
            messages: AsyncIterator[_Message] = self._replicas.remote(scope, bytes(body))
            try:
                start = await anext(messages)
            except RayActorError:
                if not left:
                    raise
            except BackPressureError:
                busy = HTTPException(503, "all replicas are busy; try again later", {"Retry-After": "1"})
                return error_response(request, busy)
            else:
                response = StreamingResponse((message.get("body", b"") async for message in messages), start["status"])
                # Ray's proxy adds the same request id.
                response.raw_headers = [(k, v) for k, v in start.get("headers", []) if k.lower() != b"x-request-id"]
                return response
        raise AssertionError("the last attempt has returned or raised")


def build(arguments: dict[str, Any]) -> Application:
    """Return the application for Ray Serve, with the deployments ``Front`` and ``Replica``.

    The arguments are settings of the service (`Settings`): ``args`` in the Serve configuration.

    Raises:
        SecateurError: A setting is unknown or invalid, or Ray is not installed.
    """
    settings = _settings(arguments)
    try:
        from ray import serve
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error
    deployment: Any = serve.deployment  # its types allow only a decorator
    replicas = deployment(Replica).options(
        max_ongoing_requests=_ONGOING,
        max_queued_requests=_QUEUED,
        graceful_shutdown_timeout_s=settings.drain_s,
        health_check_period_s=5,
        health_check_timeout_s=10,
    )
    # It needs no processor of its own: it only forwards bytes.
    front = deployment(Front).options(max_ongoing_requests=_QUEUED, ray_actor_options={"num_cpus": 0})
    limit = max(settings.max_body_bytes, settings.max_batch_bytes)
    return front.bind(replicas.bind(arguments), limit)  # type: ignore[no-any-return]
