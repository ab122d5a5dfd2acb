from __future__ import annotations

from pathlib import Path

import pytest

from secateur.llm.cache import Completion, ReplyCache, request_key
from secateur.models.errors import DataError

REPLY = Completion("Zürich \U0001f600", 12, None, "stop", (("Z", -0.25), ("B", -1.5)))


def test_the_key_is_the_content() -> None:
    key = request_key({"model": "m", "messages": [{"role": "user", "content": "é"}]})
    assert key == request_key({"messages": [{"content": "é", "role": "user"}], "model": "m"})
    assert key != request_key({"model": "m2", "messages": [{"role": "user", "content": "é"}]})
    assert len(key) == 64


def test_a_reply_comes_back(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path / "new")
    assert cache.get("ab12") is None
    cache.put("ab12", REPLY)
    assert cache.get("ab12") == REPLY
    assert [path.name for path in cache.path("ab12").parent.iterdir()] == ["ab12.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"text": 3}',
        b'{"txt": "a"}',
        b'{"text": "a", "prompt_tokens": "1"}',
        b'{"text": "a", "first_tokens": [["a"]]}',
    ],
)
def test_a_corrupt_file_is_a_missing_one(tmp_path: Path, content: bytes) -> None:
    cache = ReplyCache(tmp_path)
    cache.put("ab12", REPLY)
    cache.path("ab12").write_bytes(content)
    assert cache.get("ab12") is None
    cache.put("ab12", REPLY)
    assert cache.get("ab12") == REPLY


def test_a_cache_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        ReplyCache(tmp_path / "file").put("ab12", REPLY)


def test_a_reply_stored_before_there_were_log_probabilities_is_read(tmp_path: Path) -> None:
    cache = ReplyCache(tmp_path)
    cache.put("ab12", REPLY)
    cache.path("ab12").write_text('{"text": "a", "prompt_tokens": 1, "completion_tokens": 2, "finish_reason": "stop"}')
    assert cache.get("ab12") == Completion("a", 1, 2, "stop")
