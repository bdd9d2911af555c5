"""Gradients by difference quotients: slow, and hard to get wrong. For checking those that were derived."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nnfast.tape import GradientTape, no_grad
from nnfast.tensor import Tensor, Variable


def numerical_gradient(f: Callable[..., Any], params: Sequence[Any], eps: float = 1e-6) -> list[np.ndarray]:
    """The derivative of f by every element of params: (f(x + eps) - f(x - eps)) / (2 eps).

    Args:
        f: a function without arguments that gives a number and reads params; or, if it takes as many arguments as
            there are params, a function of them.
        params: float arrays or Variables. Each element is changed and put back.
        eps: the step; 1e-6 suits float64 and is too small for float32.

    Returns:
        One float64 array per param, of its shape.

    >>> x = np.array([1.0, 2.0])
    >>> [g] = numerical_gradient(lambda: (x**2).sum(), [x])
    >>> g.round(6)
    array([2., 4.])
    """
    for i, p in enumerate(params):
        if not isinstance(p, (np.ndarray, Variable)) or p.dtype.kind != "f":
            kind = getattr(p, "dtype", type(p).__name__)
            raise TypeError(
                f"[numerical_gradient] params must be float arrays or Variables. Received: params[{i}]: {kind}"
            )
    call = (lambda: f(*params)) if _takes(f, len(params)) else f
    gradients = []
    with no_grad():
        for p in params:
            gradient = np.zeros(p.shape)
            for at in np.ndindex(p.shape):
                values = _element(p, at)
                plus, minus = (_value(call, values, step) for step in (eps, -eps))
                gradient[at] = (plus - minus) / (2 * eps)
            gradients.append(gradient)
    return gradients


def _takes(f: Any, count: int) -> bool:
    import inspect

    try:
        inspect.signature(f).bind(*range(count))
    except (TypeError, ValueError):
        return False
    return count > 0


def _element(p: Any, at: Any) -> tuple[Any, Any, Any]:
    return p, at, (p.numpy() if isinstance(p, Variable) else p)[at].copy()


def _value(call: Callable[[], Any], where: tuple[Any, Any, Any], step: float) -> float:
    """f with one element moved; it is put back whatever happens."""
    p, at, old = where
    try:
        _set(p, at, old + step)
        return float(call())
    finally:
        _set(p, at, old)


def _set(p: Any, at: Any, value: Any) -> None:
    if isinstance(p, Variable):  # by assign, so that the tape knows of it
        values = p.numpy()
        values[at] = value
        p.assign(values)
    else:
        p[at] = value


def gradcheck(
    f: Callable[..., Any],
    inputs: Any,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    gradients: Any = None,
) -> bool:
    """Does the tape's gradient of f agree with difference quotients, for every element of every input? Or, with
    `gradients`, do those that you derived yourself?

    Args:
        f: a function of tensors that gives a tensor. Its elements are weighted by fixed random weights and summed.
        inputs: an array, or several; converted to float64.
        eps: the step of the difference quotients.
        atol, rtol: they agree if |tape - numeric| <= atol + rtol |numeric|; NaN never does.
        raise_exception: raise instead of returning False?
        gradients: an array for each input, or a function of the inputs that gives them: checked instead of the tape's.
            f then gives one number, which NumPy may compute.

    Raises:
        TypeError: f does not give a tensor (or, with gradients, a number).
        ValueError: there is no gradient for each input, of its shape.
        AssertionError: they disagree; it names the input, the element and both values of the worst one.

    >>> import nnfast
    >>> gradcheck(lambda x, y: nnfast.ops.sum(x * y), [[1.0, 2.0], [3.0, 4.0]])
    True
    >>> gradcheck(lambda x: nnfast.ops.sum(x.detach() * x), [1.0, 2.0])
    Traceback (most recent call last):
    AssertionError: [gradcheck] input 0, element (1,): the tape says 2.0, the difference quotient 4.0
    >>> gradcheck(lambda x: (x**2).sum(), [np.array([1.0, 2.0])], gradients=lambda x: [3 * x])
    Traceback (most recent call last):
    AssertionError: [gradcheck] input 0, element (1,): your gradient says 6.0, the difference quotient 4.0
    """
    one = not isinstance(inputs, (tuple, list)) or not inputs or not np.ndim(inputs[0])
    arrays = [np.array(x, np.float64) for x in ([inputs] if one else inputs)]
    if gradients is not None:
        given = _given_gradients(gradients, arrays)
        numeric = numerical_gradient(lambda: _number(f(*arrays)), arrays, eps)
        return _agree("your gradient", given, numeric, atol, rtol, raise_exception)
    variables = [Variable(x) for x in arrays]
    weights = np.random.default_rng(7).uniform(0.5, 1.5, np.shape(_array(f(*variables))))

    with GradientTape() as tape:
        y = f(*variables)
    if not isinstance(y, Tensor):
        raise TypeError(f"[gradcheck] f must return a tensor. Received: {type(y).__name__}")
    if y.ndim == 0:
        weights = np.ones(())
    found = tape.gradient(y, variables, output_gradients=weights.astype(y.dtype))
    numeric = numerical_gradient(lambda: float((weights * _array(f(*variables))).sum()), variables, eps)
    return _agree("the tape", found, numeric, atol, rtol, raise_exception)


def _given_gradients(gradients: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Those that the user derived, in the order of the inputs."""
    given = gradients(*arrays) if callable(gradients) else gradients
    if len(arrays) == 1 and np.shape(given) == arrays[0].shape:
        given = [given]
    shapes = [np.shape(g) for g in given]
    if shapes != [a.shape for a in arrays]:
        raise ValueError(
            "[gradcheck] gradients must hold an array for each input, of its shape. "
            f"Received: shapes {shapes} for inputs of shapes {[a.shape for a in arrays]}"
        )
    return [np.asarray(g, np.float64) for g in given]


def _number(y: Any) -> float:
    a = _array(y)
    if a.size != 1:
        raise TypeError(f"[gradcheck] with gradients= f must give one number. Received: shape {a.shape}")
    return float(a.reshape(()))


def _agree(whose: str, found: Any, numeric: list[np.ndarray], atol: float, rtol: float, raise_exception: bool) -> bool:
    """True, or else False or an AssertionError about the worst element."""
    for i, (g, n) in enumerate(zip(found, numeric)):
        exact = np.zeros(n.shape) if g is None else np.asarray(g, np.float64)
        wrong = ~(np.abs(exact - n) <= atol + rtol * np.abs(n))
        if not wrong.any():
            continue
        if not raise_exception:
            return False
        error = np.where(wrong, np.nan_to_num(np.abs(exact - n), nan=np.inf), -1.0)
        at = tuple(int(k) for k in np.unravel_index(int(np.argmax(error)), n.shape))
        said = "None" if g is None else f"{exact[at]:.10}"
        quotient = float(round(n[at], 8))
        raise AssertionError(
            f"[gradcheck] input {i}, element {at}: {whose} says {said}, the difference quotient {quotient}"
        )
    return True


def _array(y: Any) -> np.ndarray:
    return np.asarray(y)
