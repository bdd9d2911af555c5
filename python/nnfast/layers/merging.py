"""Layers that make one tensor of several."""

from collections.abc import Callable
from functools import reduce
from typing import Any

from nnfast import ops
from nnfast.layers.layer import Layer, Shape
from nnfast.tensor import Tensor


class _Merge(Layer):
    """Element by element over a list of inputs, which broadcast; a missing axis is put in behind the batch."""

    supports_masking = True
    _count: int | None = None  # how many inputs, where that is fixed

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)

    def build(self, input_shape: Any) -> None:
        self._check(input_shape)

    def _check(self, shapes: Any) -> list[Shape]:
        """The shapes, if they are those of a list of inputs that fit."""
        kind = type(self).__name__
        if not isinstance(shapes, list):
            raise ValueError(
                f"[{self.name}] {kind} takes a list of inputs. Received: input shape {shapes}. "
                f"Call it as {kind}()([a, b])"
            )
        if not shapes or (self._count is not None and len(shapes) != self._count):
            wanted = "at least 1 input" if self._count is None else f"exactly {self._count} inputs"
            raise ValueError(f"[{self.name}] {kind} takes a list of {wanted}. Received: {len(shapes)} inputs")
        if any(len(s) == 0 for s in shapes):
            raise ValueError(f"[{self.name}] inputs of {kind} have a batch axis. Received: input shapes {shapes}")
        batches = {s[0] for s in shapes} - {None}
        if len(batches) > 1:
            raise ValueError(f"[{self.name}] {kind} needs inputs of one batch size. Received: input shapes {shapes}")
        return shapes

    def _merge(self, a: Tensor, b: Tensor) -> Tensor:
        raise NotImplementedError(f"[{self.name}] a merging layer needs a method _merge")

    def call(self, inputs: Any) -> Tensor:
        self._check([t.shape for t in inputs] if isinstance(inputs, list) else inputs.shape)
        rank = max(t.ndim for t in inputs)
        same = [ops.reshape(t, _padded(t.shape, rank)) if t.ndim < rank else t for t in inputs]
        try:
            return reduce(self._merge, same)
        except ValueError as e:
            raise self._unfit([t.shape for t in inputs]) from e

    def _unfit(self, shapes: Any) -> ValueError:
        return ValueError(
            f"[{self.name}] {type(self).__name__} needs inputs of one shape, or that broadcast. "
            f"Received: input shapes {shapes}"
        )

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shapes = self._check([tuple(s) for s in input_shape] if isinstance(input_shape, (list, tuple)) else input_shape)
        rank = max(map(len, shapes))
        result = []
        for sizes in zip(*(_padded(s, rank) for s in shapes)):
            known = {n for n in sizes if n not in (None, 1)}
            if len(known) > 1:
                raise self._unfit(shapes)
            result.append(known.pop() if known else None if None in sizes else 1)
        return tuple(result)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """Steps count that count in one of the inputs; none is masked if an input has no mask."""
        if not isinstance(previous_mask, list) or any(m is None for m in previous_mask):
            return None
        return reduce(ops.logical_or, previous_mask)


def _padded(shape: Any, rank: int) -> tuple[Any, ...]:
    """The shape with axes of size 1 behind the batch."""
    return (shape[0], *(1 for _ in range(rank - len(shape))), *shape[1:])


