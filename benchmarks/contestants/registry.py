"""Contestants by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.contestants.base import Contestant, Loaded, Workplace
from benchmarks.contestants.cross_encoder import OnnxCrossEncoder, TorchCrossEncoder
from benchmarks.contestants.flashrank import FlashRank
from benchmarks.contestants.ours import BareRuntime, Engine, bare_onnx, bare_openvino
from benchmarks.contestants.provence import RandomPruner
from secateur.models.errors import InputError

OURS = "secateur"


def _flashrank(precision: str) -> Callable[[Workplace], Loaded]:
    return lambda workplace: FlashRank(workplace, precision)


def _random(name: str) -> Callable[[Workplace], Loaded]:
    return lambda workplace: RandomPruner(name, workplace)


_ALL = (
    Contestant(OURS, "Secateur", "prunes and ranks", lambda _: Engine("auto")),
    Contestant("secateur-onnx", "Secateur on ONNX Runtime", "prunes and ranks", lambda _: Engine("onnx")),
    Contestant(
        "bare-openvino",
        "floor: bare OpenVINO on Secateur's batches",
        "network only",
        lambda _: BareRuntime("openvino", bare_openvino),
    ),
    Contestant(
        "bare-onnx",
        "floor: bare ONNX Runtime session on Secateur's batches",
        "network only",
        lambda _: BareRuntime("onnx", bare_onnx),
    ),
    Contestant("cross-encoder", "CrossEncoder (sentence-transformers, torch)", "ranks", TorchCrossEncoder),
    Contestant(
        "cross-encoder-onnx",
        "CrossEncoder's ONNX export in a plain ONNX Runtime session",
        "ranks",
        OnnxCrossEncoder,
    ),
    Contestant("flashrank", "FlashRank", "ranks", _flashrank("fp32")),
    Contestant("flashrank-int8", "FlashRank, quantised as its own models", "ranks", _flashrank("int8")),
    Contestant(
        "open-provence-xsmall",
        "OpenProvence xsmall (ModernBERT, 37 M, random weights, torch)",
        "prunes and ranks",
        _random("open-provence-xsmall"),
    ),
    Contestant(
        "open-provence-base",
        "OpenProvence base (ModernBERT, 149 M, random weights, torch)",
        "prunes and ranks",
        _random("open-provence-base"),
    ),
    Contestant(
        "provence",
        "Provence (DeBERTa-v3-large, 435 M, random weights, torch)",
        "prunes and ranks",
        _random("provence"),
    ),
)

CONTESTANTS: dict[str, Contestant] = {contestant.name: contestant for contestant in _ALL}


def find_contestants(names: Sequence[str]) -> list[Contestant]:
    """Return contestants by name, in the order of the registry; ours is always among them.

    Args:
        names: Names; none for all contestants.

    Raises:
        InputError: A name is unknown.
    """
    unknown = [name for name in names if name not in CONTESTANTS]
    if unknown:
        raise InputError("--contestant", f"unknown {unknown[0]!r}", f"use one of {', '.join(CONTESTANTS)}")
    return [contestant for contestant in _ALL if not names or contestant.name in {OURS, *names}]
