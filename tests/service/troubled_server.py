"""`secateur serve` with a backend that words in passages can trouble; a script that tests start.

``Whales`` raise an error, ``ravens`` make every run from then on raise one, ``volcanoes`` end the engine's thread, and
a step with ``turtles`` takes a second longer.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence

from secateur.models.backends import Backend, Output
from secateur.models.batching import Batch
from secateur.models.checkpoint import load_tokenizer
from secateur.models.pruner import Pruner
from secateur.service.app import serve
from secateur.service.settings import Settings


class TroubledBackend(Backend):
    """The real backend, with trouble before it."""

    def __init__(self, pruner: Pruner) -> None:
        real = self._real = pruner.backend
        self.name, self.device, self.precision, self.limits = real.name, real.device, real.precision, real.limits
        assert pruner.directory is not None
        tokenizer = load_tokenizer(pruner.directory)
        self._words = {word: tokenizer.token_to_id(word) for word in ("whales", "ravens", "volcanoes", "turtles")}
        self._poisoned = False

    def run(self, batch: Batch) -> Output:
        return self.run_all([batch])[0]

    def run_all(self, batches: Sequence[Batch]) -> list[Output]:
        found = {
            word for word, token in self._words.items() if any((batch.input_ids == token).any() for batch in batches)
        }
        if "turtles" in found:
            time.sleep(1)
        if "whales" in found:
            raise RuntimeError("the runtime met whales")
        self._poisoned |= "ravens" in found
        if self._poisoned:
            raise RuntimeError("the queue is in an error state")
        if "volcanoes" in found:
            raise SystemExit
        return self._real.run_all(batches)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    loaded = Pruner.load(device="cpu")
    troubled = Pruner(
        loaded.config, loaded.encoder, TroubledBackend(loaded), loaded.calibration, loaded.pad_id, loaded.directory
    )
    sys.exit(0 if serve(Settings(port=0), {"troubled": troubled}) else 1)
