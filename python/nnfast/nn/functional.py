"""PyTorch's functions by their names: `import nnfast.nn.functional as F`. Each is a call or two of ops.

Images are (N, C, H, W), filters (out, in / groups, rows, columns), weights of `linear` (out, in), as in PyTorch: the
kernels read them through transposed strides, so nothing is copied.
"""

import math
from typing import Any

import numpy as np

from nnfast import ops
from nnfast.nn.tensor import torch_tensor
from nnfast.tensor import as_array

# ---- layers ----


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """x @ weight.T + bias: (..., in), (out, in), (out,) -> (..., out).

    >>> import numpy as np
    >>> from nnfast import nn
    >>> nn.functional.linear(np.ones((2, 4), "float32"), np.ones((3, 4), "float32")).shape
    (2, 3)
    """
    x = torch_tensor(input)
    if x.ndim and x.shape[-1] != weight.shape[1]:
        n = math.prod(x.shape[1:])
        fix = " Flatten it first: x.view(x.size(0), -1)" if x.ndim > 2 and n == weight.shape[1] else ""
        raise ValueError(
            f"[linear] expects inputs of shape (..., {weight.shape[1]}). "
            f"Received: input shape {tuple(x.shape)}, weight shape {tuple(weight.shape)}.{fix}"
        )
    if x.ndim == 1:
        return torch_tensor(ops.dense(ops.expand_dims(x, 0), ops.transpose(weight), bias))[0]
    return torch_tensor(ops.dense(x, ops.transpose(weight), bias))


def _around(padding: Any) -> Any:
    """PyTorch's padding, one number or (rows, columns), as the ops take it."""
    if isinstance(padding, (tuple, list)):
        rows, columns = padding
        return ((rows, rows), (columns, columns))
    return padding


def _batch(input: Any) -> tuple[Any, bool]:
    """(N, C, H, W), and whether the N was missing."""
    x = torch_tensor(input)
    return (ops.expand_dims(x, 0), True) if x.ndim == 3 else (x, False)


def conv2d(
    input: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1
) -> Any:
    """Convolution of images (N, C, H, W) with filters (out, C / groups, rows, columns).

    padding: a number, (rows, columns), "valid" or "same".
    """
    x, single = _batch(input)
    if x.ndim == 4 and x.shape[1] != weight.shape[1] * groups:
        fix = " Channels come before rows: x.permute(0, 3, 1, 2)" if x.shape[3] == weight.shape[1] * groups else ""
        if input.ndim == 3:
            fix = " Does it lack the axis of channels? x.unsqueeze(1)"
        raise ValueError(
            f"[conv2d] expects (N, {weight.shape[1] * groups}, H, W). Received: input shape {tuple(input.shape)}, "
            f"weight shape {tuple(weight.shape)}, groups={groups}.{fix}"
        )
    y = ops.conv2d(
        x,
        ops.transpose(weight, (2, 3, 1, 0)),
        bias,
        strides=stride,
        padding=_around(padding),
        dilation=dilation,
        groups=groups,
        data_format="channels_first",
    )
    return torch_tensor(y)[0] if single else torch_tensor(y)


