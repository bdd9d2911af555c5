"""Models as ONNX files (onnx.ai), for runtimes in other languages and on other devices.

A model becomes a graph of ONNX's operators in inference mode, opset 17. Its batch has any size.
"""

import os
from typing import Any

import numpy as np

from nnfast.models import onnx_layers, onnx_sequences
from nnfast.models.onnx_writer import Value, Writer
from nnfast.saving.atomic import atomic_file

OPSET = 17
FORMS = {**onnx_layers.FORMS, **onnx_sequences.FORMS}


def export_onnx(model: Any, filepath: Any) -> None:
    """Writes a built model as an ONNX file; see `Model.export_onnx`."""
    try:
        import onnx
    except ImportError as e:
        raise ImportError("[export_onnx] this needs the package onnx. Use pip install 'nnfast[onnx]'") from e
    path = os.fspath(filepath)
    if not model.built or not getattr(model, "inputs", None):
        raise ValueError(
            f"[export_onnx] the shape of the input of {model.name!r} is not known. Received: a model that is not "
            "built, or a subclass with its own call. Use Sequential or Model(inputs, outputs), and Input(shape=...)"
        )
    writer = Writer(onnx, FORMS, onnx_layers.MASKED | onnx_sequences.MASKED, onnx_layers.OPERATIONS)
    inputs, described = [], []
    for t in model.inputs:
        dtype = np.dtype(t.dtype)
        shape = ["batch" if i == 0 else n if n is not None else f"{t.name}_{i}" for i, n in enumerate(t.shape)]
        kind = onnx.helper.np_dtype_to_tensor_dtype(dtype)
        described.append(onnx.helper.make_tensor_value_info(t.name, kind, shape))
        inputs.append(Value(t.name, len(t.shape), dtype))
    results = writer.run(model, inputs)
    outputs = []
    for n, value in enumerate(results):
        name = "output" if len(results) == 1 else f"output_{n}"
        writer.nodes.append(onnx.helper.make_node("Identity", [value.name], [name]))
        shape = [None] * value.rank
        outputs.append(
            onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(value.dtype), shape)
        )
    graph = onnx.helper.make_graph(writer.nodes, model.name, described, outputs, writer.constants)
    made = onnx.helper.make_model(
        graph, producer_name="nnfast", ir_version=8, opset_imports=[onnx.helper.make_opsetid("", OPSET)]
    )
    onnx.checker.check_model(made)
    with atomic_file(path) as file:
        file.write(made.SerializeToString())
