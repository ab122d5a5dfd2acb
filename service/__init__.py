"""The REST service (extra ``serve``)."""

from importlib.util import find_spec

from secateur.models.errors import MissingExtraError

# The only place that checks for the extra: everything else in this package imports what it needs.
for _module in ("cachetools", "fastapi", "limits", "prometheus_client", "pydantic_settings", "structlog", "uvicorn"):
    if find_spec(_module) is None:
        raise MissingExtraError(_module.replace("_", "-"), "serve")
