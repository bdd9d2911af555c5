"""Larger images."""

from typing import Any

from nnfast import device
from nnfast.ops._op import Op, float_operands
from nnfast.ops._window import pair
from nnfast.ops.conv import channels_first
from nnfast.tensor import Tensor


class Upsample2D(Op):
    """Images with size times as many rows and columns."""

    name = "upsample2d"

    def forward(self, k: Any, x: Any, **how: Any) -> tuple[Any, Any]:
        return k.upsample2d(x, **how), (x.shape, how)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        shape, how = saved
        return (device.kernels.upsample2d_gradient(dy, shape, **how),)

    def output_shape(self, x: Any, size: Any, channels_first: bool = False, **_: Any) -> tuple[int | None, ...]:
        first = 2 if channels_first else 1
        factors = {first: size[0], first + 1: size[1]}
        return tuple(None if n is None else n * factors.get(i, 1) for i, n in enumerate(x))


_upsample2d = Upsample2D()


def upsample2d(x: Any, size: Any = 2, *, interpolation: str = "nearest", data_format: str = "channels_last") -> Tensor:
    """Images with size times as many rows and columns.

    Args:
        x: (N, H, W, C); with data_format="channels_first" (N, C, H, W).
        size: factors of rows and columns, whole numbers, or one for both.
        interpolation: "nearest" copies each pixel; "bilinear" goes evenly from the centre of one to that of the next.

    >>> import numpy as np, nnfast
    >>> nnfast.ops.upsample2d(np.array([[[[1.0], [2.0]]]]), (1, 2)).data.ravel().tolist()
    [1.0, 1.0, 2.0, 2.0]
    """
    (x,) = float_operands("upsample2d", x)
    if interpolation not in ("nearest", "bilinear"):
        raise ValueError(
            f"[upsample2d] interpolation must be 'nearest' or 'bilinear'. Received: interpolation={interpolation!r}"
        )
    first = channels_first("upsample2d", data_format)
    return _upsample2d.apply(
        x, size=pair("upsample2d", "size", size), bilinear=interpolation == "bilinear", channels_first=first
    )
