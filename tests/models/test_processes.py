"""A loaded pruner in other processes: forked children, spawned workers and pools."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from children import output_of

from secateur.client.errors import RequestRefusedError, ServiceUnavailableError
from secateur.models import errors
from secateur.models.errors import InputError, MissingExtraError, SecateurError
from secateur.models.processes import PerProcess
from secateur.models.pruner import Pruner

QUERY = "Who built the tower?"
TEXTS = ["It rained. The tower was built by Eiffel.", "Bread is baked."]


def test_a_value_is_opened_once_for_all_threads() -> None:
    opened: list[object] = []

    def open() -> object:
        opened.append(object())
        return opened[-1]

    holder = PerProcess(open)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: holder.get(), range(40)))
    assert len(opened) == 1
    assert set(map(id, found)) == {id(opened[0])}


def test_a_value_that_was_in_use_when_an_error_occurred_is_opened_again() -> None:
    holder = PerProcess(object)
    first = holder.get()
    with holder.exclusive() as value:
        assert value is first
    with pytest.raises(ValueError, match="trouble"), holder.exclusive():
        raise ValueError("trouble")
    assert holder.get() is not first


def test_a_child_has_a_value_and_a_lock_of_its_own() -> None:
    holder = PerProcess(object)
    first = holder.get()
    receiver, sender = multiprocessing.Pipe(duplex=False)

    def work() -> None:
        with holder.exclusive() as value:
            sender.send(value is first)

    with holder.exclusive():  # held for ever, as the child sees it
        child = multiprocessing.get_context("fork").Process(target=work, daemon=True)
        child.start()
        try:
            assert receiver.poll(60), "the child hangs"
            assert receiver.recv() is False
        finally:
            child.kill()
            child.join()
    assert holder.get() is first


FORKS = """
import sys, threading
from children import forked
from secateur import Pruner

pruner = Pruner.load(sys.argv[2] if len(sys.argv) > 2 else None, backend=sys.argv[1], device="cpu")
texts = ["It rained. The tower was built by Eiffel.", "Bread is baked."] * 4

def prune():
    return [(one.index, one.score, one.text) for one in pruner.prune("Who built the tower?", texts).results]

before = prune()

def same():
    for (index, score, text), (found_index, found_score, found_text) in zip(before, prune(), strict=True):
        assert (found_index, found_text) == (index, text)
        assert abs(found_score - score) < 1e-5

def same_in_threads():
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(3) as threads:
        for done in [threads.submit(same) for _ in range(3)]:
            done.result()

def with_a_child():
    same()
    print("grandchild", forked(same), flush=True)

print("unused", forked(lambda: None), flush=True)
print("child", forked(with_a_child), flush=True)
print("threads", forked(same_in_threads), flush=True)

stop = threading.Event()
def busy():
    while not stop.is_set():
        prune()
threads = [threading.Thread(target=busy) for _ in range(2)]
for thread in threads:
    thread.start()
print("busy", forked(same), flush=True)
stop.set()
for thread in threads:
    thread.join()
same()
print("parent")
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["openvino", "onnx", "torch"])
def test_a_forked_child_prunes_and_ends(backend: str, torch_model: Path, tmp_path: Path) -> None:
    """Used or not, in threads, with a child of its own, and forked while other threads of the parent prune."""
    model = [str(torch_model)] if backend == "torch" else []
    printed = output_of(FORKS, backend, *model, folder=tmp_path)
    for line in ("unused 0", "grandchild 0", "child 0", "threads 0", "busy 0", "parent"):
        assert line in printed.splitlines(), printed


