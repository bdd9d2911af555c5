"""What training loops do to gradients."""

from typing import Any

from nnfast import ops
from nnfast.nn.tensor import Parameter, torch_tensor
from nnfast.tape import no_grad


def _with_gradient(parameters: Any) -> list[Any]:
    listed = [parameters] if isinstance(parameters, Parameter) else list(parameters)
    return [p for p in listed if p.grad is not None]


def clip_grad_norm_(parameters: Any, max_norm: float, norm_type: float = 2.0) -> Any:
    """Scales all gradients so that their common Euclidean norm is at most max_norm; returns the norm before.

    >>> from nnfast import nn
    >>> p = nn.Parameter([3.0, 4.0])
    >>> (p * p).sum().backward()
    >>> nn.utils.clip_grad_norm_([p], 1.0).item(), p.grad.norm().item() <= 1
    (10.0, True)
    """
    if norm_type != 2.0:
        raise ValueError(f"[clip_grad_norm_] the norm is the Euclidean one. Received: norm_type={norm_type}")
    ps = _with_gradient(parameters)
    with no_grad():
        total = ops.full((), 0.0, ps[0].dtype if ps else None)
        for p in ps:
            total = total + ops.sum(ops.square(p.grad))
        norm = ops.sqrt(total)
        scale = ops.minimum(max_norm / (norm + 1e-6), 1.0)
        for p in ps:
            p.grad = torch_tensor(p.grad * scale)
    return torch_tensor(norm)


def clip_grad_value_(parameters: Any, clip_value: float) -> None:
    """Cuts each element of each gradient to [-clip_value, clip_value]."""
    with no_grad():
        for p in _with_gradient(parameters):
            p.grad = torch_tensor(ops.clip(p.grad, -clip_value, clip_value))


def parameters_to_vector(parameters: Any) -> Any:
    """All Parameters as one long vector."""
    return torch_tensor(ops.concat([ops.reshape(p, -1) for p in parameters], axis=0))
