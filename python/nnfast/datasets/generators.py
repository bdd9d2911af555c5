"""Points made by a formula and noise, of classes that a straight line divides or does not. No file, no network.

Each gives points float64 and labels int64, class by class: shuffle them before `fit(validation_split=...)`, which takes
the last ones. The same seed gives the same points; `seed=None` goes on with NumPy's global generator.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["blobs", "moons", "spiral"]


def spiral(
    samples: int = 100, classes: int = 3, noise: float = 0.2, seed: int | None = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Arms of a spiral, which no straight line divides: r from 0 to 1, angle 4 rad wide in each arm.

    With the default arguments the points are those of Stanford's CS231n notes (https://cs231n.github.io,
    "Putting it together") after `np.random.seed(0)`.

    Args:
        samples: per arm.
        classes: how many arms.
        noise: standard deviation of the angle, rad.
        seed: of the noise.

    Returns:
        Points [classes * samples, 2] and labels [classes * samples].

    Raises:
        ValueError: a number is out of its range.

    >>> x, y = spiral()
    >>> x.shape, y[[0, 100, 200]].tolist()
    ((300, 2), [0, 1, 2])
    """
    rng = _generator("spiral", seed, samples=samples, classes=classes, noise=noise)
    arms = []
    for j in range(classes):
        r = np.linspace(0.0, 1.0, samples)
        t = np.linspace(j * 4, (j + 1) * 4, samples) + rng.randn(samples) * noise
        arms.append(np.c_[r * np.sin(t), r * np.cos(t)])
    return np.concatenate(arms), np.repeat(np.arange(classes, dtype="int64"), samples)


def moons(samples: int = 100, noise: float = 0.1, seed: int | None = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two half circles of radius 1 that reach into each other: the upper one around (0, 0), the lower around (1, 0.5).

    Args:
        samples: per half circle.
        noise: standard deviation of both coordinates.
        seed: of the noise.

    Returns:
        Points [2 * samples, 2] and labels [2 * samples].

    Raises:
        ValueError: a number is out of its range.

    >>> x, y = moons(samples=3, noise=0.0)
    >>> x.round(2).tolist()
    [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, 0.5], [1.0, -0.5], [2.0, 0.5]]
    """
    rng = _generator("moons", seed, samples=samples, noise=noise)
    t = np.linspace(0.0, np.pi, samples)
    x = np.concatenate([np.c_[np.cos(t), np.sin(t)], np.c_[1 - np.cos(t), 0.5 - np.sin(t)]])
    return x + noise * rng.randn(*x.shape), np.repeat(np.arange(2, dtype="int64"), samples)


def blobs(
    samples: int = 100, classes: int = 3, features: int = 2, spread: float = 1.0, seed: int | None = 0
) -> tuple[np.ndarray, np.ndarray]:
    """A round cloud for each class: normal around a centre that is uniform from -10 to 10.

    Args:
        samples: per class.
        classes: how many clouds.
        features: coordinates of a point.
        spread: standard deviation of each coordinate.
        seed: of centres and points.

    Returns:
        Points [classes * samples, features] and labels [classes * samples].

    Raises:
        ValueError: a number is out of its range.

    >>> x, y = blobs(samples=5, classes=2, features=4)
    >>> x.shape, y.tolist()
    ((10, 4), [0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    """
    rng = _generator("blobs", seed, samples=samples, classes=classes, features=features, spread=spread)
    y = np.repeat(np.arange(classes, dtype="int64"), samples)
    centres = rng.uniform(-10.0, 10.0, (classes, features))
    return centres[y] + spread * rng.randn(len(y), features), y


def _generator(name: str, seed: int | None, **numbers: float) -> Any:
    """Checks the numbers: counts are at least 1, noise is not negative."""
    for key, value in numbers.items():
        counts = key in ("samples", "classes", "features")
        if not (value >= 1 and value == int(value) if counts else 0 <= value < np.inf):
            rule = "a whole number, 1 or more" if counts else "0 or more"
            raise ValueError(f"[datasets.{name}] {key} must be {rule}. Received: {key}={value}")
    return np.random if seed is None else np.random.RandomState(seed)
