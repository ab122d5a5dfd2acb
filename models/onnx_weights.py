"""Reading a network's weights back from its exported fp16 file, for models that ship as ONNX only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from secateur.models.errors import MissingExtraError, ModelError

_ROOT = "network"  # what the exported module calls the network
_HALF = ".fp16"  # behind the name of a weight that is stored in half precision


def read_onnx_weights(path: Path) -> dict[str, Tensor]:
    """Return the state dict of the network that an exported file holds, in fp32.

    The exporter keeps parameters under their names, but for the matrices of linear layers: those it transposes and
    numbers. The product's node still carries the layer's name.

    Args:
        path: a file written by `secateur.training.export`; its weights were rounded to fp16 there.

    Raises:
        MissingExtraError: onnx is not installed.
        ModelError: the file is broken.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise MissingExtraError("onnx", "train") from error
    try:
        graph = onnx.load(path).graph
        stored = {weight.name.removesuffix(_HALF): numpy_helper.to_array(weight) for weight in graph.initializer}
    except Exception as error:  # protobuf and onnx raise kinds of their own
        raise ModelError(f"{path}: cannot be read as an ONNX file ({error})") from error
    found = {name.removeprefix(f"{_ROOT}."): array for name, array in stored.items() if name.startswith(f"{_ROOT}.")}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in stored:
            # "/network/encoder/layer.0/attention/self/query/MatMul"
            layer = node.name.strip("/").split("/")[1:-1]
            found[".".join([*layer, "weight"])] = stored[node.input[1]].T
    return {name: torch.from_numpy(np.array(array, dtype=np.float32, order="C")) for name, array in found.items()}
