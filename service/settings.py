"""What the service is started with: `SECATEUR_*` in the environment, flags of `secateur serve`, or arguments here."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ModelSettings(BaseModel):
    """One model to serve."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(
        default=None, description="A model directory or the name of a shipped model; default: the shipped one."
    )
    name: str | None = Field(default=None, description="Name in requests; default: the model's own.")
    backend: str = Field(default="auto", description="auto, openvino, onnx or torch.")
    device: str = Field(default="auto", description="auto, cpu or cuda.")
    precision: str = Field(default="auto", description="Of the ONNX file: auto, int8 or fp16.")
    threads: int | None = Field(default=None, ge=1, description="Of CPU runtimes; default: one a processor.")


class Settings(BaseSettings):
    """Settings of the service."""

    model_config = SettingsConfigDict(env_prefix="SECATEUR_", extra="forbid", frozen=True)

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8080, ge=0, le=65535, description="Port to listen on; 0 for any free one.")

    model: str | None = Field(
        None, description="A model directory or the name of a shipped model; default: the shipped one."
    )
    backend: str = Field("auto", description="auto, openvino, onnx or torch.")
    device: str = Field("auto", description="auto, cpu or cuda.")
    precision: str = Field("auto", description="Of the ONNX file: auto, int8 or fp16.")
    threads: int | None = Field(None, ge=1, description="Of CPU runtimes; default: one a processor.")
    models: tuple[ModelSettings, ...] = Field(
        (),
        description='Several models, the default one first, as JSON: [{"model": DIR, "name": NAME}, ...].',
    )
    warm_up: bool = Field(True, description="Run each model once before it is ready.")

    timeout_ms: int = Field(
        30_000, ge=1, description="Time that a request has unless its X-Request-Timeout-Ms says less or more."
    )
    max_timeout_ms: int = Field(300_000, ge=1, description="Most that X-Request-Timeout-Ms may ask for.")
    max_queue_tokens: int = Field(262_144, ge=1, description="Tokens that may wait for a model; more gives 429.")
    step_tokens: int | None = Field(
        None, ge=1, description="Tokens that an engine runs at once; default: 4096, on CUDA 32768."
    )
    drain_s: int = Field(30, ge=0, description="Seconds that requests have to finish after SIGTERM.")

    cache: str = Field("off", description="Cache for scores: off, memory, or a redis:// URL.")
    cache_mb: int = Field(256, ge=1, description="Size of the cache in memory.")
    cache_expire_s: int = Field(86_400, ge=1, description="Seconds that Redis keeps an entry.")

    def all_models(self) -> tuple[ModelSettings, ...]:
        """Return the models to serve, the default one first."""
        one = ModelSettings(
            model=self.model, backend=self.backend, device=self.device, precision=self.precision, threads=self.threads
        )
        return self.models or (one,)
