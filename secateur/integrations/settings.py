"""Settings of every integration: the options of `Pruner.prune`, and the model or the service that prunes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, SecretStr, create_model, field_validator
from pydantic.fields import FieldInfo

from secateur.llm.credentials import header_key, public_url
from secateur.models.options import PruneOptions, option_table
from secateur.models.registry import BACKENDS, DEVICES, PRECISIONS, either

OPTIONS = {name: option for name, option in option_table().items() if name != "return_units"}
"""Options of an integration: all but one, because a framework's documents have no place for units."""


def option_types() -> dict[str, Any]:
    """Return the type of each option for a framework; a list is one that JSON and YAML can hold."""
    hints = get_type_hints(PruneOptions)
    return {name: list[str] if option.many else hints[name] for name, option in OPTIONS.items()}


def option_fields(**defaults: Any) -> dict[str, tuple[Any, FieldInfo]]:
    """Return the options as types and fields of pydantic, some with other defaults than in the option table.

    The fields' schemas have the ranges, but pruning checks them, so that errors are the same everywhere.
    """
    found: dict[str, tuple[Any, FieldInfo]] = {}
    for name, kind in option_types().items():
        option = OPTIONS[name]
        schema: Any = option.schema
        default: Any = defaults.get(name, option.default)
        if option.many:
            default = list(default)
        found[name] = kind, Field(default, description=option.description, json_schema_extra=schema)
    return found


if TYPE_CHECKING:
    _Options = BaseModel
else:
    _Options = create_model("_Options", **option_fields())


class PruneSettings(_Options):
    """Fields shared by the integrations, besides the options of `Pruner.prune`."""

    model_config = ConfigDict(extra="forbid")

    title_key: str | None = Field(default="title", description="Metadata key of a title that the model reads.")
    format_key: str | None = Field(
        default="format", description="Metadata key of the text's format, or its media type."
    )

    model: str | None = Field(default=None, description="Model directory or name; with url, name of a served model.")
    backend: str = Field(default="auto", description=f"Backend: {either(BACKENDS)}.")
    device: str = Field(default="auto", description=f"Device: {either(DEVICES)}.")
    precision: str = Field(default="auto", description=f"Precision of the ONNX file: {either(PRECISIONS)}.")
    threads: int | None = Field(default=None, description="Threads of the CPU backends; one per processor if unset.")
    verify: bool = Field(default=True, description="Whether to compare the model's files with their checksums.")

    url: str | None = Field(default=None, description="Address of a service to use instead of a model.", repr=False)
    # exclude: a key must not reach a saved pipeline; where one is loaded, SECATEUR_API_KEY is read.
    api_key: SecretStr | None = Field(default=None, description="API key of the service.", exclude=True, repr=False)
    timeout_s: float = Field(default=60.0, description="Time limit of a request with all its attempts, in seconds.")
    on_error: Literal["raise", "passthrough"] = Field(
        default="raise", description="Reaction when the service is down: raise, or passthrough for unpruned documents."
    )

    @field_validator("api_key", mode="before")
    @classmethod
    def _clean_key(cls, value: object) -> SecretStr | None:
        # Errors of pydantic would show the value; an InputError passes through them.
        key = header_key(value.get_secret_value() if isinstance(value, SecretStr) else value)
        return SecretStr(key) if key is not None else None

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        own = state["__dict__"]  # a pickle may be stored, so it holds no key and no password
        url = public_url(own["url"]) if own["url"] is not None else None
        return {**state, "__dict__": {**own, "api_key": None, "url": url}}

    def options(self) -> dict[str, Any]:
        """Return the options as arguments of `Pruner.prune`."""
        return {name: getattr(self, name) for name in OPTIONS}
