"""nnfast: neural networks on fast, readable kernels, with Keras's names."""

import importlib as _importlib
from typing import Any as _Any

from nnfast import (
    activations,
    callbacks,
    config,
    constraints,
    datasets,
    graph,
    initializers,
    layers,
    losses,
    metrics,
    models,
    ops,
    optimizers,
    regularizers,
    saving,
    utils,
)
from nnfast.device import (
    empty_cache,
    get_device,
    get_matmul_precision,
    get_num_threads,
    set_device,
    set_matmul_precision,
    set_num_threads,
)
from nnfast.initializers import Initializer
from nnfast.layers import Input, InputSpec, Layer
from nnfast.losses import Loss
from nnfast.metrics import Metric
from nnfast.models import Model, Sequential
from nnfast.optimizers import Optimizer
from nnfast.regularizers import Regularizer
from nnfast.tape import GradientTape, no_grad
from nnfast.tensor import Tensor, Variable, from_dlpack, tensor

__version__ = "0.1.0"

__all__ = [
    "GradientTape",
    "Initializer",
    "Input",
    "InputSpec",
    "Layer",
    "Loss",
    "Metric",
    "Model",
    "Optimizer",
    "Regularizer",
    "Sequential",
    "Tensor",
    "Variable",
    "activations",
    "callbacks",
    "config",
    "constraints",
    "datasets",
    "empty_cache",
    "from_dlpack",
    "get_device",
    "get_matmul_precision",
    "get_num_threads",
    "graph",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "no_grad",
    "ops",
    "optimizers",
    "preprocessing",
    "regularizers",
    "saving",
    "set_device",
    "set_matmul_precision",
    "set_num_threads",
    "tensor",
    "utils",
]

# Rooms that load when they are asked for.
_LATER = ("backend", "compat", "data", "nn", "optim", "plot", "preprocessing", "random", "src")


def __getattr__(name: str) -> _Any:
    if name in _LATER:
        return _importlib.import_module(f"{__name__}.{name}")
    import difflib

    close = difflib.get_close_matches(name, [*__all__, *_LATER], 1, 0.6)
    hint = f". Did you mean {close[0]!r}?" if close else ""
    raise AttributeError(f"[nnfast] there is no such name. Received: nnfast.{name}{hint}")
