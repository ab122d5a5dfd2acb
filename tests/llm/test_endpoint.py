from __future__ import annotations

import asyncio
import json
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi.responses import JSONResponse, Response

from secateur.llm.cache import Completion, ReplyCache
from secateur.llm.endpoint import ChatClient, Endpoint, EndpointError, Failed, parse_reply
from secateur.models.errors import InputError, MissingExtraError

QUESTION = [{"role": "user", "content": "Question: Who won the race?"}]


def ask(endpoint: Endpoint, cache: Path, times: int = 1) -> list[Completion | Failed]:
    async def run() -> list[Completion | Failed]:
        async with ChatClient(endpoint, ReplyCache(cache), asyncio.Semaphore(1)) as client:
            return [await client.ask([{**QUESTION[0], "name": str(number)}]) for number in range(times)]

    return asyncio.run(run())


@pytest.mark.slow
def test_a_reply_with_its_usage(loopback: Any, tmp_path: Path) -> None:
    (reply,) = ask(loopback.endpoint(extra={"seed": 7}), tmp_path)
    assert reply == Completion("I do not know", 5, 4, "stop")
    body = json.loads(loopback.bodies[0])
    assert body["temperature"] == 0
    assert body["max_tokens"] == 256
    assert body["seed"] == 7
    assert loopback.headers["authorization"].startswith("Bearer sk-loopback")


def test_a_parameter_set_to_none_is_not_sent(loopback: Any, tmp_path: Path) -> None:
    ask(loopback.endpoint(temperature=None, max_tokens=None), tmp_path)
    assert set(json.loads(loopback.bodies[0])) == {"model", "messages"}


def test_the_environments_key_goes_to_nobody(loopback: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-another-endpoint")
    ask(loopback.endpoint(api_key=None), tmp_path)
    assert "secret" not in loopback.headers["authorization"]


@pytest.mark.parametrize("changes", [{"model": "other"}, {"temperature": 0.5}, {"extra": {"seed": 1}}])
def test_what_shapes_a_reply_is_in_the_key(loopback: Any, tmp_path: Path, changes: dict[str, Any]) -> None:
    ask(loopback.endpoint(), tmp_path)
    ask(loopback.endpoint(timeout_s=200.0, api_key="another"), tmp_path)
    assert len(loopback.bodies) == 1
    ask(loopback.endpoint(**changes), tmp_path)
    assert len(loopback.bodies) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Response(b"", media_type="application/json"), "not_json"),
        (Response(b"<html>hello</html>", media_type="text/html"), "not_json"),
        (Response(b'{"choices": [{"mess', media_type="application/json"), "not_json"),
        (Response(b"\xff\xfe\x00", media_type="application/json"), "not_json"),
        (Response(b"[" * 100_000, media_type="application/json"), "not_json"),
        ([], "no_choices"),
        ({}, "no_choices"),
        ({"choices": None}, "no_choices"),
        ({"choices": []}, "no_choices"),
        ({"choices": [None]}, "no_content"),
        ({"choices": [{"message": "hi"}]}, "no_content"),
        ({"choices": [{"message": {"content": None}}]}, "no_content"),
        ({"choices": [{"message": {"content": " \n"}}]}, "empty"),
        (JSONResponse({"error": "boom"}, 500), "status_500"),
        (JSONResponse({"error": "too long"}, 400), "status_400"),
    ],
)
def test_garbage_is_a_failure_with_a_reason_and_not_cached(
    loopback: Any, tmp_path: Path, reply: Any, reason: str
) -> None:
    loopback.behave = lambda body, number: reply
    (failed,) = ask(loopback.endpoint(), tmp_path)
    assert isinstance(failed, Failed)
    assert failed.reason == reason
    assert "\n" not in failed.detail
    assert not list(tmp_path.rglob("*.json"))


def test_odd_usage_is_no_usage_and_a_lone_surrogate_no_crash(loopback: Any, tmp_path: Path) -> None:
    reply = {
        "choices": [{"message": {"content": "\ud83d a"}}],
        "usage": {"prompt_tokens": "9", "completion_tokens": -1},
    }
    loopback.behave = lambda body, number: Response(json.dumps(reply), media_type="application/json")
    for _ in range(2):
        assert ask(loopback.endpoint(), tmp_path) == [Completion("\ufffd a")]
    assert len(loopback.bodies) == 1


def test_a_timeout_is_a_failure(loopback: Any, tmp_path: Path) -> None:
    loopback.hold_after = 0
    (failed,) = ask(loopback.endpoint(timeout_s=0.3), tmp_path)
    assert isinstance(failed, Failed)
    assert (failed.reason, failed.detail) == ("timeout", "no reply within 0.3 s")


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_endpoint_is_asked_again(loopback: Any, tmp_path: Path, status: int) -> None:
    good = loopback.behave
    loopback.behave = lambda body, number: (
        JSONResponse({}, status, {"Retry-After": "0.05"}) if number < 3 else good(body, number)
    )
    (reply,) = ask(loopback.endpoint(retries=2), tmp_path)
    assert isinstance(reply, Completion)
    assert len(loopback.bodies) == 3


