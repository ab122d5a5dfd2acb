"""Options that commands share: of pruning, of the model that runs, of a language model at an endpoint."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, get_type_hints

from cyclopts import Parameter
from cyclopts.validators import Number

from secateur.llm.budget import Prices
from secateur.llm.endpoint import Endpoint
from secateur.models.errors import InputError, shown
from secateur.models.options import PruneOptions, option_table
from secateur.models.registry import ModelChoice


def arg(help: str, *names: str, **settings: Any) -> Parameter:
    """Return the help of a parameter, and its names where they are not its own."""
    return Parameter(name=names or None, help=help, **settings)


def flat(*without: str, group: str = "Parameters", **names: str) -> Parameter:
    """Return what makes an option of each field of a dataclass, without some, and with other names for some."""
    return Parameter(
        name="*",
        group=group,
        parse=f"^(?!({'|'.join(without)})$)" if without else None,
        name_transform=lambda name: names.get(name, name).replace("_", "-"),
    )


Switch = Annotated[bool, Parameter(negative=())]
Ray = Annotated[Switch, arg("Whether to run on the Ray cluster of RAY_ADDRESS, or on a local one.")]
Query = Annotated[str, arg("Question or instruction that the passages are pruned for.", "--query", "-q")]
ModelName = Annotated[str, arg("Model directory, or name of a shipped model.")]
DefaultModel = Annotated[str | None, arg("Model directory, or name of a shipped model; secateur-nano-en if unset.")]
Examples = Annotated[Path, arg("Labelled examples: a JSON-lines file, or a directory with one file per source.")]


def _pruning_options(*without: str, **defaults: Any) -> Any:
    """Return a dataclass of the pruning options, without some, and with other defaults for some.

    The help and the range of each come from the option table.
    """
    hints = get_type_hints(PruneOptions)
    columns = []
    for name, option in option_table().items():
        if name not in without:
            default = defaults.get(name, option.default)
            bounds = Number(gte=option.minimum, lte=option.maximum) if option.kind in (int, float) else None
            limits = f" Range: {option.range}." if option.range else ""
            parameter = Parameter(
                help=f"{option.description}{' May be repeated.' if option.many else ''}{limits}",
                validator=bounds,
                negative=None if default is True or (option.kind is bool and option.optional) else (),
            )
            columns.append((name, Annotated[hints[name], parameter], field(default=default)))
    options = make_dataclass("Pruning", columns, frozen=True)
    options.__module__ = __name__  # without it, cyclopts takes the class for a builtin
    return options


if TYPE_CHECKING:
    Pruning = PruneOptions
    PassagePruning = PruneOptions
    ToolPruning = PruneOptions
else:
    Pruning = _pruning_options()
    PassagePruning = _pruning_options("return_units")
    ToolPruning = _pruning_options("return_units", truncate_query=True)

PRUNING = flat(group="Pruning")


@dataclass(frozen=True, slots=True)
class LlmOptions:
    """A language model at an OpenAI-compatible endpoint.

    Attributes:
        base_url: Base URL of the endpoint, such as http://localhost:8000/v1.
        llm: Name of the language model at the endpoint.
        api_key_env: Environment variable with the API key.
        timeout: Time limit of a request, in seconds.
        retries: Number of further attempts after status 429 or 5xx, or a timeout.
        concurrency: Number of concurrent requests.
        prices: Prices of a million input tokens and a million output tokens.
        extra: Further fields of every request, as a JSON object.
    """

    base_url: str | None = None
    llm: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    timeout: float = 60.0
    retries: int = 4
    concurrency: int = 8
    prices: tuple[float, float] | None = None
    extra: str | None = None

    def endpoint(self, **options: Any) -> Endpoint:
        """Return the endpoint, with further arguments of `Endpoint` or others than these."""
        given = {
            "base_url": self.base_url,
            "model": self.llm,
            "api_key": os.environ.get(self.api_key_env),
            "timeout_s": self.timeout,
            "retries": self.retries,
            "extra": _json_object(self.extra) if self.extra else {},
            **options,
        }
        for name, flag in (("base_url", "--base-url"), ("model", "--llm")):
            if given[name] is None:
                raise InputError(flag, "is missing", "give the URL of an endpoint and the name of a model there")
        return Endpoint(**given)

    def charges(self) -> Prices | None:
        """Return the prices."""
        return Prices(*self.prices) if self.prices else None


@dataclass(frozen=True, slots=True)
class LlmJobOptions(LlmOptions):
    """A language model that is asked many times, within a budget.

    Attributes:
        requests_per_minute: Largest number of requests per minute; unlimited if unset.
        max_reply_tokens: Largest number of tokens of a reply.
        temperature: Sampling temperature; `none` leaves it to the endpoint.
        max_cost: Largest cost of the job over all its runs, by --prices; unlimited if unset.
        cache: Directory of cached replies; beside --out if unset.
    """

    LIMITS: ClassVar = ("concurrency", "requests_per_minute", "prices", "max_cost")

    requests_per_minute: float | None = None
    max_reply_tokens: int | None = None
    temperature: float | None = 0.0
    max_cost: float | None = None
    cache: Path | None = None

    def limits(self) -> dict[str, Any]:
        """Return the options of a job that do not belong to its endpoint."""
        return {**{name: getattr(self, name) for name in self.LIMITS}, "prices": self.charges()}

    def job_endpoint(self, reply_tokens: int) -> Endpoint:
        """Return the endpoint, with the largest number of tokens of a reply if the user gives none."""
        tokens = reply_tokens if self.max_reply_tokens is None else self.max_reply_tokens
        return self.endpoint(max_tokens=tokens, temperature=self.temperature)


Model = Annotated[ModelChoice, flat(group="Model")]
LlmJob = Annotated[LlmJobOptions, flat(group="Language model")]


def _json_object(text: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise InputError("--extra", f"{shown(text)} is not a JSON object", 'give one such as {"seed": 1}')
    return value
