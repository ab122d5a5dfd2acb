"""Start `secateur mcp` and call its tool as an MCP host does.

Run: pip install 'secateur[cpu,mcp]'
     python examples/mcp_client.py
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from mcp import Client, StdioServerParameters

QUESTION = "When was the Eiffel Tower finished?"


async def main() -> None:
    """Prune the example's passages."""
    lines = Path(__file__).with_name("passages.jsonl").read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    server = StdioServerParameters(command=sys.executable, args=["-m", "secateur", "mcp"])
    async with Client(server) as client:
        result = await client.call_tool("prune", {"query": QUESTION, "texts": texts})
    pruned = result.structured_content or {}
    sys.stdout.write(f"{pruned['context']}\n{pruned['input_tokens']} tokens became {pruned['output_tokens']}\n")


if __name__ == "__main__":
    asyncio.run(main())
