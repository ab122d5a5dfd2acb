"""A service that is not trusted: its values are checked, and its bytes and its time are bounded."""

from __future__ import annotations

import copy
import gzip
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from bad_server import bad_server, response
from hypothesis import given, settings
from hypothesis import strategies as st

from secateur import Client, ServiceUnavailableError
from secateur.client import BadResponseError, passed_through
from secateur.client.answers import Answers
from secateur.client.wire import answer_limit, body, split
from secateur.models.kept_text import join_spans
from secateur.models.options import PruneOptions
from secateur.models.requests import check_request
from secateur.models.types import Passage, PruneRequest, PruneResult

QUERY = "When was it finished?"
TEXT = "It was finished in 1889. It rained. Millions come."
UNITS = [(0, 25), (25, 36), (36, 50)]
GOOD: dict[str, Any] = {
    "results": [
        {"index": 0, "score": 0.75, "text": "It was finished in 1889. Millions come.", "spans": [[0, 24], [36, 50]]}
        | {"kept_units": 2, "total_units": 3, "empty": False}
        | {
            "units": [
                {"start": s, "end": e, "kind": "sentence", "score": 0.5, "kept": s != 25, "tokens": 4} for s, e in UNITS
            ]
        },
        {"index": 1, "score": 0.25, "text": "", "spans": [], "kept_units": 0, "total_units": 1, "empty": True}
        | {"units": [{"start": 0, "end": 6, "kind": "sentence", "score": 0.1, "kept": False, "tokens": 2}]},
    ],
    "threshold": 0.1,
    "usage": {"query_tokens": 5, "input_tokens": 14, "output_tokens": 8, "compression": 0.43},
    "timings": {"queue_ms": 0, "tokenize_ms": 1, "inference_ms": 2.5, "total_ms": 3.5},
    "warnings": [],
}
TEXTS = [TEXT, "Bread."]


def request_of(**options: Any) -> PruneRequest:
    return check_request(QUERY, TEXTS, PruneOptions(**options)).request


def answered(answer: Any, **options: Any) -> PruneResult:
    request = request_of(**options)
    return Answers().result(json.dumps(answer).encode(), request, split(request)[0])


def changed(path: str, value: Any) -> Any:
    """Return the good answer with one field changed; a path is parted by points."""
    answer = copy.deepcopy(GOOD)
    at: Any = answer
    *way, last = [int(name) if name.isdigit() else name for name in path.split(".")]
    for name in way:
        at = at[name]
    at[last] = value
    return answer


def test_the_good_answer_is_read() -> None:
    result = answered(GOOD, return_units=True)
    assert [item.text for item in result.results] == ["It was finished in 1889. Millions come.", ""]
    assert [unit.kept for unit in result.results[0].units or ()] == [True, False, True]


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize("value", [10**399, 10**4000, NAN, INFINITY, -INFINITY, -0.1, 1.1, "1", True, None, [0.5]])
@pytest.mark.parametrize("path", ["results.0.score", "results.0.units.1.score", "threshold", "usage.compression"])
def test_a_probability_is_a_number_from_0_to_1(path: str, value: Any) -> None:
    with pytest.raises(BadResponseError, match=_field(path)):
        answered(changed(path, value), return_units=True)


def _field(path: str) -> str:
    """Return how a message names a path, as a pattern."""
    first, *names = path.split(".")
    name = first + "".join(rf"\[{name}\]" if name.isdigit() else rf"\.{name}" for name in names)
    return f"`{name}`"


@pytest.mark.parametrize("value", [-1, NAN, INFINITY, 10**400, "0", None])
@pytest.mark.parametrize("path", ["timings.queue_ms", "timings.total_ms"])
def test_a_time_is_a_finite_number(path: str, value: Any) -> None:
    with pytest.raises(BadResponseError, match=_field(path)):
        answered(changed(path, value))


@pytest.mark.parametrize("value", [-1, 1.0, True, "1", None, 10**9])
@pytest.mark.parametrize(
    "path",
    [
        "results.0.index",
        "results.0.kept_units",
        "results.0.total_units",
        "results.0.units.0.start",
        "results.0.units.0.end",
        "usage.output_tokens",
    ],
)
def test_a_count_is_a_whole_number_in_its_range(path: str, value: Any) -> None:
    with pytest.raises(BadResponseError, match=r"`results\[0\]|`usage.output_tokens`"):
        answered(changed(path, value), return_units=True)


