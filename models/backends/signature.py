"""Checking the inputs and outputs of an ONNX file before it is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from secateur.models.errors import ModelError

# A dimension is an integer if it is fixed. None: the file does not declare a shape.
Shapes = Mapping[str, Sequence[object] | None]

_REQUIRED = ("input_ids", "attention_mask")
_INPUT_RANKS = dict.fromkeys((*_REQUIRED, "token_type_ids", "unit_ids"), 2)
_OUTPUT_RANKS = {"relevance": 1, "keep": 2}


def _is_fixed(shape: Sequence[object] | None) -> bool:
    return shape is not None and any(isinstance(size, int) for size in shape)


def check_signature(path: Path, inputs: Shapes, outputs: Shapes) -> None:
    """Refuse an ONNX file that `secateur export` did not write.

    Args:
        path: ONNX file.
        inputs: Shapes by name.
        outputs: Shapes by name; additional outputs are ignored.

    Raises:
        ModelError: An input or output is missing, unknown, of the wrong rank, or of a fixed size.
    """
    problems = {
        "missing inputs": set(_REQUIRED) - inputs.keys(),
        "unknown inputs": inputs.keys() - _INPUT_RANKS.keys(),
        "inputs of a fixed size": {name for name, shape in inputs.items() if _is_fixed(shape)},
        "missing outputs": _OUTPUT_RANKS.keys() - outputs.keys(),
    }
    for kind, shapes, ranks in (("inputs", inputs, _INPUT_RANKS), ("outputs", outputs, _OUTPUT_RANKS)):
        problems[f"{kind} of the wrong rank"] = {
            name for name, rank in ranks.items() if (shape := shapes.get(name)) is not None and len(shape) != rank
        }
    found = [f"{problem}: {', '.join(sorted(names))[:200]}" for problem, names in problems.items() if names]
    if found:
        raise ModelError(
            f"{path}: does not have the expected inputs and outputs ({'; '.join(found)}); run `secateur export`"
        )