def test_nobody_there_ends_the_run_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/v1"
    with pytest.raises(EndpointError, match="start the server or fix base_url") as error:
        ask(Endpoint(url, "m", retries=0), tmp_path)
    assert url in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("status", "hint"), [(401, "API key"), (403, "API key"), (404, "base_url")])
def test_a_refusal_at_first_ends_the_run_without_the_key(loopback: Any, tmp_path: Path, status: int, hint: str) -> None:
    loopback.behave = lambda body, number: JSONResponse({"error": f"no:\n{loopback.headers['authorization']}"}, status)
    with pytest.raises(EndpointError, match=hint) as error:
        ask(loopback.endpoint(retries=2), tmp_path)
    assert loopback.url in str(error.value)
    assert "sk-loopback" not in str(error.value)
    assert "\n" not in str(error.value)
    assert len(loopback.bodies) == 1


def test_a_refusal_later_is_counted(loopback: Any, tmp_path: Path) -> None:
    good = loopback.behave
    loopback.behave = lambda body, number: good(body, number) if number != 2 else JSONResponse({}, 404)
    replies = ask(loopback.endpoint(), tmp_path, times=3)
    assert [getattr(reply, "reason", "ok") for reply in replies] == ["ok", "status_404", "ok"]


def test_an_endpoint_that_only_fails_ends_the_run(loopback: Any, tmp_path: Path) -> None:
    loopback.behave = lambda body, number: JSONResponse({"error": "no quota"}, 429)
    with pytest.raises(EndpointError, match=r"failure 20 in a row.*cached"):
        ask(loopback.endpoint(), tmp_path, times=30)
    assert len(loopback.bodies) == 20


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"base_url": "localhost:8000/v1"}, "base_url"),
        ({"base_url": "http://[::1/v1"}, "base_url"),
        ({"base_url": "http://host:99999/"}, "base_url"),
        ({"model": " "}, "model"),
        ({"base_url": "htp://me:secret@host/v1"}, "base_url"),
        ({"base_url": "http://me:secret@host:99999/v1"}, "base_url"),
        ({"base_url": "me:secret@host/v1"}, "base_url"),
        ({"base_url": "host/v1?key=secret"}, "base_url"),
        ({"api_key": "secret\nsecret"}, "api_key"),
        ({"api_key": "secret\u00e9"}, "api_key"),
        ({"api_key": b"secret"}, "api_key"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"retries": -1}, "retries"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_bad_settings_name_the_field_and_not_the_key(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InputError) as error:
        Endpoint(**{"base_url": "http://localhost/v1", "model": "m", **changes})
    assert error.value.field == field
    assert "secret" not in str(error.value)


def test_what_is_shown_holds_no_secret() -> None:
    endpoint = Endpoint("https://me:secret@host:8/v1?key=secret#secret", "m", api_key="secret")
    assert endpoint.public_url == "https://host:8/v1"
    assert "secret" not in json.dumps(endpoint.settings())
    assert "api_key" not in repr(endpoint)


def test_no_log_or_error_shows_a_key_or_password(
    loopback: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    loopback.behave = lambda body, number: JSONResponse({"error": "no: sk-planted-1 a-word-1 bWU6YS13b3JkLTE="}, 401)
    url = loopback.url.replace("http://", "http://me:a-word-1@")
    with pytest.raises(EndpointError) as error:
        ask(Endpoint(f" {url}\n", "m", api_key=" sk-planted-1\n", retries=0), tmp_path)
    assert loopback.headers["authorization"] == "Basic bWU6YS13b3JkLTE="
    shown = str(error.value) + repr(error.value.__cause__) + repr(error.value.__context__)
    shown += "".join(record.getMessage() for record in caplog.records if record.name.startswith(("secateur", "httpx")))
    for secret in ("sk-planted-1", "a-word-1", "bWU6YS13b3JkLTE="):
        assert secret not in shown


def test_without_the_sdk_the_command_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(MissingExtraError, match=r"secateur\[llm\]"):
        ask(Endpoint("http://localhost/v1", "m"), tmp_path)


@pytest.mark.parametrize(
    ("logprobs", "expected"),
    [
        ({"content": [{"top_logprobs": [{"token": "Yes", "logprob": -0.1}]}]}, (("Yes", -0.1),)),
        ({"content": [{"top_logprobs": [{"token": "Yes", "logprob": float("-inf")}]}]}, ()),
        ({"content": [{"top_logprobs": [{"token": "Yes"}]}]}, ()),
        ({"content": []}, ()),
        ({"content": None}, ()),
        (None, ()),
        ("none", ()),
    ],
)
def test_the_log_probabilities_of_the_first_token(logprobs: Any, expected: tuple[tuple[str, float], ...]) -> None:
    choice = {"message": {"content": "Yes"}, "logprobs": logprobs, "finish_reason": "stop"}
    reply = parse_reply(json.dumps({"choices": [choice]}))
    assert reply == Completion("Yes", None, None, "stop", expected)
