"""Normalisation by batch and by sample, with PyTorch's momentum and its unbiased running variance."""

import math
from typing import Any

import numpy as np

from nnfast import ops
from nnfast.nn.module import Module
from nnfast.nn.tensor import Parameter, torch_tensor
from nnfast.tensor import Variable


class _BatchNorm(Module):
    ranks: tuple[int, ...] = ()

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        dtype: Any = None,
    ):
        super().__init__()
        self.num_features, self.eps, self.momentum = num_features, eps, momentum
        self.affine, self.track_running_stats = affine, track_running_stats
        kind = None if dtype is None else str(dtype)
        one, zero = ops.ones((num_features,), kind), ops.zeros((num_features,), kind)
        self.register_parameter("weight", Parameter(one) if affine else None)
        self.register_parameter("bias", Parameter(zero) if affine else None)
        tracked = track_running_stats
        self.register_buffer("running_mean", Variable(zero, trainable=False) if tracked else None)
        self.register_buffer("running_var", Variable(one, trainable=False) if tracked else None)
        self.register_buffer("num_batches_tracked", Variable(np.array(0), trainable=False) if tracked else None)

    def forward(self, input: Any) -> Any:
        if input.ndim not in self.ranks or input.shape[1] != self.num_features:
            raise ValueError(
                f"[{type(self).__name__}] expects {self.num_features} channels along axis 1. "
                f"Received: input shape {tuple(input.shape)}"
            )
        if not self.training and self.running_mean is not None:
            known = (self.running_mean, self.running_var)
            return torch_tensor(ops.batch_norm(input, self.weight, self.bias, *known, axis=1, epsilon=self.eps))
        n = math.prod(input.shape) // self.num_features
        if self.training and n < 2:
            raise ValueError(
                f"[{type(self).__name__}] in training there must be more than one value per channel. "
                f"Received: input shape {tuple(input.shape)}. Use a larger batch, or drop_last=True in the loader"
            )
        y, mean, variance = ops.batch_norm(input, self.weight, self.bias, axis=1, epsilon=self.eps, statistics=True)
        if self.training and self.running_mean is not None:
            ops.advance(self.num_batches_tracked)
            share = 1 / int(self.num_batches_tracked) if self.momentum is None else self.momentum
            ops.moving_average(self.running_mean, mean, 1 - share)
            ops.moving_average(self.running_var, variance, 1 - share, scale=n / (n - 1))
        return torch_tensor(y)

    def extra_repr(self) -> str:
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}"


class BatchNorm1d(_BatchNorm):
    """Each of the C channels of (N, C) or (N, C, L) gets mean 0 and variance 1, then times weight, plus bias.

    The running statistics move by `momentum` (None: their plain mean) towards those of each batch.
    """

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Each of the C channels of (N, C, H, W) gets mean 0 and variance 1. See `BatchNorm1d`."""

    ranks = (4,)


class LayerNorm(Module):
    """The last dimensions, of normalized_shape, get mean 0 and variance 1, then times weight, plus bias."""

    def __init__(
        self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True,
        dtype: Any = None,
    ):  # fmt: skip
        super().__init__()
        shape = tuple(normalized_shape) if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
        self.normalized_shape, self.eps, kind = shape, eps, None if dtype is None else str(dtype)
        self.register_parameter("weight", Parameter(ops.ones(shape, kind)) if elementwise_affine else None)
        self.register_parameter("bias", Parameter(ops.zeros(shape, kind)) if elementwise_affine and bias else None)

    def forward(self, input: Any) -> Any:
        n = len(self.normalized_shape)
        if tuple(input.shape[-n:]) != self.normalized_shape:
            raise ValueError(
                f"[LayerNorm] expects inputs that end in {self.normalized_shape}. "
                f"Received: input shape {tuple(input.shape)}"
            )
        return torch_tensor(ops.layer_norm(input, self.weight, self.bias, axis=tuple(range(-n, 0)), epsilon=self.eps))

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}"
