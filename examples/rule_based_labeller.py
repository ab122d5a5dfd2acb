"""A server with the OpenAI chat protocol that labels by a rule instead of a language model.

It cites the sentences that share words with the question. It replaces a model where there is none, as in tests and in
docs/data.md; its labels are only as good as the rule.

python examples/rule_based_labeller.py --port 8100
"""

from __future__ import annotations

import argparse
import re
from typing import Any

import uvicorn
from fastapi import FastAPI

_SENTENCE = re.compile(r"^\[(\d+)\] (.*)$", re.MULTILINE)
_QUESTION = re.compile(r"^Question: (.*)$", re.MULTILINE)
_COMMON = re.compile(r"what|when|where|which|with|does|have|this|that|from|into|they|their|there|must|should|long")
_STEM = 5  # letters that are compared: deliver, delivery, delivered
_SHARED = 2  # words that a sentence and the question must share


def stems(text: str) -> set[str]:
    """Return the first letters of the longer words of a text."""
    return {word[:_STEM] for word in re.findall(r"\w{4,}", text.lower()) if not _COMMON.fullmatch(word)}


def cited(question: str, sentences: list[tuple[str, str]]) -> list[str]:
    """Return the numbers of the sentences that share enough words with the question, or that follow such a question."""
    asked = stems(question)
    enough = min(_SHARED, len(asked))
    numbers = []
    for index, (number, sentence) in enumerate(sentences):
        heads = sentence.strip("# *").endswith("?") and len(asked & stems(sentence)) >= enough
        if heads and index + 1 < len(sentences):
            numbers.append(sentences[index + 1][0])  # in an FAQ the answer follows the question
        elif not heads and enough and len(asked & stems(sentence)) >= enough:
            numbers.append(number)
    return list(dict.fromkeys(numbers))


app = FastAPI()


@app.post("/v1/chat/completions")
async def complete(body: dict[str, Any]) -> dict[str, Any]:
    """Reply to a labelling prompt of `secateur data label`."""
    prompt = body["messages"][-1]["content"]
    question = _QUESTION.search(prompt)
    numbers = cited(question[1], _SENTENCE.findall(prompt)) if question else []
    text = "It says so " + "".join(f"[{number}]" for number in numbers) if numbers else "No answer"
    usage = {"prompt_tokens": len(prompt) // 4, "completion_tokens": len(text) // 4}
    message = {"role": "assistant", "content": text}
    return {
        "id": "rule",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8100)
    uvicorn.run(app, host="127.0.0.1", port=parser.parse_args().port, log_level="warning")