def test_a_number_of_five_thousand_digits_is_refused() -> None:
    content = json.dumps(GOOD).replace("0.75", "7" * 5_000).encode()
    with pytest.raises(BadResponseError, match="JSON"):
        Answers().result(content, request_of(), split(request_of())[0])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("results.0.spans", [[36, 50], [0, 24]]),
        ("results.0.spans", [[0, 24], [20, 50]]),
        ("results.0.spans", [[0, 24], [36, 51]]),
        ("results.0.spans", [[0, 24], [36, 36]]),
        ("results.0.spans", [[False, 24], [36, 50]]),
        ("results.0.spans", [[0, 24], [36.0, 50]]),
        ("results.0.spans", [[0, 24, 30]]),
        ("results.0.spans", [["0", "24"]]),
        ("results.0.spans", {"0": 24}),
        ("results.0.spans", [[0, 24]]),
        ("results.0.text", "It was finished in 1887. Millions come."),
        ("results.0.text", "It was finished in 1889.Millions come."),
        ("results.0.text", ""),
        ("results.0.text", None),
        ("results.1.text", "Bread."),
        ("results.0.empty", True),
        ("results.1.empty", False),
        ("results.1.empty", 1),
        ("results.0.kept_units", 1),
        ("results.0.total_units", 1),
        ("results.1.index", 0),
        ("results.1.index", 2),
        ("results.0.units", []),
        ("results.0.units", None),
        ("results.0.units.0.kind", "paragraph"),
        ("results.0.units.1.kept", True),
        ("results.0.units.1.start", 10),
        ("results.0.units.1.tokens", -1),
        ("warnings", [1]),
        ("warnings", "cut"),
        ("usage.input_tokens", 7),
        ("usage", []),
        ("results", []),
        ("results", {}),
    ],
)
def test_what_does_not_fit_together_is_refused(path: str, value: Any) -> None:
    with pytest.raises(BadResponseError):
        answered(changed(path, value), return_units=True)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"threshold": 0.5}, "threshold"),
        ({"min_score": 0.5}, r"results\[1\].score"),
        ({"top_n": 1}, "results"),
        ({"drop_empty": True}, r"results\[1\].empty"),
        ({"joiner": " … "}, r"results\[0\].text"),
    ],
    ids=str,
)
def test_an_answer_to_other_options_is_refused(options: dict[str, Any], field: str) -> None:
    with pytest.raises(BadResponseError, match=f"`{field}` is"):
        answered(GOOD, **options)


def test_a_passage_may_be_left_out_only_where_an_option_says_so() -> None:
    fewer = changed("results", GOOD["results"][:1])
    assert len(answered(fewer, drop_empty=True).results) == len(answered(fewer, top_n=1).results) == 1
    assert len(answered(fewer, min_score=0.5).results) == 1
    with pytest.raises(BadResponseError, match="`results` is"):
        answered(fewer)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=5))
@settings(max_examples=25, deadline=None)
def test_any_value_in_any_place_is_an_error_or_a_result(value: Any) -> None:
    places = ["results", "results.0", "results.0.spans", "results.0.spans.0", "results.0.text", "results.0.units"]
    for path in [*places, "results.0.index", "threshold", "usage", "usage.query_tokens", "timings", "warnings"]:
        try:
            result = answered(changed(path, value), return_units=True)
        except BadResponseError:
            continue
        for item in result.results:
            assert item.text == join_spans(TEXTS[item.index], item.spans, " ")


@given(st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=5), st.text(max_size=9), st.booleans())
@settings(max_examples=50, deadline=None)
def test_the_largest_honest_answer_is_below_the_limit(texts: list[str], joiner: str, units: bool) -> None:
    request = check_request("q", texts, PruneOptions(joiner=joiner, return_units=units)).request
    (part,) = split(request)
    results: list[Any] = []
    for index, passage in enumerate(part.passages):
        spans = [[start, start + 1] for start in range(0, len(passage.text), 2)]
        text = join_spans(passage.text, [(start, end) for start, end in spans], joiner)
        unit = {"start": 499_999, "end": 500_000, "kind": "list_item", "score": 1 / 3, "kept": False, "tokens": 99_999}
        results.append(
            {"index": index, "id": None, "score": 1 / 3, "text": text, "spans": spans, "kept_units": 1}
            | {"total_units": 1, "empty": False, "metadata": None, "units": [unit] * (len(passage.text) * units)}
        )
    answer = json.dumps(changed("results", results)).encode()
    assert len(answer) <= answer_limit(request, part, body(request, part, None))


