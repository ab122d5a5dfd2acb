"""What the service is started with: `SECATEUR_*` in the environment, flags of `secateur serve`, or arguments here."""

from __future__ import annotations

import json
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationInfo, field_validator
from pydantic.config import JsonDict
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Backend = Literal["auto", "openvino", "onnx", "torch"]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "int8", "fp16"]
ROOT_PATH = r"(?:/(?!\.+(?:/|$))[\w.~-]+)*"  # none, or a path without a slash at its end


def _listed(value: Any) -> Any:
    """Read a list from a variable or a flag: JSON, or parts between commas."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    return json.loads(text) if text.startswith("[") else [part.strip() for part in text.split(",") if part.strip()]


# pydantic-settings would take a list from the environment as JSON only, and from a flag not at all.
_LIST = (NoDecode, BeforeValidator(_listed))
_LEAST_BODIES_BYTES = 64 * 2**20  # a batch holds a megabyte in memory, however small the largest body is
ENV_ONLY: JsonDict = {"flag": False}  # a flag would show a secret to everyone who lists processes


class ModelSettings(BaseModel):
    """One model to serve."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(
        default=None, description="A model directory or the name of a shipped model; default: the shipped one."
    )
    name: str | None = Field(default=None, description="Name in requests; default: the model's own.")
    backend: Backend = Field(default="auto", description="auto, openvino, onnx or torch.")
    device: Device = Field(default="auto", description="auto, cpu or cuda.")
    precision: Precision = Field(default="auto", description="Of the ONNX file: auto, int8 or fp16.")
    threads: int | None = Field(default=None, ge=1, description="Of CPU runtimes; default: one a processor.")
    verify: bool = Field(default=True, description="Compare the model's files with the sums in its secateur.sha256.")


