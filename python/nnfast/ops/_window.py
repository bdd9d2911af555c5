"""The geometry of windows, shared by conv2d and pooling: sizes and strides as pairs, padding resolved to cells."""

import operator
from typing import Any

_LIMIT = 2**31  # a size, stride or padding of this much is a mistake, and would only end in a lack of memory

Pads = tuple[tuple[int, int], tuple[int, int]]


def _integer(name: str, arg: str, value: Any, whole: Any) -> int:
    try:
        if isinstance(value, bool):
            raise TypeError
        n = operator.index(value)
    except TypeError:
        raise TypeError(f"[{name}] {arg} must be made of integers. Received: {arg}={whole!r}") from None
    if n >= _LIMIT:
        raise OverflowError(f"[{name}] {arg} must be below 2**31. Received: {arg}={whole!r}")
    return n


def pair(name: str, arg: str, value: Any) -> tuple[int, int]:
    """A positive integer for each of (rows, columns), from one integer or a pair.

    >>> pair("conv2d", "strides", 2)
    (2, 2)
    """
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise ValueError(f"[{name}] {arg} must be an integer or a pair of them. Received: {arg}={value!r}")
        rows, columns = (_integer(name, arg, v, value) for v in value)
    else:
        rows = columns = _integer(name, arg, value, value)
    if rows < 1 or columns < 1:
        raise ValueError(f"[{name}] {arg} must be at least 1. Received: {arg}={value!r}")
    return rows, columns


def single(name: str, arg: str, value: Any) -> int:
    """A positive integer, from itself or a sequence of one."""
    if isinstance(value, (tuple, list)) and len(value) == 1:
        (value,) = value
    return positive(name, arg, value)


def positive(name: str, arg: str, value: Any) -> int:
    """One integer of at least 1."""
    n = _integer(name, arg, value, value)
    if n < 1:
        raise ValueError(f"[{name}] {arg} must be at least 1. Received: {arg}={value!r}")
    return n


def pads(name: str, padding: Any, size: Any, kernel: Any, strides: Any, dilation: Any) -> Pads:
    """Cells of padding ((top, bottom), (left, right)).

    padding: "valid" (none), "same" (an output of ceil(size / stride); the odd cell goes after), an integer for all
    sides, or the four numbers. A size may be None where only output_size() is asked next.

    >>> pads("conv2d", "same", (28, 28), (3, 3), (2, 2), (1, 1))
    ((0, 1), (0, 1))
    """
    if isinstance(padding, str):
        mode = padding.lower()
        if mode == "valid":
            return (0, 0), (0, 0)
        if mode == "same":
            rows, columns = (_same(n, k, s, d) for n, k, s, d in zip(size, kernel, strides, dilation))
            return rows, columns
    elif isinstance(padding, (tuple, list)):
        if len(padding) == 2 and all(isinstance(p, (tuple, list)) and len(p) == 2 for p in padding):
            (top, bottom), (left, right) = (
                tuple(_not_negative(name, _integer(name, "padding", v, padding), padding) for v in p) for p in padding
            )
            return (top, bottom), (left, right)
    else:
        n = _not_negative(name, _integer(name, "padding", padding, padding), padding)
        return (n, n), (n, n)
    raise ValueError(
        f"[{name}] padding must be 'valid', 'same', an integer, or ((top, bottom), (left, right)). "
        f"Received: padding={padding!r}"
    )


def output_size(n: int | None, k: int, stride: int, pad: tuple[int, int], dilation: int) -> int | None:
    """Windows along one axis that lie wholly inside the padded input; below 1 if the kernel is larger than it.

    >>> output_size(28, 3, 2, (0, 1), 1)
    14
    """
    return None if n is None else (n + pad[0] + pad[1] - (k - 1) * dilation - 1) // stride + 1


def _same(n: int | None, k: int, stride: int, dilation: int) -> tuple[int, int]:
    if n is None:  # its output is ceil(None / stride): unknown as well
        return 0, 0
    total = max((-(-n // stride) - 1) * stride + (k - 1) * dilation + 1 - n, 0)
    return total // 2, total - total // 2


def _not_negative(name: str, n: int, padding: Any) -> int:
    if n < 0:
        raise ValueError(f"[{name}] padding must not be negative. Received: padding={padding!r}")
    return n


def transposed(
    n: int | None, k: int, stride: int, padding: str, dilation: int, extra: int | None
) -> tuple[Any, tuple[int, int]]:
    """Of a transposed convolution along one axis: the size of its output, and how much of it, before and after, is cut
    away from the (n - 1) * stride + span cells that the kernels reach. Negative: empty cells are added.

    extra: output_padding, which sets the size of the output; None: as a convolution with this padding needs it.

    >>> transposed(7, 3, 2, "same", 1, None)
    (14, (0, 1))
    """
    span = (k - 1) * dilation + 1
    if padding == "valid":
        cut = 0
        after = -(max(span, stride) - span) if extra is None else -extra
    elif extra is None:
        total = span - stride  # of (n - 1) * stride + span cells, n * stride stay
        cut = max(total // 2, 0)
        after = total - cut
    else:
        total = 2 * (span // 2) - extra
        cut = max(total // 2, 0)
        after = total - cut
    size = None if n is None else (n - 1) * stride + span - cut - after
    return size, (cut, after)
