"""Settings of the service: from flags of `secateur serve`, `SECATEUR_*` environment variables, or arguments."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from limits import parse
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo
from pydantic.config import JsonDict
from pydantic.functional_validators import AfterValidator, BeforeValidator, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from secateur.models.registry import BACKENDS, DEVICES, PRECISIONS, BackendName, DeviceName, PrecisionName, either

SECRET: JsonDict = {"secret": True}  # a flag would show it to everyone who can list processes
ROOT_PATH = r"(?:/(?!\.+(?:/|$))[\w.~-]+)*"  # empty, or a path without a slash at its end


def _list(value: Any) -> Any:
    """Read a list from a variable or a flag: JSON, or items separated by commas."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    return json.loads(text) if text.startswith("[") else [part.strip() for part in text.split(",") if part.strip()]


def _check(accepts: Callable[[str], object], hint: str) -> AfterValidator:
    """Refuse a value for which a function raises ValueError or returns nothing."""

    def checked(value: str) -> str:
        try:
            accepted = accepts(value)
        except ValueError:
            accepted = None
        if not accepted:
            raise ValueError(hint)
        return value

    return AfterValidator(checked)


# pydantic-settings alone would accept only JSON from the environment.
_LIST = (NoDecode, BeforeValidator(_list))
_Prefix = Annotated[
    str,
    AfterValidator(lambda path: path.rstrip("/")),
    _check(re.compile(ROOT_PATH, re.ASCII).fullmatch, "give a path such as /prune, of letters, digits and ._~-"),
]
_Proxy = Annotated[
    str,
    _check(lambda proxy: proxy == "*" or ip_network(proxy), "give an address, a network such as 10.0.0.0/8, or *"),
]
_Rate = Annotated[str, _check(parse, "give a number and a unit of time, such as 600/minute")]
_Endpoint = Annotated[str, _check(re.compile("https?://").match, "give an http:// or https:// URL")]
_MIN_BODIES_BYTES = 64 * 2**20  # a batch needs a megabyte of memory, however small the largest body is


class _OneModel(BaseModel):
    model: str | None = Field(None, description="Model directory or name of a shipped model; the default if unset.")
    backend: BackendName = Field("auto", description=f"Backend: {either(BACKENDS)}.")
    device: DeviceName = Field("auto", description=f"Device: {either(DEVICES)}.")
    precision: PrecisionName = Field("auto", description=f"Precision of the ONNX file: {either(PRECISIONS)}.")
    threads: int | None = Field(
        None, ge=1, description="Number of threads of the CPU backends; one per processor if unset."
    )
    verify: bool = Field(True, description="Whether to compare the model's files with its secateur.sha256.")


class ModelSettings(_OneModel):
    """A model to serve."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str | None = Field(None, description="Name of the model in requests; the model's own name if unset.")


class Settings(_OneModel, BaseSettings):
    """Settings of the service."""

    model_config = SettingsConfigDict(
        env_prefix="SECATEUR_",
        extra="forbid",
        frozen=True,
        validate_default=False,  # validators see only given values: given keys must not be empty
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 for any free port.")
    root_path: _Prefix = Field(
        "", description="Path prefix behind a proxy, such as /prune, whether or not the proxy removes it."
    )

    models: Annotated[tuple[ModelSettings, ...], *_LIST] = Field(
        (), description='Several models as JSON, the default model first: [{"model": DIR, "name": NAME}, ...].'
    )
    warm_up: bool = Field(True, description="Whether to run each model once before the service is ready.")

    timeout_ms: int = Field(30_000, ge=1, description="Time limit of a request without X-Request-Timeout-Ms.")
    max_timeout_ms: int = Field(300_000, ge=1, description="Largest accepted X-Request-Timeout-Ms.")
    receive_timeout_s: float = Field(
        30.0, gt=0, description="Time limit for the headers and for the body, in seconds; one more per 64 KiB of body."
    )
    max_queue_tokens: int = Field(
        262_144, ge=1, description="Largest number of tokens of a request and the requests before it; else 429."
    )
    step_tokens: int | None = Field(
        None, ge=1, description="Number of tokens per step of the engine; 4096, or 32768 on CUDA, if unset."
    )
    drain_s: int = Field(30, ge=0, description="Time for running requests to finish after SIGTERM, in seconds.")

    max_body_bytes: int = Field(32 * 2**20, ge=1, description="Largest body of a request; else 413.")
    max_bodies_bytes: int | None = Field(
        None,
        ge=1,
        description="Largest total size of all bodies over 64 KiB in memory; else 429. "
        "Four times the largest body, and at least 64 MiB, if unset.",
    )
    max_batch_bytes: int = Field(256 * 2**20, ge=1, description="Largest body of /v1/prune/batch; else 413.")
    max_connections: int = Field(
        2048,
        ge=1,
        description="Largest number of open connections; a new one replaces one whose request is incomplete.",
    )
    max_passages: int = Field(10_000, ge=1, description="Largest number of passages of a request; else 422.")
    max_characters: int = Field(
        4_000_000, ge=1, description="Largest number of characters of all passages and titles of a request; else 422."
    )
    max_returned_units: int = Field(
        100_000, ge=1, description="Largest number of units for return_units or relevant_spans; else 422."
    )
    max_query_characters: int = Field(20_000, ge=1, description="Largest number of characters of a query; else 422.")

    api_keys: Annotated[tuple[SecretStr, ...], *_LIST] = Field(
        (), description="API keys, separated by commas; requests need none if unset.", json_schema_extra=SECRET
    )
    api_keys_file: Path | None = Field(
        None,
        description="File with one API key, or sha256: and its SHA-256 in hexadecimal, per line; read again on SIGHUP.",
    )
    metrics_need_key: bool = Field(False, description="Whether /metrics needs an API key.")
    rate_limit: _Rate | None = Field(
        None,
        description="Largest rate of requests per key, or without keys per address, such as 600/minute or 20/second.",
    )
    cors_origins: Annotated[tuple[str, ...], *_LIST] = Field(
        (), description="Origins of web pages that may call the service, separated by commas; * for any."
    )
    trusted_proxies: Annotated[tuple[_Proxy, ...], *_LIST] = Field(
        (),
        description="Addresses or networks of proxies whose X-Forwarded-For, -Proto and -Prefix are trusted, "
        "separated by commas; * for any.",
    )

    log_format: Literal["json", "text"] = Field("json", description="Log format: json or text.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Minimum log level: debug, info, warning or error."
    )
    log_text: bool = Field(False, description="Whether to log and trace the text of queries and passages.")
    otlp_endpoint: _Endpoint | None = Field(
        None,
        description="OTLP endpoint over HTTP for traces, such as http://collector:4318/v1/traces; no traces if unset.",
    )

    cache: str = Field("off", repr=False, description="Cache for scores: off, memory, or a redis:// URL.")
    redis_password: SecretStr | None = Field(None, description="Password of Redis.", json_schema_extra=SECRET)
    redis_password_file: Path | None = Field(None, description="File with the password of Redis.")
    cache_mb: int = Field(256, ge=1, description="Size of the cache in memory, in MiB.")
    cache_expire_s: int = Field(86_400, ge=1, description="Lifetime of an entry in Redis, in seconds.")

    @field_validator("max_bodies_bytes")
    @classmethod
    def _check_bodies(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and value < (largest := info.data.get("max_body_bytes", 0)):
            raise ValueError(f"give at least {largest}, the size of the largest body")
        return value

    @field_validator("api_keys")
    @classmethod
    def _check_keys(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not value:  # whoever sets it without a key does not want an open service
            raise ValueError("give at least one key, or unset it to allow every request")
        return value

    @field_validator("metrics_need_key")
    @classmethod
    def _check_metrics(cls, value: bool, info: ValidationInfo) -> bool:
        if value and not (info.data.get("api_keys", True) or info.data.get("api_keys_file", True)):
            raise ValueError("also set SECATEUR_API_KEYS or SECATEUR_API_KEYS_FILE")
        return value

    def all_bodies_bytes(self) -> int:
        """Return the limit on all bodies in memory together."""
        return self.max_bodies_bytes or max(4 * self.max_body_bytes, _MIN_BODIES_BYTES)

    def all_models(self) -> tuple[ModelSettings, ...]:
        """Return the models to serve, the default model first."""
        one = {name: getattr(self, name) for name in ModelSettings.model_fields if name != "name"}
        return self.models or (ModelSettings(**one),)
