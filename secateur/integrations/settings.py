"""What every integration is set up with: what to keep, and who prunes."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field, SecretStr, field_validator

from secateur.llm.credentials import header_key, public_url

OPTIONS = (
    "threshold",
    "target_recall",
    "max_tokens",
    "top_n",
    "min_score",
    "min_units",
    "reorder",
    "keep_title",
    "drop_empty",
    "joiner",
    "truncate_query",
)


class PruneSettings(BaseModel):
    """Fields shared by the integrations; the options are those of `Pruner.prune`."""

    threshold: float | None = Field(default=None, description="Sentences with at least this keep probability are kept.")
    target_recall: float | None = Field(default=None, description="Instead of a threshold: share of answers to keep.")
    max_tokens: int | None = Field(default=None, description="Token budget over all documents together.")
    top_n: int | None = Field(default=None, description="Return only the n most relevant documents.")
    min_score: float | None = Field(default=None, description="Return only documents at least this relevant, 0 to 1.")
    min_units: int = Field(default=0, description="Keep at least this many sentences of each document.")
    reorder: bool = Field(default=True, description="Return documents by falling relevance.")
    keep_title: bool = Field(default=True, description="Keep a first heading whenever another sentence is kept.")
    drop_empty: bool = Field(default=False, description="Leave out documents of which nothing is kept.")
    joiner: str = Field(default=" ", description="Put where sentences were dropped.")
    truncate_query: bool = Field(default=False, description="Cut a query longer than half the window, not refuse it.")
    title_key: str | None = Field(default="title", description="Key in the metadata of a title that the model reads.")

    model: str | None = Field(default=None, description="Model directory or name; with url, name of a served model.")
    backend: str = Field(default="auto", description="auto, openvino, onnx or torch.")
    device: str = Field(default="auto", description="auto, cpu or cuda.")
    threads: int | None = Field(default=None, description="Of CPU runtimes; default: one a processor.")

    url: str | None = Field(default=None, description="Of a service that prunes instead of a model here.", repr=False)
    # exclude: a key must not reach what a pipeline is saved to; it is read from SECATEUR_API_KEY where it is missing.
    api_key: SecretStr | None = Field(default=None, description="Of the service.", exclude=True, repr=False)
    timeout_s: float = Field(default=60.0, description="For one request to the service, tries and waits together.")
    on_error: Literal["raise", "passthrough"] = Field(
        default="raise", description="What to do when the service is down: raise, or give documents back unpruned."
    )

    @field_validator("api_key", mode="before")
    @classmethod
    def _clean_key(cls, value: object) -> SecretStr | None:
        # Pydantic's own errors would show the value; an InputError passes through them.
        key = header_key(value.get_secret_value() if isinstance(value, SecretStr) else value)
        return SecretStr(key) if key is not None else None

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        own = state["__dict__"]  # a pickle may be stored, so it holds no key and no password
        url = public_url(own["url"]) if own["url"] is not None else None
        return {**state, "__dict__": {**own, "api_key": None, "url": url}}

    def options(self) -> dict[str, Any]:
        """Return arguments of `Pruner.prune`."""
        return {name: getattr(self, name) for name in OPTIONS}
