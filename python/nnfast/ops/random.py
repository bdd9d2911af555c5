"""Random numbers from counters (Philox 4x32-10): the same on every device, instruction set and number of threads.

A `Generator` is a seed and a count of draws. Each draw is named by a key, an int64 array (seed, draw), from which the
kernels compute every number on its own; so a draw can be repeated, and a replayed step draws anew each time.
"""

import itertools
import os
import threading
from typing import Any

import numpy as np

from nnfast import config, device, graph
from nnfast.ops._op import Op, float_operands, integer, sizes
from nnfast.ops.status import current_status
from nnfast.tensor import Tensor, wrap

_lock = threading.Lock()  # of all generators: a draw's key and the count belong together


def _renew_lock() -> None:
    """In a forked child nobody holds the lock any more, whatever the parent's threads did."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class Generator:
    """A stream of random numbers.

    Args:
        seed: an integer; it names the stream. None: the seed follows NumPy's global state, which is read and not
            advanced, so that `np.random.seed(10)` makes everything after it reproducible.

    >>> from nnfast.ops import random
    >>> u = [random.uniform((3,), generator=random.Generator(1)).tolist() for _ in range(2)]
    >>> u[0] == u[1]
    True
    """

    def __init__(self, seed: int | None = None):
        self._state = device.for_life(np.zeros(2, "int64"))
        self.seed(seed)

    def seed(self, seed: int | None) -> None:
        """Begins the stream of this seed anew."""
        if seed is not None and (isinstance(seed, bool) or not hasattr(seed, "__index__")):
            raise TypeError(f"[Generator] seed must be an integer or None. Received: seed={seed!r}")
        self._follows_numpy, self._seen = seed is None, b""
        self._write(0 if seed is None else _int64(int(seed)), 0)

    def _write(self, seed: int, draws: int) -> None:
        self._state = device.home(self._state)
        device.write(self._state, (seed, draws))

    def next_key(self) -> np.ndarray:
        """The key of the next draw, an int64 array (seed, draw). Made by kernels, so a replay makes a new one."""
        k = device.kernels
        with _lock:
            self._state = device.home(self._state)
            self._follow()
            graph.before_replay(self, lambda n: self._follow())
            key = k.cast(self._state, "int64")
            k.advance(self._state[1:], 1, status=current_status())
        return key

    def _follow(self) -> None:
        """Begins anew if NumPy's global state has changed and is to be followed."""
        if self._follows_numpy:
            seen = _numpy_state()
            if seen != self._seen:
                self._seen = seen
                self._write(int.from_bytes(seen[:8], "little", signed=True), 0)

    @property
    def state(self) -> tuple[int, int]:
        """(seed, draws so far); `generator.state = ...` continues from there."""
        seed, draws = device.host(self._state)
        return int(seed), int(draws)

    @state.setter
    def state(self, value: tuple[int, int]) -> None:
        self._follows_numpy = False
        self._write(_int64(value[0]), value[1])

    @property
    def follows_numpy(self) -> bool:
        """Does its seed follow NumPy's global state?"""
        return self._follows_numpy

    def resume(self, state: tuple[int, int], follows_numpy: bool) -> None:
        """Continues from a state; if follows_numpy, until NumPy's global state changes."""
        self.state = state
        if follows_numpy:
            self._follows_numpy, self._seen = True, _numpy_state()


def _int64(n: int) -> int:
    """n modulo 2^64, as a signed number."""
    return (n + 2**63) % 2**64 - 2**63


_marks = itertools.count(1)


def _numpy_state() -> bytes:
    """A digest of NumPy's global state, which it does not advance, and after it a mark that is new after each seeding.

    The same seed twice leaves the same state twice, so the state gets a mark where NumPy does not look: the second
    normal of a pair, while there is none. `np.random.seed` sets it to 0.
    """
    import hashlib  # slow to import

    state: Any = np.random.get_state(legacy=True)
    if isinstance(state, dict):  # another generator than NumPy's usual one was put in its place: it takes no mark
        return hashlib.blake2b(repr(state).encode(), digest_size=16).digest()
    kind, words, position, has_second, second = state
    if not has_second and second == 0:
        second = float(next(_marks))
        np.random.set_state((kind, words, position, 0, second))
    text = np.asarray(words).tobytes() + f"{position} {has_second}".encode()
    return hashlib.blake2b(text, digest_size=16).digest() + f"{second}".encode()


default_generator = Generator()


