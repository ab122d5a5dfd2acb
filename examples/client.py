"""Prune on a running service: one query, several queries, and passages passed through while it is down.

Run: secateur serve &
     python examples/client.py --url http://127.0.0.1:8080
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from secateur import AsyncClient, Client, Passage, PruneRequest, prune_context

PASSAGES = [
    Passage(**json.loads(line))
    for line in Path(__file__).with_name("passages.jsonl").read_text(encoding="utf-8").splitlines()
]
QUESTIONS = ("When was the Eiffel Tower finished?", "When did the Louvre open?")


async def several(url: str | None) -> None:
    """Prune for several questions at the same time."""
    async with AsyncClient(url) as client:
        results = await client.prune_many([PruneRequest(question, tuple(PASSAGES)) for question in QUESTIONS])
    for question, result in zip(QUESTIONS, results, strict=True):
        best = result.results[0]
        sys.stdout.write(f"{question}\n  {best.score:.2f} {best.text}\n")


def main() -> None:
    """Show each use of the client."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", help="address of the service (default: SECATEUR_URL, or http://127.0.0.1:8080)")
    options = parser.parse_args()
    with Client(options.url) as client:
        sys.stdout.write(f"served: {', '.join(client.models())}\n")
        context = prune_context(QUESTIONS[0], PASSAGES, pruner=client)
        usage = client.prune(QUESTIONS[0], PASSAGES).usage
        sys.stdout.write(f"{context}\n{usage.input_tokens} tokens became {usage.output_tokens}\n")
    asyncio.run(several(options.url))
    with Client("http://127.0.0.1:9", retries=0, on_error="passthrough") as client:  # no service is there
        result = client.prune(QUESTIONS[0], PASSAGES)
        sys.stdout.write(f"with the service down, {len(result.results)} passages came back whole\n")


if __name__ == "__main__":
    main()
