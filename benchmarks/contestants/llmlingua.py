"""LLMLingua-2 (Pan et al., ACL 2024, arXiv 2403.12968), a compressor without a query, as a system of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from secateur.eval.systems.base import SegmentedPassage, weights_text
from secateur.models.backends.base import Backend, Output
from secateur.models.batching import Batch, BatchLimits, make_batches
from secateur.models.checkpoint import WEIGHTS, load_tokenizer, read_encoder_config
from secateur.models.encoding import PairEncoder
from secateur.models.errors import ModelError
from secateur.models.merging import PassageScores, merge, window_outputs

# Window of llmlingua's `PromptCompressor` (microsoft/LLMLingua, llmlingua/prompt_compressor.py).
_WINDOW = 512


class _TokenClassifier(Backend):
    """Runs a transformers token classifier with two labels, the second of which means "keep".

    Args:
        directory: Model directory in the layout of transformers.
        device: `cpu`, `cuda`, or None for the best available device.
    """

    name = "torch"
    precision = "fp32"
    limits = BatchLimits(rows=16, tokens=8192)

    def __init__(self, directory: Path, device: str | None) -> None:
        import torch
        from transformers import AutoModelForTokenClassification

        try:
            model, loading = AutoModelForTokenClassification.from_pretrained(
                str(directory), dtype=torch.float32, local_files_only=True, output_loading_info=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(f"{directory}: transformers cannot load it as a token classifier ({error})") from error
        if loading["missing_keys"]:
            # transformers would use random weights instead.
            raise ModelError(f"{directory}: weights are missing: {', '.join(sorted(loading['missing_keys'])[:4])}")
        if model.config.num_labels != 2:
            raise ModelError(f"{directory}: has {model.config.num_labels} labels; LLMLingua-2 has 2, drop and keep")
        self._torch = torch
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._model = model.to(self.device).eval()

    def run(self, batch: Batch) -> Output:
        """Run one batch without gradients; the relevance is 0 without a query."""
        torch = self._torch
        with torch.inference_mode():
            ids, mask = (torch.from_numpy(array).to(self.device) for array in (batch.input_ids, batch.attention_mask))
            keep = self._model(input_ids=ids, attention_mask=mask).logits.softmax(-1)[..., 1]
        return Output(np.zeros(len(batch.rows), dtype=np.float32), keep.float().cpu().numpy())


class LlmLingua2:
    """Scores a unit by the mean probability that LLMLingua-2 keeps its tokens.

    The original drops single tokens down to a given rate; here whole units are dropped, as by all systems of a
    comparison, and there is no default threshold. A passage longer than a window is read in overlapping windows, where
    the original cuts it into chunks without overlap. Titles are not read, and passages are not ranked.

    Args:
        directory: Checkpoint such as `microsoft/llmlingua-2-xlm-roberta-large-meetingbank` (MIT) or
            `microsoft/llmlingua-2-bert-base-multilingual-cased-meetingbank` (Apache-2.0), with its `tokenizer.json`.
        device: `cpu`, `cuda`, or None for the best available device.

    Raises:
        ModelError: The directory holds no such checkpoint.
    """

    name = "llmlingua-2"
    threshold: float | None = None

    def __init__(self, directory: Path, device: str | None = None) -> None:
        self._encoder = PairEncoder(load_tokenizer(directory), _WINDOW)
        # [CLS] text [SEP]: the template of a pair without its query.
        self._encoder.template = replace(self._encoder.template, middle=())
        pad_id = read_encoder_config(directory).get("pad_token_id")
        self._pad_id = pad_id if isinstance(pad_id, int) else 0
        self._backend = _TokenClassifier(directory, device)
        self.about = {
            "what": "token classifier without a query",
            "weights": weights_text(directory.resolve().name, directory / WEIGHTS),
            "backend": f"{self._backend.name} {self._backend.device}",
        }

    def score_units(self, query: str, passages: Sequence[SegmentedPassage]) -> list[PassageScores]:
        """Score units by mean keep probability; the query is not read."""
        texts = [replace(segmented.passage, title=None) for segmented in passages]
        encoded = self._encoder.encode([], texts, [segmented.tiling for segmented in passages])
        windows = [window for passage in encoded for window in passage.running]
        batches = make_batches(windows, self._backend.limits, pad_id=self._pad_id, passage_type=0)
        outputs = iter(window_outputs(batches, self._backend.run_all(batches), self._backend.about))
        scores = [merge(passage, [next(outputs) for _ in passage.running]) for passage in encoded]
        return [PassageScores(math.nan, one.units[p.scored]) for one, p in zip(scores, passages, strict=True)]
