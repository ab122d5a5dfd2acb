"""Rerank APIs of other services on the same engines: their clients only need another base URL."""

# No `from __future__ import annotations`: FastAPI must see the body types of the routes, which are made in a function.

import time
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from pydantic import Discriminator, Tag

from secateur.models.errors import InputError
from secateur.service.dialects.cohere import CohereBody
from secateur.service.dialects.common import RerankBody, renamed, warnings_header
from secateur.service.dialects.jina import CohereV1Body, InfinityBody, JinaBody
from secateur.service.dialects.tei import TEIBody, TEIResult, tei_info
from secateur.service.json_body import StrictRoute
from secateur.service.problems import PROBLEMS
from secateur.service.routes.runner import engines, respond, run
from secateur.service.schemas import as_json

router = APIRouter(tags=["rerank"], route_class=StrictRoute)

_STARTED = int(time.time())
_UNITS = ("return_units", "relevant_spans")  # Cohere's spans are made of units; no other dialect returns units


def _tag(body: Any) -> str:
    if isinstance(body, dict):
        return "tei" if body.get("documents") is None and body.get("texts") is not None else "jina"
    return "tei" if isinstance(body, TEIBody) else "jina"


def _add_route(path: str, kind: type[RerankBody], summary: str, description: str) -> None:
    """Add a route for a dialect. Every route also accepts a body of Text Embeddings Inference, which has `texts`."""
    either: Any = Annotated[Annotated[kind, Tag("jina")] | Annotated[TEIBody, Tag("tei")], Discriminator(_tag)]

    @router.post(
        path,
        summary=summary,
        description=description,
        response_model=kind.response | list[TEIResult],
        responses=PROBLEMS,
    )
    async def rerank(request: Request, body: Annotated[either, Body()]) -> Response:
        tei = isinstance(body, TEIBody)
        engine = engines(request).default if tei else engines(request).named_or_default(body.model)
        model = engine.pruner.config
        prune_request = body.instructed(body.prune_request(request.app.state.settings), model)
        name = "texts" if tei else "documents"
        try:
            result = await run(request, engine, prune_request)
        except InputError as error:  # about the passages, which have another name in the dialect
            field = renamed(error.field, name).replace(*_UNITS)
            raise InputError(field, error.problem, error.hint.replace("passage", name[:-1])) from None
        warnings = body.told(result, model, name)
        large = prune_request.options.return_units
        response = await respond(request, lambda: as_json(body.content(engine.name, result, warnings)), large=large)
        response.headers.update(warnings_header(warnings))
        return response


_add_route(
    "/v2/rerank",
    CohereBody,
    "Cohere's API, version 2",
    "Rank documents. With `relevant_spans`, also return the spans of each document that help to answer.",
)
_add_route(
    "/v1/rerank",
    CohereV1Body,
    "Cohere's API, version 1, and Jina's API",
    "Rank documents. The response has the fields that clients of both APIs read.",
)
_add_route(
    "/rerank",
    JinaBody,
    "API of Text Embeddings Inference, Jina, vLLM and Infinity",
    "Rank `texts`, answered with a list, or `documents`, answered with an object.",
)
_add_route(
    "/infinity/rerank",
    InfinityBody,
    "Infinity's API",
    "Rank documents as `/rerank` does, but return them as strings, since clients of Infinity read nothing else.",
)


@router.get("/info", summary="Description of the model, as in Text Embeddings Inference")
async def info(request: Request) -> dict[str, Any]:
    """Describe the default model."""
    return tei_info(engines(request).default, request.app.state.settings)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _STARTED, "owned_by": "secateur"}


@router.get("/v1/models", summary="Served models, as in OpenAI's API")
async def models(request: Request) -> dict[str, Any]:
    """List the served models, the default model first."""
    return {"object": "list", "data": [_model(name) for name in engines(request).names]}


@router.get("/v1/models/{name:path}", summary="A served model", responses={404: PROBLEMS[404]})
async def model(request: Request, name: str) -> dict[str, Any]:
    """Describe a served model."""
    return _model(engines(request).named(name).name)
