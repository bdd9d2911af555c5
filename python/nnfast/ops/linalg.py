"""Products of matrices: matmul by NumPy's rules, and the fused dense layer."""

from typing import Any

from nnfast.ops._op import Op, float_operands
from nnfast.tensor import Tensor

# The activations that gemm and conv2d fuse, by the number that kernels know (csrc/ops.h, Activation).
FUSED_ACTIVATIONS = {
    name: i
    for i, name in enumerate(
        ("linear", "relu", "leaky_relu", "elu", "selu", "sigmoid", "tanh", "softplus", "exponential")
    )
}


class Dense(Op):
    """y = activation(x @ w + b), in one pass over y."""

    name = "dense"

    def forward(self, k: Any, x: Any, w: Any, b: Any, activation: int, slope: float) -> tuple[Any, Any]:
        rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])
        y = k.gemm(rows, w, b, activation=activation, slope=slope)
        saved = (rows, w, y if activation else None, activation, slope, x.shape)
        return (y if x.ndim == 2 else y.reshape(*x.shape[:-1], w.shape[1])), saved

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        from nnfast import device

        k = device.kernels
        x, w, y, activation, slope, shape = saved
        dz, db = k.bias_activation_gradient(
            dy.reshape(-1, w.shape[1]), y, activation=activation, slope=slope, needs_db=needs[2]
        )
        dx = k.gemm(dz, w.T).reshape(shape) if needs[0] else None  # (N, out) * (in, out).T -> (N, in)
        dw = k.gemm(x.T, dz) if needs[1] else None  # (N, in).T * (N, out) -> (in, out)
        return dx, dw, db

    def output_shape(self, x: Any, w: Any, *_: Any, **__: Any) -> tuple[int | None, ...]:
        return (*x[:-1], w[1])


_dense = Dense()


def dense(x: Any, w: Any, b: Any = None, activation: str = "linear", slope: float = 0.0) -> Tensor:
    """activation(x @ w + b).

    Args:
        x: (..., K).
        w: (K, N).
        b: (N,) or None.
        activation: a name in `FUSED_ACTIVATIONS`.
        slope: of leaky_relu and elu.

    Returns:
        (..., N).

    >>> import numpy as np, nnfast
    >>> nnfast.ops.dense(np.ones((1, 2), "float32"), np.ones((2, 3), "float32"), activation="relu").shape
    (1, 3)
    """
    if activation not in FUSED_ACTIVATIONS:
        raise ValueError(f"[dense] unknown activation. Known: {', '.join(FUSED_ACTIVATIONS)}. Received: {activation!r}")
    return _dense.apply(*float_operands("dense", x, w, b), activation=FUSED_ACTIVATIONS[activation], slope=slope)
