"""Any OpenAI-compatible chat endpoint: its settings, and a client that caches replies and counts failures."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from secateur.llm.budget import Budget, Pace
from secateur.llm.cache import Completion, ReplyCache, request_key
from secateur.llm.credentials import Redaction, basic_authorization, header_key, public_url, secrets_of
from secateur.models.errors import InputError, MissingExtraError, SecateurError, shown
from secateur.models.requests import replace_surrogates

if TYPE_CHECKING:
    from openai import AsyncOpenAI

log = logging.getLogger(__name__)

Message = Mapping[str, str]

_LONGEST_WAIT_S = 120.0  # the most that the SDK lets a server's Retry-After ask for
_SHORTEST_SECRET = 12  # characters; shorter keys are stand-ins such as EMPTY, and also words of answers
_PATIENCE = 20  # failures in a row after which going on only costs the user time
_HOPELESS = {
    "connection": "start the server or fix base_url",
    "status_401": "give a valid API key",
    "status_403": "give an API key that may use this model",
    "status_404": "fix base_url (it usually ends in /v1) or the model's name",
}


class EndpointError(SecateurError):
    """An endpoint cannot be used at all, so the run ends; every reply until then is cached."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how a chat model is asked.

    Args:
        base_url: of the API, e.g. ``http://localhost:8000/v1``.
        model: its name there.
        api_key: sent as a bearer token; never written, logged or shown. White space around it is left out, and an empty
            one is none.
        timeout_s: seconds that the endpoint may take for one try.
        retries: further tries after a timeout, a lost connection, or a status 408, 409, 429 or 5xx.
        max_tokens: most tokens of a reply; None leaves it to the endpoint.
        temperature: of sampling; None does not send it, which some reasoning models insist on.
        extra: further fields of the request, e.g. ``{"max_completion_tokens": 2000}``.

    Raises:
        InputError: one of them is wrong.
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
        if not self.timeout_s > 0:
            raise InputError("timeout_s", f"{self.timeout_s!r} is not positive", "give seconds")
        if self.retries < 0:
            raise InputError("retries", f"{self.retries!r} is negative", "give 0 or more")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise InputError("max_tokens", f"{self.max_tokens!r} is less than 1", "give 1 or more, or None")

    @property
    def public_url(self) -> str:
        """The base URL without the parts that can hold a secret: user, password, query and fragment."""
        return public_url(self.base_url)

    @property
    def sent_url(self) -> str:
        """The base URL without user and password, for what is sent to is also logged by the SDK."""
        parts = urlsplit(self.base_url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    @property
    def parameters(self) -> dict[str, Any]:
        """The fields of a request that shape the reply, beside model and messages."""
        own = {"max_tokens": self.max_tokens, "temperature": self.temperature}
        return {**{name: value for name, value in own.items() if value is not None}, **self.extra}

    def settings(self) -> dict[str, Any]:
        """Return what a report may say about the endpoint; the API key is not in it."""
        return {
            "base_url": self.public_url,
            "model": self.model,
            "timeout_s": self.timeout_s,
            "retries": self.retries,
            "parameters": self.parameters,
        }


@dataclass(frozen=True, slots=True)
class Failed:
    """A request without a usable reply.

    Attributes:
        reason: ``timeout``, ``connection``, ``status_CODE``, ``not_json``, ``no_choices``, ``no_content`` (a choice
            without a text) or ``empty`` (a text of white space).
        detail: one line for people.
    """

    reason: str
    detail: str


def _count(usage: Any, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if type(value) is int and value >= 0 else None


# A chat template may have written the opening tag, and a token limit may have cut off the closing one.
_THOUGHT = re.compile(r"\A.*</(?:think|thinking|reasoning)>|<(?:think|thinking|reasoning)>.*\Z", re.DOTALL)


def without_thoughts(text: str) -> str:
    """Return a reply without what a reasoning model thought in ``<think>`` tags."""
    return _THOUGHT.sub("", text).strip()


def _first_tokens(choice: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    try:
        found = choice["logprobs"]["content"][0]["top_logprobs"]
        tokens = [(replace_surrogates(one["token"]), float(one["logprob"])) for one in found]
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return ()
    # Some servers write tokens that cannot come as -inf, which JSON has no word for.
    return tuple((token, value) for token, value in tokens if math.isfinite(value))


def parse_reply(body: str) -> Completion | Failed:
    """Read a chat completion, trusting nothing about it.

    Args:
        body: of a response with a good status.
    """
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        return Failed("not_json", f"the reply is not JSON: {shown(body)}")
    choices = reply.get("choices") if isinstance(reply, dict) else None
    if not isinstance(choices, list) or not choices:
        return Failed("no_choices", f"the reply has no choices: {shown(reply)}")
    choice = choices[0] if isinstance(choices[0], dict) else {}
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else None
    finish = choice.get("finish_reason")
    finish = finish if isinstance(finish, str) else None
    if not isinstance(text, str):
        return Failed("no_content", f"the first choice has no text (finish_reason {finish!r})")
    if not text.strip():
        return Failed("empty", f"the text is empty (finish_reason {finish!r})")
    usage = reply.get("usage")
    prompt_tokens, completion_tokens = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    tokens = _first_tokens(choice)
    return Completion(replace_surrogates(text), prompt_tokens, completion_tokens, finish, tokens)


def _clean(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{name: replace_surrogates(value) for name, value in message.items()} for message in messages]


class ChatClient:
    """Asks an endpoint, through a cache. Use it as an async context manager.

    Args:
        endpoint: whom to ask.
        cache: of replies. Failures are not stored: the next run asks again.
        slots: bounds the calls under way; clients that share it share the bound.
        budget: bounds what requests cost; may be shared likewise.
        pace: spaces requests; may be shared likewise.

    Attributes:
        calls: requests sent, further tries not counted.
        hits: requests answered from the cache.

    Raises:
        MissingExtraError: the `openai` package is not installed.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        cache: ReplyCache,
        slots: asyncio.Semaphore,
        budget: Budget | None = None,
        pace: Pace | None = None,
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
        self._pace = pace or Pace()
        self._under_way: dict[str, asyncio.Task[Completion | Failed]] = {}
        self._succeeded = False
        self._failures_in_a_row = 0
        basic = basic_authorization(endpoint.base_url)
        key = [endpoint.api_key] if endpoint.api_key is not None else []
        self._hide = Redaction([*secrets_of(endpoint.base_url), *key])
        self._client: AsyncOpenAI = AsyncOpenAI(
            base_url=endpoint.sent_url,
            default_headers={"Authorization": basic} if basic is not None else None,
            # Without a key the SDK would send the one in OPENAI_API_KEY, whoever the endpoint is.
            api_key=endpoint.api_key or "none",
            timeout=endpoint.timeout_s,
            max_retries=endpoint.retries,
        )

    async def __aenter__(self) -> ChatClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    def _key(self, messages: Sequence[Message]) -> str:
        return request_key(
            {
                # Two servers can give one name to two models (or quantisations); a wrong hit would be a wrong figure,
                # a missed one after a change of address costs only calls.
                "base_url": self.endpoint.base_url,
                "model": self.endpoint.model,
                "messages": messages,
                "parameters": self.endpoint.parameters,
            }
        )

    def cached(self, messages: Sequence[Message]) -> Completion | None:
        """Return the reply to a conversation if an earlier run has it."""
        return self._cache.get(self._key(_clean(messages)))

    async def ask(self, messages: Sequence[Message]) -> Completion | Failed:
        """Return the reply to a conversation, from the cache or from the endpoint; equal ones are asked once.

        Args:
            messages: mappings with ``role`` and ``content``.

        Raises:
            EndpointError: the endpoint cannot be reached, refuses the key or does not know the model before any reply
                came, or failed many times in a row.
            BudgetError: the request could cost more than is left.
            DataError: the cache cannot be written.
        """
        clean = _clean(messages)
        key = self._key(clean)
        task = self._under_way.get(key)
        if task is not None:
            self.hits += 1
            return await task
        stored = self._cache.get(key)
        if stored is not None:
            self.hits += 1
            return stored
        task = asyncio.ensure_future(self._fetch(key, clean))
        self._under_way[key] = task
        task.add_done_callback(lambda _: self._under_way.pop(key))
        return await task

    async def _fetch(self, key: str, messages: list[dict[str, str]]) -> Completion | Failed:
        async with self._slots:
            reserved = await self._budget.reserve(messages, self.endpoint.max_tokens)
            reply: Completion | Failed | None = None
            try:
                await self._pace.wait()
                self.calls += 1
                reply = await self._send(messages)
            finally:
                await self._budget.settle(reserved, messages, reply if isinstance(reply, Completion) else None)
        if isinstance(reply, Failed):
            self._note(reply)
        else:
            self._succeeded, self._failures_in_a_row = True, 0
            self._cache.put(key, reply)
        return reply

    async def _send(self, messages: Sequence[Message]) -> Completion | Failed:
        import openai

        endpoint = self.endpoint
        # The SDK's timeout is one of silence: a server that drips bytes never meets it.
        patience = (endpoint.retries + 1) * endpoint.timeout_s + endpoint.retries * _LONGEST_WAIT_S
        try:
            async with asyncio.timeout(patience):
                response = await self._client.chat.completions.with_raw_response.create(
                    model=endpoint.model,
                    messages=messages,  # type: ignore[arg-type] # the SDK wants one type a role
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
        return parse_reply(self._redact(response.http_response.content.decode("utf-8", "replace")))

    def _redact(self, text: str) -> str:
        """Take the API key out of a reply, which is written down; in one, a short key may just be a word."""
        key = self.endpoint.api_key or ""
        return text.replace(key, "[API key]") if len(key) >= _SHORTEST_SECRET else text

    def _note(self, failure: Failed) -> None:
        """Log a failure, and end the run where asking on is of no use.

        Raises:
            EndpointError: it is of no use.
        """
        log.warning("%s: %s", self.endpoint.public_url, failure.detail)
        self._failures_in_a_row += 1
        where = f"{self.endpoint.public_url}, model {self.endpoint.model!r}: {failure.detail}"
        if not self._succeeded and failure.reason in _HOPELESS:
            raise EndpointError(f"{where}; {_HOPELESS[failure.reason]}")
        if self._failures_in_a_row >= _PATIENCE:
            raise EndpointError(
                f"{where}; that was failure {self._failures_in_a_row} in a row: fix the endpoint and run again, "
                "replies so far are cached"
            )