def test_words_of_a_service_are_one_short_line() -> None:
    detail = {"detail": "a\x00b\x1b[31m\ud800\n" + "long " * 2_000}
    error = Answers().error(503, json.dumps(detail).encode())
    assert len(str(error)) < 600 and str(error).isprintable()
    number = "9" * 5_000
    assert f"passages[{number[:9]}" in str(
        Answers().error(400, json.dumps({"detail": f"passages[{number}]: x"}).encode(), 7)
    )


def prune(url: str, texts: list[str] = TEXTS, **settings: Any) -> PruneResult:
    with Client(url, **settings) as client:
        return client.prune(QUERY, texts)


def _drip(
    head: bytes, piece: bytes, pause_s: float
) -> Callable[[threading.Event], Callable[[int, socket.socket], None]]:
    def of(end: threading.Event) -> Callable[[int, socket.socket], None]:
        def behave(number: int, raw: socket.socket) -> None:
            raw.sendall(head)
            while not end.wait(pause_s):
                raw.sendall(piece)

        return behave

    return of


DRIPS = {
    "head": _drip(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a", 0.2),
    "headers": _drip(b"HTTP/1.1 200 OK\r\n", b"X-Slow: a\r\n", 0.2),
    "early hints": _drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.2),
    "chunks": _drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", 0.2),
    "fast": _drip(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n", b" ", 0.002),
}


@pytest.mark.slow
@pytest.mark.parametrize("drip", DRIPS.values(), ids=DRIPS)
def test_no_drip_outlasts_the_timeout(drip: Any) -> None:
    end = threading.Event()
    with bad_server(drip(end)) as server:
        started = time.monotonic()
        with pytest.raises(ServiceUnavailableError, match=r"within 0\.5 s"):
            prune(server.url, timeout_s=0.5)
        assert time.monotonic() - started < 10  # a drip goes on for ever
        assert passed_through(prune(server.url, timeout_s=0.3, on_error="passthrough"))
        end.set()


@pytest.mark.slow
def test_a_service_that_reads_slowly_is_given_up_in_time() -> None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    end = threading.Event()

    def serve() -> None:
        raw, _ = listener.accept()
        with raw:
            while not end.wait(0.05):
                raw.recv(2048)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    started = time.monotonic()
    with pytest.raises(ServiceUnavailableError, match="within 1 s"):
        prune(f"http://127.0.0.1:{listener.getsockname()[1]}", ["x" * 16_000_000], timeout_s=1.0)
    assert time.monotonic() - started < 30
    end.set()
    thread.join(10)
    listener.close()


@pytest.mark.parametrize("status", ["200 OK", "500 Failed", "401 Unauthorized"])
def test_an_endless_answer_is_cut_off(status: str) -> None:
    sent: list[int] = []

    def behave(number: int, raw: socket.socket) -> None:
        raw.sendall(f"HTTP/1.1 {status}\r\nConnection: close\r\n\r\n".encode())
        while sum(sent) < 1 << 30:
            sent.append(raw.send(b" " * 65536))

    with bad_server(behave) as server, pytest.raises(BadResponseError, match="is longer than"):
        prune(server.url, retries=0)
    assert sum(sent) < 64 << 20  # what the limit and the kernel's buffers hold


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "gzip, gzip", "GZip"])
def test_a_bomb_is_not_decompressed(encoding: str) -> None:
    bomb = response("200 OK", gzip.compress(b" " * 10_000_000), f"Content-Encoding: {encoding}")
    with bad_server(lambda number, raw: raw.sendall(bomb)) as server:
        with pytest.raises(BadResponseError, match="is compressed"):
            prune(server.url, retries=0)
        assert b"accept-encoding: identity" in server.heads[0].lower()
        assert passed_through(prune(server.url, retries=0, on_error="passthrough"))


def test_values_that_are_wrong_on_the_wire_are_passed_through() -> None:
    for path, value in (("results.0.score", 10**399), ("results.0.score", NAN), ("results.0.text", "other")):
        answer = response("200 OK", json.dumps(changed(path, value)).encode())
        with bad_server(lambda number, raw, answer=answer: raw.sendall(answer)) as server:  # type: ignore[misc]
            result = prune(server.url, on_error="passthrough")
        assert passed_through(result) and _field(path).replace("\\", "") in result.warnings[0]


def test_a_huge_passage_is_no_larger_in_the_limit_than_it_is() -> None:
    request = PruneRequest("q", (Passage("a" * 100_000),))
    (part,) = split(request)
    content = body(request, part, None)
    assert len(content) < answer_limit(request, part, content) < 20 * len(content)
