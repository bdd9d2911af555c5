"""Products of matrices: matmul by NumPy's rules, gemm with all that fuses into it, and the dense layer."""

import math
from typing import Any

import numpy as np

from nnfast import device
from nnfast.ops._op import Op, float_operands, given, number
from nnfast.tensor import Tensor

# The activations that gemm and conv2d fuse, by the number that kernels know (csrc/ops.h, Activation).
FUSED_ACTIVATIONS = {
    name: i
    for i, name in enumerate(
        ("linear", "relu", "leaky_relu", "elu", "selu", "sigmoid", "tanh", "softplus", "exponential")
    )
}


def _fused(name: str, activation: str) -> int:
    if not isinstance(activation, str) or activation not in FUSED_ACTIVATIONS:
        raise ValueError(
            f"[{name}] unknown activation. Known: {', '.join(FUSED_ACTIVATIONS)}. Received: {activation!r}"
        )
    return FUSED_ACTIVATIONS[activation]


def _rows(k: Any, x: Any) -> Any:
    """(..., N) as (rows, N)."""
    return x if x.ndim == 2 else k.contiguous(x).reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _t(x: Any) -> Any:
    return x.swapaxes(-1, -2)


def _product_gradient(
    k: Any, dy: Any, a: Any, b: Any, needs: list[bool], alpha: float, precision: int
) -> tuple[Any | None, Any | None]:
    """da and db of y[...,M,N] = alpha * a[...,M,K] @ b[...,K,N], summed over the repeated batches."""
    da = db = None
    how = {"alpha": alpha, "precision": precision} if precision else {"alpha": alpha}
    if needs[0]:
        da = k.gemm(dy, _t(b), **how)  # (..., M, N) * (..., N, K)
        da = da if da.shape == a.shape else k.sum_to(da, a.shape)
    if needs[1] and b.ndim == 2 and a.ndim > 2:
        db = k.gemm(_rows(k, a).T, _rows(k, dy), **how)  # one product over all batches
    elif needs[1]:
        db = k.gemm(_t(a), dy, **how)  # (..., K, M) * (..., M, N)
        db = db if db.shape == b.shape else k.sum_to(db, b.shape)
    return da, db


class Dense(Op):
    """y = activation(x @ w + b), in one pass over y."""

    name = "dense"

    def forward(self, k: Any, x: Any, w: Any, b: Any, activation: int, slope: float) -> tuple[Any, Any]:
        precision = device.settings.matmul_precision
        if not (activation or precision):
            return k.gemm(x, w, b), (x, w, None, 0, slope, 0)  # a keyword costs 0.2 microseconds
        y = k.gemm(x, w, b, activation=activation, slope=slope, precision=precision)
        return y, (x, w, y if activation else None, activation, slope, precision)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        k = device.kernels
        x, w, y, activation, slope, precision = saved
        dz, db = dy, None
        if activation or needs[2]:
            dz, db = k.bias_activation_gradient(dy, y, activation=activation, slope=slope, needs_db=needs[2])
        return *_product_gradient(k, dz, x, w, needs, 1.0, precision), db

    def output_shape(self, x: Any, w: Any, *_: Any, **__: Any) -> tuple[int | None, ...]:
        return (*x[:-1], w[1])


class Gemm(Op):
    """y = activation(alpha * a @ b + beta * c + bias)."""

    name = "gemm"

    def forward(
        self, k: Any, a: Any, b: Any, bias: Any, c: Any, alpha: float, beta: float, activation: int, slope: float
    ) -> tuple[Any, Any]:
        out, precision = None, device.settings.matmul_precision
        if c is not None and beta:
            out = k.empty(c.shape, c.dtype)
            k.copy(c, out)
        y = k.gemm(
            a,
            b,
            bias,
            alpha=alpha,
            beta=beta if c is not None else 0.0,
            activation=activation,
            slope=slope,
            out=out,
            precision=precision,
        )
        return y, (a, b, c is not None, y if activation else None, alpha, beta, activation, slope, precision)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        k = device.kernels
        a, b, has_c, y, alpha, beta, activation, slope, precision = saved
        dz, dbias = k.bias_activation_gradient(dy, y, activation=activation, slope=slope, needs_db=needs[2])
        dc = k.mul(dz, np.asarray(beta, dz.dtype)) if has_c and needs[3] else None
        return *_product_gradient(k, dz, a, b, needs, alpha, precision), dbias, dc

    def output_shape(self, a: Any, b: Any, *_: Any, **__: Any) -> tuple[int | None, ...]:
        return (*np.broadcast_shapes(a[:-2], b[:-2]), a[-2], b[-1])


class MatMul(Op):
    """NumPy's matmul: a one-dimensional operand is a row on the left, a column on the right."""

    name = "matmul"

    def forward(self, k: Any, a: Any, b: Any) -> tuple[Any, Any]:
        rows = a if a.ndim > 1 else a[None, :]
        columns = b if b.ndim > 1 else b[:, None]
        precision = device.settings.matmul_precision
        y = k.gemm(rows, columns, precision=precision) if precision else k.gemm(rows, columns)
        shape = y.shape
        if a.ndim == 1 or b.ndim == 1:
            y = y.reshape(self.output_shape(a.shape, b.shape))
        return y, (rows, columns, shape, a.shape, b.shape, precision)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        rows, columns, shape, a_shape, b_shape, precision = saved
        da, db = _product_gradient(device.kernels, dy.reshape(shape), rows, columns, needs, 1.0, precision)
        return da if da is None else da.reshape(a_shape), db if db is None else db.reshape(b_shape)

    def output_shape(self, a: Any, b: Any, **_: Any) -> tuple[int | None, ...]:
        batch = np.broadcast_shapes(a[:-2], b[:-2])
        return (*batch, *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))


