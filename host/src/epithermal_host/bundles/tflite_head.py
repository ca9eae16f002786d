"""Read and replace the head of a released model, V and v, in its TFLite file.

All other bytes of the file stay the same: W, U, the scaling and the graph are the parent's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.errors import BundleError
from epithermal_host.training.frameworks import quiet
from epithermal_host.training.head import UNITS

Array = NDArray[np.float32]

NO_HEAD = "no head in 32 or 16 bits as written by `release`: use another bundle"


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Weights of d = V h' + v, the input of `epithermal_host.training.head`."""

    weights: Array  # (UNITS, H) V
    bias: Array  # (UNITS,) v


def read_head(model: bytes) -> Head:
    """Read the head of a model file.

    Raises
    ------
    BundleError
        The file has no replaceable head.
    """
    weights, bias = _views(bytearray(model))
    wide = weights.astype(np.float32).reshape(UNITS, -1)
    return Head(wide, bias.astype(np.float32))


def replace_head(model: bytes, head: Head) -> bytes:
    """Return a model file with its head replaced.

    Raises
    ------
    BundleError, ValueError
        The file has no replaceable head; the new head has another shape.
    """
    content = bytearray(model)
    weights, bias = _views(content)
    if head.weights.size != weights.size or head.bias.size != bias.size:
        raise ValueError("the new head has another shape")
    weights[:] = head.weights.ravel().astype(weights.dtype)
    bias[:] = head.bias.astype(bias.dtype)
    return bytes(content)


def _views(content: bytearray) -> tuple[Any, Any]:
    """Return writable views of V (UNITS * H,) and v (UNITS,) in a file."""
    with quiet():
        from tensorflow.lite.python import schema_py_generated as schema
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    found, widened = [], {}
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()
        if code == schema.BuiltinOperator.DEQUANTIZE:  # a constant in 16 bits
            widened[operator.Outputs(0)] = operator.Inputs(0)
        if code != schema.BuiltinOperator.FULLY_CONNECTED or operator.InputsLength() != 3:
            continue
        weights, bias = operator.Inputs(1), operator.Inputs(2)
        if bias >= 0 and graph.Tensors(bias).ShapeAsNumpy().tolist() == [UNITS]:
            stored = [widened.get(t, t) for t in (weights, bias)]
            found.append([_floats(schema, model, graph.Tensors(t)) for t in stored])
    if len(found) != 1 or any(view is None for view in found[0]):
        raise BundleError(f"model.tflite: {NO_HEAD}")
    weights, bias = found[0]
    return weights, bias


def _floats(schema: Any, model: Any, tensor: Any) -> Any:
    """Return a view of a float constant in its own width; None for anything else."""
    kinds = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.FLOAT16: np.float16}
    data = model.Buffers(tensor.Buffer()).DataAsNumpy()
    kind = kinds.get(tensor.Type())
    return None if kind is None or isinstance(data, int) else data.view(kind)
