"""Rerank APIs of other services, on the same engine: their clients work with only a base URL changed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from pydantic import Discriminator, Tag

from secateur.models.errors import InputError
from secateur.models.types import PruneRequest, PruneResult
from secateur.service.answers import as_json
from secateur.service.batching.engine import Engine
from secateur.service.dialects.cohere import CohereBody, CohereResponse, cohere_content
from secateur.service.dialects.common import RerankBody
from secateur.service.dialects.jina import CohereV1Body, JinaBody, JinaResponse, jina_content
from secateur.service.dialects.tei import TEIBody, TEIResult, tei_content, tei_info
from secateur.service.problems import PROBLEMS
from secateur.service.reading import StrictRoute
from secateur.service.routes.running import answer, engines, respond

router = APIRouter(tags=["rerank"], route_class=StrictRoute)

_STARTED = int(time.time())
_PASSAGE = re.compile(r"^passages(\[\d+\])?(\.text)?")
_UNITS = ("return_units", "relevant_spans")  # which Cohere's spans are made of; no other dialect asks for units


async def _answer(request: Request, engine: Engine, prune_request: PruneRequest, name: str) -> PruneResult:
    """Run a request; its errors call passages as the dialect does."""
    try:
        return await answer(request, engine, prune_request)
    except InputError as error:
        field = _PASSAGE.sub(lambda found: name + (found[1] or ""), error.field).replace(*_UNITS)
        raise InputError(field, error.problem, error.hint.replace("passage", name[:-1])) from None


async def _json(request: Request, content: Callable[[], Any], *, large: bool = False) -> Response:
    return await respond(request, lambda: as_json(content()), large=large)


def _tag(body: Any) -> str:
    if isinstance(body, dict):
        return "tei" if body.get("documents") is None and body.get("texts") is not None else "jina"
    return "tei" if isinstance(body, TEIBody) else "jina"


# On every path the body of Text Embeddings Inference is told apart by its `texts`.
_Texts = Annotated[TEIBody, Tag("tei")]
_Choice = Discriminator(_tag)


async def _tei(request: Request, body: TEIBody) -> Response:
    result = await _answer(request, engines(request).default, body.request(), "texts")
    return await _json(request, lambda: tei_content(body, result))


@router.post(
    "/v2/rerank",
    summary="Cohere's API, version 2",
    response_model=CohereResponse | list[TEIResult],
    responses=PROBLEMS,
)
async def cohere_v2(
    request: Request, body: Annotated[Annotated[CohereBody, Tag("jina")] | _Texts, _Choice, Body()]
) -> Response:
    """Rank documents; with `relevant_spans`, say which parts of them are worth reading."""
    if isinstance(body, TEIBody):
        return await _tei(request, body)
    engine = engines(request).named_or_default(body.model)
    prune_request = body.prune_request(request.app.state.settings)
    result = await _answer(request, engine, prune_request, "documents")
    return await _json(request, lambda: cohere_content(body, result), large=body.spans is not None)


async def _jina(request: Request, body: RerankBody | TEIBody, *, plain: bool = False) -> Response:
    if isinstance(body, TEIBody):
        return await _tei(request, body)
    engine = engines(request).named_or_default(body.model)
    result = await _answer(request, engine, body.request(request.app.state.settings), "documents")
    return await _json(request, lambda: jina_content(body, engine.name, result, plain=plain))


@router.post(
    "/v1/rerank",
    summary="Cohere's API, version 1, and Jina's",
    response_model=JinaResponse | list[TEIResult],
    responses=PROBLEMS,
)
async def cohere_v1_or_jina(
    request: Request, body: Annotated[Annotated[CohereV1Body, Tag("jina")] | _Texts, _Choice, Body()]
) -> Response:
    """Rank documents. The response holds what clients of both read."""
    return await _jina(request, body)


@router.post(
    "/rerank",
    summary="Text Embeddings Inference's API, and that of Jina, vLLM and Infinity",
    response_model=list[TEIResult] | JinaResponse,
    responses=PROBLEMS,
)
async def tei_or_jina(
    request: Request, body: Annotated[Annotated[JinaBody, Tag("jina")] | _Texts, _Choice, Body()]
) -> Response:
    """Rank `texts`, answered by a list, or `documents`, answered by an object."""
    return await _jina(request, body)


@router.post(
    "/infinity/rerank", summary="Infinity's API", response_model=JinaResponse | list[TEIResult], responses=PROBLEMS
)
async def infinity(
    request: Request, body: Annotated[Annotated[JinaBody, Tag("jina")] | _Texts, _Choice, Body()]
) -> Response:
    """Rank documents as `/rerank` does, but return them as strings: clients of Infinity can read nothing else."""
    return await _jina(request, body, plain=True)


@router.get("/info", summary="Text Embeddings Inference's description of the model")
async def info(request: Request) -> dict[str, Any]:
    """Describe the default model."""
    return tei_info(engines(request).default, request.app.state.settings)


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": _STARTED, "owned_by": "secateur"}


@router.get("/v1/models", summary="The served models, as OpenAI lists them")
async def models(request: Request) -> dict[str, Any]:
    """List the served models, the default one first."""
    return {"object": "list", "data": [_model(name) for name in engines(request).names]}


@router.get("/v1/models/{name:path}", summary="One of them", responses={404: PROBLEMS[404]})
async def model(request: Request, name: str) -> dict[str, Any]:
    """Describe a served model."""
    return _model(engines(request).named(name).name)
