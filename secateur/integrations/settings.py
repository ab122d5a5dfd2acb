"""What every integration is set up with: what to keep, and who prunes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from pydantic import BaseModel, Field, SecretStr, create_model, field_validator

from secateur.llm.credentials import header_key, public_url
from secateur.models.options import PruneOptions, option_table

OPTIONS = {name: option for name, option in option_table().items() if name != "return_units"}
"""What an integration can be told of pruning: every option, but no unit would have a place in its documents."""

if TYPE_CHECKING:
    _Options = BaseModel
else:
    _hints = get_type_hints(PruneOptions)
    _Options = create_model(
        "_Options",
        **{
            name: (_hints[name], Field(default=option.default, description=option.description))
            for name, option in OPTIONS.items()
        },
    )


class PruneSettings(_Options):
    """Fields shared by the integrations; the options are those of `Pruner.prune`."""

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
