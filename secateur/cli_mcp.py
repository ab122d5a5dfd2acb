"""The command `secateur mcp`: pruning as a tool of MCP clients."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def _mcp(arguments: argparse.Namespace) -> None:
    from secateur.models.errors import InputError

    if not 0 <= arguments.port <= 65535:
        raise InputError("--port", f"{arguments.port} is no port", "give 0 to 65535")
    from secateur.integrations.mcp import HttpAddress, run
    from secateur.integrations.settings import PruneSettings

    settings = PruneSettings.model_validate(
        {
            "url": arguments.url,
            "model": arguments.model,
            "backend": arguments.backend,
            "device": arguments.device,
            "threads": arguments.threads,
            "on_error": arguments.on_error,
            "truncate_query": True,
        }
    )
    run(settings, HttpAddress(arguments.host, arguments.port) if arguments.http else None)


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the command.

    Args:
        command: adds one, by its name, its function and its help.
    """
    mcp = command("mcp", _mcp, "Serve pruning as a tool over the Model Context Protocol.")
    mcp.add_argument("--http", action="store_true", help="streamable HTTP at /mcp instead of stdio")
    mcp.add_argument("--host", default="127.0.0.1", help="address that --http listens on (default: 127.0.0.1)")
    mcp.add_argument("--port", type=int, default=8081, help="port that --http listens on (default: 8081)")
    mcp.add_argument(
        "--url", help="of a running service to prune on (its key: SECATEUR_API_KEY); default: a model here"
    )
    mcp.add_argument("--model", help="model directory or name; with --url, name of a served model")
    mcp.add_argument("--backend", default="auto", choices=("auto", "openvino", "onnx", "torch"))
    mcp.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    mcp.add_argument("--threads", type=int, help="threads of CPU runtimes (default: one a processor)")
    mcp.add_argument(
        "--on-error",
        default="raise",
        choices=("raise", "passthrough"),
        help="when the service is down (default: raise)",
    )