def set_random_seed(seed: int) -> None:
    """Seeds Python's `random`, NumPy's global generator and nnfast's default generator.

    >>> import nnfast
    >>> nnfast.ops.random.set_random_seed(10)
    """
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise TypeError(f"[set_random_seed] seed must be an integer. Received: seed={seed!r}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"[set_random_seed] seed must be in [0, 2**32). Received: seed={seed!r}")
    import random as python_random

    python_random.seed(seed)
    np.random.seed(seed)
    default_generator.seed(seed)


def _draw(kernel: str, shape: Any, dtype: Any, key: Any, generator: Generator | None, **parameters: float) -> Tensor:
    shape = sizes(kernel, shape)
    if key is None:
        key = (generator or default_generator).next_key()
    return wrap(getattr(device.kernels, kernel)(shape, np.dtype(dtype or config.floatx()).name, key, **parameters))


def uniform(
    shape: Any,
    low: float = 0.0,
    high: float = 1.0,
    dtype: Any = None,
    *,
    key: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Uniform in [low, high).

    Args:
        shape: of the result.
        low, high: the range.
        dtype: float32 or float64. Default: `nnfast.config.floatx()`.
        key: int64 (2,), which names the draw: the same key gives the same numbers. Default: the generator's next.
        generator: default: the one that `set_random_seed` seeds.

    >>> import nnfast
    >>> u = nnfast.ops.random.uniform((1000,), -1, 1)
    >>> bool((u.data >= -1).all() and (u.data < 1).all())
    True
    """
    return _draw("random_uniform", shape, dtype, key, generator, low=low, high=high)


def normal(
    shape: Any,
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    *,
    key: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Normal with this mean and standard deviation (Box and Muller, 1958). Arguments: as in `uniform`."""
    return _draw("random_normal", shape, dtype, key, generator, mean=mean, stddev=stddev)


def truncated_normal(
    shape: Any,
    mean: float = 0.0,
    stddev: float = 1.0,
    dtype: Any = None,
    *,
    key: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Normal, drawn again where it is more than two standard deviations off. Arguments: as in `uniform`."""
    return _draw("random_truncated_normal", shape, dtype, key, generator, mean=mean, stddev=stddev)


def permutation(n: int, *, key: Any = None, generator: Generator | None = None) -> Tensor:
    """0 .. n - 1 (int64) in random order. key, generator: as in `uniform`.

    >>> import nnfast
    >>> sorted(nnfast.ops.permutation(5).tolist())
    [0, 1, 2, 3, 4]
    """
    (n,) = sizes("permutation", integer("permutation", "n", n))
    if key is None:
        key = (generator or default_generator).next_key()
    return wrap(device.kernels.permutation(n, key))


class Dropout(Op):
    """x / (1 - rate) where a uniform number of its own is at least rate, else 0."""

    name = "dropout"

    def forward(self, k: Any, x: Any, key: Any, rate: float, noise_shape: Any) -> tuple[Any, Any]:
        return k.dropout(x, key, rate=rate, noise_shape=noise_shape), (key, rate, noise_shape)

    def gradient(self, dy: Any, saved: Any, needs: list[bool]) -> tuple[Any, ...]:
        key, rate, noise_shape = saved
        return device.kernels.dropout(dy, key, rate=rate, noise_shape=noise_shape), None

    def output_shape(self, x: Any, *_: Any, **__: Any) -> tuple[int | None, ...]:
        return x


_dropout = Dropout()


def dropout(x: Any, rate: float, *, noise_shape: Any = None, key: Any = None, generator: Any = None) -> Tensor:
    """x / (1 - rate) with probability 1 - rate, else 0, for each element.

    Args:
        x: of a float dtype.
        rate: in [0, 1].
        noise_shape: one decision for each element of this shape, which broadcasts to that of x; None (the whole, or an
            entry): that of x.
        key, generator: as in `uniform`.

    >>> import numpy as np, nnfast
    >>> nnfast.ops.dropout(np.ones(4), 0.0).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    if not (isinstance(rate, (int, float, np.number)) and 0 <= rate <= 1):
        raise ValueError(f"[dropout] rate must be in [0, 1]. Received: rate={rate!r}")
    (x,) = float_operands("dropout", x)
    if noise_shape is not None:
        received = tuple(noise_shape)
        noise_shape = tuple(n if m is None else int(m) for n, m in zip(x.shape, received))
        if len(received) != x.ndim or any(m not in (1, n) for n, m in zip(x.shape, noise_shape)):
            raise ValueError(
                f"[dropout] noise_shape must broadcast to x. Received: noise_shape={received}, x.shape={x.shape}"
            )
    if key is None:
        key = (generator or default_generator).next_key()
    else:
        key = device.kernels.cast(key, "int64")  # the gradient needs it as it is now
    return _dropout.apply(x, key, rate=float(rate), noise_shape=noise_shape)


__all__ = [
    "Generator",
    "default_generator",
    "dropout",
    "normal",
    "permutation",
    "set_random_seed",
    "truncated_normal",
    "uniform",
]
