"""`keras.random`: draws by Keras's names and arguments. `ops.random` has the same numbers with nnfast's.

`seed` is an integer, which gives the same numbers each time; a `SeedGenerator`, which goes on; or None, the generator
that `utils.set_random_seed` seeds.
"""

from typing import Any

from nnfast import ops
from nnfast.ops.random import Generator as SeedGenerator
from nnfast.tensor import Tensor, as_array


def _generator(seed: Any) -> SeedGenerator | None:
    return seed if seed is None or isinstance(seed, SeedGenerator) else SeedGenerator(seed)


def normal(shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None) -> Tensor:
    """Normal numbers.

    >>> normal((2,), seed=1).tolist() == normal((2,), seed=1).tolist()
    True
    """
    return ops.normal(shape, mean, stddev, dtype, generator=_generator(seed))


def truncated_normal(shape: Any, mean: float = 0.0, stddev: float = 1.0, dtype: Any = None, seed: Any = None) -> Tensor:
    """Normal numbers of at most two standard deviations."""
    return ops.truncated_normal(shape, mean, stddev, dtype, generator=_generator(seed))


def uniform(shape: Any, minval: float = 0.0, maxval: float = 1.0, dtype: Any = None, seed: Any = None) -> Tensor:
    """Uniform numbers in [minval, maxval)."""
    return ops.uniform(shape, minval, maxval, dtype, generator=_generator(seed))


def randint(shape: Any, minval: int, maxval: int, dtype: Any = "int32", seed: Any = None) -> Tensor:
    """Integers from minval, below maxval.

    >>> set(randint((100,), 2, 4).tolist()) == {2, 3}
    True
    """
    if not minval < maxval:
        raise ValueError(f"[randint] minval must be below maxval. Received: minval={minval}, maxval={maxval}")
    u = ops.uniform(shape, 0.0, 1.0, "float64", generator=_generator(seed))
    return ops.add(ops.cast(ops.mul(u, float(maxval - minval)), dtype), as_array(minval).astype(dtype))


def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Tensor:
    """inputs / (1 - rate) with probability 1 - rate, else 0: see `ops.dropout`."""
    return ops.dropout(inputs, rate, noise_shape=noise_shape, generator=_generator(seed))


def shuffle(x: Any, axis: int = 0, seed: Any = None) -> Tensor:
    """The entries of x along an axis in random order.

    >>> sorted(shuffle([3, 1, 2]).tolist())
    [1, 2, 3]
    """
    x = ops.convert_to_tensor(x)
    return ops.take(x, ops.permutation(x.shape[axis], generator=_generator(seed)), axis=axis)


__all__ = ["SeedGenerator", "dropout", "normal", "randint", "shuffle", "truncated_normal", "uniform"]
