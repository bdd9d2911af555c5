"""Attention: softmax(scale * q k^T) v, in one op that never holds all scores."""

import math
from typing import Any

import numpy as np

from nnfast import device
from nnfast.ops import random
from nnfast.ops._op import Op, float_operands, given
from nnfast.tensor import Tensor, as_array


class Attention(Op):
    """y = dropout(softmax(scale * q k^T)) v. The gradient computes the scores again."""

    name = "attention"

    def forward(self, k: Any, q: Any, keys: Any, v: Any, mask: Any, key: Any, **options: Any) -> tuple[Any, Any]:
        if device.settings.matmul_precision:
            options["precision"] = device.settings.matmul_precision
        return k.attention(q, keys, v, mask, key, **options), (q, keys, v, mask, key, options)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        *operands, options = saved
        return (*device.kernels.attention_gradient(dy, *operands, **options), None, None)

    def output_shape(self, q: Any, keys: Any, v: Any, *_: Any, **__: Any) -> tuple[int | None, ...]:
        return (*q[:3], v[3])


_attention = Attention()


def attention(
    q: Any,
    k: Any,
    v: Any,
    *,
    mask: Any = None,
    scale: float | None = None,
    causal: bool = False,
    dropout: float = 0.0,
    key: Any = None,
    generator: Any = None,
) -> Tensor:
    """softmax(scale * q k^T) v for each batch and head (Vaswani et al. 2017).

    The scores are computed a block of queries at a time, in the gradient a second time, so that memory grows with the
    sequence and not with its square.

    Args:
        q: queries (batch, T, heads, D).
        k: keys (batch, S, heads, D).
        v: values (batch, S, heads, E).
        mask: bool, broadcast to (batch, heads, T, S): keys that count. A query with none gives zeros.
        scale: default 1 / sqrt(D).
        causal: the query at position i sees the keys 0 .. i.
        dropout: the rate at which weights are dropped.
        key, generator: as in `random.uniform`, for dropout.

    Returns:
        (batch, T, heads, E).

    Raises:
        ValueError: shapes that do not fit.

    >>> import numpy as np, nnfast
    >>> x = np.ones((2, 5, 4, 8), "float32")
    >>> nnfast.ops.attention(x, x, x, causal=True).shape
    (2, 5, 4, 8)
    """
    given("attention", q, k, v)
    if not (isinstance(dropout, (int, float, np.number)) and 0 <= dropout <= 1):
        raise ValueError(f"[attention] dropout must be in [0, 1]. Received: dropout={dropout!r}")
    q, k, v = float_operands("attention", q, k, v)
    if any(x.ndim != 4 for x in (q, k, v)):
        raise ValueError(
            "[attention] q, k and v must be (batch, positions, heads, features). "
            f"Received: q.shape={q.shape}, k.shape={k.shape}, v.shape={v.shape}. "
            "For one head add an axis: x[:, :, None]"
        )
    if mask is not None:
        mask = as_array(mask, name="attention")
        if mask.dtype != np.bool_:
            mask = device.kernels.cast(mask, "bool")
        full = (q.shape[0], q.shape[2], q.shape[1], k.shape[1])
        try:
            mask = np.broadcast_to(mask, full)
        except ValueError:
            raise ValueError(
                "[attention] the mask must broadcast to (batch, heads, queries, keys). "
                f"Received: mask.shape={mask.shape}, for {full}"
            ) from None
    if not dropout:
        key = None
    elif key is None:
        key = (generator or random.default_generator).next_key()
    else:
        key = device.kernels.cast(key, "int64")  # the gradient needs it as it is now
    scale = 1 / math.sqrt(max(q.shape[3], 1)) if scale is None else float(scale)
    return _attention.apply(q, k, v, mask, key, scale=scale, causal=bool(causal), rate=float(dropout))
