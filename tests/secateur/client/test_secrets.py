"""A key, a password and a proxy's password are planted; every way to fail is gone, and every output is searched."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
import socket
import traceback
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from bad_server import bad_server, response
from haystack import Document as HaystackDocument
from haystack.utils import Secret
from langchain_core.documents import Document
from llama_index.core.schema import NodeWithScore, TextNode

from secateur import AsyncClient, Client, InputError, SecateurError
from secateur.integrations.haystack import SecateurPruner
from secateur.integrations.langchain import SecateurCompressor
from secateur.integrations.llama_index import SecateurPostprocessor
from secateur.integrations.mcp import make_server
from secateur.integrations.settings import PruneSettings

KEY = "sk-planted-0123"
PASSWORD = "planted-word"
PROXY_PASSWORD = "planted-proxy-word"
# Each in the forms in which it is sent, too.
SENT = [KEY, PASSWORD, "bWU6cGxhbnRlZC13b3Jk"]
PLANTED = [*SENT, PROXY_PASSWORD, "bWU6cGxhbnRlZC1wcm94eS13b3Jk"]
ECHO = " ".join(SENT)
TEXTS = ["It was finished in 1889.", "Bread."]
GOOD = {
    "results": [
        {
            "index": i,
            "score": 0.5,
            "text": "",
            "spans": [],
            "line_spans": [],
            "format": "text",
            "kept_units": 0,
            "total_units": 1,
            "empty": True,
        }
        for i in range(2)
    ],
    "threshold": 0.1,
    "usage": {"query_tokens": 1, "input_tokens": 9, "output_tokens": 0, "compression": 1.0},
    "timings": {"queue_ms": 0, "tokenize_ms": 0, "inference_ms": 0, "total_ms": 0},
    "warnings": [f"query: {ECHO}"],
}

pytestmark = pytest.mark.usefixtures("no_proxies")


def _json(status: str, content: Any, *headers: str) -> bytes:
    return response(status, json.dumps(content).encode(), *headers)


def _problem(status: str, *headers: str) -> bytes:
    errors = [{"field": ECHO, "problem": ECHO, "hint": ECHO}]
    detail = f"{'x' * 400} {ECHO} {ECHO}"
    return _json(status, {"detail": detail, "request_id": ECHO, "errors": errors, ECHO: [{"a": ECHO}]}, *headers)


PADDED = {**GOOD, "results": f"{'x' * 50} {ECHO}"}
ANSWERS: dict[str, bytes] = {
    "401": _problem("401 Unauthorized"),
    "401 page": response("401 Unauthorized", f"<html>{'x' * 60} {ECHO}".encode()),
    "403": _problem("403 Forbidden"),
    "404": _problem("404 Not Found"),
    "407": response("407 Proxy Authentication Required", ECHO.encode()),
    "422": _problem("422 Unprocessable"),
    "429": _problem("429 Busy", "Retry-After: 0"),
    "500": _problem("500 Failed"),
    "500 page": response("500 Failed", ECHO.encode()),
    "302": response("302 Found", ECHO.encode()),
    "garbage": response("200 OK", f"{'x' * 70}{ECHO}".encode()),
    "list": _json("200 OK", [ECHO]),
    "value": _json("200 OK", PADDED),
    "values": _json("200 OK", {**GOOD, "usage": [ECHO]}),
    "warning": _json("200 OK", GOOD),
    "no http": f"{ECHO}\r\n\r\n".encode(),
    "bad header": f"HTTP/1.1 200 OK\r\n{ECHO}\r\n\r\n".encode(),
    "half": f"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{ECHO}".encode(),
    "gzip": response("200 OK", ECHO.encode(), "Content-Encoding: gzip"),
    "silence": b"",
}


def said(error: BaseException | None) -> str:
    """Return everything that an exception and those behind it say."""
    if error is None:
        return ""
    told = [str(error), repr(error), repr(error.args), repr(vars(error)), *traceback.format_exception(error)]
    return "\n".join([*told, repr(pickle.dumps(vars(error))), said(error.__cause__), said(error.__context__)])


def search(*outputs: str) -> None:
    for output in outputs:
        for planted in PLANTED:
            assert planted not in output, output


def _planted(url: str) -> str:
    return url.replace("http://", f"http://me:{PASSWORD}@")


def _client(url: str, on_error: str) -> str:
    with Client(url, api_key=f" {KEY}\n", on_error=on_error, retries=1, timeout_s=30) as client:
        outputs = [repr(client), repr(client.settings)]
        for ask in (lambda: client.prune("q", TEXTS), client.models, client.health):
            try:
                outputs.append(repr(ask()))
            except SecateurError as error:
                outputs.append(said(error))
        return "\n".join(outputs)


def _async_client(url: str, on_error: str) -> str:
    async def run() -> str:
        async with AsyncClient(url, api_key=f"{KEY} ", on_error=on_error, retries=1, timeout_s=30) as client:
            try:
                return repr(await client.prune("q", TEXTS)) + repr(client.settings)
            except SecateurError as error:
                return said(error)

    return asyncio.run(run())


def _langchain(url: str, on_error: str) -> str:
    compressor = SecateurCompressor(url=url, api_key=f"{KEY} ", on_error=on_error, timeout_s=2)
    found = compressor.compress_documents([Document(page_content=text) for text in TEXTS], "q")
    return repr(found) + repr(compressor) + repr(pickle.dumps(compressor))


def _llama_index(url: str, on_error: str) -> str:
    postprocessor = SecateurPostprocessor(url=url, api_key=f"{KEY}\t", on_error=on_error, timeout_s=2)
    found = postprocessor.postprocess_nodes([NodeWithScore(node=TextNode(text=t)) for t in TEXTS], query_str="q")
    return repr([node.model_dump() for node in found]) + repr(postprocessor) + repr(pickle.dumps(postprocessor))


def _haystack(url: str, on_error: str) -> str:
    pruner = SecateurPruner(url=url, api_key=Secret.from_token(f"{KEY} "), on_error=on_error, timeout_s=2)
    return repr(pruner.run("q", [HaystackDocument(content=text) for text in TEXTS]))


def _mcp(url: str, on_error: str) -> str:
    from mcp import Client as McpClient

    async def run() -> str:
        async with McpClient(
            make_server(PruneSettings(url=url, api_key=KEY, on_error=on_error, timeout_s=2))
        ) as client:
            return repr(await client.call_tool("prune", {"query": "q", "texts": TEXTS}))

    return asyncio.run(run())


ASKERS: list[Callable[[str, str], str]] = [_async_client, _langchain, _llama_index, _haystack, _mcp]


def gone_through(ask: Callable[[str, str], str], url: str, on_error: str) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            output = ask(url, on_error)
        except SecateurError as error:
            output = said(error)
    return output + "".join(str(warning.message) for warning in caught)


@pytest.mark.slow
@pytest.mark.parametrize("on_error", ["raise", "passthrough"])
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_what_an_answer_repeats_is_hidden(answer: bytes, on_error: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "secateur")  # httpx's own debugging shows what a server sends
    with bad_server(lambda number, raw: raw.sendall(answer)) as server:
        output = gone_through(_client, _planted(server.url), on_error)
        assert KEY.encode() in server.heads[0] and b"bWU6cGxhbnRlZC13b3Jk" in server.heads[0]  # it was sent
    search(output, caplog.text)


@pytest.mark.parametrize("ask", ASKERS, ids=["async", "langchain", "llama_index", "haystack", "mcp"])
@pytest.mark.parametrize(("answer", "on_error"), [("401", "raise"), ("500", "passthrough"), ("warning", "raise")])
def test_no_other_way_to_ask_shows_it(
    ask: Callable[[str, str], str], answer: str, on_error: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "secateur")
    with bad_server(lambda number, raw: raw.sendall(ANSWERS[answer])) as server:
        output = gone_through(ask, _planted(server.url), on_error)
        assert server.heads and KEY.encode() in server.heads[0]
    search(output, caplog.text)


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["refused", "silent", "proxy", "tunnel", "socks", "proxy page"])
@pytest.mark.parametrize("on_error", ["raise", "passthrough"])
@pytest.mark.parametrize("ask", [_client, _langchain], ids=["client", "langchain"])
def test_no_log_of_any_library_shows_it(
    ask: Callable[[str, str], str],
    trouble: str,
    on_error: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        dead = f"http://127.0.0.1:{listener.getsockname()[1]}"
    refusal = response("407 Proxy Authentication Required", b"no")
    with bad_server(lambda number, raw: raw.sendall(b"" if trouble == "silent" else refusal)) as server:
        proxy = f"me:{PROXY_PASSWORD}@{(dead if trouble == 'proxy' else server.url).removeprefix('http://')}"
        url = {"refused": dead, "silent": server.url, "tunnel": "https://service.invalid"}.get(
            trouble, "http://s.invalid"
        )
        if trouble not in ("refused", "silent"):
            monkeypatch.setenv("ALL_PROXY", f"{'socks5' if trouble == 'socks' else 'http'}://{proxy}")
        output = gone_through(ask, url.replace("://", f"://me:{PASSWORD}@"), on_error)
    assert output
    search(output, caplog.text)


@pytest.mark.parametrize("key", [f"{KEY}\n{KEY}", f"{KEY}\u00e9", f"\x00{KEY}", KEY.encode(), [KEY]])
def test_a_key_that_cannot_be_sent_is_refused_at_once_and_not_shown(
    key: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    makers: list[Callable[[], Any]] = [
        lambda: Client("http://127.0.0.1:9", api_key=key, on_error="passthrough"),
        lambda: AsyncClient("http://127.0.0.1:9", api_key=key),
        lambda: SecateurCompressor(url="http://127.0.0.1:9", api_key=key),
        lambda: SecateurPostprocessor(url="http://127.0.0.1:9", api_key=key),
        lambda: PruneSettings(url="http://127.0.0.1:9", api_key=key),
    ]
    if isinstance(key, str):
        token = Secret.from_token(key)
        pruner = SecateurPruner(url="http://127.0.0.1:9", api_key=token, on_error="passthrough")
        makers.append(lambda: pruner.run("q", [HaystackDocument(content="a")]))
    for make in makers:
        with pytest.raises(InputError) as info:
            make()
        assert info.value.field == "api_key"
        search(said(info.value), caplog.text)
    if isinstance(key, str) and "\x00" not in key:
        monkeypatch.setenv("SECATEUR_API_KEY", key)
        with pytest.raises(InputError) as info:
            Client()
        assert info.value.field == "SECATEUR_API_KEY"
        search(said(info.value))


@pytest.mark.parametrize(
    "url",
    [
        f"htp://me:{PASSWORD}@host",
        f"me:{PASSWORD}@host:80",
        f"http://me:{PASSWORD}@host:port",
        f"http://me:{PASSWORD}@host:99999",
        f"http://me:{PASSWORD}@[::1",
        f"http://me:{PASSWORD}@",
        f"http://me:{PASSWORD}/x@host:0",
        f"http://host/?token={PASSWORD}",
        f"http://host/#{PASSWORD}",
        f"http://me:{PASSWORD}@ho\x01st",
        f"http://me:{PASSWORD}@ho st",
    ],
)
def test_a_wrong_address_is_shown_without_its_password(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"^url: ") as info:
        Client(url, api_key=KEY)
    search(said(info.value))
    monkeypatch.setenv("SECATEUR_URL", url)
    with pytest.raises(InputError, match=r"^url: ") as info:
        AsyncClient()
    search(said(info.value))


def test_white_space_around_an_address_and_an_empty_key_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_URL", " http://127.0.0.1:9/\n")
    monkeypatch.setenv("SECATEUR_API_KEY", " \n")
    client = Client()
    assert (client.settings.url, client.settings.api_key) == ("http://127.0.0.1:9", None)
    monkeypatch.setenv("SECATEUR_API_KEY", f"{KEY}\n")
    assert Client(api_key=" ").settings.api_key == KEY


def test_a_refusal_can_be_pickled() -> None:
    with (
        bad_server(lambda number, raw: raw.sendall(ANSWERS["422"])) as server,
        Client(server.url) as client,
        pytest.raises(InputError) as info,
    ):
        client.prune("q", TEXTS)
    copied = pickle.loads(pickle.dumps(info.value))
    assert (type(copied), str(copied), vars(copied)) == (type(info.value), str(info.value), vars(info.value))
