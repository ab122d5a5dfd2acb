"""LiteLLM, by each provider that reranks. Arguments: the server's URL and a JSON file of a query and documents."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.remove(str(Path(__file__).parent))  # this file has the library's name

import json
import traceback
from importlib.metadata import version
from typing import Any

import litellm

URL, ASKED = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
DOCUMENTS = ASKED["documents"]
PROVIDERS = {"cohere": "", "jina_ai": "", "hosted_vllm": "", "infinity": "/infinity", "huggingface": ""}

if __name__ == "__main__":
    for provider, path in PROVIDERS.items():
        outcome: dict[str, Any] = {"client": f"LiteLLM {provider}", "version": version("litellm")}
        try:
            response: Any = litellm.rerank(
                model=f"{provider}/secateur-nano-en",
                query=ASKED["query"],
                documents=DOCUMENTS,
                top_n=len(DOCUMENTS),
                api_base=URL + path,
                api_key="key",
            )
            outcome["ranking"] = [[item["index"], item["relevance_score"]] for item in response.results]
        except Exception:
            outcome["error"] = traceback.format_exc()
        print(json.dumps(outcome))  # noqa: T201
