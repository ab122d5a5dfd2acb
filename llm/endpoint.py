"""OpenAI-compatible chat endpoints: their settings, and a client that caches replies and counts failures."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from secateur.llm.budget import Budget, pace
from secateur.llm.cache import Completion, ReplyCache, request_key
from secateur.llm.credentials import Redaction, basic_authorization, header_key, public_url, secrets_of
from secateur.models.errors import InputError, MissingExtraError, SecateurError, shown
from secateur.models.requests import replace_surrogates

if TYPE_CHECKING:
    from openai import AsyncOpenAI

log = logging.getLogger(__name__)

Message = Mapping[str, str]

_LONGEST_WAIT_S = 120.0  # longest Retry-After that the SDK accepts
_SHORTEST_SECRET = 12  # characters; shorter keys are placeholders such as EMPTY, and also words of replies
_MAX_FAILURES = 20  # consecutive failures after which the run ends
_HINTS = {  # for failures that end the run if they come before any reply
    "connection": "start the server or fix base_url",
    "status_401": "give a valid API key",
    "status_403": "give an API key that may use this model",
    "status_404": "fix base_url (it usually ends in /v1) or the model's name",
}


class EndpointError(SecateurError):
    """The endpoint cannot be used, so the run ends. Every reply until then is cached."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Address and settings of a chat model; `InputError` for one that is not valid.

    Args:
        base_url: Base URL of the API, e.g. ``http://localhost:8000/v1``.
        model: Name of the model.
        api_key: Bearer token, never written, logged or shown; surrounding white space is removed.
        timeout_s: Time limit for one attempt, in seconds.
        retries: Further attempts after a timeout, a lost connection, or a status 408, 409, 429 or 5xx.
        max_tokens: Largest number of tokens of a reply; None for the endpoint's own limit.
        temperature: Sampling temperature; None does not send it, as some reasoning models require.
        extra: Further fields of the request, e.g. ``{"max_completion_tokens": 2000}``.
    """

    base_url: str = field(repr=False)
    model: str
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 60.0
    retries: int = 2
    max_tokens: int | None = 256
    temperature: float | None = 0.0
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_url", self.base_url.strip())
        try:
            parts = urlsplit(self.base_url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            problem = f"{shown(public_url(self.base_url))} is not an HTTP address"
            raise InputError("base_url", problem, "give one such as http://localhost:8000/v1")
        if not self.model.strip():
            raise InputError("model", "is empty", "give the model's name at the endpoint")
        object.__setattr__(self, "api_key", header_key(self.api_key))
        for name, valid, hint in (
            ("timeout_s", self.timeout_s > 0, "give seconds, more than 0"),
            ("retries", self.retries >= 0, "give 0 or more"),
            ("max_tokens", self.max_tokens is None or self.max_tokens >= 1, "give 1 or more, or None"),
        ):
            if not valid:
                raise InputError(name, f"{getattr(self, name)!r} is too small", hint)

    @property
    def public_url(self) -> str:
        """The base URL without what may hold secrets."""
        return public_url(self.base_url)

    @property
    def parameters(self) -> dict[str, Any]:
        """The fields of a request that shape the reply, besides model and messages."""
        own = {"max_tokens": self.max_tokens, "temperature": self.temperature}
        return {**{name: value for name, value in own.items() if value is not None}, **self.extra}

    def settings(self) -> dict[str, Any]:
        """Return the settings for a report, without the API key."""
        shown_fields = {name: getattr(self, name) for name in ("model", "timeout_s", "retries", "parameters")}
        return {"base_url": self.public_url, **shown_fields}


@dataclass(frozen=True, slots=True)
class Failed:
    """A request without a usable reply, with a reason and a line for people.

    The reason is ``timeout``, ``connection``, ``status_CODE``, ``not_json``, ``no_choices``, ``no_content`` (a choice
    without a text) or ``empty`` (only white space).
    """

    reason: str
    detail: str


# A chat template may have written the opening tag, and a token limit may have cut off the closing one.
_THOUGHT = re.compile(r"\A.*</(?:think|thinking|reasoning)>|<(?:think|thinking|reasoning)>.*\Z", re.DOTALL)


def without_thoughts(text: str) -> str:
    """Return a reply without the ``<think>`` section of a reasoning model."""
    return _THOUGHT.sub("", text).strip()


def _first_tokens(choice: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    try:
        found = choice["logprobs"]["content"][0]["top_logprobs"]
        tokens = [(replace_surrogates(one["token"]), float(one["logprob"])) for one in found]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return ()
    # Some servers send -inf for impossible tokens, which JSON cannot represent.
    return tuple((token, value) for token, value in tokens if math.isfinite(value))


def parse_reply(body: str) -> Completion | Failed:
    """Parse the body of a successful response, without trusting it."""
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return Failed("not_json", f"the reply is not JSON: {shown(body)}")
    match reply:
        case {"choices": [choice, *_]}:
            choice = choice if isinstance(choice, dict) else {}
        case _:
            return Failed("no_choices", f"the reply has no choices: {shown(reply)}")
    finish = choice.get("finish_reason")
    finish = replace_surrogates(finish) if isinstance(finish, str) else None
    match choice:
        case {"message": {"content": str(text)}} if text.strip():
            usage = reply.get("usage")
            found = usage if isinstance(usage, dict) else {}
            counts = (found.get(name) for name in ("prompt_tokens", "completion_tokens"))
            prompt, completion = (one if type(one) is int and one >= 0 else None for one in counts)
            return Completion(replace_surrogates(text), prompt, completion, finish, _first_tokens(choice))
        case {"message": {"content": str()}}:
            return Failed("empty", f"the text is empty (finish_reason {finish!r})")
    return Failed("no_content", f"the first choice has no text (finish_reason {finish!r})")


def _clean(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{name: replace_surrogates(value) for name, value in message.items()} for message in messages]


class ChatClient:
    """Sends conversations to an endpoint, through a cache. Use it as an async context manager.

    Args:
        endpoint: The endpoint.
        cache: Cache of replies. Failures are not stored, so the next run tries them again.
        slots: Limit of concurrent requests; clients may share it.
        budget: Limit of costs; may be shared.
        pacing: What each request enters first, see `pace`; may be shared.

    Attributes:
        calls: Number of requests, without retries.
        hits: Number of requests answered from the cache.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        cache: ReplyCache,
        slots: asyncio.Semaphore,
        budget: Budget | None = None,
        pacing: AbstractAsyncContextManager[None] | None = None,
    ) -> None:
        try:
            from openai import AsyncOpenAI
        except ImportError as error:
            raise MissingExtraError("openai", "llm") from error
        self.endpoint = endpoint
        self.calls = 0
        self.hits = 0
        self._cache = cache
        self._slots = slots
        self._budget = budget or Budget()
        self._pacing = pacing or pace(None)
        self._running: dict[str, asyncio.Task[Completion | Failed]] = {}
        self._succeeded = False
        self._failures_in_a_row = 0
        basic = basic_authorization(endpoint.base_url)
        self._hide = Redaction([*secrets_of(endpoint.base_url), endpoint.api_key or ""])
        parts = urlsplit(endpoint.base_url)
        # The SDK's HTTP client takes proxies from the environment (HTTPS_PROXY, NO_PROXY), which is what we want: often
        # a proxy is the only way to an endpoint, and unlike our own client no explicit proxy setting competes with it.
        self._client: AsyncOpenAI = AsyncOpenAI(
            base_url=parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(),  # the SDK logs it
            default_headers={"Authorization": basic} if basic is not None else None,
            api_key=endpoint.api_key or "none",  # without a key the SDK would send OPENAI_API_KEY to any endpoint
            timeout=endpoint.timeout_s,
            max_retries=endpoint.retries,
        )

    async def __aenter__(self) -> ChatClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    def _key(self, messages: Sequence[Message]) -> str:
        endpoint = self.endpoint
        # Servers may use one name for different models or quantisations. A wrong hit would be a wrong result; a miss
        # after a change of address costs only requests.
        request = {"base_url": endpoint.base_url, "model": endpoint.model, "parameters": endpoint.parameters}
        return request_key({**request, "messages": messages})

    def cached(self, messages: Sequence[Message]) -> Completion | None:
        """Return the reply to a conversation if it is in the cache; its cost counts towards the budget."""
        clean = _clean(messages)
        return self._stored(self._key(clean), clean)

    def _stored(self, key: str, messages: Sequence[Message]) -> Completion | None:
        reply = self._cache.get(key)
        if reply is not None:
            self._budget.count(key, messages, reply)
        return reply

    async def ask(self, messages: Sequence[Message]) -> Completion | Failed:
        """Return the reply to messages, from the cache or the endpoint. Equal conversations are sent once.

        Raises:
            EndpointError: Before any reply, the endpoint cannot be reached, refuses the key or does not know the model;
                or it fails many times in a row.
            BudgetError: The request might exceed the budget.
        """
        clean = _clean(messages)
        key = self._key(clean)
        task = self._running.get(key)
        if task is None:
            if (stored := self._stored(key, clean)) is not None:
                self.hits += 1
                return stored
            task = self._running[key] = asyncio.ensure_future(self._fetch(key, clean))
            task.add_done_callback(lambda _: self._running.pop(key))
        else:
            self.hits += 1
        return await task

    async def _fetch(self, key: str, messages: list[dict[str, str]]) -> Completion | Failed:
        async with self._slots, self._budget.reserved(messages, self.endpoint.max_tokens):
            async with self._pacing:
                self.calls += 1
            reply = await self._send(messages)
            if isinstance(reply, Completion):
                self._budget.count(key, messages, reply)
        if isinstance(reply, Failed):
            self._note(reply)
        else:
            self._succeeded, self._failures_in_a_row = True, 0
            self._cache.put(key, reply)
        return reply

    async def _send(self, messages: Sequence[Message]) -> Completion | Failed:
        import openai

        endpoint = self.endpoint
        # The SDK's timeout starts again with every byte, so a slow server could take forever.
        limit = (endpoint.retries + 1) * endpoint.timeout_s + endpoint.retries * _LONGEST_WAIT_S
        try:
            async with asyncio.timeout(limit):
                response = await self._client.chat.completions.with_raw_response.create(
                    model=endpoint.model,
                    messages=messages,  # type: ignore[arg-type] # the SDK has a type for each role
                    extra_body=endpoint.parameters,
                )
        except (openai.APITimeoutError, TimeoutError):
            return Failed("timeout", f"no reply within {endpoint.timeout_s:g} s")
        except openai.APIStatusError as error:
            body = " ".join(self._hide(error.response.text).split())
            return Failed(f"status_{error.status_code}", f"status {error.status_code}: {shown(body, 200)}")
        except openai.OpenAIError as error:
            cause = error.__cause__ or error
            return Failed("connection", self._hide(f"{type(cause).__name__}: {cause}"))
        body = response.http_response.content.decode("utf-8", "replace")
        key = endpoint.api_key or ""
        return parse_reply(body.replace(key, "[API key]") if len(key) >= _SHORTEST_SECRET else body)

    def _note(self, failure: Failed) -> None:
        """Log a failure, and end the run by an EndpointError if further requests are useless."""
        log.warning("%s: %s", self.endpoint.public_url, failure.detail)
        self._failures_in_a_row += 1
        where = f"{self.endpoint.public_url}, model {self.endpoint.model!r}: {failure.detail}"
        if not self._succeeded and failure.reason in _HINTS:
            raise EndpointError(f"{where}; {_HINTS[failure.reason]}")
        if self._failures_in_a_row >= _MAX_FAILURES:
            raise EndpointError(
                f"{where}; that was failure {self._failures_in_a_row} in a row: fix the endpoint and run again, "
                "replies so far are cached"
            )