POOLS = """
import multiprocessing, os, sys
from concurrent.futures import ProcessPoolExecutor
from secateur import InputError, Pruner

texts = ["It rained. The tower was built by Eiffel.", "Bread is baked."]

if __name__ == "__main__":
    backend, methods, *model = sys.argv[1:]
    pruner = Pruner.load(*model, backend=backend, device="cpu", threads=1)
    expected = [one.text for one in pruner.prune("Who built the tower?", texts).results]
    for method in methods.split():
        with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as pool:
            tasks = [pool.submit(pruner.prune, "Who built the tower?", texts) for _ in range(3)]
            for task in tasks:
                assert [one.text for one in task.result(90).results] == expected
            try:
                pool.submit(pruner.prune, "Who?", texts, top_n=0).result(90)
            except InputError as error:
                print(method, error.field, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "methods"), [("openvino", "spawn fork"), ("torch", "fork")])
def test_a_process_pool_prunes_and_raises(backend: str, methods: str, torch_model: Path, tmp_path: Path) -> None:
    model = [str(torch_model)] if backend == "torch" else []
    printed = output_of(POOLS, backend, methods, *model, folder=tmp_path)
    for method in methods.split():
        assert f"{method} top_n" in printed.splitlines(), printed


DATASET = """
import sys
from datasets import Dataset
from secateur import Pruner

pruner = Pruner.load(device="cpu")

def pruned(row):
    return {"pruned": pruner.prune(row["query"], [row["text"]], threshold=0.0).text}

if __name__ == "__main__":
    rows = [{"query": "Who built the tower?", "text": f"It rained. Number {n} was built."} for n in range(6)]
    pruned(rows[0])
    table = Dataset.from_list(rows).map(pruned, num_proc=2)
    assert table["pruned"] == table["text"], table["pruned"]
    print("mapped", len(table))
"""


@pytest.mark.slow
def test_datasets_maps_in_processes(tmp_path: Path) -> None:
    assert "mapped 6" in output_of(DATASET, folder=tmp_path).splitlines()


def test_a_pickled_pruner_is_loaded_once_a_process(model_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(model_copy.parent)
    pruner = Pruner.load(model_copy.name, backend="onnx", device="cpu", precision="int8", threads=1)
    pickled = pickle.dumps(pruner)
    monkeypatch.chdir("/")
    first, second = pickle.loads(pickled), pickle.loads(pickled)
    assert first is second
    assert first is not pruner
    assert first.directory == model_copy
    assert (first.backend.name, first.backend.precision) == ("onnx", "int8")
    assert [p.score for p in first.prune(QUERY, TEXTS).results] == [p.score for p in pruner.prune(QUERY, TEXTS).results]


@pytest.mark.slow
def test_a_pickled_pruner_of_a_shipped_model_holds_no_path() -> None:
    for name in (None, "secateur-nano-en"):
        pickled = pickle.dumps(Pruner.load(name, backend="onnx", device="cpu"))
        assert b"/" not in pickled
        assert len(pickled) < 500


def test_a_pruner_made_of_parts_cannot_be_pickled(staged: Callable[[Mapping[str, float]], Pruner]) -> None:
    with pytest.raises(InputError) as error:
        pickle.dumps(staged({"yes": 0.9}))
    assert error.value.field == "pruner"
    assert "Pruner.load" in error.value.hint


def test_a_copy_of_a_pruner_is_the_pruner(pruner: Pruner, staged: Callable[[Mapping[str, float]], Pruner]) -> None:
    for one in (pruner, staged({})):
        assert copy.copy(one) is one
        assert copy.deepcopy({"pruner": one})["pruner"] is one


@pytest.mark.parametrize(
    "error",
    [
        InputError("top_n", "0 is wrong", "change it"),
        MissingExtraError("openvino", "cpu"),
        ServiceUnavailableError("down", status=503, details={"detail": "busy"}),
        RequestRefusedError("query", "is empty", "give one", status=422),
        *(
            kind("wrong")
            for kind in vars(errors).values()
            if isinstance(kind, type) and issubclass(kind, SecateurError) and kind.__init__ is Exception.__init__
        ),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_cross_processes(error: SecateurError) -> None:
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is type(error)
    assert (str(found), vars(found)) == (str(error), vars(error))


def test_pruning_goes_on_while_children_are_forked(pruner: Pruner) -> None:
    """The parent notices nothing."""
    done = threading.Event()
    found: list[float] = []

    def work() -> None:
        while not done.is_set():
            found.append(pruner.prune(QUERY, TEXTS).results[0].score)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(3):
            child = multiprocessing.get_context("fork").Process(target=int)
            child.start()
            child.join(60)
            assert child.exitcode == 0
    finally:
        done.set()
        thread.join()
    assert len(set(found)) == 1