class Outer(Op):
    """y[i,j] = a[i] * b[j]."""

    name = "outer"

    def forward(self, k: Any, a: Any, b: Any) -> tuple[Any, Any]:
        column, row = k.contiguous(a).reshape(-1, 1), k.contiguous(b).reshape(1, -1)
        return k.gemm(column, row), (column, row, a.shape, b.shape)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        column, row, a_shape, b_shape = saved
        da, db = _product_gradient(device.kernels, dy, column, row, needs, 1.0, 0)  # single products gain nothing
        return da if da is None else da.reshape(a_shape), db if db is None else db.reshape(b_shape)

    def output_shape(self, a: Any, b: Any, **_: Any) -> tuple[int | None, ...]:
        return int(np.prod(a)), int(np.prod(b))


_dense, _gemm, _matmul, _outer = Dense(), Gemm(), MatMul(), Outer()


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
    fused = FUSED_ACTIVATIONS.get(activation) if activation.__class__ is str else None
    if fused is None:
        fused = _fused("dense", activation)
    if slope.__class__ is not float:
        slope = number("dense", "slope", slope)
    return _dense.apply(*float_operands("dense", x, w, b), activation=fused, slope=slope)


def gemm(
    a: Any,
    b: Any,
    bias: Any = None,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    c: Any = None,
    activation: str = "linear",
    slope: float = 0.0,
) -> Tensor:
    """activation(alpha * a @ b + beta * c + bias): the product of BLAS, with what a layer does next.

    Args:
        a: (..., M, K).
        b: (..., K, N). Batch dimensions broadcast.
        bias: (N,) or None.
        alpha, beta: numbers. beta == 0 never looks at c.
        c: of the shape of the result; needed if beta is not 0.
        activation: a name in `FUSED_ACTIVATIONS`.
        slope: of leaky_relu and elu.

    Returns:
        (..., M, N).

    Raises:
        ValueError: shapes that do not fit; beta without c; an unknown activation.

    >>> import numpy as np, nnfast
    >>> nnfast.ops.gemm(np.eye(2), [[1.0, 2.0], [3.0, 4.0]], alpha=2.0, beta=-1.0, c=np.ones((2, 2))).tolist()
    [[1.0, 3.0], [5.0, 7.0]]
    """
    alpha, beta = number("gemm", "alpha", alpha), number("gemm", "beta", beta)
    if beta and c is None:
        raise ValueError(f"[gemm] beta needs c, the matrix that is added. Received: beta={beta}, c=None")
    inputs = float_operands("gemm", a, b, bias, c)
    return _gemm.apply(
        *inputs, alpha=alpha, beta=beta, activation=_fused("gemm", activation), slope=number("gemm", "slope", slope)
    )


def matmul(a: Any, b: Any) -> Tensor:
    """The product of two matrices, or of stacks of matrices, by the rules of `numpy.matmul`.

    Args:
        a: (..., M, K), or (K,): a row, which disappears from the result.
        b: (..., K, N), or (K,): a column, which disappears from the result. Batch dimensions broadcast.

    Returns:
        (..., M, N).

    Raises:
        ValueError: an operand without dimensions; inner sizes that differ; batches that do not broadcast.

    >>> import nnfast
    >>> nnfast.ops.matmul([[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]).tolist()
    [[19.0, 22.0], [43.0, 50.0]]
    """
    given("matmul", a, b)
    a, b = float_operands("matmul", a, b)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(
            f"[matmul] operands need a dimension. Received: a.shape={a.shape}, b.shape={b.shape}. "
            "To scale by a number use *"
        )
    inner = b.shape[0] if b.ndim == 1 else b.shape[-2]
    if a.shape[-1] != inner:
        raise ValueError(
            f"[matmul] the inner sizes differ: a has {a.shape[-1]} columns, b has {inner} rows. "
            f"Received: a.shape={a.shape}, b.shape={b.shape}"
        )
    return _matmul.apply(a, b)


def dot(a: Any, b: Any) -> Tensor:
    """The sum of products over the last dimension of a and the first of b, a vector or a matrix.

    Args:
        a: (..., K).
        b: (K,) or (K, N).

    Returns:
        (...) or (..., N): for two vectors a scalar.

    Raises:
        ValueError: an operand without dimensions; b with more than two; inner sizes that differ.

    >>> import nnfast
    >>> nnfast.ops.dot([2.0, 3.0], [2.0, 4.0]).item()
    16.0
    """
    given("dot", a, b)
    a, b = float_operands("dot", a, b)
    if a.ndim == 0 or b.ndim not in (1, 2):
        raise ValueError(
            f"[dot] a needs a dimension, and b one or two. Received: a.shape={a.shape}, b.shape={b.shape}. "
            "For stacks of matrices use matmul, to scale by a number *"
        )
    if a.shape[-1] != b.shape[0]:
        raise ValueError(f"[dot] the inner sizes differ. Received: a.shape={a.shape}, b.shape={b.shape}")
    return _matmul.apply(a, b)


def outer(a: Any, b: Any) -> Tensor:
    """All products of an element of a with one of b, both flattened.

    Args:
        a: any shape, M elements.
        b: any shape, N elements.

    Returns:
        (M, N).

    >>> import nnfast
    >>> nnfast.ops.outer([1.0, 2.0], [3.0, 4.0]).tolist()
    [[3.0, 4.0], [6.0, 8.0]]
    """
    given("outer", a, b)
    return _outer.apply(*float_operands("outer", a, b))