class Settings(BaseSettings):
    """Settings of the service."""

    model_config = SettingsConfigDict(
        env_prefix="SECATEUR_",
        extra="forbid",
        frozen=True,
        validate_default=False,  # validators see what was given: keys that are given must not be none
    )

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 for any free one.")

    root_path: str = Field(
        "", description="Path that a proxy serves the service under, like /prune, whether or not it takes it off."
    )

    model: str | None = Field(
        None, description="A model directory or the name of a shipped model; default: the shipped one."
    )
    backend: Backend = Field("auto", description="auto, openvino, onnx or torch.")
    device: Device = Field("auto", description="auto, cpu or cuda.")
    precision: Precision = Field("auto", description="Of the ONNX file: auto, int8 or fp16.")
    threads: int | None = Field(None, ge=1, description="Of CPU runtimes; default: one a processor.")
    verify: bool = Field(True, description="Compare the model's files with the sums in its secateur.sha256.")
    models: Annotated[tuple[ModelSettings, ...], *_LIST] = Field(
        (), description='Several models, the default one first, as JSON: [{"model": DIR, "name": NAME}, ...].'
    )
    warm_up: bool = Field(True, description="Run each model once before it is ready.")

    timeout_ms: int = Field(
        30_000, ge=1, description="Time that a request has unless its X-Request-Timeout-Ms says less or more."
    )
    max_timeout_ms: int = Field(300_000, ge=1, description="Most that X-Request-Timeout-Ms may ask for.")
    receive_timeout_s: float = Field(
        30.0, gt=0, description="Seconds for a request's head, and for its body; a body has one more for each 64 KiB."
    )
    max_queue_tokens: int = Field(
        262_144, ge=1, description="Tokens of a request and of what is ahead of it in the queue; more gives 429."
    )
    step_tokens: int | None = Field(
        None, ge=1, description="Tokens that an engine runs at once; default: 4096, on CUDA 32768."
    )
    drain_s: int = Field(30, ge=0, description="Seconds that requests have to finish after SIGTERM.")

    max_body_bytes: int = Field(32 * 2**20, ge=1, description="Largest body of a request; more gives 413.")
    max_bodies_bytes: int | None = Field(
        None,
        ge=1,
        description="What all bodies in memory may have together, those up to 64 KiB not counted; more gives 429. "
        "Default: four times the largest body, and at least 64 MiB.",
    )
    max_batch_bytes: int = Field(256 * 2**20, ge=1, description="Largest body of /v1/prune/batch; more gives 413.")
    max_connections: int = Field(
        2048, ge=1, description="Most open connections; a new one takes the place of one that has no whole request."
    )
    max_passages: int = Field(10_000, ge=1, description="Most passages of a request; more gives 422.")
    max_characters: int = Field(
        4_000_000, ge=1, description="Most characters of a request's passages and titles together; more gives 422."
    )
    max_returned_units: int = Field(
        100_000, ge=1, description="Most units that return_units, or relevant_spans, may ask for; more gives 422."
    )
    max_query_characters: int = Field(20_000, ge=1, description="Most characters of a query; more gives 422.")

    api_keys: Annotated[tuple[SecretStr, ...], *_LIST] = Field(
        (), description="Keys, one of which a request must have, with commas between.", json_schema_extra=ENV_ONLY
    )
    api_keys_file: Path | None = Field(
        None, description="File with a key, or sha256: and a key's SHA-256 in hex, on each line; read again on SIGHUP."
    )
    metrics_need_key: bool = Field(False, description="Ask for a key at /metrics too.")
    rate_limit: str | None = Field(
        None, description="Requests that a key, or without keys an address, may make: 600/minute, or 20/second."
    )
    cors_origins: Annotated[tuple[str, ...], *_LIST] = Field(
        (), description="Origins whose pages may call the service, with commas between; * for any."
    )
    trusted_proxies: Annotated[tuple[str, ...], *_LIST] = Field(
        (),
        description="Addresses or networks whose X-Forwarded-For, -Proto and -Prefix are believed; * for any. "
        "Default: none.",
    )

    log_format: Literal["json", "text"] = Field("json", description="json, an object a line, or text.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least that is logged: debug, info, warning or error."
    )
    log_text: bool = Field(False, description="Log, and trace, the text of queries and passages.")
    otlp_endpoint: str | None = Field(
        None,
        description="Where traces go by OTLP over HTTP, such as http://collector:4318/v1/traces; default: nowhere.",
    )

    cache: str = Field("off", repr=False, description="Cache for scores: off, memory, or a redis:// URL.")
    redis_password: SecretStr | None = Field(None, description="Password of Redis.", json_schema_extra=ENV_ONLY)
    redis_password_file: Path | None = Field(None, description="File with the password of Redis.")
    cache_mb: int = Field(256, ge=1, description="Size of the cache in memory.")
    cache_expire_s: int = Field(86_400, ge=1, description="Seconds that Redis keeps an entry.")

    @field_validator("root_path")
    @classmethod
    def _is_a_path(cls, value: str) -> str:
        path = value.rstrip("/")
        if not re.fullmatch(ROOT_PATH, path, re.ASCII):
            raise ValueError("give a path like /prune, of letters, digits and ._~-")
        return path

    @field_validator("max_bodies_bytes")
    @classmethod
    def _holds_a_body(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and value < (largest := info.data.get("max_body_bytes", 0)):
            raise ValueError(f"give at least {largest}, the bytes that one body may have")
        return value

    @field_validator("api_keys")
    @classmethod
    def _are_keys(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        if not value:  # set, and without a key: whoever did that does not want an open service
            raise ValueError("give at least one key, or unset it to let everyone in")
        return value

    @field_validator("metrics_need_key")
    @classmethod
    def _there_are_keys(cls, value: bool, info: ValidationInfo) -> bool:
        if value and not (info.data.get("api_keys", True) or info.data.get("api_keys_file", True)):
            raise ValueError("set SECATEUR_API_KEYS or SECATEUR_API_KEYS_FILE, too")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in value:
            if proxy != "*":
                try:
                    ip_network(proxy)
                except ValueError as error:
                    raise ValueError(f"give addresses, networks such as 10.0.0.0/8, or *: {error}") from None
        return value

    @field_validator("rate_limit")
    @classmethod
    def _is_a_rate(cls, value: str | None) -> str | None:
        if value is not None:
            from limits import parse

            try:
                parse(value)
            except ValueError:
                raise ValueError("give a number and a unit of time: 600/minute") from None
        return value

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_a_url(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("give an http:// or https:// URL")
        return value

    def all_bodies_bytes(self) -> int:
        """Return what all bodies in memory may have together."""
        return self.max_bodies_bytes or max(4 * self.max_body_bytes, _LEAST_BODIES_BYTES)

    def all_models(self) -> tuple[ModelSettings, ...]:
        """Return the models to serve, the default one first."""
        one = ModelSettings(
            model=self.model,
            backend=self.backend,
            device=self.device,
            precision=self.precision,
            threads=self.threads,
            verify=self.verify,
        )
        return self.models or (one,)
