"""The head of a released model, V and v, read and replaced in its TFLite file.

Nothing else of the file changes, byte for byte: W, U, the scaling and the graph stay the parent's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from epithermal_edge.errors import BundleError
from epithermal_host import network

Array = NDArray[np.float32]

NOT_OURS = "no head in 32 bits as `release` writes it: take a bundle in float32 or dynamic_int8"


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """d = V h' + v of `epithermal_host.network`."""

    weights: Array  # (UNITS, H) V
    bias: Array  # (UNITS,) v


def read_head(model: bytes) -> Head:
    """The head of a model file.

    Raises
    ------
    BundleError
        The file has none that could be replaced.
    """
    weights, bias = _views(bytearray(model))
    return Head(weights.reshape(network.UNITS, -1).copy(), bias.copy())


def with_head(model: bytes, head: Head) -> bytes:
    """The same file with another head.

    Raises
    ------
    BundleError, ValueError
        The file has none that could be replaced; the head is of another shape.
    """
    content = bytearray(model)
    weights, bias = _views(content)
    if head.weights.size != weights.size or head.bias.size != bias.size:
        raise ValueError("the head is of another shape")
    weights[:] = head.weights.astype(np.float32).ravel()
    bias[:] = head.bias.astype(np.float32)
    return bytes(content)


def _views(content: bytearray) -> tuple[Array, Array]:
    """V (UNITS * H,) and v (UNITS,) where they stand in the file: writing to them changes it."""
    with network.quiet():
        from tensorflow.lite.python import schema_py_generated as schema
    model = schema.Model.GetRootAs(content, 0)
    graph = model.Subgraphs(0)
    found = []
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()
        if code != schema.BuiltinOperator.FULLY_CONNECTED or operator.InputsLength() != 3:
            continue
        weights, bias = operator.Inputs(1), operator.Inputs(2)
        if bias >= 0 and graph.Tensors(bias).ShapeAsNumpy().tolist() == [network.UNITS]:
            found.append([_floats(schema, model, graph.Tensors(t)) for t in (weights, bias)])
    if len(found) != 1 or any(view is None for view in found[0]):
        raise BundleError(f"model.tflite: {NOT_OURS}")
    weights, bias = found[0]
    assert weights is not None and bias is not None
    return weights, bias


def _floats(schema: object, model: object, tensor: object) -> Array | None:
    """A constant of the graph; None where it is not in 32 bits."""
    if tensor.Type() != schema.TensorType.FLOAT32:  # type: ignore[attr-defined]
        return None
    data = model.Buffers(tensor.Buffer()).DataAsNumpy()  # type: ignore[attr-defined]
    return None if isinstance(data, int) else data.view(np.float32)