class Add(_Merge):
    """The sum of its inputs.

    >>> import numpy as np, nnfast
    >>> nnfast.layers.Add()([np.ones((1, 2)), np.ones((1, 2))]).numpy()
    array([[2., 2.]], dtype=float32)
    """

    def _merge(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b


class Subtract(_Merge):
    """The first input minus the second.

    >>> import numpy as np, nnfast
    >>> nnfast.layers.Subtract()([np.ones((1, 2)), np.ones((1, 2))]).numpy()
    array([[0., 0.]], dtype=float32)
    """

    _count = 2

    def _merge(self, a: Tensor, b: Tensor) -> Tensor:
        return a - b


class Multiply(_Merge):
    """The product of its inputs. What a mask leaves out counts as 1, and as 0 where every input leaves it out."""

    def _merge(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b

    def call(self, inputs: Any) -> Tensor:
        masks = [getattr(t, "_keras_mask", None) for t in inputs] if isinstance(inputs, list) else []
        if all(m is None for m in masks):
            return super().call(inputs)
        wide = [None if m is None else ops.broadcast_to(ops.expand_dims(m, -1), t.shape) for m, t in zip(masks, inputs)]
        y = super().call([t if m is None else ops.where(m, t, 1.0) for m, t in zip(wide, inputs)])
        if any(m is None for m in masks):
            return y
        counts = reduce(ops.logical_or, [m for m in masks if m is not None])
        return ops.where(ops.broadcast_to(ops.expand_dims(counts, -1), y.shape), y, 0.0)


class Average(_Merge):
    """The mean of its inputs."""

    def _merge(self, a: Tensor, b: Tensor) -> Tensor:
        return a + b

    def call(self, inputs: Any) -> Tensor:
        return super().call(inputs) / float(len(inputs))


class Maximum(_Merge):
    """The largest of its inputs, element by element."""

    def _merge(self, a: Tensor, b: Tensor) -> Tensor:
        return ops.maximum(a, b)


class Minimum(_Merge):
    """The smallest of its inputs, element by element."""

    def _merge(self, a: Tensor, b: Tensor) -> Tensor:
        return ops.minimum(a, b)


class Concatenate(_Merge):
    """Its inputs one after another.

    Args:
        axis: along which; all other sizes must be equal.

    >>> import numpy as np, nnfast
    >>> nnfast.layers.Concatenate()([np.ones((5, 2)), np.ones((5, 3))]).shape
    (5, 5)
    """

    def __init__(self, axis: int = -1, **kwargs: Any):
        super().__init__(**kwargs)
        if isinstance(axis, bool) or not hasattr(axis, "__index__"):
            raise TypeError(f"[Concatenate] axis must be an integer. Received: axis={axis!r}")
        self.axis = int(axis)

    def _check(self, shapes: Any) -> list[Shape]:
        kind = type(self).__name__
        if not isinstance(shapes, list) or not shapes:
            raise ValueError(
                f"[{self.name}] {kind} takes a list of inputs. Received: input shape {shapes}. "
                f"Call it as {kind}()([a, b])"
            )
        rank = len(shapes[0])
        if any(len(s) != rank for s in shapes) or not -rank <= self.axis < rank:
            raise ValueError(
                f"[{self.name}] Concatenate needs inputs of one rank, which have the axis {self.axis}. "
                f"Received: input shapes {shapes}"
            )
        for i, sizes in enumerate(zip(*shapes)):
            if i != self.axis % rank and len(set(sizes) - {None}) > 1:
                raise ValueError(
                    f"[{self.name}] Concatenate along axis {self.axis} needs inputs whose other sizes are equal. "
                    f"Received: input shapes {shapes}, which differ along axis {i}"
                )
        return shapes

    def call(self, inputs: Any) -> Tensor:
        self._check([t.shape for t in inputs] if isinstance(inputs, list) else inputs.shape)
        return inputs[0] if len(inputs) == 1 else ops.concat(inputs, axis=self.axis)

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shapes = self._check([tuple(s) for s in input_shape] if isinstance(input_shape, (list, tuple)) else input_shape)
        axis = self.axis % len(shapes[0])
        known = [next((n for n in sizes if n is not None), None) for sizes in zip(*shapes)]
        along = [s[axis] for s in shapes]
        known[axis] = None if None in along else sum(n for n in along if n is not None)
        return tuple(known)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The masks one after another; an input without one counts everywhere."""
        if not isinstance(previous_mask, list) or all(m is None for m in previous_mask):
            return None
        full = []
        for x, mask in zip(inputs, previous_mask):
            m = ops.ones(x.shape, "bool") if mask is None else ops.cast(mask, "bool")
            if m.ndim < x.ndim:
                m = ops.broadcast_to(ops.reshape(m, (*m.shape, *(1 for _ in range(x.ndim - m.ndim)))), x.shape)
            full.append(ops.cast(m, "float32"))
        joined = ops.concat(full, axis=self.axis)
        return ops.max(joined, axis=-1) > 0.5


class Dot(_Merge):
    """The dot products of two inputs, sample by sample: (batch, ..., n) and (batch, ..., n) -> (batch, ..., ...).

    Args:
        axes: the axis to sum over, or one for each input; the batch, axis 0, is none.
        normalize: divide by the lengths along these axes first; the result is the cosine then.

    >>> import numpy as np, nnfast
    >>> nnfast.layers.Dot(axes=1)([np.array([[1.0, 2.0]]), np.array([[3.0, 4.0]])]).numpy()
    array([[11.]], dtype=float32)
    """

    _count = 2

    def __init__(self, axes: Any, normalize: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        pair = axes if isinstance(axes, (list, tuple)) else [axes]
        if len(pair) not in (1, 2) or any(isinstance(a, bool) or not hasattr(a, "__index__") for a in pair):
            raise TypeError(f"[Dot] axes must be an integer or two of them. Received: axes={axes!r}")
        self.axes, self.normalize = axes, bool(normalize)

    def _axes_of(self, shapes: Any) -> tuple[int, int]:
        """The axis of each input, counted from 0, if the sizes agree."""
        self._check(shapes)
        pair = self.axes if isinstance(self.axes, (list, tuple)) else [self.axes] * 2
        for a, s in zip(pair, shapes):
            if not -len(s) < a < len(s) or a % len(s) == 0:
                raise ValueError(
                    f"[{self.name}] axes must be axes of the inputs, and not that of the batch. "
                    f"Received: axes={self.axes}, input shapes {shapes}"
                )
        a, b = (int(axis) % len(s) for axis, s in zip(pair, shapes))
        if None not in (shapes[0][a], shapes[1][b]) and shapes[0][a] != shapes[1][b]:
            raise ValueError(
                f"[{self.name}] Dot sums over axis {a} of the first and axis {b} of the second input, whose sizes must "
                f"be equal. Received: input shapes {shapes}"
            )
        return a, b

    def build(self, input_shape: Any) -> None:
        self._axes_of(input_shape)

    def call(self, inputs: Any) -> Tensor:
        a, b = self._axes_of([t.shape for t in inputs] if isinstance(inputs, list) else inputs.shape)
        x, y = inputs
        if self.normalize:
            x, y = _unit(x, a), _unit(y, b)
        rows = [n for i, n in enumerate(x.shape) if i not in (0, a)]
        columns = [n for i, n in enumerate(y.shape) if i not in (0, b)]
        batch, depth = x.shape[0], x.shape[a]
        x = ops.reshape(ops.moveaxis(x, a, -1), (batch, _size(rows), depth))
        y = ops.reshape(ops.moveaxis(y, b, 1), (batch, depth, _size(columns)))
        return ops.reshape(ops.matmul(x, y), (batch, *(rows + columns or [1])))

    def compute_output_shape(self, input_shape: Any) -> Shape:
        shapes = [tuple(s) for s in input_shape] if isinstance(input_shape, (list, tuple)) else input_shape
        a, b = self._axes_of(shapes)
        rest = [n for s, axis in zip(shapes, (a, b)) for i, n in enumerate(s) if i not in (0, axis)]
        return (shapes[0][0] if shapes[0][0] is not None else shapes[1][0], *(rest or [1]))

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """None."""
        return None


def _size(sizes: list[int]) -> int:
    return reduce(lambda a, b: a * b, sizes, 1)


def _unit(x: Tensor, axis: int) -> Tensor:
    """x divided by its length along an axis; lengths below 1e-6 count as 1e-6."""
    return x * ops.rsqrt(ops.maximum(ops.sum(ops.square(x), axis=axis, keepdims=True), 1e-12))


def _function(layer: Callable[..., Layer], name: str) -> Any:
    def function(inputs: Any, **kwargs: Any) -> Any:
        return layer(**kwargs)(inputs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`{layer.__name__}(**kwargs)(inputs)`."
    return function


add = _function(Add, "add")
subtract = _function(Subtract, "subtract")
multiply = _function(Multiply, "multiply")
average = _function(Average, "average")
maximum = _function(Maximum, "maximum")
minimum = _function(Minimum, "minimum")


def concatenate(inputs: Any, axis: int = -1, **kwargs: Any) -> Any:
    """`Concatenate(axis, **kwargs)(inputs)`."""
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs: Any, axes: Any = -1, **kwargs: Any) -> Any:
    """`Dot(axes, **kwargs)(inputs)`."""
    return Dot(axes=axes, **kwargs)(inputs)
