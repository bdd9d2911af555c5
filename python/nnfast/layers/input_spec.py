"""InputSpec: what a layer expects of an input."""

from typing import Any

import numpy as np

from nnfast.layers.layer import standardize_shape


class InputSpec:
    """What an input must be like; a layer of your own sets `self.input_spec`, to one or a list of them.

    Args:
        dtype: its dtype.
        shape: its shape; None: any size.
        ndim, max_ndim, min_ndim: its rank.
        axes: {axis: size}.
        allow_last_axis_squeeze: is a last axis of size 1 too much, or missing, all right?
        name: shown in errors.
        optional: may it be None?

    >>> import nnfast
    >>> nnfast.layers.InputSpec(ndim=2, axes={-1: 3})
    InputSpec(ndim=2, axes={-1: 3})
    """

    def __init__(
        self,
        dtype: Any = None,
        shape: Any = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: dict[int, int | None] | None = None,
        allow_last_axis_squeeze: bool = False,
        name: str | None = None,
        optional: bool = False,
    ):
        self.dtype = None if dtype is None else np.dtype(dtype).name
        self.shape = None if shape is None else standardize_shape(shape)
        self.ndim = ndim if self.shape is None else len(self.shape)
        self.max_ndim, self.min_ndim = max_ndim, min_ndim
        self.name, self.optional, self.allow_last_axis_squeeze = name, optional, allow_last_axis_squeeze
        try:
            self.axes = {int(k): v for k, v in (axes or {}).items()}
        except (AttributeError, TypeError, ValueError):
            raise TypeError(f"[InputSpec] axes must be a dict {{axis: size}}. Received: axes={axes!r}") from None
        limit = self.ndim if self.ndim is not None else self.max_ndim
        if self.axes and limit is not None and max(self.axes) >= limit:
            raise ValueError(f"[InputSpec] axes must be below the rank {limit}. Received: axes={self.axes}")

    def check(self, layer: str, x: Any) -> None:
        """Raises a ValueError that names the layer if x is not like this."""
        if x is None:
            if self.optional:
                return
            raise ValueError(f"[{layer}] an input is missing. Received: None")
        shape = tuple(x.shape)
        if self.allow_last_axis_squeeze and self.shape is not None:
            if len(shape) == len(self.shape) + 1 and shape[-1] == 1:
                shape = shape[:-1]
            elif len(shape) == len(self.shape) - 1 and self.shape[-1] == 1:
                shape = (*shape, 1)
        which = "the input" if self.name is None else f"the input {self.name!r}"
        for wrong, rule in (
            (self.ndim is not None and len(shape) != self.ndim, f"must have {self.ndim} dimensions"),
            (self.max_ndim is not None and len(shape) > self.max_ndim, f"must have at most {self.max_ndim} dimensions"),
            (
                self.min_ndim is not None and len(shape) < self.min_ndim,
                f"must have at least {self.min_ndim} dimensions",
            ),
            (self.dtype is not None and str(x.dtype) != self.dtype, f"must have dtype {self.dtype}"),
        ):
            if wrong:
                raise ValueError(f"[{layer}] {which} {rule}. Received: shape {tuple(x.shape)}, dtype {x.dtype}")
        expected = {**dict(enumerate(self.shape or ())), **self.axes}
        for axis, size in expected.items():
            known = shape[axis] if -len(shape) <= axis < len(shape) else -1
            if size is not None and known is not None and known != size:
                raise ValueError(f"[{layer}] {which} must have size {size} along axis {axis}. Received: shape {shape}")

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal one."""
        keys = ("dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes", "optional")
        return {k: getattr(self, k) for k in keys}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "InputSpec":
        """One from what `get_config` gave."""
        return cls(**config)

    def __repr__(self) -> str:
        told = {k: getattr(self, k) for k in ("dtype", "shape", "ndim", "max_ndim", "min_ndim", "axes")}
        if self.shape is not None:
            del told["ndim"]
        return f"InputSpec({', '.join(f'{k}={v!r}' for k, v in told.items() if v)})"