def max_pool2d(
    input: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Any:
    """The largest of each window of (N, C, H, W). stride: default kernel_size."""
    x, single = _batch(input)
    y = ops.max_pool2d(
        x,
        kernel_size,
        strides=stride,
        padding=_around(padding),
        dilation=dilation,
        ceil_mode=ceil_mode,
        data_format="channels_first",
    )
    return torch_tensor(y)[0] if single else torch_tensor(y)


def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Any:
    """The mean of each window of (N, C, H, W); cells of the padding count, as in PyTorch."""
    x, single = _batch(input)
    y = ops.avg_pool2d(
        x,
        kernel_size,
        strides=stride,
        padding=_around(padding),
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
        data_format="channels_first",
    )
    return torch_tensor(y)[0] if single else torch_tensor(y)


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Any:
    """The mean of windows chosen so that the output has output_size; the sizes must divide those of the input."""
    x, single = _batch(input)
    sizes = output_size if isinstance(output_size, (tuple, list)) else (output_size, output_size)
    wanted = [n if s is None else s for s, n in zip(sizes, x.shape[2:])]
    if any(n % s for n, s in zip(x.shape[2:], wanted)):
        raise ValueError(
            f"[adaptive_avg_pool2d] output_size must divide the size of the images. Received: output_size="
            f"{output_size}, input shape {tuple(x.shape)}"
        )
    y = ops.avg_pool2d(x, [n // s for n, s in zip(x.shape[2:], wanted)], data_format="channels_first")
    return torch_tensor(y)[0] if single else torch_tensor(y)


def embedding(input: Any, weight: Any) -> Any:
    """The rows of weight (words, features) that the integers name: (...) -> (..., features)."""
    index = torch_tensor(input)
    rows = ops.take_rows(weight, index.data.reshape(-1))
    return torch_tensor(ops.reshape(rows, (*index.shape, weight.shape[1])))


def dropout(input: Any, p: float = 0.5, training: bool = True) -> Any:
    """In training zero with probability p, and the rest divided by 1 - p."""
    return torch_tensor(ops.dropout(input, p)) if training and p else torch_tensor(input)


def dropout2d(input: Any, p: float = 0.5, training: bool = True) -> Any:
    """In training whole channels of (N, C, H, W) are zero with probability p."""
    if not training or not p:
        return torch_tensor(input)
    return torch_tensor(ops.dropout(input, p, noise_shape=(*input.shape[:2], *(1 for _ in input.shape[2:]))))


# ---- activations ----


def _activation(f: Any, what: str) -> Any:
    def function(input: Any, inplace: bool = False) -> Any:
        return torch_tensor(f(input))

    function.__name__ = function.__qualname__ = f.__name__
    function.__doc__ = f"{what} inplace is accepted and without effect."
    return function


relu = _activation(ops.relu, "max(x, 0).")
sigmoid = _activation(ops.sigmoid, "1 / (1 + exp(-x)).")
tanh = _activation(ops.tanh, "The hyperbolic tangent.")
softplus = _activation(ops.softplus, "log(1 + exp(x)).")
silu = _activation(ops.silu, "x * sigmoid(x).")
selu = _activation(ops.selu, "Scaled ELU.")
softsign = _activation(ops.softsign, "x / (1 + |x|).")
hardsigmoid = _activation(ops.hard_sigmoid, "x / 6 + 1/2, cut to [0, 1].")


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """x where it is positive, else negative_slope * x (PyTorch's default is 0.01)."""
    return torch_tensor(ops.leaky_relu(input, negative_slope))


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where it is positive, else alpha * (exp(x) - 1)."""
    return torch_tensor(ops.elu(input, alpha))


def gelu(input: Any, approximate: str = "none") -> Any:
    """x times the normal distribution function of x; approximate="tanh": the formula with tanh."""
    return torch_tensor(ops.gelu(input, approximate == "tanh"))


def softmax(input: Any, dim: int = -1) -> Any:
    """exp(x) / sum(exp(x)) along dim."""
    return torch_tensor(ops.softmax(input, axis=dim))


def log_softmax(input: Any, dim: int = -1) -> Any:
    """log(softmax(x)) along dim."""
    return torch_tensor(ops.log_softmax(input, axis=dim))


def one_hot(tensor: Any, num_classes: int = -1) -> Any:
    """Integers as rows with one 1 (int64). num_classes=-1: the largest number and one."""
    classes = int(np.asarray(tensor).max()) + 1 if num_classes == -1 else num_classes
    return torch_tensor(ops.cast(ops.one_hot(tensor, classes), "int64"))


# ---- losses ----


def _reduced(values: Any, reduction: str, name: str) -> Any:
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"[{name}] reduction must be 'mean', 'sum' or 'none'. Received: {reduction!r}")
    return torch_tensor({"mean": ops.mean, "sum": ops.sum, "none": lambda v: v}[reduction](values))


def _same_shape(name: str, input: Any, target: Any) -> tuple[Any, Any]:
    x, t = torch_tensor(input), torch_tensor(target)
    if tuple(x.shape) != tuple(t.shape):
        fix = ""
        if math.prod(x.shape) == math.prod(t.shape):
            fix = f" Give them one shape, e.g. target.view{tuple(x.shape)}"
        raise ValueError(
            f"[{name}] input and target must have one shape: they are not broadcast. "
            f"Received: input shape {tuple(x.shape)}, target shape {tuple(t.shape)}.{fix}"
        )
    return x, t


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """(input - target)^2."""
    x, t = _same_shape("mse_loss", input, target)
    return _reduced(ops.square(x - t), reduction, "mse_loss")


def l1_loss(input: Any, target: Any, reduction: str = "mean") -> Any:
    """|input - target|."""
    x, t = _same_shape("l1_loss", input, target)
    return _reduced(ops.abs(x - t), reduction, "l1_loss")


def smooth_l1_loss(input: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Any:
    """d^2 / (2 beta) where d = |input - target| is below beta, else d - beta / 2."""
    x, t = _same_shape("smooth_l1_loss", input, target)
    d = ops.abs(x - t)
    return _reduced(ops.where(d < beta, ops.square(d) * (0.5 / beta), d - 0.5 * beta), reduction, "smooth_l1_loss")


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Any:
    """Cross-entropy of 0 or 1 with sigmoid(input). weight: of each element; pos_weight: of those with target 1."""
    x, t = _same_shape("binary_cross_entropy_with_logits", input, target)
    values = ops.sigmoid_xent(x, t)
    if pos_weight is not None:  # the loss of a positive is softplus(-x)
        values = values + t * (torch_tensor(pos_weight) - 1.0) * ops.softplus(-x)
    if weight is not None:
        values = values * torch_tensor(weight)
    return _reduced(values, reduction, "binary_cross_entropy_with_logits")


def binary_cross_entropy(input: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Any:
    """Cross-entropy of 0 or 1 with probabilities; logarithms are cut at -100, as in PyTorch."""
    x, t = _same_shape("binary_cross_entropy", input, target)
    low, high = (float(f(x)) if x.size else 0.5 for f in (ops.min, ops.max))
    if not (low >= 0 and high <= 1):
        raise ValueError(
            "[binary_cross_entropy] input must be probabilities, from 0 to 1. "
            f"Received: values from {low:g} to {high:g}. Use BCEWithLogitsLoss for bare scores"
        )
    values = -(t * ops.maximum(ops.log(x), -100.0) + (1.0 - t) * ops.maximum(ops.log(1.0 - x), -100.0))
    if weight is not None:
        values = values * torch_tensor(weight)
    return _reduced(values, reduction, "binary_cross_entropy")


def _classes_last(name: str, input: Any, target: Any) -> tuple[Any, Any]:
    """Scores with the classes at the end: PyTorch has them second, (N, C, d1, ...)."""
    x, t = torch_tensor(input), torch_tensor(target)
    if x.ndim > 2:
        t = torch_tensor(ops.moveaxis(t, 1, -1)) if t.ndim == x.ndim else t
        x = torch_tensor(ops.moveaxis(x, 1, -1))
    if t.ndim == x.ndim and t.data.dtype.kind in "iu":
        fix = ". For class numbers use target.squeeze(-1), for one-hot rows target.argmax(1)"
    elif x.shape[:-1] == t.shape or (t.ndim == x.ndim and t.shape == x.shape):
        return x, t
    else:
        fix = ""
    raise ValueError(
        f"[{name}] target must hold one class number per row of the input. "
        f"Received: input shape {tuple(input.shape)}, target shape {tuple(target.shape)}, {t.data.dtype}{fix}"
    )


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Any:
    """Cross-entropy of class numbers with softmax(input): input holds scores (N, C) or (N, C, d1, ...), not softmax.

    Args:
        input: scores.
        target: class numbers (N,) or (N, d1, ...); or probabilities of the shape of input.
        weight: of each class (C,). The mean is then sum(w * l) / sum(w), as in PyTorch.
        ignore_index: targets of this number have no loss and are not counted.
        reduction: "mean", "sum" or "none".
        label_smoothing: e mixes the target with the uniform distribution.

    >>> from nnfast import nn
    >>> round(nn.functional.cross_entropy([[0.0, 0.0]], [1]).item(), 4)
    0.6931
    """
    x, t = _classes_last("cross_entropy", input, target)
    soft = t.ndim == x.ndim
    if weight is not None and (soft or label_smoothing):
        return _weighted_and_smooth(x, t, weight, ignore_index, reduction, label_smoothing)
    options: dict[str, Any] = {"label_smoothing": label_smoothing}
    if not soft:
        options["ignore_class"] = ignore_index
    if weight is None:
        return torch_tensor(ops.softmax_xent(x, t, reduction=reduction, **options))
    w = as_array(weight, name="cross_entropy")
    summed = ops.softmax_xent(x, t, class_weight=w, reduction="none" if reduction == "none" else "sum", **options)
    if reduction != "mean":
        return torch_tensor(summed)
    return torch_tensor(summed * (1.0 / _weight_of(w, t, ignore_index)))


def _weight_of(w: np.ndarray, t: Any, ignore_index: int) -> float:
    """The sum of the weights of the rows that count."""
    numbers = t.numpy()
    counted = numbers[numbers != ignore_index].reshape(-1)
    total = float(ops.sum(ops.take_rows(w, counted)).item()) if len(counted) else 0.0
    return total if total else float("nan")


def _weighted_and_smooth(x: Any, t: Any, weight: Any, ignore_index: int, reduction: str, e: float) -> Any:
    """PyTorch weighs each class of a row by its own weight; the kernel weighs the row."""
    w, classes = as_array(weight, name="cross_entropy"), x.shape[-1]
    if t.ndim == x.ndim:
        rows, counted = t, None
    else:
        numbers = t.numpy()
        counted = numbers != ignore_index
        rows = ops.one_hot(np.where(counted, numbers, 0), classes, x.data.dtype.name)
    targets = rows * (1.0 - e) + e / classes
    values = -ops.sum(ops.log_softmax(x) * targets * w, axis=-1)
    if counted is not None:
        values = values * ops.cast(counted, x.data.dtype.name)
    if reduction == "mean" and counted is not None:
        return torch_tensor(ops.sum(values) * (1.0 / _weight_of(w, t, ignore_index)))
    return _reduced(values, reduction, "cross_entropy")


def nll_loss(input: Any, target: Any, weight: Any = None, ignore_index: int = -100, reduction: str = "mean") -> Any:
    """-input[target] of log-probabilities: after `log_softmax` what `cross_entropy` is after nothing."""
    x, t = _classes_last("nll_loss", input, target)
    if t.ndim == x.ndim:
        raise ValueError(f"[nll_loss] target must hold class numbers. Received: target shape {tuple(t.shape)}")
    numbers = t.numpy()
    counted = numbers != ignore_index
    picked = ops.one_hot(np.where(counted, numbers, 0), x.shape[-1], x.data.dtype.name)
    w = np.ones(x.shape[-1], x.data.dtype) if weight is None else as_array(weight, name="nll_loss")
    values = -ops.sum(x * picked * w, axis=-1) * ops.cast(counted, x.data.dtype.name)
    if reduction == "mean":
        return torch_tensor(ops.sum(values) * (1.0 / _weight_of(w, t, ignore_index)))
    return _reduced(values, reduction, "nll_loss")


def normalize(input: Any, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Any:
    """x / max(norm, eps) along dim."""
    x = torch_tensor(input)
    return torch_tensor(x / ops.maximum(x.norm(p, dim, keepdim=True), eps))


def pad(input: Any, pad: Any, mode: str = "constant", value: float = 0.0) -> Any:
    """Zeros (or `value`) around: pad = (left, right, top, bottom, ...), the last dimension first."""
    if mode != "constant":
        raise ValueError(f"[pad] only mode='constant' is supported. Received: mode={mode!r}")
    x = torch_tensor(input)
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    return torch_tensor(ops.pad(x, [(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1], value))
