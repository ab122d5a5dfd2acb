"""MCP: a server with one tool, which prunes texts for a query; `secateur mcp` runs it."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, Literal

from secateur.context import format_context
from secateur.integrations.any_pruner import AnyPruner, CallerNames
from secateur.integrations.settings import PruneSettings, option_fields
from secateur.models.errors import MissingExtraError, SecateurError
from secateur.models.types import Passage

try:
    from mcp.server import MCPServer
    from mcp.server.mcpserver.exceptions import ToolError
except ImportError as error:  # also of version 1, where the server has another name
    raise MissingExtraError("mcp 2", "mcp") from error

from pydantic import BaseModel, Field

from secateur import __version__

_NAMES = CallerNames({"passages": "texts"})
_INSTRUCTIONS = (
    "Cuts long retrieved texts down to the sentences, lines and table rows that help to answer a query, word for word, "
    "and ranks the texts. Use it on search results, web pages, files, logs or tool output before reading them."
)


class PrunedText(BaseModel):
    """One pruned text."""

    source: int = Field(description="Number of the text in the call, from 1.")
    score: float = Field(description="Relevance to the query, in [0, 1].")
    text: str = Field(description="Kept text; empty if there is none.")
    spans: list[tuple[int, int]] = Field(description="Positions of the kept text, [start, end) in characters.")
    line_spans: list[tuple[int, int]] = Field(description="First and last line of each span, from 1.")
    format: str = Field(description="Format by which the text was cut.")


class Pruned(BaseModel):
    """Result of the tool."""

    context: str = Field(description="All kept text, by falling relevance, each block under [source].")
    texts: list[PrunedText] = Field(description="Texts by falling relevance.")
    input_tokens: int = Field(description="Number of tokens of all texts.")
    output_tokens: int = Field(description="Number of kept tokens.")
    warnings: list[str] = Field(description="Changes made to the request.")


def make_server(settings: PruneSettings, log_level: Literal["INFO", "WARNING"] = "WARNING") -> MCPServer[Any]:
    """Return a server that prunes with a model in this process, or on a service if the settings have a `url`.

    The options of the settings are the defaults of the tool's arguments.
    """
    pruner = AnyPruner(settings)
    server: MCPServer[Any] = MCPServer("secateur", version=__version__, instructions=_INSTRUCTIONS, log_level=log_level)

    async def prune(query: str, texts: list[str], **options: Any) -> Pruned:
        try:
            result = await pruner.aprune(query, [Passage(text) for text in texts], options, _NAMES)
        except SecateurError as error:
            raise ToolError(str(error)) from error
        return Pruned(
            context=format_context(result, [None] * len(texts)),
            texts=[
                PrunedText(
                    source=item.index + 1,
                    score=item.score,
                    text=item.text,
                    spans=list(item.spans),
                    line_spans=list(item.line_spans),
                    format=item.format,
                )
                for item in result.results
            ],
            input_tokens=result.usage.input_tokens,
            output_tokens=result.usage.output_tokens,
            warnings=list(result.warnings),
        )

    required = {
        "query": (str, Field(description="Question that the texts should answer.")),
        "texts": (list[str], Field(description="Texts to prune.")),
    }
    prune.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=Annotated[kind, field],
                default=inspect.Parameter.empty if name in required else field.default,
            )
            for name, (kind, field) in (required | option_fields(**settings.options())).items()
        ],
        return_annotation=Pruned,
    )
    server.add_tool(prune, title="Prune texts for a query", description=_INSTRUCTIONS)
    return server


def run(settings: PruneSettings, http: tuple[str, int] | None = None) -> None:
    """Serve over stdio until the client disconnects, or over streamable HTTP at a host and port until a signal."""
    if http is None:
        make_server(settings).run("stdio")
    else:
        host, port = http
        make_server(settings, "INFO").run("streamable-http", host=host, port=port)  # the address is logged at INFO
