"""infinity-emb as a reranker with the base encoder of our model, from an environment of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks.server import HOST, Server
from secateur.models.backends.base import available_threads
from secateur.models.errors import SecateurError

HOW = (
    "python -m venv ENV && ENV/bin/pip install 'infinity-emb[server,torch]' 'transformers<5' (its pins conflict with "
    "ours), then --infinity-python ENV/bin/python"
)
"""How to get an environment with infinity-emb."""
_NAME = "base"
_PACKAGES = ("infinity-emb", "torch", "transformers")
_ASK = "import sys, importlib.metadata as m; print(', '.join(f'{p} {m.version(p)}' for p in sys.argv[1:]))"


def infinity_versions(python: Path) -> str:
    """Return the versions of infinity-emb, torch and transformers in an environment.

    Raises:
        SecateurError: There is no such environment, or it lacks one of them.
    """
    try:
        done = subprocess.run([str(python), "-c", _ASK, *_PACKAGES], capture_output=True, text=True, check=False)
    except OSError as error:
        raise SecateurError(f"{python} cannot be run ({error.strerror})") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"]
        raise SecateurError(f"{python} is not the Python of an environment with infinity-emb ({lines[-1]})")
    return done.stdout.strip()


def infinity_server(python: Path, model: Path) -> Server:
    """Return infinity-emb (0.0.78) with its torch engine and otherwise its defaults, batching included.

    Args:
        python: Python of its environment.
        model: Directory of a cross-encoder.
    """
    return Server(
        name="infinity-emb",
        does="ranks",
        command=lambda port: [
            str(python),
            *("-m", "infinity_emb.cli", "v2"),
            *("--model-id", str(model)),
            *("--served-model-name", _NAME),
            *("--engine", "torch"),
            *("--device", "cpu"),
            *("--dtype", "float32"),
            *("--host", HOST),
            *("--port", str(port)),
        ],
        path="/rerank",
        body=lambda request: {"model": _NAME, "query": request.query, "documents": list(request.passages)},
        environment={
            "DO_NOT_TRACK": "1",
            "HF_HUB_OFFLINE": "1",
            "INFINITY_ANONYMOUS_USAGE_STATS": "0",
            # torch would otherwise take one thread per core, or what the caller's shell has set.
            "OMP_NUM_THREADS": str(available_threads()),
        },
    )
