"""The model of the peers: the base encoder of ours with a rank head, in the layouts that they load."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

from secateur.labelled.embedder import default_embedder

_SEED = 7
_OPSET = 17
_COPIED = ("tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


def backbone_cross_encoder(directory: Path) -> Path:
    """Write all-MiniLM-L6-v2 as a cross-encoder with one fresh logit, unless it exists.

    It has the size and speed of our model; its scores mean nothing.

    Args:
        directory: Directory of all such files of a run.

    Returns:
        A Hugging Face directory of a `BertForSequenceClassification`, which transformers 4 and 5 can read.
    """
    target = directory / "cross-encoder"
    if (target / "config.json").is_file():
        return target
    base = default_embedder()
    import torch
    from safetensors.torch import load_file, save_file

    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    target.mkdir(parents=True, exist_ok=True)
    weights = {f"bert.{name}": weight for name, weight in load_file(base / "model.safetensors").items()}
    weights.pop("bert.embeddings.position_ids", None)  # older transformers saved them
    generator = torch.Generator().manual_seed(_SEED)
    weights["classifier.weight"] = torch.randn(1, config["hidden_size"], generator=generator) * 0.02
    weights["classifier.bias"] = torch.zeros(1)
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    for name in _COPIED:
        shutil.copyfile(base / name, target / name)
    # The tokenizer of the base cuts and pads every text to 128 tokens.
    tokenizer = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer |= {"truncation": None, "padding": None}
    (target / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    config.pop("_name_or_path", None)
    config |= {
        "architectures": ["BertForSequenceClassification"],
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
    }
    # Last, since its presence means that the directory is complete.
    (target / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return target


def backbone_onnx(directory: Path) -> Path:
    """Export the cross-encoder to ONNX in fp32 unless it exists.

    Returns:
        A file with the inputs `input_ids`, `attention_mask`, `token_type_ids` and the output `logits` [batch, 1].
    """
    target = directory / "cross-encoder.onnx"
    if target.is_file():
        return target
    source = backbone_cross_encoder(directory)
    import onnx  # noqa: F401 - the exporter needs it
    import torch
    from transformers import AutoModelForSequenceClassification

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model: Any = AutoModelForSequenceClassification.from_pretrained(
                source, attn_implementation="eager", dtype=torch.float32
            )

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            return self.model(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).logits

    names = ["input_ids", "attention_mask", "token_type_ids"]
    partial = target.with_suffix(".partial")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of shape checks that hold for every shape
        torch.onnx.export(
            Logits().eval(),
            tuple(torch.ones(2, 16, dtype=torch.int64) for _ in names),
            str(partial),
            input_names=names,
            output_names=["logits"],
            dynamic_axes={name: {0: "batch", 1: "tokens"} for name in names} | {"logits": {0: "batch"}},
            opset_version=_OPSET,
            dynamo=False,
        )
    partial.replace(target)
    return target


def backbone_onnx_int8(directory: Path) -> Path:
    """Quantise the exported cross-encoder dynamically, as FlashRank's own models are, unless the result exists."""
    target = directory / "cross-encoder-int8.onnx"
    if target.is_file():
        return target
    source = backbone_onnx(directory)
    from onnxruntime.quantization import quantize_dynamic

    partial = target.with_suffix(".partial")
    quantize_dynamic(source, partial)
    partial.replace(target)
    return target
